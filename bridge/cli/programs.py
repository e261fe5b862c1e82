"""`gpio-bridge agent | dispatcher | gateway`: the long-running programs, one each; systemd starts these."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from bridge.agent.settings import AgentSettings

Config = Annotated[Path, typer.Option("--config", "-c", help="The program's settings.", dir_okay=False)]
LogLevel = Annotated[
    str | None,
    typer.Option(
        help="debug, info, warning or error; without it, GPIO_BRIDGE_LOG_LEVEL, else info (up and demo: calmer)."
    ),
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
    import os

    from bridge.agent.settings import AgentSettings
    from bridge.config import load

    settings = load(config, AgentSettings, environ=os.environ)
    set_up_logging(log_level)
    if settings.pins.factory == "mock":
        _virtual(settings, control_port)
    else:
        _real(settings)


def _real(settings: AgentSettings) -> None:
    from bridge.agent.agent import Agent
    from bridge.agent.board import RealBoard
    from bridge.cli.run import run_program
    from bridge.clock import RealClock
    from bridge.mqtt.paho import connector

    with RealBoard(settings.pins) as board:

        def make(clock: RealClock) -> Agent:
            return Agent(settings, clock=clock, connect=connector(settings.mqtt, clock), board=board)

        code = run_program(make, settings.clock)
    raise typer.Exit(code)


def _virtual(settings: AgentSettings, control_port: int) -> None:
    from bridge.cli.run import run_program
    from bridge.clock import RealClock
    from bridge.mqtt.paho import connector
    from bridge.virtual.node import VirtualNode

    def make(clock: RealClock) -> VirtualNode:
        connect = connector(settings.mqtt, clock)
        return VirtualNode(settings, clock=clock, connect=connect, control_port=control_port)

    def started(node: VirtualNode) -> None:
        print(f"virtual Pi {settings.node}: gpio-bridge simulate --url {node.control.url}", flush=True)

    raise typer.Exit(run_program(make, settings.clock, started=started))


def dispatcher(config: Config, log_level: LogLevel = None) -> None:
    """Run the dispatcher: events from the broker to functions, as the mappings say."""
    import os

    from bridge.cli.run import run_program
    from bridge.clock import RealClock
    from bridge.config import load
    from bridge.dispatcher.dispatcher import Dispatcher
    from bridge.dispatcher.settings import DispatcherSettings
    from bridge.mqtt.paho import connector

    settings = load(config, DispatcherSettings, environ=os.environ)
    set_up_logging(log_level)

    def make(clock: RealClock) -> Dispatcher:
        return Dispatcher(settings, clock=clock, connect=connector(settings.mqtt, clock))

    raise typer.Exit(run_program(make, settings.clock))


def gateway(config: Config, log_level: LogLevel = None) -> None:
    """Run the gateway: OpenFaaS' HTTP interface, with functions as processes of this machine."""
    import os

    from bridge.cli.run import run_program
    from bridge.clock import RealClock
    from bridge.config import load
    from bridge.gateway.gateway import Gateway
    from bridge.gateway.settings import GatewaySettings

    settings = load(config, GatewaySettings, environ=os.environ)
    set_up_logging(log_level)

    def make(clock: RealClock) -> Gateway:
        return Gateway(settings, clock=clock)

    raise typer.Exit(run_program(make))
