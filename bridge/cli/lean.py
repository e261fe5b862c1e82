"""The way into a long-running program without typer, which brings pydantic: 12 MB (measured) that a Pi never gets back.

It takes exactly the options that `programs.py` declares. What it does not understand, help included, is left to typer,
which then says what is wrong.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from bridge.cli.logs import LEVELS

PROGRAMS = ("agent", "dispatcher", "gateway", "manager", "engine-door")


def program(arguments: list[str]) -> Callable[[], int] | None:
    """What runs the program that the command line asks for; None when it is for typer."""
    if not arguments or arguments[0] not in PROGRAMS:
        return None
    options = _parse(arguments[0], arguments[1:])
    if options is None:
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


def options_of(name: str) -> argparse.ArgumentParser:
    """The options of a program's command."""
    parser = _Silent(prog=f"gpio-bridge {name}", add_help=False, allow_abbrev=False)
    parser.add_argument("--config", "-c", type=Path, required=True)
    parser.add_argument("--log-level", type=str.lower, choices=LEVELS)
    if name == "agent":
        parser.add_argument("--control-port", type=int, choices=range(65536), default=0)
    return parser


class _NotUnderstood(Exception):
    """The command line is for typer."""


class _Silent(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise _NotUnderstood(message)


def _parse(name: str, arguments: list[str]) -> argparse.Namespace | None:
    try:
        options = options_of(name).parse_args(arguments)
    except _NotUnderstood:
        return None
    return options if not options.config.is_dir() else None
