"""The auditor: names what is missing, what came twice and what was dropped, and takes a person's word for a gap.

Drops are kept in the same commit as the sequences that they account for: a kill loses neither or both.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from bridge.core.audit import Audit, Drop, Gap, dropped_by_outboxes
from bridge.core.dedup import SourceRow
from bridge.core.event import parse, parse_source, rfc3339
from bridge.core.steps import Effect, Expired, Input, Instant, Received, Repeated
from bridge.core.tombstone import Tombstone, encode_tombstone
from bridge.core.topics import SensorEventTopic, Topics
from bridge.journal.drops import Dropped, keep_drops
from bridge.journal.engine import Change
from bridge.journal.salvage import Lost

DAMAGED: Final = "journal damaged"
"""The reason of a loss, not of a rule: what was stored and not finished in a journal that had to be set aside."""
ACCEPTED: Final = "accepted"
"""The reason of a drop that a person has put up with: a gap that will never close."""
AUDITED: Final = frozenset({Repeated, Expired})
"""The effects that `Auditor.count` counts."""
SOURCES: Final = 10_000
"""So many sources are counted one by one, the others together: topics can be made up."""
OTHERS: Final = "(others)"


class Auditor:
    """What the dispatcher knows for `/v1/audit` and the metrics. The loop owns it."""

    def __init__(
        self, topics: Topics, now: Instant, on_drop: Callable[[str, int], None], *, paired: bool = False
    ) -> None:
        self._topics = topics
        self._began = now
        self._on_drop = on_drop
        self._audit = Audit(paired=paired)
        self._dropped: dict[tuple[str, str], Dropped] = {}
        self._duplicates: Counter[str] = Counter()
        self._fresh: dict[tuple[str, str], Drop] = {}
        self._under_way: dict[tuple[str, str], Drop] = {}

    def restore(self, rows: Iterable[SourceRow], dropped: Iterable[Dropped], now: Instant) -> None:
        """What an earlier life left."""
        self._audit.restore(rows, now)
        for one in dropped:
            self._dropped[one.source, one.reason] = one
            self._on_drop(one.reason, one.count)

    def bereave(self, lost: Lost, aside: Path) -> None:
        """A damaged journal was set aside: count what it held, as far as that can be read."""
        for source, count in lost.events.items():
            self._drop(Drop(source, DAMAGED, count, f"in {aside}", self._began.wall))

    def before(self, inputs: Sequence[Input], rows: Callable[[], Iterable[SourceRow]], now: Instant) -> None:
        """Look at what is going to be stepped: afterwards nobody knows what of a tombstone's range was new."""
        if any(type(given) is Received and given.covers_from is not None for given in inputs):
            for drop in dropped_by_outboxes(inputs, rows(), now.wall):
                self._drop(drop)

    def count(self, effect: Effect, now: Instant) -> None:
        """Count a duplicate, and what a rule of a mapping dropped."""
        if isinstance(effect, Repeated):
            source = effect.event.source
            known = source in self._duplicates or len(self._duplicates) < SOURCES
            self._duplicates[source if known else OTHERS] += 1
        elif isinstance(effect, Expired):
            which = f"{effect.event.id} for {effect.invocation.mapping}"
            self._drop(Drop(effect.event.source, effect.rule, 1, which, now.wall))

    def observe(self, rows: Iterable[SourceRow], now: Instant) -> None:
        """These rows are on disk."""
        self._audit.observe(rows, now)

    def missing(self, now: Instant) -> int:
        """How many events are missing."""
        return self._audit.missing(now)

    # --- keeping, with the ledger's commit ---

    def with_drops(self, commit: Change[None]) -> Change[None]:
        """The commit, and in it the drops since the last one. Answer with `kept`, or `not_kept`."""
        if not self._fresh:
            return commit
        self._under_way, self._fresh = self._fresh, {}
        drops = keep_drops(self._under_way.values())

        def change(database: sqlite3.Connection) -> None:
            commit(database)
            drops(database)

        return change

    def kept(self) -> None:
        """The commit is on disk."""
        self._under_way = {}

    def not_kept(self) -> None:
        """The commit failed: its drops go with the next one."""
        later, self._fresh, self._under_way = self._fresh, self._under_way, {}
        for drop in later.values():
            self._gather(drop)

    # --- telling, accepting ---

    def told(self, now: Instant) -> dict[str, Any]:
        """The audit as JSON."""
        report = self._audit.report(now)
        return {
            "missing": report.missing,
            "gaps": [_gap(gap) for gap in report.gaps],
            "late": [_gap(gap) for gap in report.late],
            "elsewhere": [_gap(gap) for gap in report.elsewhere],
            "duplicates": [{"source": source, "count": count} for source, count in sorted(self._duplicates.items())],
            "duplicates_since": rfc3339(self._began.wall),
            "drops": [
                {
                    "source": one.source, "reason": one.reason, "count": one.count, "first_at": one.first_at,
                    "last_at": one.last_at, "latest": one.latest,
                }
                for _, one in sorted(self._dropped.items())
            ],
            "sources": [
                {
                    "source": one.source, "epoch": one.epoch, "first": one.first, "last": one.last,
                    "count": one.count, "begun_before": one.begun_before,
                }
                for one in report.known
            ],
        }  # fmt: skip

    def acceptance(self, now: Instant) -> tuple[list[Input], list[dict[str, Any]]]:
        """What to step so that everything missing counts as dropped from now on, and which gaps that are."""
        inputs: list[Input] = []
        gaps = self._audit.report(now).gaps
        for gap in gaps:
            at = self._topic(gap.source)
            stone = Tombstone(gap.first, gap.last, ACCEPTED)
            body = encode_tombstone(stone, at=at, epoch=gap.epoch, time=now.wall, timesynced=True)
            inputs.append(Received(parse(body, at), None, covers_from=gap.first))
        return inputs, [_gap(gap) for gap in gaps]

    def _topic(self, source: str) -> SensorEventTopic:
        place = parse_source(source)
        assert place is not None, f"{source} counts its events and is no sensor of ours"
        topic = self._topics.parse(self._topics.event(*place))
        assert isinstance(topic, SensorEventTopic)
        return topic

    def _drop(self, drop: Drop) -> None:
        self._on_drop(drop.reason, drop.count)
        at = rfc3339(drop.at)
        before = self._dropped.get((drop.source, drop.reason))
        if before is None and len(self._dropped) >= SOURCES:
            drop = replace(drop, source=OTHERS)
            before = self._dropped.get((OTHERS, drop.reason))
        self._gather(drop)
        count, first_at = (before.count, before.first_at) if before else (0, at)
        told = Dropped(drop.source, drop.reason, count + drop.count, first_at, at, drop.which)
        self._dropped[drop.source, drop.reason] = told

    def _gather(self, drop: Drop) -> None:
        """Keep it with the next commit; one row for each source and rule, however long a disk stays full."""
        before = self._fresh.get((drop.source, drop.reason))
        count = before.count if before else 0
        self._fresh[drop.source, drop.reason] = replace(drop, count=count + drop.count)


def _gap(gap: Gap) -> dict[str, Any]:
    return {
        "source": gap.source, "epoch": gap.epoch, "first": gap.first, "last": gap.last, "count": gap.count,
        "since": rfc3339(gap.since.wall),
    }  # fmt: skip
