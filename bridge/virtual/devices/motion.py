"""An HC-SR501, with a life of its own: what it does between a movement in front of it and its output.

Source: the HC-SR501's data sheet. It needs up to a minute after power-on, and puts out pulses meanwhile; its output
stays high for a hold time, which further movement makes longer or not (the jumper, H or L); and it sees nothing for
about 2.5 s after its output has fallen.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Literal

from bridge.agent.models import HcSr501
from bridge.clock import Timer
from bridge.virtual.devices.device import Change, refusal
from bridge.virtual.devices.level import OFF, ON
from bridge.virtual.factory import WiredPin
from bridge.virtual.timers import Timers

MOST_PULSES = 3
"""So many pulses it puts out at most while it warms up."""


class MotionDetector:
    """A PIR of that model; it has power from the moment it is made. Everything happens on the driver's thread.

    `motion` lasts until `still`: somebody who goes on moving. What it puts out while it warms up is chosen by its name
    and by how often it has got power, so that every run sees the same.
    """

    accepts = ("motion", "still", "power-on")

    def __init__(self, name: str, pin: WiredPin, model: HcSr501, timers: Timers, *, active_high: bool) -> None:
        self._name = name
        self._pin = pin
        self._model = model
        self._timers = timers
        self._active_high = active_high
        self._moving = False
        self._phase: Literal["warming up", "ready", "high", "blind"] = "warming up"
        self._pending: list[Timer] = []
        self._powered = 0
        self._ready_at_s = 0.0
        self._output = False
        self._stuck = False
        self._power_on()

    def understand(self, value: str) -> Change:
        word = value.strip().lower()
        if word == "power-on":
            return Change.at_once(self._power_on)
        if word not in ("motion", "still", *ON, *OFF):
            raise refusal(value, self.accepts)
        moving = word == "motion" or word in ON
        return Change.at_once(lambda: self._move(moving=moving))

    @property
    def warms_up_s(self) -> float:
        """How much longer it warms up."""
        return max(0.0, self._ready_at_s - self._timers.now_s())

    def stick(self, *, stuck: bool) -> None:
        """Keep the pin's level whatever the sensor would put out, or show that again."""
        self._stuck = stuck
        self._show(high=self._output)

    def _move(self, *, moving: bool) -> None:
        self._moving = moving
        if self._phase == "ready" and moving:
            self._rise()
        elif self._phase == "high" and self._model.retrigger:
            # A movement begins, or the last one has just ended: from here on the hold counts.
            self._hold()

    def _power_on(self) -> None:
        self._cancel()
        self._phase = "warming up"
        self._ready_at_s = self._timers.now_s() + self._model.warm_up_s
        self._show(high=False)
        self._powered += 1
        chance = Random(f"{self._name} {self._powered}")  # noqa: S311 - pulses that are the same in every run
        edges = 2 * chance.randint(1, MOST_PULSES) if self._model.warm_up_s > 0 else 0
        moments = sorted(chance.uniform(0.0, self._model.warm_up_s) for _ in range(edges))
        for number, after_s in enumerate(moments):
            self._after(after_s, lambda high=number % 2 == 0: self._show(high=high))  # type: ignore[misc] # bound early
        self._after(self._model.warm_up_s, self._ready)

    def _ready(self) -> None:
        self._cancel()
        self._phase = "ready"
        self._show(high=False)
        if self._moving:
            self._rise()

    def _rise(self) -> None:
        self._phase = "high"
        self._show(high=True)
        self._hold()

    def _hold(self) -> None:
        self._cancel()
        self._after(self._model.hold_s, self._held)

    def _held(self) -> None:
        if self._moving and self._model.retrigger:
            return  # it stays high until the movement ends, and for the hold after that
        self._phase = "blind"
        self._show(high=False)
        self._after(self._model.blind_s, self._ready)

    def _show(self, *, high: bool) -> None:
        self._output = high
        if not self._stuck:
            self._pin.hold(high=high == self._active_high)

    def _after(self, delay_s: float, call: Callable[[], None]) -> None:
        self._pending.append(self._timers.after(delay_s, call))

    def _cancel(self) -> None:
        while self._pending:
            self._pending.pop().cancel()
