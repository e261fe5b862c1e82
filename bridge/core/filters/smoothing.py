"""Filters that change numbers: calibration, rounding, and windows that take the noise out.

The windows pass a value for each reading, from the first one on, over the readings there are.
"""

from dataclasses import dataclass, field

from bridge.core.filters.settings import require_count, require_finite
from bridge.core.filters.step import State, Step, Timeless


@dataclass(frozen=True, slots=True)
class Calibrate(Timeless):
    """Passes `value * factor + offset`; the offset is in the unit of the result."""

    offset: float = 0.0
    factor: float = 1.0

    def __post_init__(self) -> None:
        require_finite(self, offset=self.offset, factor=self.factor)

    def read(self, value: float, now: float) -> Step[float]:
        return Step((value * self.factor + self.offset,))


@dataclass(frozen=True, slots=True)
class Round(Timeless):
    """Rounds to `precision` digits after the point (before it where negative)."""

    precision: int

    def read(self, value: float, now: float) -> Step[float]:
        # Adding zero turns -0.0, which would be shown with its sign, into 0.0.
        return Step((round(value, self.precision) + 0.0,))


@dataclass(slots=True)
class _Recent(State):
    values: tuple[float, ...] = ()

    def push(self, value: float, window: int) -> tuple[float, ...]:
        self.values = (*self.values, value)[-window:]
        return self.values


@dataclass(frozen=True, slots=True)
class Median(Timeless):
    """The middle one of the last `window` readings (the mean of the two in the middle where their number is even)."""

    window: int
    _state: _Recent = field(default_factory=_Recent, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        require_count(self, minimum=1, window=self.window)

    def read(self, value: float, now: float) -> Step[float]:
        ranked = sorted(self._state.push(value, self.window))
        return Step(((ranked[(len(ranked) - 1) // 2] + ranked[len(ranked) // 2]) / 2,))

    def reset(self) -> None:
        self._state.forget()


@dataclass(frozen=True, slots=True)
class Average(Timeless):
    """The mean of the last `window` readings."""

    window: int
    _state: _Recent = field(default_factory=_Recent, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        require_count(self, minimum=1, window=self.window)

    def read(self, value: float, now: float) -> Step[float]:
        # Summed anew each time: a running sum would gather rounding errors over the months.
        recent = self._state.push(value, self.window)
        return Step((sum(recent) / len(recent),))

    def reset(self) -> None:
        self._state.forget()
