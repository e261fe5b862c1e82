"""Filters that refuse numbers that cannot be true: an open input, a power-on value, a glitch on the wire."""

import math
from dataclasses import dataclass, field

from bridge.core.filters.settings import require_count, require_positive
from bridge.core.filters.step import Fault, State, Step, Timeless


@dataclass(frozen=True, slots=True)
class Range(Timeless):
    """Passes finite numbers from `minimum` to `maximum`, both included, in the sensor's unit; all else is a fault."""

    minimum: float = -math.inf
    maximum: float = math.inf

    def __post_init__(self) -> None:
        if not self.minimum <= self.maximum:
            raise ValueError(f"Range: minimum {self.minimum} must not be above maximum {self.maximum}")

    def read(self, value: float, now: float) -> Step[float]:
        if not math.isfinite(value):
            return _refuse(value, f"the reading {value} is not a finite number")
        if value < self.minimum:
            return _refuse(value, f"the reading {value} is below the minimum of {self.minimum}")
        if value > self.maximum:
            return _refuse(value, f"the reading {value} is above the maximum of {self.maximum}")
        return Step((value,))


@dataclass(slots=True)
class _Jump(State):
    """Readings are kept as pairs of a value and its time."""

    plausible: tuple[float, float] | None = None
    suspect: tuple[float, float] | None = None
    suspects: int = 0


@dataclass(frozen=True, slots=True)
class RateOfChange(Timeless):
    """A jump faster than `maximum_per_s` (units per second) since the last plausible reading is a fault.

    A real step is believed in the end: the `confirmations`-th implausible reading in a row passes, if each of them is
    plausible after the one before. So one wrong reading at the start, too, is outvoted. Without elapsed time no change
    is plausible.
    """

    maximum_per_s: float
    confirmations: int = 3
    _state: _Jump = field(default_factory=_Jump, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        require_positive(self, maximum_per_s=self.maximum_per_s)
        require_count(self, minimum=2, confirmations=self.confirmations)

    def read(self, value: float, now: float) -> Step[float]:
        state = self._state
        last = state.plausible
        if last is None or self._plausible(value, now, after=last):
            return self._accept(value, now)
        confirmed = state.suspect is not None and self._plausible(value, now, after=state.suspect)
        state.suspect = (value, now)
        state.suspects = state.suspects + 1 if confirmed else 1
        if state.suspects == self.confirmations:
            return self._accept(value, now)
        reason = (
            f"the reading {value} came {max(now - last[1], 0):.3g} s after {last[0]}, "
            f"and a change faster than {self.maximum_per_s} per second is implausible"
        )
        return Step(faults=(Fault("rate", value, reason),))

    def reset(self) -> None:
        self._state.forget()

    def _accept(self, value: float, now: float) -> Step[float]:
        self._state.forget()
        self._state.plausible = (value, now)
        return Step((value,))

    def _plausible(self, value: float, now: float, *, after: tuple[float, float]) -> bool:
        # Multiplied, not divided: two readings may share one time, or the second come from an earlier one. Said this
        # way round NaN and infinity are never plausible.
        before, at = after
        return abs(value - before) <= self.maximum_per_s * max(now - at, 0)


def _refuse(value: float, reason: str) -> Step[float]:
    return Step(faults=(Fault("range", value, reason),))
