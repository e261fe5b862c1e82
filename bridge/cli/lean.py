"""The way into a long-running program without typer, which brings pydantic: 12 MB (measured) that a Pi never gets back.

It takes exactly the options that `programs.py` declares. What it does not understand, help included, is left to typer,
which then says what is wrong. It reads them by itself, because argparse is another 0.3 MB.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bridge.cli.logs import LEVEL_VARIABLE, LEVELS

PROGRAMS = ("agent", "dispatcher", "gateway", "manager", "engine-door")


def program(arguments: list[str]) -> Callable[[], int] | None:
    """What runs the program that the command line asks for; None when it is for typer."""
    if not arguments or arguments[0] not in PROGRAMS:
        return None
    options = parse(arguments[0], arguments[1:])
    if options is None or (options.log_level or os.environ.get(LEVEL_VARIABLE) or "info").lower() not in LEVELS:
        return None
    from bridge.cli import long_running

    if arguments[0] == "agent":
        return lambda: long_running.agent(options.config, options.log_level, options.control_port)
    programs = {
        "dispatcher": long_running.dispatcher,
        "gateway": long_running.gateway,
        "manager": long_running.manager,
        "engine-door": long_running.engine_door,
    }
    run = programs[arguments[0]]
    return lambda: run(options.config, options.log_level)


def options_of(name: str) -> frozenset[str]:
    """The options of a program's command; each takes a value."""
    return frozenset({"--config", "-c", "--log-level"} | ({"--control-port"} if name == "agent" else set()))


@dataclass(frozen=True, slots=True)
class Options:
    """What a program's command line says; the port is an agent's."""

    config: Path
    log_level: str | None
    control_port: int


def parse(name: str, arguments: list[str]) -> Options | None:
    """What the arguments say; None when they are for typer."""
    given = _given(arguments, options_of(name))
    if given is None or "--config" not in given:
        return None
    config, log_level, port = Path(given["--config"]), given.get("--log-level"), given.get("--control-port", "0")
    if log_level is not None and log_level.lower() not in LEVELS:
        return None
    if not (port.isascii() and port.isdigit() and int(port) < 65536) or config.is_dir():
        return None
    return Options(config, log_level and log_level.lower(), int(port))


def _given(arguments: list[str], known: frozenset[str]) -> dict[str, str] | None:
    """The last value of each option, by its long name; None for anything else among the arguments."""
    given: dict[str, str] = {}
    rest = iter(arguments)
    for argument in rest:
        option, joined, value = argument.partition("=") if argument.startswith("--") else (argument, "", "")
        if not joined:
            value = next(rest, "")
        if option not in known or not value or value.startswith("-"):
            return None
        given["--config" if option == "-c" else option] = value
    return given
