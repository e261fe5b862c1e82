"""The ledger: every decision about an event between its receipt and its end, as steps (PROTOCOL.md, rules 5 to 16).

`step(inputs, now)` takes what happened and answers what to do; `take()` hands over what the next group commit has to
keep. An invocation starts when its lane allows, not when a disk has spun; an event that is finished before the commit
never has its body written. What may not live here: MQTT, HTTP, SQLite, clocks, randomness.

                 Received            Attempted            Committed
    broker ---> record, plan ---> lane, retry, dead ---> acknowledge, confirm
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from bridge.core import letters
from bridge.core.books import Books, known
from bridge.core.dedup import SourceRow
from bridge.core.event import FOREIGN_TYPE, Event
from bridge.core.lanes import Lanes
from bridge.core.long_lanes import LongLanes
from bridge.core.mapping import MappingSet
from bridge.core.mapping_state import StateChange, waiting_change
from bridge.core.plan import Plan, node_offline, plan, succeeded, timer_key
from bridge.core.quarantine import plan_none
from bridge.core.records import Commit, Record, Restored
from bridge.core.retry import GiveUp, Outcome, Park, RetryAfter, Verdict, decide
from bridge.core.steps import (
    Acknowledge,
    Answered,
    Attempted,
    BacklogEnded,
    Bereaved,
    Buried,
    Cancelled,
    Committed,
    Confirm,
    Connected,
    Effect,
    Ended,
    Expired,
    Fetched,
    Forgotten,
    Ignored,
    Input,
    Instant,
    Invoke,
    Judged,
    MappingsReplaced,
    NodeOffline,
    NotCommitted,
    Parked,
    Postponed,
    Received,
    Repeated,
    Replay,
    Replayed,
    Retrying,
    TimersReleased,
    Unreadable,
)
from bridge.core.timers import Timers
from bridge.core.work import (
    ON_FAILURE,
    Entry,
    Work,
    expired,
    invocation_of,
    on_failure,
    pause,
    place_of,
    replay_key,
    resumed,
    shelf_key,
    shelf_of,
    waits_s,
)


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


MAPPING_REMOVED: Final = "mapping removed"
IN_WORK: Final = "another event with the id {} is in work"
MAX_AGE: Final = "max_age"
LATEST: Final = "backlog latest"
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
        self._books = Books(restored, acknowledge_stored=limits.acknowledge_stored)
        self._works: dict[str, Work] = {}
        numbers = itertools.count(restored.next_number)
        self._number = numbers.__next__
        self._long = LongLanes(
            self._lanes,
            self._books,
            self._works,
            self._number,
            limits.open_events,
            {one.lane: one.count for one in restored.shelved},
        )
        self._timers = Timers()
        self._effects: list[Effect] = []
        self._slots: dict[str, Work] = {}
        self._why_parked: dict[str, str] = {}
        self.wake_at: float | None = None
        """When `step` has something to do although nothing happened (monotonic)."""
        self._restore(restored, now)
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
        return {name: self._why_parked[name] for name in self._lanes.parked}

    @property
    def timers_held(self) -> bool:
        """Whether the timers of an earlier life wait for `TimersReleased`."""
        return self._timers.held

    @property
    def slots(self) -> frozenset[tuple[str, str] | None]:
        """The nodes (of sites) of which only the latest backlog is kept until it ends; None for other devices."""
        return frozenset(place_of(work.entry.event) for work in self._slots.values())

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
            self._start(now)
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
        effects, self._effects = self._effects, []
        return effects

    def _take_in(self, given: Input, now: Instant) -> None:
        match given:
            case Received():
                self._received(given, now)
            case Attempted():
                self._attempted(given, now)
            case Committed(commit):
                self._committed(commit)
            case NotCommitted(commit):
                self._books.not_committed(commit)
            case Fetched(lane, records):
                self._fetched(lane, records, now)
            case Ignored(ticket):
                self._books.receipts.receive(ticket)
                self._books.receipts.complete(ticket)
            case NodeOffline():
                self._node_offline(given, now)
            case Unreadable():
                self._unreadable(given, now)
            case Replay():
                self._replay(given, now)
            case BacklogEnded(place):
                self._backlog_ended(place, now)
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

    def _received(self, given: Received, now: Instant) -> None:
        event, ticket, books = given.event, given.ticket, self._books
        if ticket is not None:
            books.receipts.receive(ticket)
        identity = event.identity
        entry = books.find(identity)
        if entry is not None or books.dedup.knows(identity):
            self._effects.append(Repeated(event))
            books.dedup.touch(identity)
            if given.covers_from is not None:  # its own sequence arrived before its sender dropped it
                lost = books.dedup.unknown(identity, given.covers_from)
                books.dedup.add(identity, first=given.covers_from)
                books.drop(event.source)
                if lost:
                    self._effects.append(Bereaved(event, given.covers_from, lost))
            books.join(entry, ticket)
            return
        if books.dedup.crowded(identity, first=given.covers_from):
            self._effects.append(Postponed(event))
            books.join(None, ticket)
            return
        entry = Entry(self._number(), identity, event, now.wall, arrived=now.monotonic)
        if ticket is not None:
            entry.tickets.append(ticket)
        lost = books.dedup.unknown(identity, given.covers_from) if given.covers_from is not None else 0
        if event.type != FOREIGN_TYPE:
            books.dedup.add(identity, first=given.covers_from)
        books.open(entry)
        if given.covers_from is not None:
            self._effects.append(Bereaved(event, given.covers_from, lost))
            books.drop(event.source)
            books.finish(entry)
            return
        if given.quarantined is None:
            planned = plan(event, self.mappings, self.state, received_at=now.wall, backlog=given.backlog)
        else:
            planned = plan_none(event, self.mappings, given.quarantined)
        self._effects.append(Judged(event, planned))
        self._carry_out(planned, entry, now)
        if not entry.open:
            self._books.finish(entry)

    def _carry_out(self, planned: Plan, entry: Entry, now: Instant) -> None:
        for key in planned.cancelled:
            self._cancel(key, entry.event.id)
        if planned.changes:
            self._remember(planned.changes, entry)
        if planned.forgotten:
            self._effects.append(Forgotten(planned.forgotten))
        for failure in planned.failures:
            self._books.bury(letters.of_failure(failure, entry, now.wall), entry)
        for one in planned.invocations:
            work = Work(invocation_of(one, self.mappings), entry)
            if one.id in self._works:
                self._dead(work, IN_WORK.format(entry.event.id), now, None)
            elif one.latest:
                self._hold_latest(work, now)
            else:
                if self._slots:
                    self._drop_slot(work.invocation.lane)  # it is older, and only the latest of its lane was wanted
                self._queue(work, now)

    def _hold_latest(self, work: Work, now: Instant) -> None:
        """Keep one slot per lane until the backlog ends: what stood in it is a counted drop (rule 14)."""
        self._admit(work, now)
        self._drop_slot(work.lane)
        if work.invocation.due_at is not None:
            self._replace_timer(timer_key(work.invocation.mapping, work.entry.event))
        self._slots[work.lane] = work
        work.slot = True

    def _drop_slot(self, lane: str) -> None:
        earlier = self._slots.pop(lane, None)
        if earlier is not None:
            self._drop(earlier, LATEST)

    def _backlog_ended(self, place: tuple[str, str] | None, now: Instant) -> None:
        for lane, work in list(self._slots.items()):
            if place_of(work.entry.event) == place:
                del self._slots[lane]
                work.slot = False
                self._queue(work, now)

    def _replay(self, given: Replay, now: Instant) -> None:
        if self._books.is_going(given.number):
            return  # it was read before the disk heard of its replay
        entry = Entry(self._number(), replay_key(given.number), given.event, now.wall, must_commit=True)
        refused = self._replan(given, entry, now) if given.invocation is None else None
        if given.invocation is not None:
            if given.invocation.id in self._works:
                refused = f"{given.invocation.id} is in work already"
            else:
                self._queue(Work(replace(given.invocation, due_at=None, max_age_s=None), entry), now)
        self._effects.append(Replayed(given.number, given.event, given.mapping, refused))
        if refused is None:
            self._books.replay(given.number)
            self._books.open(entry)  # also when all of it went to the shelf

    def _replan(self, given: Replay, entry: Entry, now: Instant) -> str | None:
        """Ask the mapping again; the reason when it is not there or says no."""
        mapping = self.mappings.mappings.get(given.mapping)
        if mapping is None:
            return f"there is no mapping {given.mapping} any more"
        alone = MappingSet([mapping])
        planned = plan(given.event, alone, self.state, received_at=now.wall)
        if not planned.invocations or planned.invocations[0].id in self._works:
            return (
                "; ".join(judgement.text for judgement in planned.judgements) or f"{given.mapping} is in work already"
            )
        self._effects.append(Judged(given.event, planned))
        self._carry_out(planned, entry, now)
        return None

    def _admit(self, work: Work, now: Instant) -> None:
        invocation = work.invocation
        work.entry.open[invocation.id] = self._works[invocation.id] = work
        # A lane of its own for `order: none`; no lane's name ends with a space.
        work.lane = invocation.lane or f"{invocation.id} "
        work.since = now.monotonic

    def _queue(self, work: Work, now: Instant) -> None:
        invocation, entry = work.invocation, work.entry
        self._admit(work, now)
        if invocation.due_at is None:
            self._long.enter(work)
            return
        due = now.monotonic + waits_s(work, now.wall)
        key = timer_key(invocation.mapping, entry.event)
        self._replace_timer(key)
        self._timers.add(key, work, due)

    def _replace_timer(self, key: str) -> None:
        """Another one waits under this key: by event time, which the plan goes by, the one before has fallen due."""
        earlier = self._timers.find(key)
        if earlier is not None:
            self._fall_due(earlier)

    def _unreadable(self, given: Unreadable, now: Instant) -> None:
        if given.ticket is not None:
            self._books.receipts.receive(given.ticket)
        event = Event(id=given.id, source="", type="", time=now.wall, data={}, body=given.payload, topic=given.topic)
        tickets = [given.ticket] if given.ticket is not None else []
        entry = Entry(self._number(), event.identity, event, now.wall, tickets)
        letter = letters.of_unreadable(given, now.wall)
        self._books.open(entry)
        self._books.bury(letter, entry)
        self._effects.append(Buried(letter))
        self._books.finish(entry)

    def _node_offline(self, given: NodeOffline, now: Instant) -> None:
        if given.ticket is not None:
            self._books.receipts.receive(given.ticket)
            self._books.receipts.complete(given.ticket)
        planned = node_offline(
            given.site,
            given.node,
            self.mappings,
            self.state,
            overdue=lambda key: self._overdue(key, now.monotonic),
        )
        for key in planned.cancelled:
            self._cancel(key, f"the node {given.node} went offline")
        self._remember(planned.changes, None)

    def _attempted(self, given: Attempted, now: Instant) -> None:
        work = self._works.get(given.invocation_id)
        if work is None:
            return  # it became a dead letter while its last attempt ran
        invocation, entry, outcome = work.invocation, work.entry, given.outcome
        if outcome.verdict is Verdict.SUCCEEDED:
            if invocation.cooldown_key is not None:
                begun = succeeded(invocation.cooldown_key, entry.event, entry.received_at, self.state)
                self._remember((begun,), entry)
            self._effects.append(Ended(invocation, entry.event, work.attempts, outcome, None))
            self._end(work)
            if self._why_parked:
                self._tell_parked(invocation.function, "")
            return
        self._failed(work, given, now)
        self._tell_parked(invocation.function, outcome.reason)

    def _failed(self, work: Work, given: Attempted, now: Instant) -> None:
        invocation, entry, outcome = work.invocation, work.entry, given.outcome
        if self._removed(work):
            self._give_up(work, MAPPING_REMOVED, now, outcome)
            return
        elapsed_s = now.monotonic - work.first_at if work.first_at is not None else 0.0
        match decide(
            invocation.retry,
            outcome,
            attempt=work.attempts,
            elapsed_s=elapsed_s,
            jitter=given.jitter,
        ):
            case RetryAfter(delay_s):
                self._effects.append(Retrying(invocation, entry.event, work.attempts, outcome, delay_s))
                failed_at = now.monotonic if outcome.unwell else None
                self._lanes.again(work.lane, now.monotonic + delay_s, failed_at=failed_at)
                work.pause = pause(elapsed_s, delay_s, now)
                self._books.change(entry)
            case Park():
                self._effects.append(Retrying(invocation, entry.event, work.attempts, outcome, None))
                work.attempts -= 1  # it never reached the function
                if not work.attempts:
                    work.first_at = work.pause = None  # nor does its `total` begin with it
                self._lanes.park(work.lane, now.monotonic)
            case GiveUp(reason):  # pragma: no branch - the last of them, as mypy knows
                self._give_up(work, reason, now, outcome)

    def _tell_parked(self, function: str, reason: str) -> None:
        """Tell when a function is parked, and when it no longer is."""
        parked, known = self._lanes.is_parked(function), function in self._why_parked
        if parked:
            self._why_parked[function] = reason
            if not known:
                self._effects.append(Parked(function, reason))
        elif known:
            del self._why_parked[function]
            self._effects.append(Answered(function))

    def _committed(self, commit: Commit) -> None:
        for entry in self._books.committed(commit):
            if entry.lane is not None:
                self._long.arrived(entry)
        rows = known(commit.sources)
        if rows:
            self._effects.append(Confirm(rows))

    def _bury_removed(self, now: Instant) -> None:
        """What waits for a mapping that is gone becomes a dead letter (rule 13); what runs may end."""
        for work in list(self._works.values()):
            if not self._removed(work):
                continue
            if work.timer is not None:
                self._remember((waiting_change(work.timer, None),), None)
                self._timers.forget(work)
                self._give_up_unqueued(work, MAPPING_REMOVED, now)
            elif self._slots.get(work.lane) is work:
                del self._slots[work.lane]
                if work.invocation.due_at is not None:
                    key = timer_key(work.invocation.mapping, work.entry.event)
                    self._remember((waiting_change(key, None),), None)
                self._give_up_unqueued(work, MAPPING_REMOVED, now)
            elif self._long.withdraw(work) or self._lanes.remove(work.lane, work):
                self._give_up_unqueued(work, MAPPING_REMOVED, now)
        for function in [name for name in self._why_parked if not self._lanes.is_parked(name)]:
            del self._why_parked[function]
            self._effects.append(Answered(function))

    def _removed(self, work: Work) -> bool:
        """Whether its mapping is gone; what tells of a death is told all the same."""
        invocation = work.invocation
        return invocation.mapping not in self.mappings.mappings and not invocation.id.endswith(ON_FAILURE)

    # --- what steps share ---

    def _end(self, work: Work, failed_at: float | None = None) -> None:
        self._lanes.end(work.lane, failed_at=failed_at)
        self._close(work)

    def _close(self, work: Work) -> None:
        del self._works[work.invocation.id]
        del work.entry.open[work.invocation.id]
        if work.long is not None:
            self._long.left(work)
        if work.entry.open:
            self._books.change(work.entry)
        else:
            self._books.finish(work.entry)

    def _drop(self, work: Work, rule: str) -> None:
        """It gives way by a named rule."""
        self._effects.append(Expired(work.invocation, work.entry.event, rule))
        self._books.drop(work.entry.key.source)
        self._close(work)

    def _give_up(self, work: Work, reason: str, now: Instant, outcome: Outcome) -> None:
        self._dead(work, reason, now, outcome)
        self._end(work, now.monotonic if outcome.unwell else None)

    def _give_up_unqueued(self, work: Work, reason: str, now: Instant) -> None:
        self._dead(work, reason, now, None)
        self._close(work)

    def _dead(self, work: Work, reason: str, now: Instant, outcome: Outcome | None) -> None:
        invocation, event = work.invocation, work.entry.event
        letter = letters.of_work(work, reason, now.wall, outcome)
        self._books.bury(letter, work.entry)
        self._effects.append(Ended(invocation, event, work.attempts, outcome, letter))
        if invocation.on_failure is not None and invocation.id + ON_FAILURE not in self._works:
            self._queue(Work(on_failure(invocation, letter), work.entry), now)

    def _remember(self, changes: Sequence[StateChange], entry: Entry | None) -> None:
        """Change the mapping state, on behalf of an event."""
        self.state.apply(changes)
        for change in changes:
            self._books.remember(change, entry)

    def _cancel(self, key: str, by: str) -> None:
        """Call off a waiting invocation; plan has seen to it that it did not fall due before (rule 15)."""
        work = self._timers.find(key)
        if work is not None:
            self._timers.forget(work)
        else:
            work = self._slot_of(key)
            if work is None:
                return  # it fired already, late as the clocks of two machines are
            del self._slots[work.lane]
        self._effects.append(Cancelled(work.invocation, work.entry.event, by))
        self._close(work)

    def _slot_of(self, key: str) -> Work | None:
        """What waits under a timer's key while a backlog lasts, of which only the latest is wanted."""
        for work in self._slots.values():
            if work.invocation.due_at is not None and timer_key(work.invocation.mapping, work.entry.event) == key:
                return work
        return None

    def _overdue(self, key: str, now: float) -> bool:
        """Whether what waits under a timer's key has fallen due by the time that has passed here."""
        work = self._slot_of(key)
        if work is None:
            return self._timers.overdue(key, now)
        return work.since + waits_s(work, work.entry.received_at) <= now

    def _look_ahead(self) -> None:
        earliest = self._lanes.wake_at
        for time in (self._timers.wake_at, self._long.relieve_at):
            if time is not None and (earliest is None or time < earliest):
                earliest = time
        self.wake_at = earliest

    def _wake(self, now: Instant) -> None:
        for work in self._timers.fallen_due(now.monotonic):
            self._fire(work)
        self._lanes.wake(now.monotonic)

    def _fire(self, work: Work) -> None:
        """Its `for` has passed: it takes its place in its lane."""
        assert work.timer is not None
        self._remember((waiting_change(work.timer, None),), None)
        self._fall_due(work)

    def _fall_due(self, work: Work) -> None:
        """It takes its place in its lane now, which it must not lose by a restart."""
        self._timers.forget(work)
        work.invocation = replace(work.invocation, due_at=None)
        self._books.change(work.entry)
        self._long.enter(work)

    def _start(self, now: Instant) -> None:
        again = True
        while again:
            again = False
            for work in self._lanes.start():
                invocation, event = work.invocation, work.entry.event
                if invocation.max_age_s is not None and expired(work, now):
                    self._lanes.end(work.lane, answered=False)
                    self._drop(work, MAX_AGE)
                    again = True  # what is behind it may start
                    continue
                if work.first_at is None:
                    work.first_at = now.monotonic
                work.attempts += 1
                self._effects.append(Invoke(invocation, event, work.attempts))

    def _fetched(self, lane: str, records: Sequence[Record] | None, now: Instant) -> None:
        for record in self._long.fetched(lane, records):
            self._come_back(record, lane, now)

    def _come_back(self, record: Record, lane: str, now: Instant) -> None:
        key = shelf_key(record.number)
        entry = Entry(record.number, key, record.event, record.received_at, stored=True, written=True, lane=lane)
        self._books.open(entry, restored=True)
        for kept in record.open:
            work = resumed(kept, entry, now)
            if work.invocation.id in self._works:
                self._dead(work, IN_WORK.format(entry.event.id), now, None)
                continue
            self._admit(work, now)
            if self._removed(work):
                self._give_up_unqueued(work, MAPPING_REMOVED, now)
            else:
                self._long.join(work, lane)
        if not entry.open:
            self._books.finish(entry)

    def _restore(self, restored: Restored, now: Instant) -> None:
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
                    self._admit(work, now)
                    self._long.join(work, lane)  # it is ahead of what is on the disk
                else:
                    self._queue(work, now)
