"""The templates of function images, as they are written for faas-cli and `docker build`."""

from __future__ import annotations

import re
from importlib.metadata import requires
from pathlib import Path

import pytest

import bridge.runtime
from bridge.config import read
from bridge.errors import ConfigError, ImageError
from bridge.images.templates import LANGUAGES, files_below, find, source, write

RUNTIME = Path(bridge.runtime.__file__).parent


def contents(folder: Path) -> dict[str, bytes]:
    return {file.path: file.content() for file in files_below(folder)}


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_template_holds_the_function_server_byte_for_byte(tmp_path: Path, language: str) -> None:
    write(tmp_path)
    assert contents(tmp_path / language / "runtime") == contents(RUNTIME)


def test_every_template_is_complete_for_faas_cli(tmp_path: Path) -> None:
    assert [path.name for path in write(tmp_path)] == list(LANGUAGES)
    for language in LANGUAGES:
        folder = tmp_path / language
        told = read(folder / "template.yml").plain()
        assert isinstance(told, dict)
        assert told["language"] == language
        assert {path.name for path in folder.iterdir()} == {
            *("Dockerfile", "function", "runtime", "server.txt", "template.yml")
        }
        assert (folder / "function" / ("main.sh" if language == "classic" else "handler.py")).is_file()


def test_writing_again_changes_nothing(tmp_path: Path) -> None:
    write(tmp_path)
    before = contents(tmp_path)
    write(tmp_path)
    assert contents(tmp_path) == before


def test_the_server_of_an_image_needs_what_the_project_needs_for_it() -> None:
    (pinned,) = [line for line in (source() / "server.txt").read_text().splitlines() if not line.startswith("#")]
    name, version = pinned.split("==")
    (ours,) = [each for each in requires("gpio-bridge") or () if re.match(rf"{name}\b", each)]
    least = ours.partition(">=")[2]
    assert tuple(map(int, version.split("."))) >= tuple(map(int, least.split(".")))


def test_no_image_runs_as_root_or_is_bound_to_a_processor() -> None:
    for dockerfile in source().rglob("Dockerfile"):
        text = dockerfile.read_text(encoding="utf-8")
        assert re.findall(r"^USER (.*)$", text, re.MULTILINE) == ["10001:10001"]
        assert "ARG PYTHON_IMAGE=" in text
        assert not re.search(r"--platform|x86|amd64/|arm64v8/|arm32v7/|--mount", text)


@pytest.mark.parametrize(
    ("language", "handler"),
    [
        ("python3-http-debian", b"handle(event, context)"),
        ("python3-flask-slim", b"handle(req)"),
        ("python3", b"handle(req)"),
    ],
)
def test_variants_of_faas_clis_templates_are_ours(language: str, handler: bytes) -> None:
    files = {file.path: file.content() for file in find(language, ()).files}
    assert handler in files["function/handler.py"]
    assert files["Dockerfile"] == (source() / "python3-http" / "Dockerfile").read_bytes()


def test_an_unknown_language_is_told_with_those_there_are() -> None:
    with pytest.raises(ImageError, match="no template for lang: cobol; there are python3-http"):
        find("cobol", ())


def test_a_template_of_ones_own_goes_before_ours(tmp_path: Path) -> None:
    own = tmp_path / "python3-http"
    (own / "code").mkdir(parents=True)
    (own / "template.yml").write_text(
        "language: python3-http\nhandler_folder: code\nfprocess: python index.py\n"
        "build_options:\n  - {name: dev, packages: [gcc, make]}\n"
    )
    (own / "Dockerfile").write_text("FROM scratch\n")
    template = find("python3-http", [tmp_path / "nowhere", tmp_path])
    assert (template.handler_folder, template.fprocess) == ("code", "python index.py")
    assert template.build_options == {"dev": ("gcc", "make")}
    assert {file.path for file in template.files} == {"template.yml", "Dockerfile"}


def test_the_folder_of_ours_in_a_checkout_is_not_taken_for_ones_own() -> None:
    assert "runtime/http.py" in {file.path for file in find("classic", [source()]).files}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("- a\n", "must be a map"),
        ("language: x\nhandler_folder: ../out\n", "template.yml:2:17: handler_folder: must be below"),
        ("language: x\nhandler_folder: /out\n", "must be below"),
        ("language: x\nbuild_options: [{name: dev}]\n", "template.yml:2:17: build_options: each must have"),
    ],
)
def test_a_mistake_in_ones_own_template_is_told_with_its_place(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "template.yml").write_text(text)
    with pytest.raises(ConfigError, match=told):
        find("x", [tmp_path])


def test_where_nothing_can_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "python3-http").write_text("a file")
    with pytest.raises(ImageError, match="cannot be written"):
        write(tmp_path)


def test_files_are_found_through_links_but_not_in_circles(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    (shared / "words.py").write_text("A = 1")
    folder = tmp_path / "f"
    (folder / "__pycache__").mkdir(parents=True)
    (folder / "__pycache__" / "x.pyc").touch()
    (folder / "run").write_text("#!/bin/sh")
    (folder / "run").chmod(0o755)
    (folder / "one").symlink_to(shared)
    (folder / "two").symlink_to(shared)
    (folder / "again").symlink_to(folder)
    (folder / "gone").symlink_to(tmp_path / "nowhere")
    found = {file.path: file.executable for file in files_below(folder)}
    assert found == {"run": True, "one/words.py": False, "two/words.py": False}
