"""Distance by ultrasound: an HC-SR04 (its 5 V echo through a divider) or HC-SR04P.

The echo's two edges are timed by the driver (with lgpio: by the kernel), one measurement each `every`. gpiozero's
`DistanceSensor` is not used: it measures without pause in a background thread, averages nine readings, and drops
missing echoes with a warning, so that an unplugged sensor keeps its last distance.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from bridge.agent.board import Board, explained
from bridge.agent.pins import Pin, Use
from bridge.agent.sensors.interpreters import Numbers
from bridge.agent.sensors.plan import Plan, Polled
from bridge.agent.sensors.settings import Measured
from bridge.config import Seconds, Within
from bridge.core.filters import Switch
from bridge.errors import SensorError

UNIT = "cm"
SPEED_OF_SOUND_CM_S = 34326.0
"""In air of 20 degrees Celsius; 0.18 % more for each degree above."""

_TRIGGER_S = 0.00001
_ECHO_TIMEOUT_S = 0.1
"""The longest pulse is 38 ms (HC-SR04 datasheet); what takes longer does not come."""
_ECHOES = threading.Lock()
"""One sensor measures at a time: another one's ping would be heard as an echo."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Distance(Measured):
    """`kind: distance`, in centimetres. With `near` it also tells `distance.near` and `distance.clear`."""

    KIND: ClassVar[str] = "distance"

    trigger: Pin
    echo: Pin
    near: Annotated[float, Within(0, 400)] | None = None
    hysteresis: Annotated[float, Within(0)] = 2.0
    every_s: Annotated[float, Seconds(0.06, 86400)] = 1.0
    delta: Annotated[float, Within(0)] = 1.0
    precision: Annotated[int, Within(0, 9)] = 1
    reach: Annotated[float, Within(1, 450)] = 400.0
    """The farthest distance that is measured, in cm; an echo from beyond it counts as this far."""

    def uses(self, one_wire: Pin) -> Iterator[Use]:
        """What of the board it takes."""
        yield Use("trigger", self.trigger.name)
        yield Use("echo", self.echo.name)

    def problems(self) -> Iterator[tuple[str, str]]:
        """What the section's keys must agree on."""
        yield from Measured.problems(self)
        if self.near is not None and self.near + self.hysteresis > self.reach:
            yield "near", f"it could never be clear again: near + hysteresis is beyond the reach of {self.reach:g} cm"

    def plan(self) -> Plan:
        bands = None if self.near is None else Switch(on_below=self.near, hysteresis=self.hysteresis)
        names = {True: "distance.near", False: "distance.clear"}
        return Plan(
            Polled(lambda board: EchoSounder(board, self.trigger, self.echo, self.reach), self.every_s, self.timeout_s),
            Numbers("distance.changed", UNIT, self.clean(0.0, self.reach), self.report(), bands, names),
            UNIT,
            ("distance.changed", *(names.values() if bands else ())),
        )


class EchoSounder:
    """An opened HC-SR04; `read` sends one ping and gives the distance in cm. Raises SensorError without an echo."""

    def __init__(self, board: Board, trigger: Pin, echo: Pin, reach_cm: float) -> None:
        from gpiozero import InputDevice, OutputDevice  # noqa: PLC0415 - only where pins are

        self._names = f"trigger {trigger.name}, echo {echo.name}"
        self._reach_cm = reach_cm
        self._factory = board.pin_factory
        self._takes = board.takes
        self._lasted = board.lasted
        self._ended = threading.Event()
        self._rose: Any = None
        self._fell: Any = None
        with explained(f"opening an HC-SR04 ({self._names})"):
            self._trigger = OutputDevice(trigger.bcm, initial_value=False, pin_factory=board.pin_factory)
            try:
                self._echo = InputDevice(echo.bcm, pull_up=False, pin_factory=board.pin_factory)
                self._echo.pin.edges = "both"
                self._echo.pin.when_changed = self._edge
            except BaseException:
                self._trigger.close()
                raise

    def read(self) -> float:
        with _ECHOES, explained(f"measuring a distance ({self._names})"):
            if self._echo.pin.state:
                raise SensorError(f"the echo stays high before the ping ({self._names}); check the wiring")
            self._rose = self._fell = None
            self._ended.clear()
            self._trigger.on()
            if (pulse_s := self._takes(_TRIGGER_S)) > 0:
                time.sleep(pulse_s)
            self._trigger.off()
            if not self._ended.wait(self._takes(_ECHO_TIMEOUT_S)) or self._rose is None:
                self._lasted(_TRIGGER_S + _ECHO_TIMEOUT_S)
                raise SensorError(f"no echo came back ({self._names}); check the wiring and the 5 V supply")
            took_s = float(self._factory.ticks_diff(self._fell, self._rose))
        self._lasted(_TRIGGER_S + max(0.0, took_s))
        return min(self._reach_cm, max(0.0, took_s) * SPEED_OF_SOUND_CM_S / 2)

    def close(self) -> None:
        self._echo.close()
        self._trigger.close()

    def _edge(self, ticks: Any, state: Any) -> None:
        if state:
            self._rose = ticks
        else:
            self._fell = ticks
            self._ended.set()
