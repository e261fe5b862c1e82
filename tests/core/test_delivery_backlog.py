"""The ledger's slots for `backlog: latest` (rule 14), held timers (rule 15), and replays of dead letters."""

from __future__ import annotations

import dataclasses

import pytest

from bridge.core.conditions import compile_condition
from bridge.core.mapping import MappingSet
from bridge.core.records import Restored
from bridge.core.retry import Outcome, RetryPolicy, Verdict
from bridge.core.steps import (
    Attempted,
    BacklogEnded,
    Cancelled,
    Ended,
    Expired,
    MappingsReplaced,
    NodeOffline,
    NotCommitted,
    Received,
    Replay,
    Replayed,
    TimersReleased,
)
from tests.core.test_delivery import Bench, event, mapping

PLACE = ("home", "pi-1")
ONCE = RetryPolicy(attempts=1)


def test_rule_14_latest_keeps_one_slot_per_lane_until_the_backlog_ends() -> None:
    bench = Bench(mapping(backlog="latest"))
    bench.receive(event(1), event(2), event(1, sensor="gate"), backlog=True)
    assert bench.invoked == []
    assert [(dropped.invocation.id, dropped.rule) for dropped in bench.told(Expired)] == [
        ("door-1:m", "backlog latest")
    ]
    assert bench.ledger.slots == {PLACE}

    bench.step(BacklogEnded(None), BacklogEnded(("home", "pi-2")))
    assert bench.invoked == []
    bench.step(BacklogEnded(PLACE))
    assert sorted(bench.invoked) == ["door-2:m", "gate-1:m"]
    assert bench.ledger.slots == frozenset()


def test_rule_14_all_is_delivered_in_order() -> None:
    bench = Bench(mapping(backlog="all"))
    bench.receive(event(1), event(2), backlog=True)
    assert bench.invoked == ["door-1:m"]
    bench.attempted("door-1:m")
    assert bench.invoked == ["door-2:m"]


def test_rule_14_a_live_event_takes_the_place_of_what_waits_in_its_slot() -> None:
    bench = Bench(mapping(backlog="latest"))
    bench.receive(event(1), backlog=True)
    bench.receive(event(2))
    assert bench.invoked == ["door-2:m"]
    assert [dropped.invocation.id for dropped in bench.told(Expired)] == ["door-1:m"]


def test_rule_14_what_waits_in_a_slot_is_kept_and_survives_a_restart() -> None:
    bench = Bench(mapping(backlog="latest"))
    bench.receive(event(1), backlog=True)
    after = bench.restart(bench.commit(), mapping(backlog="latest"))
    assert after.invoked == ["door-1:m"]


def test_rule_15_what_waits_in_a_slot_is_cancelled_by_the_opposite_event() -> None:
    bench = Bench(mapping(backlog="latest", for_s=5.0))
    bench.wait(100.0)
    bench.receive(event(1, sensor="gate"), event(1), event(2, name="motion.ended", at_s=1.0), backlog=True)
    assert [cancelled.invocation.id for cancelled in bench.told(Cancelled)] == ["door-1:m"]
    bench.step(BacklogEnded(PLACE))
    assert (bench.invoked, bench.ledger.open_invocations, bench.ledger.slots) == (["gate-1:m"], 1, frozenset())


def test_rule_15_what_waits_in_a_slot_fires_when_the_opposite_event_came_after_its_time() -> None:
    bench = Bench(mapping(backlog="latest", for_s=5.0))
    bench.wait(100.0)
    bench.receive(event(1), event(2, name="motion.ended", at_s=6.0), backlog=True)
    bench.step(BacklogEnded(PLACE))
    assert bench.invoked == ["door-1:m"]


@pytest.mark.parametrize(("waited_s", "fires"), [(4.0, False), (5.0, True)])
def test_rule_15_a_node_that_goes_offline_cancels_what_waits_in_a_slot_unless_its_time_has_come(
    waited_s: float, *, fires: bool
) -> None:
    bench = Bench(mapping(backlog="latest", for_s=5.0))
    bench.receive(event(1), backlog=True)
    bench.wait(waited_s)
    bench.step(NodeOffline("home", "pi-1", None))
    assert len(bench.told(Cancelled)) == (0 if fires else 1)
    bench.step(BacklogEnded(PLACE))
    assert bench.invoked == (["door-1:m"] if fires else [])


def test_rule_15_what_waits_lets_go_when_a_later_one_takes_a_slot() -> None:
    bench = Bench(mapping(backlog="latest", for_s=5.0))
    bench.receive(event(1))
    bench.receive(event(2, at_s=6.0), backlog=True)
    assert bench.invoked == ["door-1:m"]
    bench.receive(event(3, name="motion.ended", at_s=7.0), backlog=True)
    assert [cancelled.invocation.id for cancelled in bench.told(Cancelled)] == ["door-2:m"]


def test_rule_13_what_waits_in_a_slot_of_a_removed_mapping_is_a_dead_letter() -> None:
    bench = Bench(mapping(backlog="latest"))
    bench.receive(event(1), backlog=True)
    bench.step(MappingsReplaced(MappingSet([mapping("other")])))
    assert [ended.letter.reason for ended in bench.told(Ended) if ended.letter] == ["mapping removed"]
    assert bench.ledger.slots == frozenset()


def test_rule_13_a_for_in_a_slot_of_a_removed_mapping_waits_no_longer_when_the_mapping_comes_back() -> None:
    bench = Bench(mapping(backlog="latest", for_s=5.0))
    bench.receive(event(1), backlog=True)
    bench.step(MappingsReplaced(MappingSet([mapping("other")])))
    bench.step(MappingsReplaced(MappingSet([mapping(for_s=5.0)])))
    bench.receive(event(2, at_s=1.0))
    assert bench.ledger.waiting == 1


def test_rule_15_timers_of_an_earlier_life_wait_until_they_are_released() -> None:
    bench = Bench(mapping(for_s=5.0))
    bench.receive(event(1))
    after = bench.restart(bench.commit(), mapping(for_s=5.0))
    assert after.ledger.timers_held
    after.wait(60.0)
    assert after.invoked == []
    assert after.ledger.wake_at is None
    after.step(TimersReleased())
    assert after.invoked == ["door-1:m"]


def test_what_a_parked_function_last_said_is_told() -> None:
    bench = Bench(mapping())
    bench.receive(event(1))
    bench.step(
        Attempted("door-1:m", Outcome(verdict=Verdict.PARKED, status=404, reason="HTTP 404", duration_s=0.1), 1.0)
    )
    assert bench.ledger.parked_because == {"f": "HTTP 404"}


def dead(bench: Bench, **changes: object) -> Replay:
    """A dead letter of door-1, as the journal hands it back."""
    bench.receive(event(1))
    if bench.invoked:
        bench.attempted("door-1:m", Verdict.REFUSED)
    (letter,) = bench.commit().letters
    assert letter.of is not None
    return Replay(7, letter.of, "m", letter.invocation)


def test_a_replay_is_an_ordinary_invocation_with_the_same_id_and_takes_its_letter_away() -> None:
    bench = Bench(mapping(retry=ONCE))
    replay = dead(bench)
    bench.step(replay)
    assert bench.invoked == ["door-1:m"]
    assert [told.refused for told in bench.told(Replayed)] == [None]
    bench.attempted("door-1:m")
    commit = bench.commit()
    assert commit.replayed == (7,)
    assert bench.ledger.open_events == 0


def test_a_replay_that_cannot_be_kept_is_kept_again() -> None:
    bench = Bench(mapping(retry=ONCE))
    bench.step(dead(bench))
    bench.step(NotCommitted(bench.take()))
    assert bench.take().replayed == (7,)


def test_a_replay_of_what_is_in_work_is_refused() -> None:
    bench = Bench(mapping(retry=ONCE))
    replay = dead(bench)
    bench.step(replay, dataclasses.replace(replay, number=8))
    assert [told.refused for told in bench.told(Replayed)] == [None, "door-1:m is in work already"]


def test_a_replay_that_was_asked_for_before_the_disk_heard_of_the_last_one_is_none() -> None:
    bench = Bench(mapping(retry=ONCE))
    replay = dead(bench)
    bench.step(replay)
    bench.attempted("door-1:m")
    bench.step(replay)
    assert bench.effects == []
    refused = bench.take()
    bench.step(NotCommitted(refused), replay)
    assert bench.effects == []

    bench.commit()
    bench.step(replay)
    assert bench.invoked == ["door-1:m"]


def test_a_replay_beside_another_mapping_of_its_event_survives_a_restart() -> None:
    slow = mapping("slow", retry=RetryPolicy(first_s=3600.0, max_s=3600.0))
    bench = Bench(mapping(retry=ONCE), slow)
    bench.receive(event(1))
    bench.attempted("door-1:m", Verdict.REFUSED)
    first = bench.commit()
    (letter,) = first.letters
    assert letter.of is not None
    bench.step(Replay(7, letter.of, "m", letter.invocation))
    records = (*first.records, *bench.commit().records)
    after = Bench(mapping(retry=ONCE), slow, restored=Restored(records=records, next_number=9))
    assert sorted(after.invoked) == ["door-1:m", "door-1:slow"]
    assert after.ledger.open_events == 2


def test_a_condition_that_failed_is_asked_again_in_a_replay() -> None:
    broken = mapping(when=compile_condition("data.missing == 1"))
    bench = Bench(broken)
    bench.receive(event(1))
    (letter,) = bench.commit().letters
    assert letter.of is not None
    replay = Replay(7, letter.of, "m", letter.invocation)
    bench.step(replay)
    (told,) = bench.told(Replayed)
    assert told.refused is not None
    assert "could not be evaluated" in told.refused

    bench.step(MappingsReplaced(MappingSet([mapping("other")])))
    bench.step(replay)
    assert [told.refused for told in bench.told(Replayed)] == ["there is no mapping m any more"]

    bench.step(MappingsReplaced(MappingSet([mapping()])))
    bench.step(replay, dataclasses.replace(replay, number=8))
    assert bench.invoked == ["door-1:m"]
    first, second = bench.told(Replayed)
    assert first.refused is None
    assert second.refused is not None


def test_a_tombstone_whose_own_sequence_is_known_still_closes_the_gap_before_it() -> None:
    bench = Bench(mapping())
    bench.receive(event(5))
    bench.step(Received(event(5), None, covers_from=2))
    assert bench.ledger.confirmed()[0].runs == ((2, 5),)
