"""The ledger: every decision about an event between its receipt and its end, as steps (PROTOCOL.md, rules 5 to 16).

`step(inputs, now)` takes what happened and answers what to do; `take()` hands over what the next group commit has to
keep. An invocation starts when its lane allows, not when a disk has spun; an event that is finished before the commit
never has its body written. What may not live here: MQTT, HTTP, SQLite, clocks, randomness.

                 Received            Attempted            Committed
    broker ---> record, plan ---> lane, retry, dead ---> acknowledge, confirm
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from bridge.core.arrivals import Arrivals
from bridge.core.attempts import Attempts
from bridge.core.books import Books, known
from bridge.core.dedup import SourceRow
from bridge.core.ends import Ends
from bridge.core.entrance import Entrance
from bridge.core.lanes import Lanes
from bridge.core.long_lanes import LongLanes
from bridge.core.mapping import MappingSet
from bridge.core.records import Commit, Restored
from bridge.core.resumption import Resumption
from bridge.core.steps import (
    Acknowledge,
    Attempted,
    BacklogEnded,
    Committed,
    Confirm,
    Connected,
    Effect,
    Fetched,
    Ignored,
    Input,
    Instant,
    MappingsReplaced,
    NodeOffline,
    NotCommitted,
    Received,
    Replay,
    TimersReleased,
    Unreadable,
)
from bridge.core.timers import Timers
from bridge.core.work import Work


@dataclass(frozen=True, slots=True)
class Limits:
    """What may run at once, and how much may be open; beyond it acknowledgements are withheld (back-pressure)."""

    per_function: int = 32
    total: int = 128
    open_events: int = 2_000
    """How many are in memory; of slow lanes, what is more goes to the disk."""
    stored_events: int = 100_000
    """How many are on the disk alone."""
    breaker_failures: int = 10
    """So many failed attempts in a row park their function."""
    acknowledge_stored: bool = True
    """Whether an event that is stored and not finished is acknowledged. In a pair it is not: the disk it is stored on
    may be lost, and then the broker gives the event to the other one (rule 17)."""


GATHER: Final = 16
"""So many events make a commit worth waiting for: at a thousand a second, what comes in 20 ms."""


class Ledger:
    """One dispatcher's events in work. Not thread-safe: the loop owns it."""

    def __init__(self, mappings: MappingSet, limits: Limits, now: Instant, restored: Restored | None = None) -> None:
        restored = restored or Restored()
        self.mappings = mappings
        self.state = restored.state
        self._limits = limits
        self._lanes: Lanes[Work] = Lanes(
            per_function=limits.per_function, total=limits.total, failures=limits.breaker_failures
        )
        books = self._books = Books(restored, acknowledge_stored=limits.acknowledge_stored)
        works: dict[str, Work] = {}
        self._works = works
        number = itertools.count(restored.next_number).__next__
        stored = {one.lane: one.count for one in restored.shelved}
        long = self._long = LongLanes(self._lanes, books, works, number, limits.open_events, stored)
        self._timers = Timers()
        effects: list[Effect] = []
        self._effects = effects
        entrance = self._entrance = Entrance(works, self._timers, long, books)
        ends = self._ends = Ends(works, self._lanes, long, books, entrance, effects)
        self._attempts = Attempts(works, self._lanes, books, ends, effects)
        self._arrivals = Arrivals(works, number, books, entrance, ends, effects)
        self._resumption = Resumption(works, long, books, entrance, ends)
        self.wake_at: float | None = None
        """When `step` has something to do although nothing happened (monotonic)."""
        self._resumption.restore(restored, now)
        self._timers.hold()
        self._bury_removed(now)
        self._look_ahead()

    # --- reading ---

    @property
    def open_events(self) -> int:
        """Events that are not finished; of one that waits in several long lanes, each of these counts."""
        return len(self._books) + self._long.stored

    @property
    def stored_events(self) -> int:
        """Those of them that are on the disk alone."""
        return self._long.stored

    @property
    def open_invocations(self) -> int:
        """Invocations that have not ended."""
        return len(self._works) + self._long.stored

    @property
    def running(self) -> int:
        """Attempts under way."""
        return self._lanes.running

    @property
    def unacknowledged(self) -> int:
        """Deliveries of the current connection that are not acknowledged."""
        return len(self._books.receipts)

    @property
    def parked(self) -> tuple[str, ...]:
        """Functions that cannot be reached or that the gateway does not know or refuses, and that are being probed."""
        return self._lanes.parked

    @property
    def parked_because(self) -> dict[str, str]:
        """What the last attempt said, for each parked function that something waits for."""
        return self._attempts.parked_because

    @property
    def timers_held(self) -> bool:
        """Whether the timers of an earlier life wait for `TimersReleased`."""
        return self._timers.held

    @property
    def slots(self) -> frozenset[tuple[str, str] | None]:
        """The nodes (of sites) of which only the latest backlog is kept until it ends; None for other devices."""
        return self._entrance.places

    @property
    def waiting(self) -> int:
        """Invocations that wait for their `for` to pass."""
        return len(self._timers)

    @property
    def dirty(self) -> bool:
        """Whether `take` has something to hand over."""
        return self._books.dirty

    @property
    def may_gather(self) -> bool:
        """Whether a commit had better wait a little: there is much to keep, and hardly anything waits for it.

        Most of what a burst brings has ended by then, and needs no record.
        """
        return self._books.unkept >= GATHER and self._books.waiting < GATHER // 2

    def confirmed(self) -> tuple[SourceRow, ...]:
        """Everything that has a record, per source; all of it is finished or stored once nothing is dirty."""
        return self._books.dedup.rows()

    # --- steps ---

    def step(self, inputs: Iterable[Input], now: Instant) -> list[Effect]:
        """Take what happened, in order; the answer is in the order in which it must be carried out."""
        for given in inputs:
            self._take_in(given, now)
        # Most steps have nothing to do in some of these: not to ask costs less than to be told so.
        if self._timers.wake_at is not None or self._lanes.wake_at is not None:
            self._wake(now)
        if self._lanes.turns:
            self._attempts.start(now)
        long = self._long
        full = len(self._books) > self._limits.open_events
        if full or long.relieve_at is not None:
            long.relieve(now.monotonic)
            full = long.over_full
        if long.lanes:
            self._effects += long.wanted()
            full = full or long.stored > self._limits.stored_events
        # Acknowledged, in order, is what is finished or stored; what is only stored is withheld while too much is open.
        tickets = self._books.release(withhold=full)
        if tickets:
            self._effects.append(Acknowledge(tickets))
        self._look_ahead()
        effects = self._effects.copy()  # everybody else goes on writing to the same list
        self._effects.clear()
        return effects

    def _take_in(self, given: Input, now: Instant) -> None:
        match given:
            case Received():
                self._arrivals.received(given, self.mappings, now)
            case Attempted():
                self._attempts.ended(given, self.mappings, now)
            case Committed(commit):
                self._committed(commit)
            case NotCommitted(commit):
                self._books.not_committed(commit)
            case Fetched(lane, records):
                self._resumption.fetched(lane, records, self.mappings, now)
            case Ignored(ticket):
                self._books.receipts.receive(ticket)
                self._books.receipts.complete(ticket)
            case NodeOffline():
                self._arrivals.node_offline(given, self.mappings, now)
            case Unreadable():
                self._arrivals.unreadable(given, now)
            case Replay():
                self._arrivals.replay(given, self.mappings, now)
            case BacklogEnded(place):
                self._entrance.backlog_ended(place, now)
            case TimersReleased():
                self._timers.release()
            case MappingsReplaced(mappings):
                self.mappings = mappings
                self._bury_removed(now)
            case Connected(generation):  # pragma: no branch - the last of them, as mypy knows
                self._books.connect(generation)

    def take(self, now: Instant | None = None) -> Commit | None:
        """What the next commit has to keep, or None. Answer with `Committed` or `NotCommitted` before taking again.

        With `now`, what came only just may be left to a later commit, and None says that nothing else is there.
        """
        return self._books.take(now.monotonic if now is not None else None)

    def _committed(self, commit: Commit) -> None:
        for entry in self._books.committed(commit):
            if entry.lane is not None:
                self._long.arrived(entry)
        rows = known(commit.sources)
        if rows:
            self._effects.append(Confirm(rows))

    def _bury_removed(self, now: Instant) -> None:
        self._ends.bury_removed(self.mappings, now)
        self._attempts.tell_answered()

    def _look_ahead(self) -> None:
        earliest = self._lanes.wake_at
        for time in (self._timers.wake_at, self._long.relieve_at):
            if time is not None and (earliest is None or time < earliest):
                earliest = time
        self.wake_at = earliest

    def _wake(self, now: Instant) -> None:
        for work in self._timers.fallen_due(now.monotonic):
            self._entrance.fire(work)
        self._lanes.wake(now.monotonic)
