"""What an HC-SR04 looks at.

Source: the HC-SR04's data sheet (2 cm to 4 m, a cycle of 60 ms or more, an echo of 38 ms when nothing is there).
"""

from __future__ import annotations

import math
from collections.abc import Callable

from bridge.agent.models import HcSr04
from bridge.virtual.devices.device import Change, Told, refusal
from bridge.virtual.factory import SPEED_OF_SOUND_CM_S, EchoPin

REACH_CM = 400.0
LONGEST_ECHO_S = 0.038
CYCLE_S = 0.06

_START_CM = 100.0


class Obstacle:
    """What an HC-SR04 looks at.

    Source: the HC-SR04's data sheet (2 cm to 4 m, a cycle of 60 ms or more, an echo of 38 ms when nothing is there).
    """

    def __init__(self, pin: EchoPin, *, low: float = 2.0, high: float = 400.0) -> None:
        self._pin = pin
        self._told = Told(_START_CM, low, high)
        self.accepts = (f"cm from {low:g} to {high:g}", Told.accepts, "unplugged")
        self._stand(_START_CM)

    def understand(self, value: str) -> Change:
        word = value.strip().lower()
        if word == "unplugged":
            return Change.at_once(lambda: self._stand(None))
        change = self._told.understand(word, self._stand)
        if change is None:
            raise refusal(value, self.accepts)
        return _while_heard(self._pin, change)

    def _stand(self, distance_cm: float | None) -> None:
        self._pin.distance_cm = distance_cm


class Echoing:
    """What stands before an HC-SR04 in air of some temperature; `now_s` tells it how long ago the last ping was."""

    accepts = (f"cm from 2 (beyond {REACH_CM:g} nothing is heard)", Told.accepts, "nothing", "unplugged")

    def __init__(self, pin: EchoPin, model: HcSr04, now_s: Callable[[], float]) -> None:
        self._pin = pin
        self._told = Told(_START_CM, 2.0, math.inf)
        pin.speed_cm_s = speed_of_sound_cm_s(model.celsius)
        pin.silence_s = LONGEST_ECHO_S if model.no_echo == "pulse" else None
        pin.cycle_s, pin.now_s = CYCLE_S, now_s
        self._stand(_START_CM)

    def understand(self, value: str) -> Change:
        word = value.strip().lower()
        if word == "nothing":
            return Change.at_once(lambda: self._stand(None))
        if word == "unplugged":
            return Change.at_once(self._unplug)
        change = self._told.understand(word, self._stand)
        if change is None:
            raise refusal(value, self.accepts)
        return _while_heard(self._pin, change)

    def _stand(self, distance_cm: float | None) -> None:
        heard = distance_cm is not None and distance_cm <= REACH_CM
        self._pin.plugged, self._pin.distance_cm = True, distance_cm if heard else None

    def _unplug(self) -> None:
        self._pin.plugged = False


def _while_heard(pin: EchoPin, change: Change) -> Change:
    """What wavers needs an echo: without one there is nothing that could."""
    if not change.passing:
        return change

    def waver() -> None:
        if pin.plugged and pin.distance_cm is not None:
            change.make()

    return Change(waver, waver, passing=True)


def speed_of_sound_cm_s(celsius: float) -> float:
    """In dry air it grows with the root of the absolute temperature."""
    return float(SPEED_OF_SOUND_CM_S * ((273.15 + celsius) / (273.15 + 20.0)) ** 0.5)
