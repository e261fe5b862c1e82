"""The programs on the command line, `gpio-bridge agent` and so on; `lean.py` has the way that systemd takes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Config = Annotated[Path, typer.Option("--config", "-c", help="The program's settings.", dir_okay=False)]
LogLevel = Annotated[
    str | None, typer.Option(help="debug, info, warning or error; without it, GPIO_BRIDGE_LOG_LEVEL, else info.")
]


def set_up_logging(level: str | None, *, default: str = "info") -> None:
    """Start the log, or leave with a usage error."""
    from bridge.cli import logs

    try:
        logs.configure(level, default=default)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def agent(
    config: Config,
    control_port: Annotated[
        int,
        typer.Option(
            min=0,
            max=65535,
            help="With mock pins: where they can be driven over HTTP; 0 takes a free port and prints it.",
        ),
    ] = 0,
    log_level: LogLevel = None,
) -> None:
    """Run a node's agent: its pins to events. With `pins: {factory: mock}` it is a virtual Pi."""
    from bridge.cli import long_running

    set_up_logging(log_level)
    raise typer.Exit(long_running.agent(config, log_level, control_port))


def dispatcher(config: Config, log_level: LogLevel = None) -> None:
    """Run the dispatcher: events from the broker to functions, as the mappings say."""
    from bridge.cli import long_running

    set_up_logging(log_level)
    raise typer.Exit(long_running.dispatcher(config, log_level))


def gateway(config: Config, log_level: LogLevel = None) -> None:
    """Run the gateway: OpenFaaS' HTTP interface, with functions on this machine or on a Docker Swarm."""
    from bridge.cli import long_running

    set_up_logging(log_level)
    raise typer.Exit(long_running.gateway(config, log_level))


def manager(config: Config, log_level: LogLevel = None) -> None:
    """Run the manager: the mappings over HTTP."""
    from bridge.cli import long_running

    set_up_logging(log_level)
    raise typer.Exit(long_running.manager(config, log_level))


def engine_door(config: Config, log_level: LogLevel = None) -> None:
    """Run the engine door: it alone has the Docker Engine's socket, and lets gateway and manager ask what they need."""
    from bridge.cli import long_running

    set_up_logging(log_level)
    raise typer.Exit(long_running.engine_door(config, log_level))
