"""How often a measured number is reported: on change, not too often, and not too seldom."""

import math
from dataclasses import dataclass, field

from bridge.core.filters.settings import require_not_negative, require_positive
from bridge.core.filters.step import State, Step


@dataclass(slots=True)
class _Reported(State):
    """`latest` is a reading that came in since the last report and was not reported."""

    latest: float | None = None
    reported: float | None = None
    next_at: float = -math.inf
    silent_at: float | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """Passes the first reading, then each change of at least `delta`, as often as `minimum_s` allows.

    A change that comes too early is examined again when `minimum_s` is over, and the latest reading passes if it still
    differs. After `maximum_silence_s` without a report the latest reading passes whatever its value - but only if
    one came in since the last report, or when the next one does: a sensor that fell silent is not made to speak.
    A `delta` of 0 passes every reading that `minimum_s` allows.

    Delta, interval and silence are one filter because they cannot be had as a chain: the silence must see the readings
    that the delta keeps back, and the delta must compare with what the interval really let through.
    """

    delta: float = 0.0
    minimum_s: float = 0.0
    maximum_silence_s: float | None = None
    _state: _Reported = field(default_factory=_Reported, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        require_not_negative(self, delta=self.delta, minimum_s=self.minimum_s)
        if self.maximum_silence_s is None:
            return
        require_positive(self, maximum_silence_s=self.maximum_silence_s)
        if self.maximum_silence_s < self.minimum_s:
            raise ValueError(
                f"Report: maximum_silence_s {self.maximum_silence_s} must not be less than minimum_s {self.minimum_s}"
            )

    def read(self, value: float, now: float) -> Step[float]:
        passed = self._serve(now)
        self._state.latest = value
        passed += self._serve(now)
        return Step(passed, self._due())

    def wake(self, now: float) -> Step[float]:
        return Step(self._serve(now), self._due())

    def reset(self) -> None:
        self._state.forget()

    def _serve(self, now: float) -> tuple[float, ...]:
        state = self._state
        due = self._due()
        if state.latest is None or due is None or now < due:
            return ()
        value = state.latest
        state.latest, state.reported = None, value
        state.next_at = now + self.minimum_s
        state.silent_at = None if self.maximum_silence_s is None else now + self.maximum_silence_s
        return (value,)

    def _due(self) -> float | None:
        """When the latest reading is to pass, as things stand: perhaps long ago."""
        state = self._state
        if state.latest is None:
            return None
        return state.next_at if self._differs(state.latest) else state.silent_at

    def _differs(self, value: float) -> bool:
        before = self._state.reported
        if before is None:
            return True
        change = abs(value - before)
        # 0.3 - 0.2 is a little less than 0.1: decimal steps of exactly delta must not fall to binary fractions.
        return change >= self.delta or math.isclose(change, self.delta, rel_tol=1e-6)
