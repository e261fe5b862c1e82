"""What an HC-SR04 looks at.

Source: the HC-SR04's data sheet (2 cm to 4 m, a cycle of 60 ms or more, an echo of 38 ms when nothing is there).
"""

from __future__ import annotations

from collections.abc import Callable

from bridge.agent.models import HcSr04
from bridge.virtual.devices.device import Change, number_in, refusal
from bridge.virtual.factory import SPEED_OF_SOUND_CM_S, EchoPin

REACH_CM = 400.0
LONGEST_ECHO_S = 0.038
CYCLE_S = 0.06


class Obstacle:
    """What an HC-SR04 looks at.

    Source: the HC-SR04's data sheet (2 cm to 4 m, a cycle of 60 ms or more, an echo of 38 ms when nothing is there).
    """

    def __init__(self, pin: EchoPin, *, low: float = 2.0, high: float = 400.0) -> None:
        self._pin = pin
        self._low, self._high = low, high

    @property
    def accepts(self) -> tuple[str, ...]:
        return (f"cm from {self._low:g} to {self._high:g}", "unplugged")

    def understand(self, value: str) -> Change:
        number = number_in(value)
        unplugged = value.strip().lower() == "unplugged"
        if not unplugged and (number is None or not self._low <= number <= self._high):
            raise refusal(value, self.accepts)
        return Change.at_once(lambda: self._stand(None if unplugged else number))

    def _stand(self, distance_cm: float | None) -> None:
        self._pin.distance_cm = distance_cm


class Echoing:
    """What stands before an HC-SR04 in air of some temperature; `now_s` tells it how long ago the last ping was."""

    accepts = (f"cm from 2 (beyond {REACH_CM:g} nothing is heard)", "nothing", "unplugged")

    def __init__(self, pin: EchoPin, model: HcSr04, now_s: Callable[[], float]) -> None:
        self._pin = pin
        pin.speed_cm_s = speed_of_sound_cm_s(model.celsius)
        pin.silence_s = LONGEST_ECHO_S if model.no_echo == "pulse" else None
        pin.cycle_s, pin.now_s = CYCLE_S, now_s

    def understand(self, value: str) -> Change:
        word = value.strip().lower()
        number = number_in(word)
        if word == "nothing" or (number is not None and number > REACH_CM):
            return Change.at_once(lambda: self._stand(None))
        if word == "unplugged":
            return Change.at_once(self._unplug)
        if number is None or number < 2:
            raise refusal(value, self.accepts)
        return Change.at_once(lambda: self._stand(number))

    def _stand(self, distance_cm: float | None) -> None:
        self._pin.plugged, self._pin.distance_cm = True, distance_cm

    def _unplug(self) -> None:
        self._pin.plugged = False


def speed_of_sound_cm_s(celsius: float) -> float:
    """In dry air it grows with the root of the absolute temperature."""
    return float(SPEED_OF_SOUND_CM_S * ((273.15 + celsius) / (273.15 + 20.0)) ** 0.5)
