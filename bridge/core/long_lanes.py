"""Long lanes: what is behind in slow lanes goes to the disk when too much is open, and comes back in order (rule 9).

What may not live here: what becomes of an invocation, and how the disk is read.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Final

from bridge.core.books import Books
from bridge.core.lanes import Lanes
from bridge.core.records import Record
from bridge.core.shelf import Shelf
from bridge.core.steps import Fetch
from bridge.core.work import Entry, Work, shelf_key, shelf_of

SLOW_S: Final = 2.0
"""A lane whose first invocation has been in memory for longer is slow; a burst through quick functions is not."""
LANE_MEMORY: Final = 16
"""How many invocations of a slow lane stay in memory, when there is room for so many of each lane."""


class LongLanes:
    """Lets invocations into their lanes, in memory or behind what is on the disk.

    `works` are the ledger's invocations in memory by id, `number` makes the number of a new record. At most
    `open_events` should be in memory.
    """

    def __init__(
        self,
        lanes: Lanes[Work],
        books: Books,
        works: dict[str, Work],
        number: Callable[[], int],
        open_events: int,
        stored: Mapping[str, int],
    ) -> None:
        self._lanes = lanes
        self._books = books
        self._works = works
        self._number = number
        self._open_events = open_events
        self._shelf: Shelf[Work] = Shelf(stored)
        self.lanes: Final[Collection[str]] = self._shelf.lanes
        """The long lanes, by name."""
        self.relieve_at: float | None = None
        """When to look again whether a lane is slow (monotonic)."""

    @property
    def stored(self) -> int:
        """Invocations that are on the disk alone."""
        return self._shelf.stored

    @property
    def over_full(self) -> bool:
        """Whether more is in memory than should be."""
        return len(self._books) > self._open_events

    def enter(self, work: Work) -> None:
        """Let it take its turn; in a long lane that is behind what is on the disk."""
        if self.lanes:
            lane = shelf_of(work.invocation)
            if lane in self._shelf:
                self._put_away(work, lane)
                return
        self._lanes.add(work.lane, work.invocation.function, work, not_before=work.not_before)

    def join(self, work: Work, lane: str) -> None:
        """Let it take its turn in memory, ahead of what is on the disk."""
        work.long = lane
        self._shelf.joined(lane)
        self._lanes.add(work.lane, work.invocation.function, work, not_before=work.not_before)

    def left(self, work: Work) -> None:
        """One that is in memory has ended."""
        assert work.long is not None
        if work.long in self._shelf:
            self._shelf.left(work.long)

    def withdraw(self, work: Work) -> bool:
        """Whether it was on its way to the disk, and no longer is."""
        lane = work.entry.lane
        return lane is not None and self._shelf.withdraw(lane, work.entry.number)

    def relieve(self, now: float) -> None:
        """When too much is in memory, put away what is behind the first ones of slow lanes.

        In a pair nothing is put away: what is stored alone must not be acknowledged (rule 17).
        """
        if not self.over_full or not self._books.acknowledge_stored:
            self.relieve_at = None
            return
        if self.relieve_at is None:
            self.relieve_at = now + SLOW_S
        if now < self.relieve_at:
            return
        self.relieve_at = now + SLOW_S / 2
        lanes: dict[str, list[Work]] = {}
        for work in self._works.values():
            if work.queued:
                lanes.setdefault(shelf_of(work.invocation), []).append(work)
        keep = self._share(len(lanes))
        for lane, works in lanes.items():
            slow = len(works) > keep and now - works[0].since >= SLOW_S
            if slow and lane not in self._shelf:
                self._lengthen(lane, works, keep)

    def arrived(self, part: Entry) -> None:
        """A commit has kept a record of the shelf: what it holds is forgotten until its turn comes."""
        assert part.lane is not None
        work = self._shelf.arrived(part.lane, part.number)
        if work is not None:
            del self._works[work.invocation.id]
            part.open.clear()

    def wanted(self) -> Iterator[Fetch]:
        """What to read next."""
        share = self._share(len(self._shelf))
        for lane, after in self._shelf.wanted(share // 2):
            yield Fetch(lane, after, share)

    def fetched(self, lane: str, records: Sequence[Record] | None) -> Iterator[Record]:
        """What was read, and is in memory again; None when the disk did not answer."""
        self._shelf.read(lane)
        assert records != (), f"what waits in {lane} has vanished from the journal"
        for record in records or ():
            if self._shelf.is_coming(lane, record.number):
                return  # it is on the disk, and we have not been told yet
            if self._shelf.taken(lane, record.number):
                yield record

    def _share(self, lanes: int) -> int:
        """How many invocations of each of so many lanes may be in memory."""
        return max(1, min(LANE_MEMORY, self._open_events // (2 * max(1, lanes))))

    def _lengthen(self, lane: str, works: Sequence[Work], keep: int) -> None:
        """Let the first of a lane's invocations stay, and put the others away."""
        if works[0].invocation.lane:
            behind = self._lanes.cut(lane, keep)
        else:
            behind = [work for work in works[keep:] if self._lanes.remove(work.lane, work)]
        if not behind:
            return
        self._shelf.begin(lane, len(works) - len(behind), after=self._number())
        for work in works:
            work.long = lane
        for work in behind:
            self._put_away(work, lane)

    def _put_away(self, work: Work, lane: str) -> None:
        """Give it a record of its own, which the next commit keeps, and with that forget it until its turn comes."""
        event = work.entry
        number = self._number()
        part = Entry(number, shelf_key(number), event.event, event.received_at, arrived=event.arrived, lane=lane)
        del event.open[work.invocation.id]
        part.open[work.invocation.id] = work
        work.entry, work.long = part, None
        event.must_commit = True
        self._books.open(part)
        self._shelf.put(lane, number, work)
        if event.open:
            self._books.change(event)
        else:
            self._books.finish(event)
