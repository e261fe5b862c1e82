"""Faults with nothing behind them, for what is decided before anything happens."""

from __future__ import annotations

from pathlib import Path

from bridge.broker import EmbeddedBroker
from bridge.clock import RealClock
from bridge.dispatcher.invoker import HttpInvoker
from bridge.dispatcher.settings import GatewaySettings
from bridge.mqtt.paho import connector
from bridge.mqtt.settings import MqttSettings
from bridge.testing.faults import Faults
from bridge.testing.foreign_device import ForeignDevice
from bridge.testing.stand_ins import StandIns


def powerless() -> Faults:
    """Faults of a broker that was never started and of a node pi-1 that is not there."""

    async def restart(node: str) -> None:
        raise LookupError(f"there is no node {node}; there are pi-1")

    clock = RealClock("always")
    functions = StandIns(HttpInvoker(GatewaySettings(), clock, connections=1), clock)
    device = ForeignDevice(connector(MqttSettings(), clock))
    return Faults(EmbeddedBroker("auto", "127.0.0.1", 0, Path("nowhere")), device, functions, restart)
