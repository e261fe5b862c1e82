"""Filters of levels: what a pin says, made into what happened in front of the sensor.

Each reports a level only when it differs from the one it reported before (`Invert` passes everything), and examines
the level again when a deadline passes, so the final level of a burst is never lost.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Literal, TypeAlias, get_args

from bridge.core.filters.settings import require_not_negative, require_positive
from bridge.core.filters.step import State, Step, Timeless

Level: TypeAlias = bool
DebounceMode: TypeAlias = Literal["settle", "stable"]


@dataclass(slots=True)
class _Levels(State):
    """The level read last, the level reported last, and the one deadline."""

    raw: Level | None = None
    reported: Level | None = None
    due: float | None = None

    def report(self, level: Level) -> tuple[Level, ...]:
        if level == self.reported:
            return ()
        self.reported = level
        return (level,)


@dataclass(frozen=True, slots=True)
class _LevelFilter(ABC):
    """What the filters of levels share: only a change counts, and a deadline examines the level again.

    Readings that repeat the level, as polling makes them, are not changes. The deadline is compared with the very sum
    that was handed out: computing `now - since >= delay` anew may differ in the last bit and would then miss the wake.
    """

    _state: _Levels = field(default_factory=_Levels, init=False, repr=False, compare=False)

    def read(self, value: Level, now: float) -> Step[Level]:
        state = self._state
        values = () if state.due is None or now < state.due else self._serve(now)
        if value != state.raw:
            state.raw = value
            values += self._change(value, now)
            if state.due is not None and now >= state.due:  # a delay of 0 is due at once
                values += self._serve(now)
        return Step(values, state.due)

    def wake(self, now: float) -> Step[Level]:
        return Step(self._serve(now), self._state.due)

    def reset(self) -> None:
        self._state.forget()

    def _serve(self, now: float) -> tuple[Level, ...]:
        state = self._state
        if state.due is None or state.raw is None or now < state.due:
            return ()
        state.due = None
        return self._examine(state.raw, now)

    def _examine(self, level: Level, now: float) -> tuple[Level, ...]:
        """Look at the level again when the deadline has passed."""
        return self._state.report(level)

    @abstractmethod
    def _change(self, level: Level, now: float) -> tuple[Level, ...]:
        """Take a change of the level: report it, set the deadline, or both."""


@dataclass(frozen=True, slots=True)
class Debounce(_LevelFilter):
    """One change for each change of a contact, however often it bounces.

    `settle` reports a change at once, ignores what follows until the level has been quiet for `settle_s`, and then
    reports the final level if it differs. It is quick, and reports even the shortest pulse, whose end it reports late.
    `stable` reports a change only after the level has held for `settle_s`, which thereby is the shortest pulse that
    counts. In both modes an input that never comes to rest stays at what was reported last.
    """

    settle_s: float
    mode: DebounceMode = "settle"

    def __post_init__(self) -> None:
        require_not_negative(self, settle_s=self.settle_s)
        if self.mode not in get_args(DebounceMode):
            raise ValueError(f"Debounce: mode must be 'settle' or 'stable', not {self.mode!r}")

    def _change(self, level: Level, now: float) -> tuple[Level, ...]:
        state = self._state
        quiet = state.due is None
        state.due = now + self.settle_s
        return state.report(level) if quiet and self.mode == "settle" else ()


@dataclass(frozen=True, slots=True)
class DelayedOn(_LevelFilter):
    """True passes once it has held for `delay_s`; False passes at once."""

    delay_s: float

    def __post_init__(self) -> None:
        require_not_negative(self, delay_s=self.delay_s)

    def _change(self, level: Level, now: float) -> tuple[Level, ...]:
        state = self._state
        state.due = now + self.delay_s if level else None
        return () if level else state.report(level)


@dataclass(frozen=True, slots=True)
class DelayedOff(_LevelFilter):
    """True passes at once; False passes once it has held for `delay_s`, or at once where True was never reported."""

    delay_s: float

    def __post_init__(self) -> None:
        require_not_negative(self, delay_s=self.delay_s)

    def _change(self, level: Level, now: float) -> tuple[Level, ...]:
        return _pass_on_delay_off(self._state, level, now + self.delay_s)


@dataclass(frozen=True, slots=True)
class Hold(_LevelFilter):
    """Motion, held: True passes at once and False later, as the jumper of an HC-SR501 chooses (its datasheet: L or H).

    With `retrigger` (H) every activity extends the on-phase: it ends `hold_s` after the level ended, unless the level
    came back before. Without it (L) the on-phase ends `hold_s` after it started, whatever happened meanwhile; if the
    level is active at that moment, that is new activity, and the next on-phase starts in the same step: False, True.
    A level that stays active thus repeats every `hold_s` without `retrigger`, and is one on-phase with it; so a
    `Debounce` stands before a hold, never behind it.
    """

    hold_s: float
    retrigger: bool = True

    def __post_init__(self) -> None:
        require_positive(self, hold_s=self.hold_s)

    def _change(self, level: Level, now: float) -> tuple[Level, ...]:
        state = self._state
        if self.retrigger:
            return _pass_on_delay_off(state, level, now + self.hold_s)
        if state.reported:
            return ()
        state.due = now + self.hold_s if level else None
        return state.report(level)

    def _examine(self, level: Level, now: float) -> tuple[Level, ...]:
        ended = self._state.report(False)
        if not level:
            return ended
        self._state.due = now + self.hold_s
        return ended + self._state.report(True)


@dataclass(frozen=True, slots=True)
class Invert(Timeless):
    """True for False and False for True, for inputs that are active when low."""

    def read(self, value: Level, now: float) -> Step[Level]:
        return Step((not value,))


def _pass_on_delay_off(state: _Levels, level: Level, off_at: float) -> tuple[Level, ...]:
    """Report True at once, and False at `off_at`; False at once where no True stands."""
    if state.reported and not level:
        state.due = off_at
        return ()
    state.due = None
    return state.report(level)
