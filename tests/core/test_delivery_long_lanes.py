"""Slow lanes go to the disk: memory is bounded, and no lane waits for another (PROTOCOL.md, rules 8 and 9)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from bridge.core.delivery import Limits
from bridge.core.ends import MAPPING_REMOVED
from bridge.core.long_lanes import SLOW_S
from bridge.core.mapping import MappingSet
from bridge.core.records import Commit, Record, Restored, Shelved
from bridge.core.retry import RetryPolicy, Verdict
from bridge.core.selector import SensorSelector
from bridge.core.steps import Committed, Ended, Fetch, Fetched, Invoke, MappingsReplaced, Replay, TimersReleased
from tests.core.test_delivery import START, Bench, event, mapping

LANE = "m|/sites/home/nodes/pi-1/sensors/door"
SMALL = Limits(open_events=4)


class Disk:
    """What commits have kept of long lanes."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.records: dict[int, Record] = {}

    def commit(self) -> Commit:
        commit = self.bench.commit() if self.bench.ledger.dirty else Commit((), (), (), (), (), ())
        self.records |= {record.number: record for record in commit.records}
        for number in commit.finished:
            self.records.pop(number, None)
        return commit

    @property
    def on_shelf(self) -> list[str]:
        found = sorted((number, record) for number, record in self.records.items() if record.lane is not None)
        return [one.invocation.id for _, record in found for one in record.open]

    def read(self, fetch: Fetch) -> tuple[Record, ...]:
        """What the journal would answer."""
        found = [record for record in self.records.values() if record.lane == fetch.lane]
        behind = sorted((one for one in found if one.number > fetch.after), key=lambda one: one.number)
        return tuple(behind[: fetch.limit])

    def end(self, id_: str, verdict: Verdict = Verdict.SUCCEEDED) -> list[str]:
        """An attempt ends, and what is asked for is read; what started because of it."""
        self.bench.attempted(id_, verdict)
        return self.answer()

    def answer(self) -> list[str]:
        """Everything that is asked for is read; what started."""
        started = self.bench.invoked
        while fetches := self.bench.told(Fetch):
            for fetch in fetches:
                self.bench.step(Fetched(fetch.lane, self.read(fetch)))
                started += self.bench.invoked
        return started

    def end_all(self, *running: str) -> list[str]:
        """Every attempt succeeds until nothing starts any more; all that was started, in order."""
        started = list(running)
        for id_ in started:  # it grows
            started += self.end(id_)
        return started


def ids(*numbers: int) -> list[str]:
    return [f"door-{number}:m" for number in numbers]


def filled(count: int = 8, limits: Limits = SMALL, **changes: Any) -> tuple[Bench, Disk]:
    """A mapping whose function has not answered yet, with more events than may be open."""
    bench = Bench(mapping(**changes), limits=limits)
    bench.receive(*(event(number) for number in range(1, count + 1)))
    disk = Disk(bench)
    disk.commit()
    return bench, disk


def stuck(count: int = 8, limits: Limits = SMALL, **changes: Any) -> tuple[Bench, Disk]:
    """The same, some time later: all but the first two of the lane are on the disk alone."""
    bench, disk = filled(count, limits, **changes)
    bench.wait(0.1)
    bench.wait(SLOW_S)
    disk.commit()
    return bench, disk


def test_rule_9_what_is_behind_in_a_slow_lane_goes_to_the_disk_and_acknowledgements_go_on() -> None:
    bench, disk = filled()
    assert bench.acknowledged == []  # too much is open
    bench.wait(0.1)
    bench.wait(SLOW_S)
    disk.commit()

    assert len(bench.acknowledged) == 8
    assert disk.on_shelf == ids(3, 4, 5, 6, 7, 8)
    assert (bench.ledger.open_events, bench.ledger.stored_events) == (8, 6)
    bench.receive(event(1, sensor="gate"))
    assert bench.invoked == ["gate-1:m"]


def test_only_slow_lanes_go_to_the_disk_and_what_waits_for_its_time_stays() -> None:
    bench = Bench(mapping(), mapping("held", for_s=60.0, selectors=(SensorSelector(sensor="gate"),)), limits=SMALL)
    bench.receive(*(event(number) for number in range(1, 9)), event(1, sensor="gate"))
    disk = Disk(bench)
    disk.commit()
    bench.wait(0.1)
    bench.wait(SLOW_S / 2)
    bench.receive(*(event(number, sensor="fresh") for number in range(1, 4)))
    bench.wait(SLOW_S / 2)
    disk.commit()
    assert disk.on_shelf == ids(2, 3, 4, 5, 6, 7, 8)
    assert bench.ledger.waiting == 1


def test_without_order_what_all_runs_stays_in_memory() -> None:
    bench, disk = stuck(8, order="none")
    assert (disk.on_shelf, bench.ledger.stored_events) == ([], 0)


def test_a_burst_through_a_quick_function_stays_in_memory() -> None:
    bench, disk = filled(5)
    for id_ in ids(1, 2, 3, 4, 5):
        bench.wait(SLOW_S / 8)
        bench.attempted(id_)
    disk.commit()
    assert (bench.ledger.open_events, disk.on_shelf, bench.ledger.wake_at) == (0, [], None)


def test_rule_9_a_long_lane_keeps_its_order_over_the_disk() -> None:
    bench, disk = stuck()
    bench.receive(event(9))
    disk.commit()
    assert disk.on_shelf == ids(3, 4, 5, 6, 7, 8, 9)

    assert disk.end_all("door-1:m") == ids(1, 2, 3, 4, 5, 6, 7, 8, 9)
    disk.commit()
    assert (bench.ledger.open_events, bench.ledger.stored_events, disk.records) == (0, 0, {})
    bench.receive(event(10))
    assert bench.invoked == ids(10)


def test_a_lane_may_become_long_again_while_what_came_back_has_not_ended() -> None:
    bench, disk = stuck(4, Limits(open_events=3))
    started = disk.end("door-1:m")
    assert started == ids(2)
    bench.receive(*(event(number) for number in range(5, 9)))
    disk.commit()
    bench.wait(0.1)
    bench.wait(SLOW_S)
    disk.commit()
    assert disk.end_all("door-2:m") == ids(2, 3, 4, 5, 6, 7, 8)
    disk.commit()
    assert (bench.ledger.open_events, disk.records) == (0, {})


def test_rule_8_what_goes_to_the_disk_is_acknowledged_when_it_is_there() -> None:
    bench, disk = stuck()
    (ticket,) = bench.receive(event(9))
    assert bench.acknowledged == []
    (again,) = bench.receive(event(9))
    disk.commit()
    assert bench.acknowledged == [ticket, again]


def test_an_event_of_several_mappings_waits_for_each_of_them_alone() -> None:
    two = MappingSet([mapping(), mapping("n", function="g")])
    bench = Bench(*two.mappings.values(), limits=Limits(open_events=3))
    bench.receive(*(event(number) for number in range(1, 5)))
    disk = Disk(bench)
    disk.commit()
    disk.end_all("door-1:n")
    bench.wait(0.1)
    bench.wait(SLOW_S)
    disk.commit()
    assert disk.on_shelf == ids(2, 3, 4)
    assert disk.end_all("door-1:m") == ids(1, 2, 3, 4)
    disk.commit()
    assert (bench.ledger.open_events, disk.records) == (0, {})


def test_without_order_a_mapping_that_is_behind_goes_to_the_disk_as_one_lane() -> None:
    bench, disk = stuck(40, order="none")

    # 32 run at a time, and what runs stays in memory
    assert {record.lane for record in disk.records.values()} == {None, "m "}
    assert disk.on_shelf == ids(*range(33, 41))
    assert sorted(disk.end_all(*ids(*range(1, 33)))) == sorted(ids(*range(1, 41)))
    disk.commit()
    assert (bench.ledger.open_events, disk.records) == (0, {})


def test_a_reading_that_fails_is_asked_for_again() -> None:
    bench, _ = stuck()
    bench.attempted("door-1:m")
    (fetch,) = bench.told(Fetch)
    bench.step(Fetched(fetch.lane, None))
    assert bench.told(Fetch) == [fetch]


def test_rows_that_have_vanished_from_the_disk_are_a_broken_promise() -> None:
    bench, _ = stuck()
    bench.attempted("door-1:m")
    with pytest.raises(AssertionError, match="vanished"):
        bench.step(Fetched(LANE, ()))


def test_what_is_read_before_its_commit_was_told_waits_for_that() -> None:
    bench, disk = stuck(5)
    started = disk.end("door-1:m")
    assert (started, disk.on_shelf) == (ids(2), ids(3, 4, 5))
    bench.attempted("door-2:m")
    bench.attempted("door-3:m")
    (fetch,) = bench.told(Fetch)
    bench.receive(event(6))
    commit = bench.take()
    disk.records |= {record.number: record for record in commit.records}
    rows = disk.read(fetch)
    assert [row.event.id for row in rows] == ["door-5", "door-6"]
    bench.step(Fetched(fetch.lane, rows))
    assert disk.end_all("door-4:m") == ids(4, 5)
    bench.step(Committed(commit))
    assert disk.answer() == ids(6)


def test_rule_13_what_is_on_its_way_to_the_disk_for_a_removed_mapping_becomes_dead_letters() -> None:
    bench, disk = filled()
    bench.wait(0.1)
    bench.wait(SLOW_S)
    commit = bench.take()
    bench.step(MappingsReplaced(MappingSet([mapping("another")])))
    assert [ended.invocation.id for ended in bench.told(Ended)] == ids(2, 3, 4, 5, 6, 7, 8)
    bench.step(Committed(commit))
    disk.end("door-1:m", Verdict.RETRYABLE)
    disk.records |= {record.number: record for record in commit.records}
    disk.commit()
    assert (bench.ledger.open_events, disk.on_shelf) == (0, [])


def test_rule_13_what_died_on_its_way_to_the_disk_does_not_come_back_from_there() -> None:
    bench, disk = stuck(7)
    bench.receive(event(8))
    commit = bench.take()
    disk.records |= {record.number: record for record in commit.records}
    bench.step(MappingsReplaced(MappingSet([mapping("another")])), Committed(commit))
    disk.answer()
    disk.end("door-1:m", Verdict.RETRYABLE)
    letters = disk.commit().letters
    assert sorted(letter.id for letter in letters) == ids(1, 2, 3, 4, 5, 6, 7, 8)
    assert (bench.ledger.open_events, disk.records) == (0, {})


def test_rule_13_what_waits_on_the_disk_for_a_removed_mapping_becomes_dead_letters() -> None:
    bench, disk = stuck()
    bench.step(MappingsReplaced(MappingSet([mapping("another")])))
    disk.answer()
    disk.end("door-1:m", Verdict.RETRYABLE)
    letters = disk.commit().letters
    assert sorted(letter.id for letter in letters) == ids(1, 2, 3, 4, 5, 6, 7, 8)
    assert {letter.reason for letter in letters} == {MAPPING_REMOVED}
    assert (bench.ledger.open_events, disk.records) == (0, {})


def restarted(bench: Bench, disk: Disk, sources: Commit) -> tuple[Bench, Disk]:
    """A new ledger of what the disk holds."""
    heads = tuple(record for record in disk.records.values() if record.lane is None)
    waiting = [record.number for record in disk.records.values() if record.lane is not None]
    shelved = (Shelved(LANE, len(waiting), min(waiting)),)
    restored = Restored(heads, sources.sources, (), bench.ledger.state, max(disk.records) + 1, shelved)
    after = Bench(mapping(), limits=SMALL, restored=restored, wall=bench.now.wall)
    again = Disk(after)
    again.records = disk.records
    return after, again


def test_after_a_restart_a_long_lane_goes_on_in_its_order() -> None:
    bench, disk = filled()
    sources = bench.ledger.confirmed()
    bench.wait(0.1)
    bench.wait(SLOW_S)
    commit = disk.commit()
    assert sources
    after, again = restarted(bench, disk, commit)
    after.receive(event(9))
    again.commit()

    assert after.ledger.open_events == 9
    assert again.end_all("door-1:m") == ids(1, 2, 3, 4, 5, 6, 7, 8, 9)
    again.commit()
    assert again.records == {}


def test_after_a_restart_what_waited_for_its_time_is_behind_what_is_on_the_disk() -> None:
    """It had not fallen due, and everything on the disk had taken its place before."""
    bench, disk = stuck()
    timer = next(record for record in disk.records.values() if record.lane is None)
    opened = timer.open[0]
    due = replace(opened, invocation=replace(opened.invocation, due_at=START, id="held"))
    after, again = restarted(bench, disk, Commit((), (), (), (), (), ()))
    del after
    records = {timer.number: replace(timer, open=(due,))}
    records |= {record.number: record for record in disk.records.values() if record.lane is not None}
    disk.records = records
    after, again = restarted(bench, disk, Commit((), (), (), (), (), ()))
    after.step(TimersReleased())
    again.commit()
    assert again.on_shelf[-1] == "held"


def test_an_event_of_the_same_id_that_is_in_work_when_it_comes_back_is_a_dead_letter() -> None:
    bench, disk = stuck()
    bench.receive(event(1, sensor="gate", id="door-3"))
    assert bench.invoked == ids(3)
    disk.end("door-1:m")
    (letter,) = disk.commit().letters
    assert "another event with the id door-3 is in work" in letter.reason
    assert disk.end("door-2:m") == ids(4)


def test_in_a_pair_nothing_goes_to_the_disk_alone_rule_17() -> None:
    bench, disk = stuck(limits=Limits(open_events=4, acknowledge_stored=False))
    assert disk.on_shelf == []
    assert (bench.ledger.stored_events, bench.acknowledged, bench.ledger.wake_at) == (0, [], None)


def test_when_the_disk_holds_as_much_as_it_may_the_broker_has_to_wait() -> None:
    bench, disk = stuck(limits=Limits(open_events=4, stored_events=5))
    assert (bench.ledger.stored_events, bench.acknowledged) == (6, [])
    assert bench.ledger.unacknowledged == 8
    disk.end("door-1:m")
    assert bench.ledger.unacknowledged == 0


def test_what_tells_of_a_death_takes_its_turn_behind_the_disk_too() -> None:
    bench, disk = stuck(8, Limits(1, 1, 4), order="none", on_failure="page", retry=RetryPolicy(attempts=1))
    assert len(disk.on_shelf) == 6
    disk.end("door-1:m", Verdict.REFUSED)
    disk.commit()
    assert "door-1:m:on-failure" in disk.on_shelf
    disk.end_all("door-2:m")
    disk.commit()
    assert (bench.ledger.open_events, disk.records) == (0, {})


def test_attempts_of_what_came_back_survive_a_restart() -> None:
    bench, disk = stuck()
    disk.end("door-1:m")
    disk.end("door-2:m")
    assert [invoke.attempt for invoke in bench.told(Invoke)] == [1]
    disk.end("door-3:m", Verdict.RETRYABLE)
    commit = disk.commit()
    assert [(record.lane, record.open[0].attempts) for record in commit.records] == [(LANE, 1)]


def test_a_replay_goes_behind_what_is_on_the_disk() -> None:
    bench, disk = stuck()
    record = disk.read(Fetch(LANE, 0, 1))[0]
    opened = record.open[0].invocation
    bench.step(Replay(7, record.event, "m", replace(opened, id="door-0:m")))
    commit = disk.commit()
    assert commit.replayed == (7,)
    assert disk.on_shelf[-1] == "door-0:m"
    assert disk.end_all("door-1:m")[-1] == "door-0:m"
