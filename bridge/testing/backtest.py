"""A backtest: what a mapping set would have fired on a recording, and how that differs from another set.

The intake and the ledger are those of the dispatcher, on a virtual clock that says of each message when it was
received. Around them is nothing: no broker, no journal, and functions that succeed at once. What the dispatcher knew
before the recording began (the last value of a sensor, a cooldown) is not known here.

    course = Course(root, start)
    test = Backtest(mappings, course)
    for line in lines:
        course.take(line)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, Literal, TypeAlias

from bridge.clock import VirtualClock
from bridge.core.delivery import Ledger, Limits
from bridge.core.event import Event
from bridge.core.invocation import Invocation
from bridge.core.mapping import MappingSet
from bridge.core.plan import Judgement
from bridge.core.retry import Outcome, Verdict
from bridge.core.selector import nearest_mismatch
from bridge.core.steps import (
    Attempted,
    BacklogEnded,
    Buried,
    Cancelled,
    Committed,
    Connected,
    Effect,
    Expired,
    Input,
    Instant,
    Invoke,
    Judged,
    Received,
    Repeated,
)
from bridge.core.topics import Topics
from bridge.dispatcher.backlog import Backlog
from bridge.dispatcher.intake import Intake
from bridge.mqtt.transport import Delivery, Message
from bridge.testing.recording import Recorded
from bridge.ulid import mint

_FOREVER: Final = 10**9
_LIMITS: Final = Limits(per_function=_FOREVER, total=_FOREVER, open_events=_FOREVER, stored_events=_FOREVER)
_DONE: Final = Outcome(verdict=Verdict.SUCCEEDED, status=200, reason="", duration_s=0.0)
_COMMIT_EVERY: Final = 256
"""A commit is where the ledger forgets what has ended; when it is made decides nothing."""
_GENERATION: Final = 1
_UNACKNOWLEDGED: Final = 0
"""The QoS of what is replayed: there is nobody to be told that it was received, and nothing else depends on it."""

Told: TypeAlias = Callable[[Event, Sequence[Judgement]], None]


@dataclass(frozen=True, slots=True)
class Fired:
    """An invocation that would have been made."""

    invocation: Invocation
    event: Event
    at: datetime

    @property
    def id(self) -> str:
        """`<event id>:<mapping>`."""
        return self.invocation.id

    @property
    def mapping(self) -> str:
        """The mapping that fired."""
        return self.invocation.mapping

    @property
    def function(self) -> str:
        """What it invokes."""
        return self.invocation.function


@dataclass(frozen=True, slots=True)
class Difference:
    """What one of two mapping sets fired and the other did not, or otherwise; `reason` says what the other one did."""

    only: Literal["new", "old", "both"]
    """`both`: at another time, or another function."""
    fired: Fired
    reason: str


class Course:
    """The course of a recording: time passes, and each message is read once, whatever number of backtests see it."""

    def __init__(self, root: str, start: datetime) -> None:
        self.clock = VirtualClock(start)
        self._received_at = start
        self.backlog = Backlog(self.clock, self._backlog_ended)
        self._number = 0
        self._intake = Intake(Topics(root), self._mint_id, _ignored, self.backlog, _never)
        self._tests: list[Backtest] = []

    def join(self, test: Backtest) -> None:
        """Let a backtest see what comes from now on."""
        self._tests.append(test)

    def take(self, line: Recorded) -> Event | None:
        """Let time pass until a message was received, with everything that falls due, and take the message in.

        Returns the event in it, if there is one.
        """
        clock, received_at = self.clock, line.received_at
        ahead_s = (received_at - self._received_at).total_seconds()
        if ahead_s > 0:
            self._pass_until(clock.monotonic() + ahead_s)
        clock.set(received_at)  # to the microsecond; and a clock may have been put back
        self._received_at = received_at
        self._number += 1
        message = Message(line.topic, line.payload, _UNACKNOWLEDGED, line.retained)
        given = self._intake.read(Delivery(message, _GENERATION, self._number), received_at)
        event = given.event if isinstance(given, Received) else None
        if given is not None:
            now = Instant(received_at, clock.monotonic())
            for test in self._tests:
                test.events += event is not None
                test.step((given,), now)
        if not self._number % _COMMIT_EVERY:
            for test in self._tests:
                test.commit()
        return event

    def run_out(self) -> None:
        """Let time pass until nothing waits any more for its `for`."""
        while due := [test.wake_at for test in self._tests if test.waiting and test.wake_at is not None]:
            self._pass_until(min(due))
            self._received_at = self.clock.now()

    def _pass_until(self, until: float) -> None:
        clock, tests = self.clock, self._tests
        while True:
            due = clock.next_at
            for test in tests:
                if test.wake_at is not None and (due is None or test.wake_at < due):
                    due = test.wake_at
            if due is None or due > until:
                break
            clock.move(due)
            if not clock.fire():
                for test in tests:
                    if test.wake_at is not None and test.wake_at <= clock.monotonic():
                        test.step((), self.now())
        clock.move(until)

    def _backlog_ended(self) -> None:
        for test in self._tests:
            ended = [BacklogEnded(place) for place in test.slots if not self.backlog.waits(place)]
            if ended:
                test.step(ended, self.now())

    def now(self) -> Instant:
        """Now, on both clocks."""
        return Instant(self.clock.now(), self.clock.monotonic())

    def _mint_id(self) -> str:
        """The same for the same message, whatever the mappings are."""
        return mint(self.clock.now(), self._number.to_bytes(10))


class Backtest:
    """One mapping set in a dispatcher's place, in the course of a recording.

    `explain` keeps why something did not fire, for `why_not`; `judged` is told of every event and judgement when it is
    made. A shadow lives as it would without `shadow: true`, with what waits and cools down; `would_fire` says what it
    would have invoked.
    """

    def __init__(
        self, mappings: MappingSet, course: Course, *, explain: bool = False, judged: Told | None = None
    ) -> None:
        self.mappings = mappings
        self.fired: dict[str, Fired] = {}
        self.would_fire: dict[str, Fired] = {}
        """What shadows would have fired."""
        self.events = 0
        self.repeated = 0
        """Events that came again."""
        self.unreadable: list[str] = []
        """Of what would be a dead letter: why."""
        self._explain = explain
        self._judged = judged
        self._reasons: dict[str, str] = {}
        self._course = course
        self._shadows = frozenset(one.name for one in mappings.mappings.values() if one.shadow)
        if self._shadows:
            mappings = MappingSet(replace(one, shadow=False) for one in mappings.mappings.values())
        self._ledger = Ledger(mappings, _LIMITS, course.now())
        self.wake_at: float | None = None
        """When there is something to decide although nothing happened (monotonic)."""
        self.step((Connected(_GENERATION),), course.now())
        course.join(self)

    @property
    def waiting(self) -> int:
        """Invocations whose `for` has not passed yet."""
        return self._ledger.waiting

    @property
    def slots(self) -> frozenset[tuple[str, str] | None]:
        """Where only the latest is kept until the backlog has ended."""
        return self._ledger.slots

    def counts(self) -> Counter[str]:
        """How often each mapping fired; 0 for those that never did."""
        counted = Counter(dict.fromkeys(self.mappings.mappings, 0))
        counted.update(one.mapping for one in self.fired.values())
        return counted

    def would_count(self) -> Counter[str]:
        """How often each shadow would have fired; 0 for those that never would."""
        counted = Counter(dict.fromkeys(sorted(self._shadows), 0))
        counted.update(one.mapping for one in self.would_fire.values())
        return counted

    def why_not(self, mapping_name: str, event: Event) -> str:
        """Why a mapping has not fired for an event that something else has fired for."""
        mapping = self.mappings.mappings.get(mapping_name)
        if mapping is None:
            return f"there is no mapping {mapping_name}"
        reason = self._reasons.get(f"{event.key}:{mapping_name}")
        if reason is not None:
            return reason
        mismatch = nearest_mismatch(mapping.selectors, event)
        if mismatch is None:
            return f"{mapping_name} was not asked: the event had come before"
        return f"{mapping_name} does not fire: select.{mismatch.field} wants {mismatch.wanted}, found {mismatch.found}"

    def step(self, inputs: Sequence[Input], now: Instant) -> None:
        """Let the ledger decide; what it invokes has succeeded at the same instant."""
        while True:
            ended: list[Input] = []
            for effect in self._ledger.step(inputs, now):
                if isinstance(effect, Invoke):
                    invocation = effect.invocation
                    self._note_fired(Fired(invocation, effect.event, now.wall))
                    ended.append(Attempted(invocation.id, _DONE, 0.0))
                else:
                    self._note(effect)
            if not ended:
                break
            inputs = ended
        self.wake_at = self._ledger.wake_at

    def commit(self) -> None:
        """Let the ledger forget what has ended."""
        commit = self._ledger.take()
        if commit is not None:
            self.step((Committed(commit),), self._course.now())

    def _note_fired(self, fired: Fired) -> None:
        if fired.mapping not in self._shadows:
            self.fired[fired.id] = fired
            return
        self.would_fire[fired.id] = fired
        self._reasons[fired.id] = f"{fired.mapping} is a shadow: it would have invoked {fired.function}"

    def _note(self, effect: Effect) -> None:
        match effect:
            case Judged(event, planned):
                if self._judged is not None:
                    self._judged(event, planned.judgements)
                if self._explain:
                    for judgement in planned.judgements:
                        self._keep_reason(event, judgement)
            case Cancelled(invocation, _, by):
                self._reasons[invocation.id] = f"{invocation.mapping} no longer waits: called off by {by}"
            case Expired(invocation, _, rule):
                self._reasons[invocation.id] = f"{invocation.mapping} is dropped: {rule}"
            case Repeated():
                self.repeated += 1
            case Buried(letter):
                self.unreadable.append(letter.reason)
            case _:
                pass

    def _keep_reason(self, event: Event, judgement: Judgement) -> None:
        if judgement.result in ("rejected", "failed", "waits"):
            self._reasons[f"{event.key}:{judgement.mapping}"] = judgement.text


def _ignored(_: str) -> None:
    """What is nothing to the dispatcher is nothing to a backtest."""


def _never(_: Message) -> None:
    """No message has ended a dispatcher here."""


def compare(new: Backtest, old: Backtest) -> Iterator[Difference]:
    """What the two fired differently, in the order of time."""
    found = [
        *_alone("new", new, old),
        *_alone("old", old, new),
        *_otherwise(new, old),
    ]
    yield from sorted(found, key=lambda one: (one.fired.at, one.fired.id))


def _alone(only: Literal["new", "old"], one: Backtest, other: Backtest) -> Iterator[Difference]:
    for fired in one.fired.values():
        if fired.id not in other.fired:
            yield Difference(only, fired, other.why_not(fired.mapping, fired.event))


def _otherwise(new: Backtest, old: Backtest) -> Iterator[Difference]:
    for fired in new.fired.values():
        before = old.fired.get(fired.id)
        if before is None or (before.at, before.function) == (fired.at, fired.function):
            continue
        apart_s = round((fired.at - before.at).total_seconds(), 3)
        when = f"{abs(apart_s):g} s {'later' if apart_s > 0 else 'earlier'}" if apart_s else "at the same time"
        where = "" if before.function == fired.function else f", and {before.function} was invoked before"
        yield Difference("both", fired, when + where)
