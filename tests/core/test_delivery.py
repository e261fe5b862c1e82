"""The ledger by PROTOCOL.md's rules; tests/simulation/test_ledger.py throws everything at it at once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import orjson
import pytest

from bridge.core.conditions import compile_condition
from bridge.core.dedup import RUNS
from bridge.core.delivery import GATHER, Ledger, Limits
from bridge.core.event import Event, Observation, encode, parse, parse_foreign
from bridge.core.mapping import Cooldown, Mapping, MappingSet
from bridge.core.mapping_state import MAX_KEPT, LastValue, MappingState, last_change
from bridge.core.receipts import Ticket
from bridge.core.records import Commit, Restored
from bridge.core.retry import Outcome, RetryPolicy, Verdict
from bridge.core.selector import SensorSelector, TopicSelector
from bridge.core.steps import (
    Acknowledge,
    Answered,
    Attempted,
    Bereaved,
    Buried,
    Cancelled,
    Committed,
    Confirm,
    Connected,
    Effect,
    Ended,
    Expired,
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
    Retrying,
    TimersReleased,
    Unreadable,
)
from bridge.core.topics import SensorEventTopic, Topics

T = TypeVar("T")
START = datetime(2026, 11, 22, 17, 30, tzinfo=UTC)


def event(sequence: int = 1, *, sensor: str = "door", at_s: float = 0.0, **changes: Any) -> Event:
    at = Topics().parse(Topics().event(changes.get("site", "home"), "pi-1", sensor))
    assert isinstance(at, SensorEventTopic)
    seen = Observation(
        kind="pir",
        name=changes.get("name", "motion.detected"),
        value=True,
        unit=None,
        initial=False,
        time=START + timedelta(seconds=at_s),
        timesynced=changes.get("timesynced", True),
    )
    id_ = changes.get("id", f"{sensor}-{sequence}")
    return parse(encode(seen, at=at, id=id_, epoch="e", sequence=sequence), at)


def mapping(name: str = "m", **changes: Any) -> Mapping:
    given: dict[str, Any] = {"selectors": (SensorSelector(event="motion.detected"),), "function": "f"}
    return Mapping(name=name, **(given | changes))


def outcome(verdict: Verdict = Verdict.SUCCEEDED, status: int | None = 500) -> Outcome:
    return Outcome(verdict=verdict, status=status, reason="broken", duration_s=0.1, body="said so")


class Bench:
    """A ledger, and the hands that carry out what it says."""

    def __init__(
        self,
        *mappings: Mapping,
        limits: Limits | None = None,
        restored: Restored | None = None,
        wall: datetime = START,
    ) -> None:
        self.now = Instant(wall, 0.0)
        self.packet = 0
        self.generation = 1
        self.effects: list[Effect] = []
        self.ledger = Ledger(MappingSet(mappings), limits or Limits(), self.now, restored)
        self.step(Connected(1))

    def step(self, *inputs: Input) -> list[Effect]:
        self.effects = self.ledger.step(inputs, self.now)
        return self.effects

    def receive(self, *events: Event, backlog: bool = False) -> list[Ticket]:
        tickets = []
        for _ in events:
            self.packet += 1
            tickets.append(Ticket(self.generation, self.packet))
        self.step(*(Received(one, ticket, backlog) for one, ticket in zip(events, tickets, strict=True)))
        return tickets

    def attempted(self, id_: str, verdict: Verdict = Verdict.SUCCEEDED, status: int | None = 500) -> list[Effect]:
        return self.step(Attempted(id_, outcome(verdict, status), 1.0))

    def wait(self, seconds: float) -> list[Effect]:
        self.now = Instant(self.now.wall + timedelta(seconds=seconds), self.now.monotonic + seconds)
        return self.step()

    def jump(self, days: float) -> list[Effect]:
        """The wall clock is set; no time has passed."""
        self.now = Instant(self.now.wall + timedelta(days=days), self.now.monotonic)
        return self.step()

    def take(self) -> Commit:
        commit = self.ledger.take()
        assert commit is not None
        return commit

    def commit(self) -> Commit:
        commit = self.take()
        self.step(Committed(commit))
        return commit

    def told(self, kind: type[T]) -> list[T]:
        return [effect for effect in self.effects if isinstance(effect, kind)]

    @property
    def invoked(self) -> list[str]:
        return [effect.invocation.id for effect in self.told(Invoke)]

    @property
    def acknowledged(self) -> list[Ticket]:
        return [ticket for effect in self.told(Acknowledge) for ticket in effect.tickets]

    def restart(self, commit: Commit, *mappings: Mapping) -> Bench:
        restored = Restored(commit.records, commit.sources, commit.ids, self.ledger.state, 100)
        return Bench(*mappings, restored=restored, wall=self.now.wall)


def test_rule_5_what_is_nothing_to_us_is_acknowledged_and_no_more() -> None:
    bench = Bench(mapping())
    bench.step(Ignored(Ticket(1, 1)))

    assert bench.effects == [Acknowledge((Ticket(1, 1),))]
    assert not bench.ledger.dirty


def test_rule_7_a_redelivered_event_is_never_planned_again() -> None:
    bench = Bench(mapping())
    bench.receive(event())
    assert (bench.invoked, len(bench.told(Judged))) == (["door-1:m"], 1)

    bench.receive(event())
    assert (bench.invoked, bench.told(Judged), len(bench.told(Repeated))) == ([], [], 1)
    bench.attempted("door-1:m")
    bench.commit()
    bench.receive(event())
    assert (bench.invoked, bench.told(Judged), len(bench.acknowledged)) == ([], [], 1)


def test_rule_7_event_invocations_and_state_are_one_commit() -> None:
    bench = Bench(mapping(cooldown=Cooldown(30.0)))
    bench.receive(event())
    commit = bench.take()

    assert [(record.event.id, [one.invocation.id for one in record.open]) for record in commit.records] == [
        ("door-1", ["door-1:m"])
    ]
    assert any(change.key.startswith("cooldown|m|") for change in commit.changes)
    assert [row.runs for row in commit.sources] == [((1, 1),)]


def test_rule_7_what_an_event_changed_is_kept_before_it_is_acknowledged() -> None:
    bench = Bench(mapping(cooldown=Cooldown(30.0)))
    tickets = bench.receive(event())
    bench.attempted("door-1:m")
    assert bench.acknowledged == []

    bench.commit()
    assert bench.acknowledged == tickets


def test_a_commit_of_a_burst_may_gather_as_long_as_nothing_waits_for_it_to_be_acknowledged() -> None:
    bench = Bench(mapping(cooldown=Cooldown(1.0), selectors=(SensorSelector(sensor="gate"),)))
    may_gather = []
    bench.receive(*(event(number) for number in range(1, GATHER)))
    may_gather.append(bench.ledger.may_gather)  # not much yet
    bench.receive(event(GATHER))
    may_gather.append(bench.ledger.may_gather)
    bench.receive(*(event(number, sensor="gate", at_s=60.0 * number) for number in range(1, GATHER // 2 + 1)))
    may_gather.append(bench.ledger.may_gather)
    for number in range(1, GATHER // 2 + 1):
        bench.attempted(f"gate-{number}:m")
    may_gather.append(bench.ledger.may_gather)  # these are finished, and their cooldown must be kept first
    bench.commit()
    may_gather.append(bench.ledger.may_gather)
    assert may_gather == [False, True, True, False, False]


def test_what_leaves_too_many_gaps_is_let_go_and_taken_when_it_is_sent_again() -> None:
    bench = Bench()
    for sequence in range(1, 2 * RUNS, 2):
        bench.receive(event(sequence))
    (ticket,) = bench.receive(event(3 * RUNS))
    assert [postponed.event.sequence for postponed in bench.told(Postponed)] == [3 * RUNS]
    assert bench.acknowledged == [ticket]
    bench.receive(event(2), event(3 * RUNS))
    assert not bench.told(Postponed)
    (row,) = bench.ledger.confirmed()
    assert row.runs[-1] == (3 * RUNS, 3 * RUNS)


def test_rule_8_what_is_finished_is_acknowledged_before_a_disk_has_spun() -> None:
    bench = Bench(mapping())
    tickets = bench.receive(event())
    assert bench.acknowledged == []
    assert bench.ledger.unacknowledged == 1

    bench.attempted("door-1:m")
    assert bench.acknowledged == tickets
    commit = bench.commit()
    assert (commit.records, commit.finished) == ((), ())
    assert len(bench.told(Confirm)) == 1
    assert bench.ledger.open_events == 0


def test_rule_8_what_is_stored_is_acknowledged_before_it_is_finished() -> None:
    bench = Bench(mapping())
    tickets = bench.receive(event())
    commit = bench.commit()

    assert bench.acknowledged == tickets
    assert (len(commit.records), bench.ledger.open_events, bench.ledger.running) == (1, 1, 1)
    bench.attempted("door-1:m")
    assert bench.commit().finished == (commit.records[0].number,)
    assert bench.ledger.open_events == 0


def test_rule_8_acknowledgements_leave_in_the_order_of_receipt() -> None:
    bench = Bench(mapping())
    tickets = bench.receive(event(1), event(1, sensor="gate"))
    bench.attempted("gate-1:m")
    assert bench.acknowledged == []

    bench.attempted("door-1:m")
    assert bench.acknowledged == tickets


def test_rule_8_a_stale_acknowledgement_is_discarded_and_the_event_comes_again() -> None:
    bench = Bench(mapping())
    bench.receive(event())
    bench.generation = 2
    bench.step(Connected(2))
    bench.attempted("door-1:m")
    assert bench.acknowledged == []

    (ticket,) = bench.receive(event())
    assert bench.told(Judged) == []
    assert bench.acknowledged == [ticket]  # it is finished


def test_rule_8_an_event_that_ends_before_its_commit_is_forgotten_but_for_its_number() -> None:
    bench = Bench(mapping())
    bench.receive(event())
    bench.attempted("door-1:m")

    assert bench.ledger.open_events == 0
    commit = bench.commit()
    assert (commit.records, commit.finished, commit.entries) == ((), (), ())
    assert bench.ledger.confirmed()[0].runs == ((1, 1),)


def test_rule_8_a_duplicate_joins_its_original_and_is_acknowledged_with_it() -> None:
    bench = Bench(mapping())
    tickets = bench.receive(event(), event())
    assert bench.acknowledged == []
    bench.attempted("door-1:m")
    assert bench.acknowledged == tickets

    (stored,) = bench.receive(event(2))
    bench.commit()
    assert bench.acknowledged == [stored]
    again = bench.receive(event(2))
    assert bench.acknowledged == again


def test_rule_8_an_event_without_quality_of_service_needs_no_acknowledgement() -> None:
    bench = Bench(mapping())
    bench.step(Received(event(), None))
    bench.step(Received(event(), None))
    bench.step(Unreadable("01K", "a/b", b"{", "no JSON", None))
    bench.attempted("door-1:m")
    bench.commit()

    assert bench.acknowledged == []
    assert bench.ledger.open_events == 0


def test_rule_8_what_could_not_be_kept_is_handed_over_again() -> None:
    bench = Bench(mapping(cooldown=Cooldown(30.0)))
    tickets = bench.receive(event())
    failed = bench.take()
    assert not bench.ledger.dirty
    bench.step(NotCommitted(failed))
    assert bench.acknowledged == []

    commit = bench.commit()
    assert (commit.records, commit.sources, commit.changes) == (failed.records, failed.sources, failed.changes)
    assert bench.acknowledged == tickets
    assert bench.ledger.take() is None


def test_too_much_open_work_withholds_acknowledgements() -> None:
    bench = Bench(mapping(), limits=Limits(open_events=1))
    tickets = bench.receive(event(1), event(2))
    bench.commit()
    assert bench.acknowledged == []

    bench.attempted("door-1:m")
    bench.commit()
    assert bench.acknowledged == tickets


def test_rule_9_in_a_lane_the_next_starts_after_the_one_before_has_ended() -> None:
    bench = Bench(mapping())
    bench.receive(event(1), event(2), event(1, sensor="gate"))
    assert bench.invoked == ["door-1:m", "gate-1:m"]
    bench.attempted("door-1:m", Verdict.RETRYABLE)
    assert bench.invoked == []
    assert bench.ledger.wake_at == 1.0
    bench.wait(1.0)
    assert bench.invoked == ["door-1:m"]
    bench.attempted("door-1:m")
    assert bench.invoked == ["door-2:m"]


def test_rule_9_order_none_lifts_the_lane() -> None:
    bench = Bench(mapping(order="none"))
    bench.receive(event(1), event(2))

    assert bench.invoked == ["door-1:m", "door-2:m"]
    assert (bench.ledger.running, bench.ledger.open_invocations) == (2, 2)


def test_rule_10_after_a_kill_what_is_stored_goes_on_and_what_is_finished_is_not_repeated() -> None:
    rules = (mapping("a", retry=RetryPolicy(attempts=3)), mapping("b"))
    bench = Bench(*rules)
    bench.receive(event())
    bench.attempted("door-1:a", Verdict.RETRYABLE)
    bench.attempted("door-1:b")

    other = bench.restart(bench.commit(), *rules)

    other.wait(1.0)
    assert other.invoked == ["door-1:a"]
    assert [effect.attempt for effect in other.told(Invoke)] == [2]
    other.receive(event())
    assert other.invoked == []
    assert len(other.acknowledged) == 1
    other.attempted("door-1:a")
    assert len(other.commit().finished) == 1


@pytest.mark.parametrize("verdict", [Verdict.REFUSED, Verdict.RETRYABLE])
def test_rule_11_what_is_given_up_is_a_dead_letter_and_then_acknowledged(verdict: Verdict) -> None:
    bench = Bench(mapping(retry=RetryPolicy(attempts=1)))
    tickets = bench.receive(event())
    bench.attempted("door-1:m", verdict)
    assert bench.acknowledged == []
    (ended,) = bench.told(Ended)
    assert ended.letter is not None
    assert (ended.letter.id, ended.letter.status, ended.letter.body, ended.letter.attempts) == (
        "door-1:m",
        500,
        "said so",
        1,
    )

    assert bench.commit().letters == (ended.letter,)
    assert bench.acknowledged == tickets


def test_rule_11_a_parked_function_is_probed_and_the_attempt_does_not_count() -> None:
    bench = Bench(mapping(retry=RetryPolicy(attempts=1)))
    bench.receive(event(), event(1, sensor="gate"))
    bench.attempted("door-1:m", Verdict.PARKED)
    bench.attempted("gate-1:m", Verdict.PARKED)
    assert bench.ledger.parked == ("f",)
    assert [effect.delay_s for effect in bench.told(Retrying)] == [None]

    bench.wait(1.0)
    assert len(bench.invoked) == 1
    assert [effect.attempt for effect in bench.told(Invoke)] == [1]
    bench.attempted(bench.invoked[0])
    assert len(bench.invoked) == 1
    assert not bench.ledger.parked


def test_rule_11_who_tells_of_a_death_gets_the_dead_letter_once() -> None:
    bench = Bench(mapping(retry=RetryPolicy(attempts=1), on_failure="page"))
    bench.receive(event())
    bench.attempted("door-1:m", Verdict.REFUSED)

    (invoke,) = bench.told(Invoke)
    assert (invoke.invocation.id, invoke.invocation.function) == ("door-1:m:on-failure", "page")
    assert orjson.loads(invoke.invocation.text or "")["reason"] == "refused: broken"
    bench.attempted("door-1:m:on-failure", Verdict.REFUSED)
    assert bench.invoked == []
    assert [letter.id for letter in bench.commit().letters] == ["door-1:m", "door-1:m:on-failure"]


@pytest.mark.parametrize("status", [None, 408, 500, 502])
def test_rule_11_failures_in_a_row_open_the_breaker_and_one_answer_closes_it(status: int | None) -> None:
    bench = Bench(mapping(order="none"), limits=Limits(breaker_failures=3))
    bench.receive(*(event(number) for number in range(1, 5)))
    for number in range(1, 4):
        assert not bench.told(Parked)
        bench.attempted(f"door-{number}:m", Verdict.RETRYABLE, status)

    assert bench.told(Parked) == [Parked("f", "broken")]
    assert bench.ledger.parked_because == {"f": "broken"}
    bench.attempted("door-4:m", Verdict.RETRYABLE, status)
    bench.receive(event(5))
    assert bench.invoked == []
    bench.wait(1.0)
    assert bench.invoked == ["door-5:m"]
    bench.attempted("door-5:m")
    assert bench.told(Answered) == [Answered("f")]
    assert [invoke.attempt for invoke in bench.told(Invoke)] == [2, 2, 2, 2]
    assert bench.ledger.parked_because == {}


@pytest.mark.parametrize("status", [425, 429])
def test_rule_11_a_function_that_asks_for_patience_opens_no_breaker(status: int) -> None:
    bench = Bench(mapping(order="none"), limits=Limits(breaker_failures=1))
    bench.receive(event(1))
    bench.attempted("door-1:m", Verdict.RETRYABLE, status)
    assert bench.ledger.parked == ()


def test_rule_11_what_dies_of_a_broken_function_counts_for_its_breaker_too() -> None:
    bench = Bench(mapping(retry=RetryPolicy(attempts=1)), limits=Limits(breaker_failures=2))
    bench.receive(event(1), event(2), event(3))
    bench.attempted("door-1:m", Verdict.RETRYABLE)
    bench.attempted("door-2:m", Verdict.RETRYABLE)
    assert (bench.ledger.parked, bench.invoked) == (("f",), [])
    bench.wait(1.0)
    assert bench.invoked == ["door-3:m"]


def test_rule_13_a_parked_function_that_no_mapping_waits_for_any_more_is_told_of_no_longer() -> None:
    bench = Bench(mapping())
    bench.receive(event(1))
    bench.attempted("door-1:m", Verdict.PARKED)
    assert bench.told(Parked) == [Parked("f", "broken")]
    bench.step(MappingsReplaced(MappingSet([])))
    assert bench.told(Answered) == [Answered("f")]


def test_rule_12_a_condition_that_cannot_be_evaluated_is_a_dead_letter() -> None:
    bench = Bench(mapping(when=compile_condition("data.missing == 1")))
    tickets = bench.receive(event())
    assert bench.acknowledged == []

    commit = bench.commit()
    assert [(letter.id, letter.mapping, letter.function) for letter in commit.letters] == [("door-1:m", "m", "f")]
    assert bench.acknowledged == tickets


def test_rule_12_a_payload_that_cannot_be_read_is_a_dead_letter_then_acknowledged() -> None:
    bench = Bench(mapping())
    bench.step(Unreadable("01K", "a/b", b"{", "no JSON", Ticket(1, 9)))
    assert (bench.acknowledged, len(bench.told(Buried))) == ([], 1)

    assert [letter.event for letter in bench.commit().letters] == [b"{"]
    assert bench.acknowledged == [Ticket(1, 9)]


def test_rule_13_what_waits_for_a_removed_mapping_is_dead_and_what_runs_may_end() -> None:
    bench = Bench(mapping("a"), mapping("b", for_s=5.0), mapping("c"))
    bench.receive(event(1), event(2))
    bench.step(MappingsReplaced(MappingSet([mapping("c")])))

    assert {(ended.letter.id, ended.letter.reason) for ended in bench.told(Ended) if ended.letter} == {
        ("door-2:a", "mapping removed"),
        ("door-1:b", "mapping removed"),
    }
    assert bench.ledger.waiting == 0
    bench.attempted("door-1:a", Verdict.RETRYABLE)
    assert [ended.letter.reason for ended in bench.told(Ended) if ended.letter] == ["mapping removed"]
    bench.attempted("door-1:c")
    assert bench.invoked == ["door-2:c"]


def test_rule_13_a_mapping_that_comes_back_does_not_go_on_waiting() -> None:
    bench = Bench(mapping(for_s=5.0))
    bench.receive(event(1))
    bench.step(MappingsReplaced(MappingSet([])))
    bench.step(MappingsReplaced(MappingSet([mapping(for_s=5.0)])))

    bench.receive(event(2, at_s=1.0))
    assert bench.ledger.waiting == 1


def test_rule_13_a_mapping_that_was_removed_while_the_dispatcher_was_down() -> None:
    bench = Bench(mapping("a", on_failure="page"), mapping("b"))
    bench.receive(event())

    other = bench.restart(bench.commit(), mapping("b"))

    assert sorted(other.invoked) == ["door-1:a:on-failure", "door-1:b"]
    assert [letter.reason for letter in other.commit().letters] == ["mapping removed"]


def test_rule_14_what_is_older_than_max_age_before_it_starts_is_dropped_and_told() -> None:
    bench = Bench(mapping(max_age_s=10.0, retry=RetryPolicy(attempts=9, first_s=20.0)))
    bench.receive(event(1), event(2), event(1, sensor="gate", timesynced=False, at_s=-999.0))
    assert bench.invoked == ["door-1:m", "gate-1:m"]
    bench.attempted("door-1:m", Verdict.RETRYABLE)
    bench.wait(20.0)

    assert [effect.event.id for effect in bench.told(Expired)] == ["door-1", "door-2"]
    assert bench.invoked == []
    bench.attempted("gate-1:m")
    assert bench.ledger.open_invocations == 0


@pytest.mark.parametrize("days", [1, -1])
def test_rule_14_a_jump_of_our_wall_clock_makes_nothing_older_that_is_here_already(days: float) -> None:
    bench = Bench(mapping(max_age_s=10.0, retry=RetryPolicy(attempts=9, first_s=6.0)))
    bench.receive(event(1))
    bench.attempted("door-1:m", Verdict.RETRYABLE)
    bench.jump(days)
    bench.wait(6.0)
    assert (bench.invoked, bench.told(Expired)) == (["door-1:m"], [])

    bench.attempted("door-1:m", Verdict.RETRYABLE)
    bench.wait(12.0)
    assert [effect.event.id for effect in bench.told(Expired)] == ["door-1"]


def test_rule_14_what_an_earlier_life_received_ages_by_wall_time() -> None:
    bench = Bench(mapping(max_age_s=10.0, retry=RetryPolicy(attempts=9, first_s=6.0)))
    bench.receive(event(1))
    bench.attempted("door-1:m", Verdict.RETRYABLE)
    commit = bench.commit()
    bench.wait(11.0)
    other = bench.restart(commit, mapping(max_age_s=10.0))
    assert [effect.event.id for effect in other.told(Expired)] == ["door-1"]


@pytest.mark.parametrize("days", [1, -1])
def test_rule_15_a_jump_of_our_wall_clock_neither_fires_nor_holds_what_waits(days: float) -> None:
    bench = Bench(mapping(for_s=5.0))
    bench.receive(event(1))
    bench.wait(2.0)
    assert bench.jump(days) == []
    bench.wait(2.9)
    assert bench.invoked == []
    bench.wait(0.1)
    assert bench.invoked == ["door-1:m"]


def test_rule_15_nothing_waits_longer_than_its_for_however_much_two_clocks_disagree() -> None:
    bench = Bench(mapping(for_s=5.0))
    bench.jump(-1)
    bench.receive(event(1))
    commit = bench.commit()
    other = bench.restart(commit, mapping(for_s=5.0))
    for one in (bench, other):
        one.step(TimersReleased())
        one.wait(4.9)
        assert one.invoked == []
        one.wait(0.1)
        assert one.invoked == ["door-1:m"]


def test_rule_15_what_must_hold_fires_when_it_held_so_long_and_survives_a_restart() -> None:
    bench = Bench(mapping(for_s=5.0))
    tickets = bench.receive(event())
    assert (bench.invoked, bench.ledger.wake_at, bench.ledger.waiting) == ([], 5.0, 1)
    commit = bench.commit()
    assert bench.acknowledged == tickets
    bench.wait(2.0)
    other = bench.restart(commit, mapping(for_s=5.0))

    other.wait(2.9)
    assert other.invoked == []
    other.wait(0.1)
    assert other.invoked == []  # the backlog may hold what cancels it
    other.step(TimersReleased())
    assert other.invoked == ["door-1:m"]


def test_rule_15_the_opposite_event_cancels_and_a_late_one_does_not() -> None:
    bench = Bench(mapping(for_s=5.0))
    bench.receive(event(1))
    bench.wait(1.0)
    bench.receive(event(2, name="motion.ended", at_s=1.0))
    assert [effect.event.id for effect in bench.told(Cancelled)] == ["door-1"]
    bench.wait(9.0)
    assert bench.invoked == []

    bench.receive(event(3, at_s=10.0))
    bench.receive(event(4, name="motion.ended", at_s=15.5))
    assert bench.told(Cancelled) == []
    bench.wait(5.0)
    assert bench.invoked == ["door-3:m"]


def test_rule_15_a_node_that_goes_offline_cancels() -> None:
    bench = Bench(mapping(for_s=5.0))
    bench.receive(event())
    bench.step(NodeOffline("home", "pi-1", Ticket(1, 7)))

    assert len(bench.told(Cancelled)) == 1
    bench.step(NodeOffline("home", "pi-1", None))
    assert bench.told(Cancelled) == []


@pytest.mark.parametrize("days", [1, -1])
def test_rule_15_a_node_that_goes_offline_cancels_whatever_our_clock_was_set_to(days: float) -> None:
    bench = Bench(mapping(for_s=5.0))
    bench.receive(event())
    bench.wait(1.0)
    bench.jump(days)
    bench.step(NodeOffline("home", "pi-1", None))
    assert len(bench.told(Cancelled)) == 1

    bench.wait(9.0)
    assert bench.invoked == []


@pytest.mark.parametrize("days", [0, -1])
def test_rule_15_a_node_that_goes_offline_after_the_due_time_undoes_nothing(days: float) -> None:
    bench = Bench(mapping(for_s=5.0))
    bench.receive(event())
    bench.now = Instant(bench.now.wall + timedelta(days=days, seconds=6), bench.now.monotonic + 6)
    bench.step(NodeOffline("home", "pi-1", None))
    assert bench.told(Cancelled) == []
    assert bench.invoked == ["door-1:m"]


def test_rule_15_a_clock_that_is_ahead_lets_the_next_wait_without_losing_the_one_before() -> None:
    bench = Bench(mapping(for_s=5.0))
    bench.receive(event(1, at_s=0.0))
    bench.receive(event(2, at_s=6.0))
    assert bench.invoked == ["door-1:m"]
    assert bench.ledger.waiting == 1
    bench.attempted("door-1:m")

    bench.receive(event(3, name="motion.ended", at_s=7.0))
    assert [effect.event.id for effect in bench.told(Cancelled)] == ["door-2"]


def test_rule_11_the_total_time_begins_with_an_attempt_that_reached_the_function() -> None:
    bench = Bench(mapping(retry=RetryPolicy(attempts=2, total_s=60.0)))
    bench.receive(event())
    bench.attempted("door-1:m", Verdict.PARKED)
    bench.wait(3600.0)
    assert bench.invoked == ["door-1:m"]
    bench.attempted("door-1:m", Verdict.RETRYABLE)
    assert bench.told(Ended) == []
    bench.wait(10.0)
    assert bench.invoked == ["door-1:m"]


def test_rule_11_the_total_time_goes_on_while_a_function_is_away_that_was_reached_before() -> None:
    bench = Bench(mapping(retry=RetryPolicy(attempts=3, total_s=60.0)))
    bench.receive(event())
    bench.attempted("door-1:m", Verdict.RETRYABLE)
    bench.wait(1.0)
    bench.attempted("door-1:m", Verdict.PARKED)
    bench.wait(3600.0)
    bench.attempted("door-1:m", Verdict.RETRYABLE)
    assert [ended.letter.reason for ended in bench.told(Ended) if ended.letter] == [
        "gave up after 2 attempts in 3601 s: broken"
    ]


@pytest.mark.parametrize(("away_s", "left_s"), [(10.0, 20.0), (-86_400.0, 30.0), (30.0, 0.0), (86_400.0, 0.0)])
def test_rule_11_a_pause_goes_on_after_a_kill_by_wall_time(away_s: float, left_s: float) -> None:
    rule = mapping(retry=RetryPolicy(attempts=3, first_s=30.0))
    bench = Bench(rule)
    bench.receive(event(1))
    bench.attempted("door-1:m", Verdict.RETRYABLE)
    commit = bench.commit()
    bench.wait(away_s)

    other = bench.restart(commit, rule)
    other.receive(event(2))
    if left_s:
        assert other.wait(left_s - 0.001) == []
        other.wait(0.001)
        assert other.invoked == ["door-1:m"]
    other.attempted("door-1:m")
    assert other.invoked == ["door-2:m"]


@pytest.mark.parametrize(("away_s", "reason"), [(57.0, None), (58.0, "gave up after 2 attempts in 60 s: broken")])
def test_rule_11_the_total_time_goes_on_after_a_kill_by_wall_time(away_s: float, reason: str | None) -> None:
    rule = mapping(retry=RetryPolicy(attempts=3, first_s=1.0, total_s=61.0))
    bench = Bench(rule)
    bench.receive(event())
    bench.wait(1.0)
    bench.attempted("door-1:m", Verdict.RETRYABLE)
    commit = bench.commit()
    bench.wait(away_s)

    other = bench.restart(commit, rule)
    other.wait(1.0)
    other.attempted("door-1:m", Verdict.RETRYABLE)
    assert [ended.letter.reason for ended in other.told(Ended) if ended.letter] == ([reason] if reason else [])


def test_rule_15_a_cooldown_from_success_begins_with_it() -> None:
    bench = Bench(mapping(cooldown=Cooldown(30.0, start="success")))
    bench.receive(event(1))
    bench.attempted("door-1:m", Verdict.SUCCEEDED)
    assert any(change.key.startswith("cooldown|") for change in bench.commit().changes)

    bench.receive(event(2, at_s=5.0))
    assert bench.invoked == []


def test_rule_15_a_cancel_of_what_the_journal_lost_is_no_cancel() -> None:
    bench = Bench(mapping(for_s=5.0))
    bench.receive(event(1))
    other = Bench(mapping(for_s=5.0), restored=Restored(state=bench.ledger.state))

    other.receive(event(2, name="motion.ended", at_s=1.0))
    assert other.told(Cancelled) == []


def test_a_tombstone_is_noted_and_fires_nothing() -> None:
    bench = Bench(mapping())
    ticket = Ticket(1, 1)
    bench.step(Received(event(7), ticket, covers_from=3))

    assert (bench.invoked, len(bench.told(Bereaved)), bench.acknowledged) == ([], 1, [ticket])
    bench.receive(event(5))
    assert len(bench.told(Repeated)) == 1
    assert bench.ledger.confirmed()[0].runs == ((3, 7),)


def test_of_a_tombstone_only_what_is_not_here_is_lost() -> None:
    bench = Bench(mapping())
    bench.receive(event(1), event(4))
    bench.step(Received(event(6), Ticket(1, 3), covers_from=3))
    assert [effect.lost for effect in bench.told(Bereaved)] == [3]
    bench.step(Received(event(8), Ticket(1, 4), covers_from=2))
    assert [effect.lost for effect in bench.told(Bereaved)] == [3]
    bench.step(Received(event(8), Ticket(1, 5), covers_from=2))
    assert bench.told(Bereaved) == []


def test_a_tombstone_whose_own_event_arrived_before_still_covers_the_others() -> None:
    bench = Bench(mapping())
    bench.receive(event(7))
    bench.attempted("door-7:m")
    bench.step(Received(event(7), Ticket(1, 2), covers_from=3))

    assert [(effect.first, effect.lost) for effect in bench.told(Bereaved)] == [(3, 4)]
    assert bench.acknowledged == [Ticket(1, 2)]
    assert bench.commit().sources[0].runs == ((3, 7),)
    assert bench.ledger.confirmed()[0].runs == ((3, 7),)


def test_rule_16_a_foreign_message_is_handled_each_time_it_comes() -> None:
    bench = Bench(mapping(selectors=(TopicSelector(topic="a/+"),)))
    for id_ in ("01K", "01L"):
        bench.receive(parse_foreign(b"1", "a/b", id=id_, received_at=START))
        assert bench.invoked == [f"{id_}:m"]
        bench.attempted(f"{id_}:m")
    assert not bench.ledger.dirty  # no id is remembered, and nothing else is left of it


def test_two_events_with_one_id_break_nothing() -> None:
    """A sensor that gives one id twice spoils its own event, and nobody else's."""
    bench = Bench(mapping(on_failure="page"))
    bench.receive(event(1, id="x"), event(1, sensor="gate", id="x"))

    assert sorted(bench.invoked) == ["x:m", "x:m:on-failure"]
    assert [letter.reason for letter in bench.take().letters] == ["another event with the id x is in work"]
    bench.attempted("x:m", Verdict.REFUSED)
    bench.attempted("x:m:on-failure")
    assert bench.ledger.open_invocations == 0


def test_too_much_mapping_state_gives_way_to_newer_and_that_is_told() -> None:
    known = LastValue("motion.detected", True, START, "motion.detected")
    state = MappingState.restore(last_change(f"pi-1/old-{number}", known) for number in range(MAX_KEPT))
    bench = Bench(mapping(initial="changed"), restored=Restored(state=state))
    bench.receive(event())

    assert [told.keys for told in bench.told(Forgotten)] == [("last|pi-1/old-0",)]
    assert "pi-1/old-0" not in state.last
    assert "pi-1/door" in state.last


def test_an_outcome_nobody_waits_for_changes_nothing() -> None:
    bench = Bench(mapping())
    bench.attempted("nobody:m")

    assert bench.effects == []
    assert bench.ledger.wake_at is None
