"""Filters that turn a number into a band or a level, with hysteresis against flapping at the limit."""

from dataclasses import dataclass, field
from enum import StrEnum

from bridge.core.filters.settings import require_finite, require_not_negative
from bridge.core.filters.step import State, Step, Timeless


class Band(StrEnum):
    """Where a number lies, seen from the limits."""

    LOW = "low"
    NORMAL = "normal"
    HIGH = "high"


@dataclass(slots=True)
class _Found(State):
    band: Band | None = None


@dataclass(frozen=True, slots=True)
class Threshold(Timeless):
    """The band of a number: the first one found, then each change.

    Above `high` is HIGH, until the number is at or below `high - hysteresis`; below `low` is LOW, until it is at or
    above `low + hysteresis`. All in the sensor's unit; a limit of None is not watched.
    """

    high: float | None = None
    low: float | None = None
    hysteresis: float = 0.0
    _state: _Found = field(default_factory=_Found, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        _check(self, high=self.high, low=self.low, hysteresis=self.hysteresis)
        if self.high is None or self.low is None:
            return
        if not self.high - self.hysteresis > self.low + self.hysteresis:
            raise ValueError(
                f"Threshold: high {self.high} and low {self.low} are too close for a hysteresis of {self.hysteresis}: "
                "high - hysteresis must be above low + hysteresis"
            )

    def read(self, value: float, now: float) -> Step[Band]:
        before = self._state.band
        band = self._find(value, before)
        self._state.band = band
        return Step(() if band == before else (band,))

    def reset(self) -> None:
        self._state.forget()

    def _find(self, value: float, before: Band | None) -> Band:
        if self.high is not None and _beyond(value, self.high, self.hysteresis, already=before is Band.HIGH):
            return Band.HIGH
        if self.low is not None and _beyond(-value, -self.low, self.hysteresis, already=before is Band.LOW):
            return Band.LOW
        return Band.NORMAL


@dataclass(slots=True)
class _Switched(State):
    on: bool | None = None


@dataclass(frozen=True, slots=True)
class Switch(Timeless):
    """A number as a level: the first one found, then each change.

    On above `on_above`, until at or below `on_above - hysteresis`; or, where `on_below` is given instead, on below it,
    until at or above `on_below + hysteresis`. For a light-dependent resistor on an analog input, for instance.
    """

    on_above: float | None = None
    on_below: float | None = None
    hysteresis: float = 0.0
    _state: _Switched = field(default_factory=_Switched, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        _check(self, on_above=self.on_above, on_below=self.on_below, hysteresis=self.hysteresis)
        if self.on_above is not None and self.on_below is not None:
            raise ValueError("Switch: give on_above or on_below, not both")

    def read(self, value: float, now: float) -> Step[bool]:
        before = self._state.on
        on = self._find(value, already=before is True)
        self._state.on = on
        return Step(() if on == before else (on,))

    def reset(self) -> None:
        self._state.forget()

    def _find(self, value: float, *, already: bool) -> bool:
        if self.on_above is not None:
            return _beyond(value, self.on_above, self.hysteresis, already=already)
        assert self.on_below is not None
        return _beyond(-value, -self.on_below, self.hysteresis, already=already)


def _beyond(value: float, limit: float, hysteresis: float, *, already: bool) -> bool:
    """Tell whether the value is above the limit; `already` above, it has to come back by the hysteresis."""
    if not already:
        return value > limit
    # Rounded, because 0.3 - 0.1 is a little less than 0.2, and a reading of 0.2 has come back. Never above the limit.
    return value > min(limit, round(limit - hysteresis, 9))


def _check(owner: object, *, hysteresis: float, **limits: float | None) -> None:
    require_not_negative(owner, hysteresis=hysteresis)
    given = {name: limit for name, limit in limits.items() if limit is not None}
    if not given:
        raise ValueError(f"{type(owner).__name__}: give {' or '.join(limits)}")
    require_finite(owner, **given)
