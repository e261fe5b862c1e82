"""The ledger against an adversarial world: nothing that was accepted is lost, whatever happens in whatever order.

A broker that redelivers, duplicates and forgets; functions that succeed, fail and vanish; commits that fail or whose
word is lost; kills at any moment, after which a new ledger is made of what the database holds.
"""

from __future__ import annotations

import itertools
import sqlite3
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from bridge.core.conditions import compile_condition
from bridge.core.delivery import Ledger, Limits
from bridge.core.event import Event, Identity, Observation, encode, parse
from bridge.core.mapping import Cooldown, Mapping, MappingSet
from bridge.core.plan import Plan, timer_key
from bridge.core.receipts import Ticket
from bridge.core.records import Commit
from bridge.core.retry import Outcome, RetryPolicy, Verdict
from bridge.core.selector import SensorSelector
from bridge.core.steps import (
    Acknowledge,
    Attempted,
    BacklogEnded,
    Cancelled,
    Committed,
    Confirm,
    Connected,
    Effect,
    Ended,
    Expired,
    Fetch,
    Fetched,
    Input,
    Instant,
    Invoke,
    Judged,
    MappingsReplaced,
    NotCommitted,
    Received,
    TimersReleased,
)
from bridge.core.topics import SensorEventTopic, Topics
from bridge.core.work import ON_FAILURE
from bridge.journal.ledger import MIGRATIONS, keep, load, shelved

START = datetime(2026, 11, 22, 17, 30, tzinfo=UTC)
SENSORS = st.sampled_from(["door", "gate"])
NAMES = st.sampled_from(["motion.detected", "motion.ended"])
EVERY = (SensorSelector(),)
DETECTED = (SensorSelector(event="motion.detected"),)
MAPPINGS = (
    Mapping(name="ordered", selectors=EVERY, function="f", retry=RetryPolicy(attempts=3), max_age_s=300.0),
    Mapping(name="free", selectors=EVERY, function="g", order="none", on_failure="page", retry=RetryPolicy(attempts=1)),
    Mapping(name="held", selectors=DETECTED, function="f", for_s=5.0),
    Mapping(name="newest", selectors=DETECTED, function="g", for_s=5.0, backlog="latest"),
    Mapping(name="cooled", selectors=DETECTED, function="h", cooldown=Cooldown(8.0, start="success")),
    Mapping(name="wrong", selectors=DETECTED, function="h", when=compile_condition("data.none == 1")),
)


@dataclass
class Story:
    """What is known of one event's invocations: open, ended well (or by a named rule), or dead."""

    open: set[str] = field(default_factory=set)
    ended: set[str] = field(default_factory=set)
    dead: set[str] = field(default_factory=set)


class World(RuleBasedStateMachine):
    """Agents with outboxes, a broker, a dispatcher's ledger and its database."""

    def __init__(self) -> None:
        super().__init__()
        self.monotonic = 0.0
        self.sequences = {"door": 0, "gate": 0}
        self.outbox: dict[Identity, Event] = {}
        self.published: dict[Identity, Event] = {}
        self.queue: list[Event] = []
        self.inflight: dict[Ticket, Event] = {}
        self.generation = 0
        self.packet = 0
        self.database = sqlite3.connect(":memory:", isolation_level=None)
        for migration in MIGRATIONS:
            self.database.executescript(migration)
        self.disk: tuple[dict[Identity, set[str]], set[str]] | None = None
        self.mappings = MappingSet(MAPPINGS)
        self.stories: dict[Identity, Story] = {}
        self.running: set[str] = set()
        self.recorded_finished: set[str] = set()
        self.first_attempts: dict[str, list[int]] = {}
        self.forgotten: set[str] = set()  # attempted in an earlier life, which had not kept it
        self.waiting: dict[str, tuple[str, datetime]] = {}
        self.cancelled: set[str] = set()
        self.pending: Commit | None = None
        self.fetches: list[Fetch] = []

    @initialize()
    def begin(self) -> None:
        self.rebuild()

    # --- what the world does ---

    @rule(happened=st.lists(st.tuples(SENSORS, NAMES), min_size=1, max_size=4))
    def something_happens(self, happened: list[tuple[str, str]]) -> None:
        for sensor, name in happened:
            self.publish(sensor, name)

    @rule(happened=st.lists(st.tuples(SENSORS, NAMES), min_size=2, max_size=6))
    def something_happens_and_arrives_at_once(self, happened: list[tuple[str, str]]) -> None:
        self.something_happens(happened)
        self.the_broker_delivers(len(self.queue))

    def publish(self, sensor: str, name: str) -> None:
        self.sequences[sensor] += 1
        sequence = self.sequences[sensor]
        at = Topics().parse(Topics().event("home", "pi-1", sensor))
        assert isinstance(at, SensorEventTopic)
        seen = Observation(
            kind="pir", name=name, value=True, unit=None, initial=False, time=self.now().wall, timesynced=True
        )
        event = parse(encode(seen, at=at, id=f"{sensor}-{sequence}", epoch="e", sequence=sequence), at)
        self.outbox[event.identity] = self.published[event.identity] = event
        self.queue.append(event)

    @precondition(lambda self: self.queue)
    @rule(count=st.integers(1, 4), backlog=st.booleans())
    def the_broker_delivers(self, count: int, *, backlog: bool = False) -> None:
        inputs: list[Input] = []
        for event in self.queue[:count]:
            self.packet += 1
            ticket = Ticket(self.generation, self.packet)
            self.inflight[ticket] = event
            inputs.append(Received(event, ticket, backlog))
        del self.queue[:count]
        self.step(*inputs)

    @rule()
    def the_connection_breaks(self) -> None:
        """The broker delivers again, in order, what was not acknowledged."""
        self.queue[:0] = self.inflight.values()
        self.inflight.clear()
        self.generation += 1
        self.step(Connected(self.generation))

    @rule()
    def the_broker_forgets_everything(self) -> None:
        self.inflight.clear()
        self.queue = list(self.outbox.values())
        self.generation += 1
        self.step(Connected(self.generation))

    @precondition(lambda self: self.outbox)
    @rule()
    def the_outbox_sends_again(self) -> None:
        self.queue += self.outbox.values()

    @precondition(lambda self: self.running)
    @rule(verdict=st.sampled_from(Verdict))
    def all_attempts_end_alike(self, verdict: Verdict) -> None:
        for id_ in sorted(self.running):
            self.attempt_ends(id_, verdict)

    @precondition(lambda self: self.running)
    @rule(data=st.data(), verdict=st.sampled_from([Verdict.SUCCEEDED, *Verdict]))
    def an_attempt_ends(self, data: st.DataObject, verdict: Verdict) -> None:
        self.attempt_ends(data.draw(st.sampled_from(sorted(self.running))), verdict)

    @rule()
    def the_backlog_is_over(self) -> None:
        self.step(BacklogEnded(("home", "pi-1")), TimersReleased())

    @rule(seconds=st.floats(0.0, 90.0))
    def time_passes(self, seconds: float) -> None:
        self.monotonic += seconds
        self.step()

    @precondition(lambda self: self.pending is None)
    @rule(patient=st.booleans())
    def a_commit_begins(self, *, patient: bool = True) -> None:
        self.pending = self.ledger.take(self.now() if patient else None)

    @precondition(lambda self: self.pending is not None)
    @rule(written=st.booleans())
    def a_commit_ends(self, written: bool) -> None:
        commit, self.pending = self.pending, None
        assert commit is not None
        if written:
            self.write(commit)
        self.step(Committed(commit) if written else NotCommitted(commit))

    @precondition(lambda self: self.fetches)
    @rule(read=st.booleans())
    def the_journal_is_read(self, read: bool) -> None:
        fetch = self.fetches.pop(0)
        records = shelved(fetch.lane, fetch.after, fetch.limit)(self.database) if read else None
        self.step(Fetched(fetch.lane, records))

    @rule(without=st.sampled_from([*(mapping.name for mapping in MAPPINGS), ""]))
    def the_mappings_change(self, without: str) -> None:
        self.mappings = MappingSet(mapping for mapping in MAPPINGS if mapping.name != without)
        self.step(MappingsReplaced(self.mappings))

    @rule(written=st.booleans())
    def the_dispatcher_is_killed(self, written: bool) -> None:
        if self.pending is not None and written:
            self.write(self.pending)
        self.pending = None
        self.running.clear()
        self.fetches.clear()
        self.waiting.clear()
        self.cancelled.clear()
        self.look_back()
        self.rebuild()

    # --- what follows ---

    def now(self) -> Instant:
        return Instant(START + timedelta(seconds=self.monotonic), self.monotonic)

    def rebuild(self) -> None:
        self.ledger = Ledger(self.mappings, Limits(2, 4, 6), self.now(), load(self.database))
        self.step()
        self.the_connection_breaks()

    def attempt_ends(self, id_: str, verdict: Verdict) -> None:
        self.running.discard(id_)
        outcome = Outcome(verdict=verdict, status=None, reason="so it is", duration_s=0.1)
        self.step(Attempted(id_, outcome, 0.5))

    def step(self, *inputs: Input) -> None:
        for effect in self.ledger.step(inputs, self.now()):
            self.carry_out(effect)

    def carry_out(self, effect: Effect) -> None:
        match effect:
            case Judged(event, plan):
                self.decided(event, plan)
                self.stories[event.identity] = Story(
                    open={planned.id for planned in plan.invocations}, dead={failure.id for failure in plan.failures}
                )
            case Invoke(invocation, event, _):
                self.invoked(invocation.id, invocation.lane, event)
            case Ended(invocation, event, _, _, letter):
                story = self.stories[event.identity]
                story.open.discard(invocation.id)
                (story.ended if letter is None else story.dead).add(invocation.id)
                if letter is not None and invocation.on_failure is not None:
                    story.open.add(invocation.id + ON_FAILURE)
            case Cancelled(invocation, event, _) | Expired(invocation, event):
                self.stories[event.identity].open.discard(invocation.id)
                self.stories[event.identity].ended.add(invocation.id)
            case Fetch():
                self.fetches.append(effect)
            case Acknowledge(tickets):
                for ticket in tickets:
                    assert ticket == next(iter(self.inflight)), "rule 8: acknowledged out of order"
                    self.safe(self.inflight.pop(ticket), "acknowledged")
            case Confirm(rows):
                for row in rows:
                    for identity in [one for one in self.outbox if (one.source, one.epoch) == (row.source, row.epoch)]:
                        if any(first <= identity.sequence <= last for first, last in row.runs):
                            self.safe(self.outbox.pop(identity), "confirmed")
            case _:
                pass

    def decided(self, event: Event, plan: Plan) -> None:
        """What no longer waits, and had still to wait, must never be invoked (rule 15)."""
        for key in plan.cancelled:
            id_, due_at = self.waiting.pop(key, ("", START))
            if due_at > self.now().wall:
                self.cancelled.add(id_)
        for planned in plan.invocations:
            if planned.due_at is not None:
                self.waiting[timer_key(planned.mapping, event)] = planned.id, planned.due_at

    def invoked(self, id_: str, lane: str, event: Event) -> None:
        assert id_ not in self.cancelled, f"rule 15: {id_} was called off"
        assert id_ not in self.running, f"{id_} runs twice at once"
        assert id_ not in self.recorded_finished, f"rule 10: {id_} is recorded as finished and runs again"
        assert id_ in self.stories[event.identity].open, f"{id_} ended and runs again"
        self.running.add(id_)
        if lane:
            order = self.first_attempts.setdefault(lane, [])
            assert event.sequence is not None
            if event.sequence not in order and id_ not in self.forgotten:
                assert not order or order[-1] < event.sequence, f"rule 9: the order in {lane}"
                order.append(event.sequence)
                before = [one for one in self.stories if one.source == event.source and one.sequence < event.sequence]
                mapping = id_.partition(":")[2]
                waiting = {open_ for one in before for open_ in self.stories[one].open if open_.endswith(f":{mapping}")}
                waiting -= self.forgotten
                assert not waiting, f"rule 9: {id_} starts before {waiting} ended"

    # --- what must hold ---

    def on_disk(self) -> tuple[dict[Identity, set[str]], set[str]]:
        """The open invocations of each record, and the ids of dead letters."""
        if self.disk is None:
            restored = load(self.database)
            records: dict[Identity, set[str]] = {}
            waiting = [shelved(one.lane, 0, one.count)(self.database) for one in restored.shelved]
            for record in itertools.chain(restored.records, *waiting):
                kept = records.setdefault(record.event.identity, set())
                kept |= {one.invocation.id for one in record.open}
            self.disk = records, {id_ for (id_,) in self.database.execute("SELECT id FROM dead_letters")}
        return self.disk

    def safe(self, event: Event, what: str) -> None:
        """Finished or stored: what is open, and what is dead, is on disk."""
        records, letters = self.on_disk()
        story, kept = self.stories[event.identity], records.get(event.identity, set())
        if event.identity in records:
            assert story.open | story.dead <= kept | letters | {id_ + ON_FAILURE for id_ in kept}, f"{what}: {event.id}"
        else:
            assert not story.open, f"{event.id} is {what}, but neither finished nor stored"
            assert story.dead <= letters, f"{event.id} is {what}, but its dead letter is not kept"

    def write(self, commit: Commit) -> None:
        self.database.execute("BEGIN")
        keep(commit)(self.database)
        self.database.execute("COMMIT")
        self.disk = None
        records, _ = self.on_disk()
        known = self.known()
        for identity, story in self.stories.items():
            if identity in known:
                self.recorded_finished |= (story.ended | story.dead) - records.get(identity, set())
        for sensor, last in load(self.database).state.last.items():
            seen = [one for one in map(self.published.__getitem__, known) if f"{one.node}/{one.sensor}" == sensor]
            told = {(one.time, one.name) for one in seen}
            assert (last.time, last.event) in told, f"rule 7: of {sensor} an event without a record is known"
            assert last.time == max(time for time, _ in told), f"rule 7: of {sensor} a recorded event is not known"

    def known(self) -> set[Identity]:
        restored = load(self.database)
        return {
            Identity(row.source, row.epoch, sequence)
            for row in restored.sources
            for first, last in row.runs
            for sequence in range(first, last + 1)
        }

    def look_back(self) -> None:
        """After a kill: what the database knows goes on as it stands there, everything else must come again."""
        known, (records, letters) = self.known(), self.on_disk()
        for identity, event in self.published.items():
            if identity not in known:
                assert identity in self.outbox, f"{event.id} was confirmed and is known nowhere"
                self.stories.pop(identity, None)
                self.forget_attempts(event)
                continue
            story, kept = self.stories[identity], records.get(identity, set())
            lost = (story.open - kept) | (story.dead - kept - letters)
            undone = kept | {id_ + ON_FAILURE for id_ in kept}  # what had ended and was not kept has not happened
            lost -= undone
            assert not lost, f"{event.id}: {lost} would never be attempted"
            self.stories[identity] = Story(set(kept), story.ended - undone, story.dead - undone)

    def forget_attempts(self, event: Event) -> None:
        """What was decided and not kept is decided anew, and another cooldown may let another event through.

        What was attempted may be repeated, and later ones may overtake that (rule 10).
        """
        for lane, order in self.first_attempts.items():
            if lane.endswith(f"|{event.source}") and event.sequence in order:
                order.remove(event.sequence)
                self.forgotten.add(f"{event.id}:{lane.partition('|')[0]}")

    @invariant()
    def memory_is_bounded(self) -> None:
        if self.generation:
            assert self.ledger.unacknowledged == len(self.inflight)
            assert self.ledger.running == len(self.running) <= 4

    def teardown(self) -> None:
        """In the end all is well again, and every event that was accepted has ended."""
        if not self.generation:
            self.database.close()
            return
        self.the_connection_breaks()
        self.the_backlog_is_over()
        for _ in range(40 + 20 * len(self.published)):
            if self.queue:
                self.the_broker_delivers(len(self.queue))
            for id_ in sorted(self.running):
                self.attempt_ends(id_, Verdict.SUCCEEDED)
            while self.fetches:
                self.the_journal_is_read(read=True)
            self.time_passes(61.0)
            if self.pending is None:
                self.a_commit_begins()
            if self.pending is not None:
                self.a_commit_ends(written=True)
            if self.outbox and not self.queue and not self.inflight:
                self.the_outbox_sends_again()
            if not (self.outbox or self.queue or self.inflight or self.ledger.open_events or self.ledger.dirty):
                break
        records, letters = self.on_disk()
        self.database.close()
        assert not self.outbox, "never confirmed"
        assert not self.inflight, "never acknowledged"
        assert not records, "never finished"
        for identity, event in self.published.items():
            story = self.stories[identity]
            assert not story.open, f"{event.id}: {story.open} never ended"
            assert story.dead <= letters, f"{event.id}: a dead letter is missing"
        assert (self.ledger.open_events, self.ledger.open_invocations, self.ledger.running) == (0, 0, 0)


TestWorld = World.TestCase
TestWorld.settings = settings(max_examples=100, stateful_step_count=50)
