"""The entrance: how an invocation comes to its lane - at once, when its `for` has passed, or when a backlog has ended.

Of the backlog of a mapping with `backlog: latest` only the last one of each lane comes that far (rule 14); what is due
later waits under the key of its timer (rule 15). What may not live here: how an invocation ends, and the order in a
lane.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from bridge.core.books import Books
from bridge.core.long_lanes import LongLanes
from bridge.core.mapping_state import waiting_change
from bridge.core.plan import timer_key
from bridge.core.steps import Instant
from bridge.core.timers import Timers
from bridge.core.work import Work, place_of, waits_s


class Entrance:
    """Where invocations are until they are in their lane. `works` are the ledger's invocations in memory by id."""

    def __init__(self, works: dict[str, Work], timers: Timers, long: LongLanes, books: Books) -> None:
        self._works = works
        self._timers = timers
        self._long = long
        self._books = books
        self.slots: Final[dict[str, Work]] = {}
        """By lane, the latest of a backlog, which waits until that has ended."""

    @property
    def places(self) -> frozenset[tuple[str, str] | None]:
        """The nodes (of sites) of whose backlog something waits in a slot; None for devices that are not ours."""
        return frozenset(place_of(work.entry.event) for work in self.slots.values())

    def admit(self, work: Work, now: Instant) -> None:
        """It is in memory from now on, and open."""
        invocation = work.invocation
        work.entry.open[invocation.id] = self._works[invocation.id] = work
        # A lane of its own for `order: none`; no lane's name ends with a space.
        work.lane = invocation.lane or f"{invocation.id} "
        work.since = now.monotonic

    def queue(self, work: Work, now: Instant) -> None:
        """Let it into its lane now, or when its `for` has passed."""
        invocation, entry = work.invocation, work.entry
        self.admit(work, now)
        if invocation.due_at is None:
            self._long.enter(work)
            return
        due = now.monotonic + waits_s(work, now.wall)
        key = timer_key(invocation.mapping, entry.event)
        self._replace_timer(key)
        self._timers.add(key, work, due)

    def hold(self, work: Work, now: Instant) -> None:
        """Keep it in the slot of its lane, which is free, until the backlog ends."""
        self.admit(work, now)
        if work.invocation.due_at is not None:
            self._replace_timer(timer_key(work.invocation.mapping, work.entry.event))
        self.slots[work.lane] = work
        work.slot = True

    def backlog_ended(self, place: tuple[str, str] | None, now: Instant) -> None:
        """Let in what was the latest of this node's backlog (None: of that of devices that are not ours)."""
        for lane, work in list(self.slots.items()):
            if place_of(work.entry.event) == place:
                del self.slots[lane]
                work.slot = False
                self.queue(work, now)

    def fire(self, work: Work) -> None:
        """Its `for` has passed: it takes its place in its lane."""
        assert work.timer is not None
        self._books.remember((waiting_change(work.timer, None),), None)
        self._fall_due(work)

    def overdue(self, key: str, now: float) -> bool:
        """Whether what waits under a timer's key has fallen due by the time that has passed here."""
        work = self._slot_of(key)
        if work is None:
            return self._timers.overdue(key, now)
        return work.since + waits_s(work, work.entry.received_at) <= now

    def call_off(self, key: str) -> Work | None:
        """What has waited under a timer's key, and does no longer.

        None when it is in its lane already, late as the clocks of two machines are.
        """
        work = self._timers.find(key)
        if work is not None:
            self._timers.forget(work)
            return work
        work = self._slot_of(key)
        if work is not None:
            del self.slots[work.lane]
        return work

    def withdraw(self, work: Work) -> bool:
        """Whether it has waited here, which its mapping forgets; no longer it does."""
        if work.timer is not None:
            self._books.remember((waiting_change(work.timer, None),), None)
            self._timers.forget(work)
            return True
        if self.slots.get(work.lane) is not work:
            return False
        del self.slots[work.lane]
        if work.invocation.due_at is not None:
            key = timer_key(work.invocation.mapping, work.entry.event)
            self._books.remember((waiting_change(key, None),), None)
        return True

    def _slot_of(self, key: str) -> Work | None:
        """What waits under a timer's key while a backlog lasts, of which only the latest is wanted."""
        for work in self.slots.values():
            if work.invocation.due_at is not None and timer_key(work.invocation.mapping, work.entry.event) == key:
                return work
        return None

    def _replace_timer(self, key: str) -> None:
        """Another one waits under this key: by event time, which the plan goes by, the one before has fallen due."""
        earlier = self._timers.find(key)
        if earlier is not None:
            self._fall_due(earlier)

    def _fall_due(self, work: Work) -> None:
        """It takes its place in its lane now, which it must not lose by a restart."""
        self._timers.forget(work)
        work.invocation = replace(work.invocation, due_at=None)
        self._books.change(work.entry)
        self._long.enter(work)
