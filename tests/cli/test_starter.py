from __future__ import annotations

from pathlib import Path

import pytest

from bridge.cli import exit_codes, run
from bridge.cli.starter import NotMade, make
from bridge.openfaas.stack_file import load_stack

STACK = """\
# My functions.
version: 1.0
provider: {name: openfaas}

functions:
  echo:   # the first
    lang: dockerfile
    image: echo
    fprocess: cat

configuration: {}
"""


@pytest.fixture
def stack(tmp_path: Path) -> Path:
    file = tmp_path / "stack.yml"
    file.write_text(STACK, encoding="utf-8")
    return file


@pytest.mark.parametrize("language", ["python3-http", "python3"])
def test_a_new_function_has_a_handler_that_compiles_and_an_entry_that_loads(stack: Path, language: str) -> None:
    handler, _ = make("lamp", language, stack)
    compile(handler.read_text(encoding="utf-8"), str(handler), "exec")
    assert [deployment.service for deployment in load_stack(stack, {})] == ["echo", "lamp"]


def test_comments_and_what_stands_below_the_functions_stay(stack: Path) -> None:
    make("lamp", "python3-http", stack)
    text = stack.read_text(encoding="utf-8")
    assert text.startswith("# My functions.\n")
    assert "echo:   # the first" in text
    assert text.endswith("configuration: {}\n")


def test_a_stack_file_that_is_not_there_is_made(tmp_path: Path) -> None:
    make("lamp", "python3-http", tmp_path / "functions" / "stack.yml")
    assert [each.service for each in load_stack(tmp_path / "functions" / "stack.yml", {})] == ["lamp"]


def test_a_stack_file_without_functions_yet_gets_its_first(tmp_path: Path) -> None:
    file = tmp_path / "stack.yml"
    file.write_text("version: 1.0\nprovider: {name: openfaas}\nfunctions:\n", encoding="utf-8")
    make("lamp", "python3", file)
    assert [each.service for each in load_stack(file, {})] == ["lamp"]


@pytest.mark.parametrize("name", ["", "Lamp", "-lamp", "la mp", "../lamp", "a" * 64])
def test_a_name_that_is_none_is_refused(stack: Path, name: str) -> None:
    with pytest.raises(NotMade, match="is no name"):
        make(name, "python3-http", stack)


def test_nothing_is_written_when_the_function_or_its_folder_is_there(stack: Path) -> None:
    with pytest.raises(NotMade, match=r"stack.yml: there is already a function echo"):
        make("echo", "python3-http", stack)
    (stack.parent / "lamp").mkdir()
    with pytest.raises(NotMade, match="already there"):
        make("lamp", "python3-http", stack)
    assert stack.read_text(encoding="utf-8") == STACK
    assert not (stack.parent / "echo").exists()


@pytest.mark.parametrize("text", ["version: 1.0\n", "functions: {echo: {image: e}}\n", "- a list\n"])
def test_a_file_that_cannot_be_added_to_is_left_alone(tmp_path: Path, text: str) -> None:
    file = tmp_path / "stack.yml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(NotMade):
        make("lamp", "python3-http", file)
    assert file.read_text(encoding="utf-8") == text
    assert not (tmp_path / "lamp").exists()


def test_an_unknown_language_is_refused_with_those_that_are_known(stack: Path) -> None:
    with pytest.raises(NotMade, match="choose one of python3-http, python3"):
        make("lamp", "cobol", stack)


def test_the_command_says_what_it_wrote_and_what_to_do_next(stack: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["functions", "new", "lamp", "--file", str(stack)]) == exit_codes.OK
    assert f"gpio-bridge functions deploy lamp --file {stack}" in capsys.readouterr().out
    assert run(["functions", "new", "lamp", "--file", str(stack)]) == exit_codes.FAILED
