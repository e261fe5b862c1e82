"""The audit: what of the events that agents numbered is not here, and what was dropped (PROTOCOL.md, rule 1).

Sequences count from 1 per source and epoch, and whatever is dropped on purpose is told by a tombstone; so a number that
is missing below one that is here means that something was lost, once it has had time to arrive. What may not live here:
counting of duplicates, keeping anything on a disk.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from bridge.core.dedup import EPOCHS_PER_SOURCE, SourceRow
from bridge.core.sequences import Sequences
from bridge.core.steps import Input, Instant, Received
from bridge.core.tombstone import parse_tombstone

GRACE_S: Final = 60.0
"""A gap may close for so long before it is missing: a broker that forgot, an outbox that sends again."""


@dataclass(frozen=True, slots=True)
class Gap:
    """Sequences from `first` to `last`, both included, of which nothing is known although later ones are here."""

    source: str
    epoch: str
    first: int
    last: int
    since: Instant
    """When it was first seen in this life of the dispatcher."""

    @property
    def count(self) -> int:
        return self.last - self.first + 1


@dataclass(frozen=True, slots=True)
class Known:
    """How many events of a source in one epoch are finished, stored or dropped by name; the first and the last."""

    source: str
    epoch: str
    first: int
    last: int
    count: int
    begun_before: bool
    """Events below the first were sent before anything of this source was known here: not said to be missing."""


@dataclass(frozen=True, slots=True)
class Report:
    """What the sequences say now."""

    gaps: tuple[Gap, ...]
    """Missing: their time to arrive is over."""
    late: tuple[Gap, ...]
    """They may still close."""
    elsewhere: tuple[Gap, ...]
    """Sent while the other dispatcher of a pair was at work, whose audit knows of them: not said to be missing."""
    known: tuple[Known, ...]

    @property
    def missing(self) -> int:
        """How many events are missing; anything but zero is an alert."""
        return sum(gap.count for gap in self.gaps)


@dataclass(frozen=True, slots=True)
class Drop:
    """Something that was dropped by a named rule; `which` says it for people."""

    source: str
    reason: str
    count: int
    which: str
    at: datetime


class Audit:
    """The sequences of all sources and since when each gap is known. The loop owns it.

    `paired` says that another dispatcher may have been at work until now: it has confirmed what begins behind the last
    that is known here, and what had been a gap before (rule 17).
    """

    def __init__(self, grace_s: float = GRACE_S, *, paired: bool = False) -> None:
        self._grace_s = grace_s
        self._paired = paired
        self._known_before: dict[tuple[str, str], int] = {}
        self._elsewhere: dict[tuple[str, str], tuple[Gap, ...]] = {}
        self._sources: dict[str, dict[str, SourceRow]] = {}
        self._gaps: dict[tuple[str, str], tuple[Gap, ...]] = {}

    def restore(self, rows: Iterable[SourceRow], now: Instant) -> None:
        """What an earlier life left, the oldest epoch of a source first."""
        rows = tuple(rows)
        if self._paired:
            self._known_before = {(row.source, row.epoch): row.runs[-1][1] for row in rows if row.runs}
        self.observe(rows, now)

    def observe(self, rows: Iterable[SourceRow], now: Instant) -> None:
        """These rows are on disk."""
        for row in rows:
            epochs = self._sources.setdefault(row.source, {})
            epochs[row.epoch] = row
            if len(epochs) > EPOCHS_PER_SOURCE:  # as dedup forgets them
                oldest = next(iter(epochs))
                del epochs[oldest]
                for kept in (self._gaps, self._elsewhere):
                    kept.pop((row.source, oldest), None)
            key = row.source, row.epoch
            first_epoch = next(iter(epochs)) == row.epoch
            no_gap_before = key not in self._gaps and key not in self._elsewhere
            if len(row.runs) == 1 and no_gap_before and (first_epoch or row.runs[0][0] == 1):
                continue  # the usual order of things
            before = (*self._gaps.pop(key, ()), *self._elsewhere.pop(key, ()))
            gaps = [_gap(row, first, last, before, now) for first, last in _missing(row, first_epoch=first_epoch)]
            others = self._known_before.get(key, 0) + 1 if self._paired else 0
            for kept, found in (
                (self._gaps, tuple(gap for gap in gaps if gap.first > others)),
                (self._elsewhere, tuple(gap for gap in gaps if gap.first <= others)),
            ):
                if found:
                    kept[key] = found

    def report(self, now: Instant) -> Report:
        """What is missing, what may still come, and what is known."""
        gaps = [gap for gaps in self._gaps.values() for gap in gaps]
        over = [now.monotonic - gap.since.monotonic >= self._grace_s for gap in gaps]
        return Report(
            tuple(gap for gap, is_over in zip(gaps, over, strict=True) if is_over),
            tuple(gap for gap, is_over in zip(gaps, over, strict=True) if not is_over),
            tuple(gap for gaps in self._elsewhere.values() for gap in gaps),
            tuple(
                _known(row, first_epoch=epoch == next(iter(epochs)))
                for _, epochs in sorted(self._sources.items())
                for epoch, row in epochs.items()
            ),
        )

    def missing(self, now: Instant) -> int:
        """How many events are missing: `report` for a metric."""
        return sum(
            gap.count
            for gaps in self._gaps.values()
            for gap in gaps
            if now.monotonic - gap.since.monotonic >= self._grace_s
        )


def dropped_by_outboxes(inputs: Iterable[Input], rows: Iterable[SourceRow], at: datetime) -> Iterator[Drop]:
    """What the tombstones among `inputs` tell that is new, given all `rows` before these inputs.

    An outbox may drop what is here already, because it has not heard so, and may join tombstones that it had sent:
    only what was not known is lost.
    """
    known = {(row.source, row.epoch): Sequences(row.runs) for row in rows}
    for given in inputs:
        if not isinstance(given, Received) or given.event.epoch is None or given.event.sequence is None:
            continue
        event, last = given.event, given.event.sequence
        assert event.epoch is not None
        here = known.setdefault((event.source, event.epoch), Sequences())
        first = last if given.covers_from is None else given.covers_from
        stone = parse_tombstone(event) if given.covers_from is not None else None
        if stone is not None:
            fresh = last - first + 1 - here.count(first, last)
            if fresh:
                which = f"{first}-{last} of epoch {event.epoch}"
                yield Drop(event.source, stone.reason or "unknown", fresh, which, at)
        here.add(first, last)


def _missing(row: SourceRow, *, first_epoch: bool) -> Iterator[tuple[int, int]]:
    """The gaps, and what should stand before the first run.

    Of the first epoch that is known of a source nothing can be said about the beginning: another dispatcher, or this
    one before it lost its disk, may have confirmed it. A later epoch began while this dispatcher was there.
    """
    begin = row.runs[0][0]
    if begin > 1 and not first_epoch:
        yield 1, begin - 1
    yield from Sequences(row.runs).gaps


def _gap(row: SourceRow, first: int, last: int, before: Iterable[Gap], now: Instant) -> Gap:
    """A gap, known since the one that it is what is left of."""
    since = next((gap.since for gap in before if gap.first <= first and last <= gap.last), now)
    return Gap(row.source, row.epoch, first, last, since)


def _known(row: SourceRow, *, first_epoch: bool) -> Known:
    begin = row.runs[0][0]
    count = sum(last - first + 1 for first, last in row.runs)
    return Known(row.source, row.epoch, begin, row.runs[-1][1], count, first_epoch and begin > 1)
