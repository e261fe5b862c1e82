"""The warm-up window of a sensor: from power-on until its readings mean something."""

from dataclasses import dataclass, field
from typing import Generic, TypeVar

from bridge.core.filters.settings import require_not_negative
from bridge.core.filters.step import State, Step

T = TypeVar("T")


@dataclass(slots=True)
class _Window(State, Generic[T]):
    """Held back values are a tuple of none or one, so that any value may be held, None too."""

    ends_at: float | None = None
    held: tuple[T, ...] = ()


# No slots: a frozen dataclass with slots cannot be made as `WarmUp[bool](...)` (see `Step`).
@dataclass(frozen=True)
class WarmUp(Generic[T]):
    """Nothing passes for `warm_up_s`; then the value found at the end passes first, and everything after it.

    The window begins with the first reading, or when `start` is called. An HC-SR501 puts out random levels for the
    first 30 to 60 s after power-on (its datasheet).
    """

    warm_up_s: float
    _state: _Window[T] = field(default_factory=_Window, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        require_not_negative(self, warm_up_s=self.warm_up_s)

    def start(self, now: float) -> None:
        """Begin the window at `now`, also anew: the sensor has just been powered on. What was held is forgotten."""
        self._state.ends_at = now + self.warm_up_s
        self._state.held = ()

    def warming_up(self, now: float) -> bool:
        """Tell whether readings are held back at `now`; also True before the window has begun."""
        ends_at = self._state.ends_at
        return ends_at is None or now < ends_at

    def read(self, value: T, now: float) -> Step[T]:
        if self._state.ends_at is None:
            self.start(now)
        step = self.wake(now)
        if step.wake_at is None:
            return Step((*step.values, value))
        self._state.held = (value,)
        return step

    def wake(self, now: float) -> Step[T]:
        state = self._state
        if self.warming_up(now):
            return Step(wake_at=state.ends_at)
        found, state.held = state.held, ()
        return Step(found)

    def reset(self) -> None:
        """Forget what was held. The window stands: a fault of the reading does not power the sensor off."""
        self._state.held = ()
