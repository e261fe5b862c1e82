"""The command line as a person or a script meets it: help, exit codes, what is loaded."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from bridge import __version__
from bridge.cli import exit_codes
from bridge.cli.app import app
from tests.cli.conftest import COMMAND, Command


def every_command(group: typer.Typer, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """The words of every command and group there is."""
    found = [path]
    for command in group.registered_commands:
        name = command.name or (command.callback.__name__ if command.callback else "")
        found.append((*path, name))
    for sub in group.registered_groups:
        if sub.typer_instance is not None and sub.name is not None:
            found += every_command(sub.typer_instance, (*path, sub.name))
    return found


COMMANDS = every_command(app)


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
@pytest.mark.parametrize("option", ["--help", "-h"])
def test_every_command_has_help(arguments: tuple[str, ...], option: str, command: Command) -> None:
    result = command(*arguments, option)
    assert (result.returncode, result.stdout[:6], result.stderr) == (0, "Usage:", "")
    _, _, lines = result.stdout.partition("\nCommands:\n")
    assert not [line for line in lines.splitlines() if line.endswith("...")], "a line that is cut says nothing"


def test_the_commands_are_found() -> None:
    assert {("up",), ("functions", "list"), ("deadletters", "replay")} <= set(COMMANDS)


def test_the_help_tells_the_exit_codes(command: Command) -> None:
    result = command("--help")
    assert result.returncode == exit_codes.OK
    assert "69 a program" in result.stdout


def test_the_version_is_printed(command: Command) -> None:
    assert command("--version").stdout == f"gpio-bridge {__version__}\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ("dance",),
        ("simulate", "--colour", "red", "--node"),
        ("explain",),
        ("explain", "--sensor", "front-door"),
        ("explain", "-", "--sensor", "front-door", "--event", "motion.detected"),
        ("explain", "--sensor", "Front Door", "--event", "motion.detected"),
        ("events", "--count", "0"),
        ("up", "--ports", "some"),
        ("agent",),
        ("check",),
    ],
    ids=" ".join,
)
def test_wrong_usage_is_exit_code_2(command: Command, arguments: tuple[str, ...]) -> None:
    assert command(*arguments).returncode == exit_codes.USAGE


@pytest.mark.parametrize("program", ["agent", "dispatcher", "gateway"])
def test_a_bad_file_is_exit_code_78_with_its_place(command: Command, tmp_path: Path, program: str) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text("version: 1\nnonsense: true\n", encoding="utf-8")
    result = command(program, "--config", str(file))
    assert result.returncode == exit_codes.CONFIG
    assert f"{file}:2:" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("simulate", "front-door", "motion"),
        ("simulate", "front-door", "motion", "--url", "http://127.0.0.1:9"),
        ("functions", "list", "--gateway", "http://127.0.0.1:9"),
        ("functions", "invoke", "echo", "--gateway", "http://127.0.0.1:9", "-d", "x"),
        ("functions", "logs", "echo", "--gateway", "http://127.0.0.1:9"),
        ("explain", "--sensor", "a", "--event", "motion.detected", "--url", "http://127.0.0.1:9"),
        ("events", "--host", "127.0.0.1", "--port", "9", "--timeout", "0.3"),
    ],
    ids=" ".join,
)
def test_a_program_that_does_not_answer_is_exit_code_69_with_what_to_do(
    command: Command, arguments: tuple[str, ...]
) -> None:
    result = command(*arguments)
    assert result.returncode == exit_codes.UNAVAILABLE
    assert result.stderr.startswith("gpio-bridge: ")
    assert "gpio-bridge up" in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_bad_log_level_is_wrong_usage(command: Command, tmp_path: Path) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text(f"version: 1\nstate_dir: {tmp_path}/state\n", encoding="utf-8")
    result = command("gateway", "--config", str(file), "--log-level", "loud")
    assert (result.returncode, "choose one of debug, info, warning, error" in result.stderr) == (2, True)


def test_a_reader_that_leaves_early_gets_no_traceback() -> None:
    done = subprocess.run(
        f"{sys.executable} -m bridge --help | head -n 1",
        shell=True, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert done.stderr == ""


def test_the_command_line_itself_loads_nothing_heavy() -> None:
    code = (
        "import sys; from bridge.cli.app import app;"
        "heavy = {'aiohttp', 'rich', 'httpx', 'fastapi', 'docker', 'gpiozero', 'paho', 'yaml', 'orjson'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "[]\n"


def test_a_terminal_without_a_letter_shows_its_number(tmp_path: Path) -> None:
    file = tmp_path / "tür.yaml"
    file.write_text("version: 1\nmappings:\n  one: {select: {sensor: door}, invoke: echo}\n", encoding="utf-8")
    environ = {**os.environ, "PYTHONIOENCODING": "ascii"}
    ended = subprocess.run(
        [*COMMAND, "check", str(file)], capture_output=True, text=True, timeout=60, check=False, env=environ
    )
    assert ended.returncode == exit_codes.OK, ended.stderr
    assert "t\\xfcr.yaml: ok (mappings)" in ended.stdout


def test_a_full_disk_behind_the_output_is_told_in_one_line(tmp_path: Path) -> None:
    file = tmp_path / "mappings.yaml"
    file.write_text("version: 1\nmappings:\n  one: {select: {sensor: door}, invoke: echo}\n", encoding="utf-8")
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        ended = subprocess.run(
            [*COMMAND, "check", str(file)], stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, check=False
        )
    assert ended.returncode == exit_codes.FAILED
    assert ended.stderr == "gpio-bridge: No space left on device\n"
