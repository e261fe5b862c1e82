"""The way into a program that does not load typer takes the same options as the one that does."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import typer

from bridge.cli import lean
from bridge.cli.app import app


def declared(name: str) -> set[str]:
    command = typer.main.get_command(app)
    context = command.make_context("gpio-bridge", [], resilient_parsing=True)
    found = command.get_command(context, name)  # type: ignore[attr-defined] # it is a group of commands
    assert found is not None
    return {option for parameter in found.params for option in parameter.opts if option not in ("--help", "-h")}


@pytest.mark.parametrize("name", lean.PROGRAMS)
def test_both_ways_take_the_same_options(name: str) -> None:
    assert lean.options_of(name) == declared(name)


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["up"],
        ["agent"],
        ["agent", "--help"],
        ["agent", "--config"],
        ["agent", "--config", "a.yaml", "--what"],
        ["agent", "--config", "a.yaml", "--log-level", "loud"],
        ["agent", "--config", "a.yaml", "--control-port", "-1"],
        ["gateway", "--config", "a.yaml", "--control-port", "1"],
        ["dispatcher", "--conf", "a.yaml"],
        ["dispatcher", "--config", "/"],
    ],
)
def test_what_is_not_understood_is_left_to_typer(arguments: list[str]) -> None:
    assert lean.program(arguments) is None


@pytest.mark.parametrize(
    "arguments",
    [
        ["--config", "a.yaml", "--log-level", "DEBUG", "--control-port", "9000"],
        ["--control-port=9000", "-c", "a.yaml", "--log-level=debug"],
        ["-c", "b.yaml", "--control-port", "1", "-c", "a.yaml", "--control-port", "9000", "--log-level", "debug"],
    ],
)
def test_options_may_stand_in_any_order_and_the_last_one_counts(arguments: list[str]) -> None:
    assert lean.parse("agent", arguments) == lean.Options(Path("a.yaml"), "debug", 9000)


@pytest.mark.parametrize("name", lean.PROGRAMS)
def test_a_program_starts_without_typer_and_pydantic(name: str, tmp_path: Path) -> None:
    missing = tmp_path / "missing.yaml"
    code = (
        "import sys; from bridge.cli import run\n"
        f"code = run([{name!r}, '--config', {str(missing)!r}])\n"
        "assert not {'typer', 'pydantic', 'rich'} & set(sys.modules), sorted(sys.modules)\n"
        "sys.exit(code)"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stderr) == (78, f"{missing}: cannot be read: No such file or directory\n")


def test_a_dispatcher_loads_no_http_client_of_others() -> None:
    code = (
        "import sys, bridge.dispatcher.dispatcher, bridge.dispatcher.pair\n"
        "assert not {'aiohttp', 'httpx', 'yarl', 'requests'} & set(sys.modules), sorted(sys.modules)\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")


def test_a_level_of_the_environment_that_is_none_is_left_to_typer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GPIO_BRIDGE_LOG_LEVEL", "loud")
    assert lean.program(["agent", "--config", "a.yaml"]) is None
    assert lean.program(["agent", "--config", "a.yaml", "--log-level", "info"]) is not None
    monkeypatch.setenv("GPIO_BRIDGE_LOG_LEVEL", "WARNING")
    assert lean.program(["agent", "--config", "a.yaml"]) is not None
