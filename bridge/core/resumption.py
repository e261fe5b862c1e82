"""Resumption: what an earlier life has left, and what comes back from the shelf, goes on where it stood.

What may not live here: how the disk is read, and what is behind on the shelf.
"""

from __future__ import annotations

from collections.abc import Sequence

from bridge.core.books import Books
from bridge.core.ends import IN_WORK, MAPPING_REMOVED, Ends, removed
from bridge.core.entrance import Entrance
from bridge.core.long_lanes import LongLanes
from bridge.core.mapping import MappingSet
from bridge.core.records import Record, Restored
from bridge.core.steps import Instant
from bridge.core.work import Entry, Work, replay_key, resumed, shelf_key, shelf_of


class Resumption:
    """Lets records go on. `works` are the ledger's invocations in memory by id."""

    def __init__(self, works: dict[str, Work], long: LongLanes, books: Books, entrance: Entrance, ends: Ends) -> None:
        self._works = works
        self._long = long
        self._books = books
        self._entrance = entrance
        self._ends = ends

    def restore(self, restored: Restored, now: Instant) -> None:
        """Go on with what an earlier life has left in memory."""
        begun = {one.lane: one.first for one in restored.shelved}
        for record in restored.records:
            key = record.event.identity
            if self._books.find(key) is not None:  # a replay of what is still in work for another mapping
                key = replay_key(record.number)
            entry = Entry(record.number, key, record.event, record.received_at, stored=True, written=True)
            self._books.open(entry, restored=True)
            for kept in record.open:
                work, lane = resumed(kept, entry, now), shelf_of(kept.invocation)
                if kept.invocation.due_at is None and record.number < begun.get(lane, 0):
                    self._entrance.admit(work, now)
                    self._long.join(work, lane)  # it is ahead of what is on the disk
                else:
                    self._entrance.queue(work, now)

    def fetched(self, lane: str, records: Sequence[Record] | None, mappings: MappingSet, now: Instant) -> None:
        """Go on with what was read of a long lane; None when the disk did not answer."""
        for record in self._long.fetched(lane, records):
            self._come_back(record, lane, mappings, now)

    def _come_back(self, record: Record, lane: str, mappings: MappingSet, now: Instant) -> None:
        key = shelf_key(record.number)
        entry = Entry(record.number, key, record.event, record.received_at, stored=True, written=True, lane=lane)
        self._books.open(entry, restored=True)
        for kept in record.open:
            work = resumed(kept, entry, now)
            if work.invocation.id in self._works:
                self._ends.bury(work, IN_WORK.format(entry.event.id), now, None)
                continue
            self._entrance.admit(work, now)
            if removed(work, mappings):
                self._ends.give_up_unqueued(work, MAPPING_REMOVED, now)
            else:
                self._long.join(work, lane)
        if not entry.open:
            self._books.finish(entry)
