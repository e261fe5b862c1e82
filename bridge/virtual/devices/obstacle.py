"""What an HC-SR04 looks at."""

from __future__ import annotations

from bridge.virtual.devices.device import Change, number_in, refusal
from bridge.virtual.factory import EchoPin


class Obstacle:
    """What an HC-SR04 looks at."""

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
