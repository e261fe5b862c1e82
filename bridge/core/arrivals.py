"""Arrivals: an event comes, or a dead letter is wanted again, is planned once, and the plan is carried out (rule 7).

What may not live here: the plan, and what becomes of an invocation once it was let in.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from bridge.core import letters
from bridge.core.books import Books
from bridge.core.ends import IN_WORK, LATEST, Ends
from bridge.core.entrance import Entrance
from bridge.core.event import FOREIGN_TYPE, Event
from bridge.core.mapping import MappingSet
from bridge.core.plan import Plan, node_offline, plan
from bridge.core.quarantine import plan_none
from bridge.core.steps import (
    Bereaved,
    Buried,
    Effect,
    Forgotten,
    Instant,
    Judged,
    NodeOffline,
    Postponed,
    Received,
    Repeated,
    Replay,
    Replayed,
    Unreadable,
)
from bridge.core.work import Entry, Work, invocation_of, replay_key


class Arrivals:
    """Takes in what arrives. `works` are the ledger's invocations in memory by id, `number` makes that of a record."""

    def __init__(
        self,
        works: dict[str, Work],
        number: Callable[[], int],
        books: Books,
        entrance: Entrance,
        ends: Ends,
        effects: list[Effect],
    ) -> None:
        self._works = works
        self._number = number
        self._books = books
        self._entrance = entrance
        self._ends = ends
        self._effects = effects

    def received(self, given: Received, mappings: MappingSet, now: Instant) -> None:
        """An event arrived: for the first time, again, or as a tombstone."""
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
            planned = plan(event, mappings, books.state, received_at=now.wall, backlog=given.backlog)
        else:
            planned = plan_none(event, mappings, given.quarantined)
        self._effects.append(Judged(event, planned))
        self._carry_out(planned, entry, mappings, now)
        if not entry.open:
            books.finish(entry)

    def unreadable(self, given: Unreadable, now: Instant) -> None:
        """Something arrived that is no event: a dead letter (rule 12)."""
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

    def node_offline(self, given: NodeOffline, mappings: MappingSet, now: Instant) -> None:
        """A node went offline: what waits for its `for` is called off (rule 15)."""
        if given.ticket is not None:
            self._books.receipts.receive(given.ticket)
            self._books.receipts.complete(given.ticket)
        planned = node_offline(
            given.site,
            given.node,
            mappings,
            self._books.state,
            overdue=lambda key: self._entrance.overdue(key, now.monotonic),
        )
        for key in planned.cancelled:
            self._ends.cancel(key, f"the node {given.node} went offline")
        self._books.remember(planned.changes, None)

    def replay(self, given: Replay, mappings: MappingSet, now: Instant) -> None:
        """Somebody wants a dead letter to be tried again."""
        if self._books.is_going(given.number):
            return  # it was read before the disk heard of its replay
        entry = Entry(self._number(), replay_key(given.number), given.event, now.wall, must_commit=True)
        refused = self._replan(given, entry, mappings, now) if given.invocation is None else None
        if given.invocation is not None:
            if given.invocation.id in self._works:
                refused = f"{given.invocation.id} is in work already"
            else:
                self._entrance.queue(Work(replace(given.invocation, due_at=None, max_age_s=None), entry), now)
        self._effects.append(Replayed(given.number, given.event, given.mapping, refused))
        if refused is None:
            self._books.replay(given.number)
            self._books.open(entry)  # also when all of it went to the shelf

    def _replan(self, given: Replay, entry: Entry, mappings: MappingSet, now: Instant) -> str | None:
        """Ask the mapping again; the reason when it is not there or says no."""
        mapping = mappings.mappings.get(given.mapping)
        if mapping is None:
            return f"there is no mapping {given.mapping} any more"
        alone = MappingSet([mapping])
        planned = plan(given.event, alone, self._books.state, received_at=now.wall)
        if not planned.invocations or planned.invocations[0].id in self._works:
            return (
                "; ".join(judgement.text for judgement in planned.judgements) or f"{given.mapping} is in work already"
            )
        self._effects.append(Judged(given.event, planned))
        self._carry_out(planned, entry, mappings, now)
        return None

    def _carry_out(self, planned: Plan, entry: Entry, mappings: MappingSet, now: Instant) -> None:
        entrance = self._entrance
        for key in planned.cancelled:
            self._ends.cancel(key, entry.event.id)
        if planned.changes:
            self._books.remember(planned.changes, entry)
        if planned.forgotten:
            self._effects.append(Forgotten(planned.forgotten))
        for failure in planned.failures:
            self._books.bury(letters.of_failure(failure, entry, now.wall), entry)
        for one in planned.invocations:
            work = Work(invocation_of(one, mappings), entry)
            if one.id in self._works:
                self._ends.bury(work, IN_WORK.format(entry.event.id), now, None)
                continue
            if entrance.slots:  # what is in that of its lane is older, and only the latest of that was wanted (rule 14)
                self._drop_slot(work.invocation.lane)
            if one.latest:
                entrance.hold(work, now)
            else:
                entrance.queue(work, now)

    def _drop_slot(self, lane: str) -> None:
        earlier = self._entrance.slots.pop(lane, None)
        if earlier is not None:
            self._ends.drop(earlier, LATEST)
