"""What a group commit leaves to the broker, because it will have ended before the next one (rule 8)."""

from __future__ import annotations

import pytest

from bridge.core.event import parse_foreign
from bridge.core.mapping_state import LastValue
from bridge.core.patience import AGAIN_S, MANY, PATIENT_S
from bridge.core.receipts import Ticket
from bridge.core.records import Commit
from bridge.core.retry import Verdict
from bridge.core.selector import SensorSelector, TopicSelector
from bridge.core.steps import Committed, Connected, Expired, NotCommitted, Received
from tests.core.test_delivery import START, Bench, event, mapping

FREE = mapping(order="none")
JUST_BEFORE_S = PATIENT_S - 0.001


def patient(bench: Bench) -> Commit | None:
    return bench.ledger.take(bench.now)


def kept(bench: Bench) -> Commit:
    commit = patient(bench)
    assert commit is not None
    bench.step(Committed(commit))
    return commit


def runs(commit: Commit) -> dict[str, tuple[tuple[int, int], ...]]:
    return {row.source.rpartition("/")[2]: row.runs for row in commit.sources}


def stored(commit: Commit) -> list[str]:
    return [record.event.id for record in commit.records]


def last_known(commit: Commit) -> dict[str, str]:
    return {change.key: change.value.event for change in commit.changes if isinstance(change.value, LastValue)}


def test_rule_8_what_came_only_just_is_left_to_the_broker_and_never_stored_when_it_ends_in_time() -> None:
    bench = Bench(mapping())
    tickets = bench.receive(event())
    bench.wait(JUST_BEFORE_S)

    assert patient(bench) is None
    assert bench.ledger.dirty
    assert (bench.acknowledged, bench.ledger.unacknowledged) == ([], 1)
    bench.attempted("door-1:m")
    assert bench.acknowledged == tickets
    commit = kept(bench)
    assert (commit.records, runs(commit)) == ((), {"door": ((1, 1),)})
    assert not bench.ledger.dirty


def test_rule_8_what_does_not_end_soon_is_stored_and_acknowledged() -> None:
    bench = Bench(mapping())
    tickets = bench.receive(event())
    bench.wait(PATIENT_S)

    assert stored(kept(bench)) == ["door-1"]
    assert bench.acknowledged == tickets


def test_what_does_not_end_soon_is_stored_alone_where_little_else_is_open() -> None:
    bench = Bench(mapping())
    bench.receive(event(1))
    bench.wait(PATIENT_S)
    bench.receive(event(2), *(event(number, sensor="gate") for number in range(1, MANY - 1)))

    assert stored(kept(bench)) == ["door-1"]
    assert patient(bench) is None


def test_when_much_waits_behind_what_had_to_be_stored_all_is_stored_for_a_while() -> None:
    bench = Bench(mapping())
    bench.receive(event(1))
    bench.wait(PATIENT_S)
    bench.receive(*(event(number, sensor="gate") for number in range(1, MANY + 1)))
    assert len(stored(kept(bench))) == 1 + MANY

    bench.wait(AGAIN_S - 0.01)
    bench.receive(event(2))
    assert stored(kept(bench)) == ["door-2"]

    bench.wait(0.02)
    bench.receive(event(3))
    assert patient(bench) is None


def test_without_a_time_everything_is_taken() -> None:
    bench = Bench(mapping())
    bench.receive(event())

    assert stored(bench.take()) == ["door-1"]


def test_rule_7_nothing_is_recorded_behind_what_is_left_of_a_source() -> None:
    bench = Bench(FREE)
    bench.receive(event(1), event(2), event(3), event(1, sensor="gate"))
    for id_ in ("door-1:m", "door-3:m", "gate-1:m"):
        bench.attempted(id_)

    assert runs(kept(bench)) == {"door": ((1, 1),), "gate": ((1, 1),)}
    assert patient(bench) is None, "nothing is told twice"
    bench.attempted("door-2:m")
    assert runs(kept(bench)) == {"door": ((1, 3),)}


def test_a_sequence_that_comes_again_is_told_again_although_later_ones_are_left() -> None:
    bench = Bench(mapping())
    bench.receive(event(1))
    bench.attempted("door-1:m")
    bench.receive(event(2))
    assert runs(kept(bench)) == {"door": ((1, 1),)}

    bench.receive(event(1))
    assert runs(kept(bench)) == {"door": ((1, 1),)}
    bench.receive(event(1))
    refused = patient(bench)
    assert refused is not None
    bench.step(NotCommitted(refused))
    assert runs(kept(bench)) == {"door": ((1, 1),)}


def test_rule_7_what_was_last_known_is_kept_as_it_was_before_what_is_left() -> None:
    bench = Bench(FREE)
    bench.receive(event(1, name="motion.ended"))
    bench.receive(event(2), event(3, at_s=1, name="motion.ended"))

    assert last_known(kept(bench)) == {"last|pi-1/door": "motion.ended"}
    assert patient(bench) is None
    bench.receive(event(4, at_s=2, name="digital.on"))
    bench.attempted("door-2:m")
    assert last_known(kept(bench)) == {"last|pi-1/door": "digital.on"}
    assert bench.ledger.take(bench.now) is None


def test_rule_7_what_was_known_before_what_is_left_goes_with_the_next_commit_when_one_fails() -> None:
    bench = Bench(mapping())
    bench.receive(event(1))
    bench.attempted("door-1:m")
    refused = patient(bench)
    assert refused is not None
    bench.receive(event(2, at_s=1, name="motion.ended"), event(3, at_s=2))
    bench.step(NotCommitted(refused))

    again = kept(bench)
    assert (runs(again), last_known(again)) == ({"door": ((1, 2),)}, {"last|pi-1/door": "motion.ended"})


def test_an_event_of_which_nothing_was_last_known_holds_back_what_follows_it_all_the_same() -> None:
    bench = Bench(FREE)
    bench.receive(event(1, at_s=10))
    bench.attempted("door-1:m")
    kept(bench)
    bench.receive(event(2, at_s=5))  # its time is before the last one's: it changes nothing
    bench.receive(event(3, at_s=11, name="motion.ended"))

    assert patient(bench) is None
    bench.attempted("door-2:m")
    commit = kept(bench)
    assert (runs(commit), last_known(commit)) == ({"door": ((1, 3),)}, {"last|pi-1/door": "motion.ended"})


def test_rule_8_what_an_attempt_has_changed_is_stored_and_with_it_what_came_before_of_its_source() -> None:
    bench = Bench(FREE)
    bench.receive(event(1), event(2), event(3), event(1, sensor="gate"))
    bench.attempted("door-2:m", Verdict.RETRYABLE)

    commit = kept(bench)
    assert (stored(commit), runs(commit)) == (["door-1", "door-2"], {"door": ((1, 2),)})


def test_rule_8_what_changes_more_than_its_identity_is_stored() -> None:
    bench = Bench(mapping(for_s=5.0))
    bench.receive(event())

    assert stored(kept(bench)) == ["door-1"]


def test_two_sites_with_a_sensor_of_one_name_are_left_or_stored_together() -> None:
    bench = Bench(FREE)
    bench.receive(event(1))
    bench.receive(event(1, site="barn", id="barn-door-1"))
    bench.attempted("barn-door-1:m", Verdict.RETRYABLE)

    assert stored(kept(bench)) == ["door-1", "barn-door-1"]


def test_a_drop_is_kept_in_one_commit_with_its_sequence() -> None:
    ended = mapping("ended", selectors=(SensorSelector(event="motion.ended"),))
    bench = Bench(ended, mapping(backlog="latest"))
    bench.receive(event(1, name="motion.ended"), event(1, sensor="gate"), event(2), event(3), backlog=True)
    assert [effect.invocation.id for effect in bench.told(Expired)] == ["door-2:m"]

    commit = kept(bench)
    assert (stored(commit), runs(commit)) == (["door-1", "door-3"], {"door": ((1, 3),)})
    bench.receive(event(4, name="motion.ended"))
    assert patient(bench) is None


@pytest.mark.parametrize("before", [False, True])
def test_a_tombstone_is_kept_in_one_commit_with_what_it_covers(before: bool) -> None:
    bench = Bench(FREE)
    bench.receive(event(1), *([event(7)] if before else []))
    if before:
        bench.attempted("door-7:m")
    bench.step(Received(event(7), Ticket(1, 3), covers_from=3))

    commit = kept(bench)
    assert (stored(commit), runs(commit)) == (["door-1"], {"door": ((1, 1), (3, 7))})


def test_what_an_earlier_connection_brought_is_stored() -> None:
    bench = Bench(mapping())
    bench.receive(event())
    bench.step(Connected(2))

    assert stored(kept(bench)) == ["door-1"]


def test_what_came_again_on_a_new_connection_may_be_left_again() -> None:
    bench = Bench(mapping())
    bench.receive(event())
    bench.step(Connected(2), Received(event(), Ticket(2, 1)))

    assert patient(bench) is None


@pytest.mark.parametrize(("qos_1", "left"), [(True, True), (False, False)])
def test_a_foreign_message_may_be_left_when_the_broker_has_it(qos_1: bool, left: bool) -> None:
    bench = Bench(mapping(selectors=(TopicSelector(topic="a/b"),)))
    message = parse_foreign(b"1", "a/b", id="x", received_at=START)
    bench.step(Received(message, Ticket(1, 1) if qos_1 else None))

    assert (patient(bench) is None) is left


def test_a_cloudevent_that_nobody_numbered_is_stored() -> None:
    bench = Bench(mapping(selectors=(TopicSelector(topic="a/b"),)))
    body = b'{"specversion": "1.0", "id": "1", "source": "//elsewhere", "type": "made.elsewhere"}'
    bench.receive(parse_foreign(body, "a/b", id="x", received_at=START))

    assert stored(kept(bench)) == ["1"]


def test_where_nobody_asks_what_was_last_known_nothing_of_it_is_kept() -> None:
    bench = Bench(mapping(initial="always"))
    bench.receive(event(1))
    bench.attempted("door-1:m")
    bench.receive(event(2))

    commit = kept(bench)
    assert (runs(commit), commit.changes) == ({"door": ((1, 1),)}, ())
