"""The programs as processes: from a settings file to an exit code."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from bridge.cli import logs
from bridge.cli.run import run_program
from bridge.clock import RealClock
from bridge.config import load

if TYPE_CHECKING:
    from bridge.agent.agent import Agent
    from bridge.agent.settings import AgentSettings
    from bridge.engine_door.engine_door import EngineDoor
    from bridge.gateway.gateway import Gateway
    from bridge.manager.manager import Manager
    from bridge.virtual.node import VirtualNode


def agent(config: Path, log_level: str | None, control_port: int = 0) -> int:
    """Run a node's agent; with mock pins as a virtual Pi whose pins can be driven over HTTP."""
    from bridge.agent.settings import AgentSettings

    logs.configure(log_level)
    settings = load(config, AgentSettings, environ=os.environ)
    return _virtual(settings, control_port) if settings.pins.factory == "mock" else _real(settings)


def dispatcher(config: Path, log_level: str | None) -> int:
    """Run the dispatcher."""
    from bridge.dispatcher.dispatcher import Dispatcher
    from bridge.dispatcher.pair import PairedDispatcher
    from bridge.dispatcher.settings import DispatcherSettings
    from bridge.mqtt.paho import connector

    logs.configure(log_level)
    settings = load(config, DispatcherSettings, environ=os.environ)

    def make(clock: RealClock) -> Dispatcher | PairedDispatcher:
        connect = connector(settings.mqtt, clock)

        def alone() -> Dispatcher:
            return Dispatcher(settings, clock=clock, connect=connect)

        if settings.standby is None:
            return alone()
        return PairedDispatcher(settings, clock=clock, connect=connect, make=alone)

    return run_program(make, settings.clock, clock_mark=settings.clock_mark)


def gateway(config: Path, log_level: str | None) -> int:
    """Run the gateway."""
    from bridge.gateway.gateway import Gateway
    from bridge.gateway.settings import GatewaySettings

    logs.configure(log_level)
    settings = load(config, GatewaySettings, environ=os.environ)

    def make(clock: RealClock) -> Gateway:
        return Gateway(settings, clock=clock)

    return run_program(make)


def manager(config: Path, log_level: str | None) -> int:
    """Run the manager."""
    from bridge.manager.settings import ManagerSettings

    logs.configure(log_level)
    settings = load(config, ManagerSettings, environ=os.environ)

    def make(clock: RealClock) -> Manager:
        from bridge.manager.manager import Manager
        from bridge.mqtt.paho import connector

        return Manager(settings, clock=clock, connect=connector(settings.mqtt, clock))

    return run_program(make)


def engine_door(config: Path, log_level: str | None) -> int:
    """Run the engine door."""
    from bridge.engine_door.engine_door import EngineDoor
    from bridge.engine_door.settings import EngineDoorSettings

    logs.configure(log_level)
    settings = load(config, EngineDoorSettings, environ=os.environ)

    def make(clock: RealClock) -> EngineDoor:
        return EngineDoor(settings, clock=clock)

    return run_program(make)


def _real(settings: AgentSettings) -> int:
    from bridge.agent.agent import Agent
    from bridge.agent.board import RealBoard
    from bridge.mqtt.paho import connector

    with RealBoard(settings.pins) as board:

        def make(clock: RealClock) -> Agent:
            return Agent(settings, clock=clock, connect=connector(settings.mqtt, clock), board=board)

        return run_program(make, settings.clock, clock_mark=settings.clock_mark)


def _virtual(settings: AgentSettings, control_port: int) -> int:
    from bridge.mqtt.paho import connector
    from bridge.virtual.node import VirtualNode

    def make(clock: RealClock) -> VirtualNode:
        connect = connector(settings.mqtt, clock)
        return VirtualNode(settings, clock=clock, connect=connect, control_port=control_port)

    def started(node: VirtualNode) -> None:
        print(f"virtual Pi {settings.node}: gpio-bridge simulate --url {node.control.url}", flush=True)

    return run_program(make, settings.clock, started=started, clock_mark=settings.clock_mark)
