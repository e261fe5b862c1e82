"""The agent's configuration file, and everything that can be wrong with it.

What one sensor needs stands in its kind's file; here is what they must agree on: no pin, channel or bus twice.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from bridge.agent.board import PinsSettings
from bridge.agent.models import ModelSettings, misfits
from bridge.agent.outbox import OutboxSettings
from bridge.agent.outputs import OutputSettings
from bridge.agent.pins import Use, conflicts
from bridge.agent.sensors import SensorSettings
from bridge.agent.sensors.laser_tripwire import NO_RC_WITH_LGPIO, LaserTripwire
from bridge.config import Name, Pattern, Port
from bridge.config.hosts import HOST
from bridge.core.topics import DEFAULT_ROOT, DEFAULT_SITE
from bridge.mqtt.settings import MqttSettings

PORT = 8090


@dataclass(frozen=True, slots=True)
class HttpSettings:
    """Where health and metrics are served; port 0 takes a free one."""

    host: str = "127.0.0.1"
    port: Port = PORT
    advertise: Annotated[str, HOST] | None = None
    """The name or address under which Prometheus finds it, told to the manager; by default `host`, and with `0.0.0.0`
    the address of its connection to the broker."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentSettings:
    """One node's agent."""

    node: Name
    site: Name = DEFAULT_SITE
    root: Annotated[str, Pattern(r"[^+#\0/][^+#\0]*", "the first levels of a topic, without + and #")] = DEFAULT_ROOT
    mqtt: MqttSettings = field(default_factory=MqttSettings)
    state_dir: Path = Path("/var/lib/gpio-bridge/agent")
    """Where the outbox stands; it is the node's memory and moves with it."""
    pins: PinsSettings = field(default_factory=PinsSettings)
    http: HttpSettings | None = field(default_factory=HttpSettings)
    outbox: OutboxSettings = field(default_factory=OutboxSettings)
    clock: Literal["auto", "always", "never"] = "auto"
    """Whether wall time can be believed: `auto` asks the kernel."""
    clock_mark: Path | None = None
    """With `clock: auto`: a file whose existence says that the clock is right, asked instead of the kernel. For what
    sets the clock without telling the kernel: a clock chip, a GPS receiver, the host of a virtual machine."""
    sensors: Mapping[Name, SensorSettings] = field(default_factory=dict)
    outputs: Mapping[Name, OutputSettings] = field(default_factory=dict)
    virtual: Mapping[Name, ModelSettings] = field(default_factory=dict)
    """Which part each sensor is on a virtual Pi, by the sensor's name, see below. Real pins take no notice of it."""

    def problems(self) -> Iterator[tuple[str, str]]:
        """What sensors, outputs and pins must agree on."""
        yield from conflicts(self._uses())
        yield from misfits(self.virtual, self.sensors)
        for name, sensor in self.sensors.items():
            if isinstance(sensor, LaserTripwire) and sensor.wiring == "rc" and self.pins.factory == "lgpio":
                yield f"sensors.{name}.wiring", NO_RC_WITH_LGPIO
        for name in sorted(self.sensors.keys() & self.outputs.keys()):
            yield f"outputs.{name}", "a sensor has this name already"

    def configuration_hash(self) -> str:
        """Tells whether two agents run the same configuration; passwords are not in it, nor what mocks alone read."""
        return hashlib.sha256(repr(dataclasses.replace(self, virtual={})).encode()).hexdigest()[:16]

    def _uses(self) -> Iterator[tuple[str, Use]]:
        for section, devices in (("sensors", self.sensors), ("outputs", self.outputs)):
            for name, device in devices.items():
                for use in device.uses(self.pins.one_wire):
                    yield f"{section}.{name}", use
