"""Buckets: what a sensor told over a span of time, in equal steps, as a chart needs it.

Times are whole microseconds since 1970 (UTC). Buckets begin at multiples of their step, so that who asks again a moment
later gets the same ones.
What may not live here: where the points come from.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias

SECOND: Final = 1_000_000
MINUTE: Final = 60 * SECOND
HOUR: Final = 60 * MINUTE
USUAL: Final = 300
"""About so many buckets a chart has when nobody says how many."""
STEPS: Final = (
    *(SECOND, 5 * SECOND, 10 * SECOND, 15 * SECOND, 30 * SECOND),
    *(MINUTE, 5 * MINUTE, 10 * MINUTE, 15 * MINUTE, 30 * MINUTE),
    *(HOUR, 3 * HOUR, 6 * HOUR, 12 * HOUR, 24 * HOUR),
)
"""The steps that people like to read off."""

Shown: TypeAlias = bool | float | str | None
"""What a sensor shows; None where it cannot tell, such as at a fault."""


@dataclass(frozen=True, slots=True)
class Span:
    """From `begin` on, until just before `end`; both are multiples of `step`."""

    begin: int
    end: int
    step: int

    @property
    def count(self) -> int:
        """How many buckets it has."""
        return (self.end - self.begin) // self.step

    def begins(self) -> Iterator[int]:
        """When each bucket begins."""
        yield from range(self.begin, self.end, self.step)


def span(begin: int, end: int, step: int | None = None) -> Span:
    """The span of whole steps that covers a time; without a step, one of STEPS that gives about USUAL buckets."""
    if step is None:
        step = next((one for one in STEPS if (end - begin) <= one * USUAL), STEPS[-1])
    return Span(begin - begin % step, end + -end % step, step)


@dataclass(frozen=True, slots=True)
class Sums:
    """What a bucket's numbers come to."""

    count: int
    low: float
    high: float
    mean: float


@dataclass(frozen=True, slots=True)
class NumberBucket:
    """One bucket of a sensor that measures; without numbers in it, `sums` is None."""

    begin: int
    events: int
    sums: Sums | None
    last: Shown
    """What it showed at the bucket's end, also when that was told before; None where nobody knows."""


@dataclass(slots=True)
class StateBucket:
    """One bucket of a sensor that is in one state after another."""

    begin: int
    events: int = 0
    changes: int = 0
    last: Shown = None
    times: dict[str, int] = field(default_factory=dict)
    """How long each state lasted in it, in microseconds, by the state's name."""
    unknown: int = 0
    """How long nobody knows what it showed."""

    def lasted(self, state: Shown, time: int) -> None:
        """Add the time for which a state lasted; none below zero."""
        if time <= 0:
            return
        if state is None:
            self.unknown += time
        else:
            name = name_of(state)
            self.times[name] = self.times.get(name, 0) + time


def name_of(state: Shown) -> str:
    """A state's name: `true`, `false`, or its own text."""
    return str(state).lower() if isinstance(state, bool) else str(state)


def numbers(
    over: Span, sums: Mapping[int, Sums], lasts: Mapping[int, Shown], events: Mapping[int, int], before: Shown
) -> list[NumberBucket]:
    """The buckets of a sensor that measures, from what is known of some of them, by their number.

    `lasts` holds what was told last in each bucket in which anything was told, `before` what was told before all of
    them.
    """
    found, last = [], before
    for number, begin in enumerate(over.begins()):
        last = lasts.get(number, last)
        found.append(NumberBucket(begin, events.get(number, 0), sums.get(number), last))
    return found


def states(over: Span, told: Iterable[tuple[int, Shown]], before: Shown, now: int) -> list[StateBucket]:
    """The buckets of a sensor with states, from what it told and when, in order.

    A state lasts until the next one is told, or until now. Going from or to what nobody knows is no change.
    """
    found = []
    coming = iter(told)
    upcoming, state = next(coming, None), before
    for begin in over.begins():
        bucket, since, end = StateBucket(begin), begin, begin + over.step
        while upcoming is not None and upcoming[0] < end:
            at, next_state = upcoming
            bucket.events += 1
            bucket.lasted(state, at - since)
            bucket.changes += None not in (state, next_state) and state != next_state
            since, state = at, next_state
            upcoming = next(coming, None)
        bucket.lasted(state, min(end, now) - since)
        bucket.last = state if begin <= now else None
        found.append(bucket)
    return found
