"""A laser and a receiver, and what crosses the beam between them.

Three wirings. `digital`: a receiver module with a comparator and a 3.3 V output; edges in less than a millisecond, the
one to take. `mcp3008`: a light-dependent resistor in a divider on an analog channel, read now and then, with
hysteresis. `rc`: such a resistor that charges a capacitor; 0.1 s a reading, and refused with the driver lgpio, where
gpiozero's pin no longer reports edges once it has been an output (gpiozero issue 1135).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from bridge.agent.board import Board, driver_name, explained
from bridge.agent.pins import Pin, Pull, Use, pull_problem
from bridge.agent.sensors.adc import QUEUE, AdcChannel, Channel, ChipSelect, adc_uses
from bridge.agent.sensors.edges import open_edges
from bridge.agent.sensors.interpreters import Levels
from bridge.agent.sensors.plan import Edges, Plan, Polled
from bridge.agent.sensors.settings import Common
from bridge.config import Seconds, Within
from bridge.core.filters import Chain, Debounce, DebounceMode, Range, Switch
from bridge.errors import SensorError

NAMES = ("beam.broken", "beam.restored")
NO_RC_WITH_LGPIO = (
    "wiring: rc does not work with the pin driver lgpio (gpiozero issue 1135: it would read dark for ever); "
    "use a receiver with a digital output (wiring: digital), or the resistor on an MCP3008 (wiring: mcp3008)"
)

DISCHARGE_S = 0.1
"""How long gpiozero's LightSensor drains the capacitor (1 uF)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LaserTripwire(Common):
    """`kind: laser-tripwire`. Which keys are needed depends on `wiring`."""

    KIND: ClassVar[str] = "laser-tripwire"
    STUCK_S: ClassVar[float] = 3600.0

    wiring: Literal["digital", "mcp3008", "rc"] = "digital"
    pin: Pin | None = None
    pull: Pull = "none"
    active_low: bool = False
    """Of a digital receiver: whether its output is low while it sees the laser."""
    channel: Channel | None = None
    chip_select: ChipSelect = 0
    broken_below: Annotated[float, Within(0, 1)] = 0.5
    """Of a resistor: the light, from 0.0 (dark) to 1.0, below which the beam counts as broken."""
    hysteresis: Annotated[float, Within(0, 1)] = 0.1
    charge_limit_s: Annotated[float, Seconds(0.001, 1)] = 0.01
    """Of `rc`: a capacitor that charges more slowly means darkness."""
    every_s: Annotated[float, Seconds(0.01, 60)] = 0.1
    timeout_s: Annotated[float, Seconds(0.01, 60)] = 2.0
    debounce_s: Annotated[float, Seconds(0, 60)] = 0.02
    debounce_mode: DebounceMode = "settle"

    def uses(self, one_wire: Pin) -> Iterator[Use]:
        """What of the board it takes."""
        if self.wiring == "mcp3008" and self.channel is not None:
            yield from adc_uses(self.channel, self.chip_select)
        elif self.wiring != "mcp3008" and self.pin is not None:
            yield Use("pin", self.pin.name)

    def problems(self) -> Iterator[tuple[str, str]]:
        """What the section's keys must agree on."""
        needed, unused = ("channel", "pin") if self.wiring == "mcp3008" else ("pin", "channel")
        if getattr(self, needed) is None:
            yield needed, f"is missing; wiring: {self.wiring} needs it"
        if getattr(self, unused) is not None:
            yield unused, f"does not belong to wiring: {self.wiring}"
        if self.wiring == "digital" and self.pin is not None:
            wrong = pull_problem(self.pin, self.pull)
            if wrong is not None:
                yield "pull", wrong
        if self.wiring != "digital" and self.broken_below + self.hysteresis > 1:
            yield (
                "hysteresis",
                f"the beam could never be restored: {self.broken_below:g} + {self.hysteresis:g} is above 1",
            )

    def plan(self) -> Plan:
        debounce = Debounce(self.debounce_s, self.debounce_mode)
        if self.wiring == "digital":
            return Plan(Edges(self._open_edges), Levels(NAMES, debounce), None, NAMES)
        switch = Chain(Range(0.0, 1.0), Switch(on_below=self.broken_below, hysteresis=self.hysteresis), debounce)
        if self.wiring == "mcp3008":
            source = Polled(self._open_adc, self.every_s, self.timeout_s, QUEUE)
        else:
            source = Polled(self._open_rc, self.every_s, self.timeout_s)
        return Plan(source, Levels(NAMES, switch), None, NAMES)

    def _open_edges(self, board: Board, changed: Any) -> Any:
        assert self.pin is not None
        # Active means broken here, so a receiver that is low in the light is active high.
        return open_edges(board, changed, pin=self.pin, pull=self.pull, active_low=not self.active_low)

    def _open_adc(self, board: Board) -> AdcChannel:
        assert self.channel is not None
        return AdcChannel(board, self.channel, self.chip_select)

    def _open_rc(self, board: Board) -> ChargedPin:
        assert self.pin is not None
        return ChargedPin(board, self.pin, self.charge_limit_s)


class ChargedPin:
    """A pin with a resistor to 3.3 V and a capacitor to ground; `read` times the charging: 0.0 dark to 1.0 light.

    Times it as gpiozero's LightSensor does, but on the caller's thread: its background thread dies silently at the
    first exception and keeps its last value. Raises SensorError with the driver lgpio.
    """

    def __init__(self, board: Board, pin: Pin, limit_s: float) -> None:
        from gpiozero import InputDevice  # noqa: PLC0415 - only where pins are

        if driver_name(board.pin_factory) == "lgpio":
            raise SensorError(f"{pin.name}: {NO_RC_WITH_LGPIO}")
        self._pin = pin
        self._limit_s = limit_s
        self._factory = board.pin_factory
        self._takes = board.takes
        self._lasted = board.lasted
        self._charged = threading.Event()
        self._charged_at: Any = None
        with explained(f"opening {pin.name} as an input"):
            self._device = InputDevice(pin.bcm, pull_up=None, active_state=True, pin_factory=board.pin_factory)
            self._device.pin.edges = "rising"
            self._device.pin.when_changed = self._edge

    def read(self) -> float:
        with explained(f"timing the charge on {self._pin.name}"):
            pin = self._device.pin
            pin.function = "output"
            pin.state = False
            if (discharge_s := self._takes(DISCHARGE_S)) > 0:
                time.sleep(discharge_s)
            self._charged_at = None
            self._charged.clear()
            started_at = self._factory.ticks()
            pin.function = "input"
            took_s = self._limit_s
            if self._charged.wait(self._takes(self._limit_s)) and self._charged_at is not None:
                took_s = min(took_s, max(0.0, float(self._factory.ticks_diff(self._charged_at, started_at))))
        self._lasted(DISCHARGE_S + took_s)
        return 1.0 - took_s / self._limit_s

    def close(self) -> None:
        self._device.close()

    def _edge(self, ticks: Any, state: Any) -> None:
        if state:
            self._charged_at = ticks
            self._charged.set()
