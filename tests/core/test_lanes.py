from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from bridge.core.lanes import Lanes


class Item:
    """An invocation: only who it is counts."""

    def __init__(self, lane: str, function: str, number: int = 0) -> None:
        self.lane, self.function, self.number = lane, function, number

    def __repr__(self) -> str:
        return f"{self.lane}#{self.number}"


def lanes(per_function: int = 8, total: int = 32, failures: int = 3) -> Lanes[Item]:
    return Lanes(per_function=per_function, total=total, failures=failures)


def parked(some: Lanes[Item]) -> list[str]:
    return list(some.parked)


def add(to: Lanes[Item], *names: str, function: str = "f") -> list[Item]:
    items = [Item(name, function, number) for number, name in enumerate(names)]
    for item in items:
        to.add(item.lane, item.function, item)
    return items


def test_in_a_lane_one_starts_after_the_other_has_ended_rule_9() -> None:
    some = lanes()
    first, second = add(some, "a", "a")

    assert some.start() == [first]
    assert some.start() == []
    some.end("a")
    assert some.start() == [second]
    some.end("a")
    assert (some.start(), some.queued, some.running) == ([], 0, 0)


def test_lanes_do_not_wait_for_each_other_rule_9() -> None:
    some = lanes()
    a, _, b = add(some, "a", "a", "b")

    assert some.start() == [a, b]
    some.again("a", not_before=5.0)
    some.end("b")
    (c,) = add(some, "c")
    assert some.start() == [c]
    assert some.wake_at == 5.0


def test_a_retry_waits_for_its_time_and_its_lane_with_it_rule_9() -> None:
    some = lanes()
    first, second = add(some, "a", "a")
    some.start()
    some.again("a", not_before=5.0)

    some.wake(4.9)
    assert some.start() == []
    some.wake(5.0)
    assert some.start() == [first]
    assert some.wake_at is None
    some.end("a")
    assert some.start() == [second]


def test_the_limits_hold_per_function_and_in_total_rule_9() -> None:
    some = lanes(per_function=2, total=3)
    a, b, c = add(some, "a", "b", "c", function="f")
    d, e = add(some, "d", "e", function="g")

    assert some.start() == [a, d, b]
    assert some.running == 3
    some.end("d")
    assert some.start() == [e]
    some.end("a")
    assert some.start() == [c]


def test_functions_take_turns_rule_9() -> None:
    some = lanes(total=4)
    chatty = add(some, "a", "b", "c", "d", function="f")
    (quiet,) = add(some, "e", function="g")

    assert some.start() == [chatty[0], quiet, chatty[1], chatty[2]]


def test_a_parked_function_starts_one_probe_after_a_growing_pause_rule_11() -> None:
    some = lanes()
    a, b, c = add(some, "a", "b", "c")
    assert some.start() == [a, b, c]
    for name in "abc":
        some.park(name, now=0.0)
    assert some.parked == ("f",)
    assert some.wake_at == 1.0

    some.wake(0.9)
    assert some.start() == []
    pauses = []
    now = 0.0
    for _ in range(8):
        at = some.wake_at
        assert at is not None
        pauses.append(at - now)
        now = at
        some.wake(now)
        (probe,) = some.start()
        assert some.start() == []
        some.park(probe.lane, now)
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60]


def test_the_probes_of_a_parked_function_go_round_its_lanes_rule_11() -> None:
    """A function's own 404 for one event parks it too; another lane's probe then finds it well."""
    some = lanes(per_function=1)
    add(some, "a", "b")
    (first,) = some.start()
    some.park(first.lane, now=0.0)

    some.wake(1.0)
    (probe,) = some.start()
    assert probe.lane == "b"
    some.end("b")
    assert some.parked == ()
    assert some.start() == [first]


def test_a_probe_that_is_answered_lets_all_go_on_rule_11() -> None:
    some = lanes()
    add(some, "a", "b", "c")
    for item in some.start():
        some.park(item.lane, now=0.0)
    some.wake(1.0)
    (probe,) = some.start()

    some.again(probe.lane, not_before=9.0)

    assert some.parked == ()
    assert len(some.start()) == 2


def test_failures_in_a_row_whatever_their_lane_open_the_breaker_rule_11() -> None:
    some = lanes(failures=3)
    add(some, "a", "b", "c", "d")
    some.start()

    some.again("a", not_before=9.0, failed_at=0.0)
    some.end("b", failed_at=0.0)
    assert parked(some) == []
    some.again("c", not_before=9.0, failed_at=0.0)
    assert parked(some) == ["f"]
    some.again("d", not_before=9.0, failed_at=0.0)
    add(some, "e")
    assert some.start() == []
    some.wake(1.0)
    assert [probe.lane for probe in some.start()] == ["e"]


def test_an_attempt_that_succeeds_or_is_refused_closes_the_breaker_and_counts_anew_rule_11() -> None:
    some = lanes(failures=2)
    add(some, "a", "b", "c", "d")
    some.start()

    some.again("a", not_before=0.0, failed_at=0.0)
    some.end("b")
    some.again("c", not_before=0.0, failed_at=0.0)
    assert parked(some) == []
    some.again("d", not_before=0.0, failed_at=0.0)
    assert parked(some) == ["f"]
    some.wake(1.0)
    (probe,) = some.start()
    some.end(probe.lane)
    assert parked(some) == []
    assert len(some.start()) == 2


def test_a_probe_that_fails_keeps_the_breaker_open_for_twice_as_long_rule_11() -> None:
    some = lanes(failures=1)
    add(some, "a", "b")
    some.start()
    some.again("a", not_before=0.0, failed_at=0.0)
    some.again("b", not_before=0.0, failed_at=0.5)  # was under way when the breaker opened: says nothing new

    some.wake(1.0)
    (probe,) = some.start()
    some.again(probe.lane, not_before=1.0, failed_at=1.0)

    assert some.start() == []
    assert (parked(some), some.wake_at) == (["f"], 1.0)
    some.wake(1.0)
    assert some.wake_at == 3.0
    some.wake(3.0)
    assert len(some.start()) == 1


def test_a_function_that_failed_is_remembered_while_nothing_waits_for_it_rule_11() -> None:
    some = lanes(failures=2)
    add(some, "a")
    some.start()
    some.end("a", failed_at=0.0)
    add(some, "b")
    some.start()
    some.end("b", failed_at=0.0)

    assert parked(some) == []  # nothing waits
    add(some, "c")
    assert (parked(some), some.start()) == (["f"], [])
    some.wake(1.0)
    some.start()
    some.end("c")
    add(some, "d")
    assert (parked(some), len(some.start())) == ([], 1)


def test_what_ends_without_an_attempt_says_nothing_about_a_parked_function() -> None:
    some = lanes()
    add(some, "a", "b", "c")
    for item in some.start():
        some.park(item.lane, now=0.0)
    some.wake(1.0)
    (expired,) = some.start()

    some.end(expired.lane, answered=False)

    assert some.parked == ("f",)
    assert len(some.start()) == 1


def test_other_functions_go_on_while_one_is_parked_rule_11() -> None:
    some = lanes()
    add(some, "a", function="f")
    some.start()
    some.park("a", now=0.0)
    (other,) = add(some, "b", function="g")

    assert some.start() == [other]
    assert some.parked == ("f",)


def test_what_is_queued_behind_in_a_lane_may_be_for_another_function() -> None:
    """A mapping was changed: what was planned before it ends on the version that planned it (rule 13)."""
    some = lanes()
    (old,) = add(some, "a", function="f")
    assert some.start() == [old]
    some.park("a", now=0.0)
    (new,) = add(some, "a", function="g")

    assert some.remove("a", old)
    assert not some.parked
    assert some.start() == [new]
    some.park("a", now=0.0)
    assert some.parked == ("g",)


def test_what_does_not_run_can_be_taken_out() -> None:
    some = lanes()
    first, second, third = add(some, "a", "a", "a")

    assert not some.remove("z", first)
    assert some.start() == [first]
    assert not some.remove("a", first)
    assert not some.remove("a", Item("a", "f"))
    assert some.remove("a", second)
    some.end("a")
    assert some.remove("a", third)
    assert (some.start(), some.queued) == ([], 0)


def test_what_is_behind_in_a_lane_can_be_cut_off_but_its_head() -> None:
    some = lanes()
    first, second, third = add(some, "a", "a", "a")
    some.start()

    assert some.cut("z", keep=1) == []
    assert some.cut("a", keep=3) == []
    assert some.cut("a", keep=1) == [second, third]
    some.end("a")
    assert (some.start(), some.queued) == ([], 0)
    assert first.lane == "a"


def test_what_waits_for_its_retry_can_be_taken_out() -> None:
    some = lanes()
    first, second = add(some, "a", "a")
    some.start()
    some.again("a", not_before=5.0)

    assert some.remove("a", first)
    assert some.start() == [second]
    some.wake(5.0)
    assert some.start() == []
    some.end("a")
    add(some, "a")
    some.wake(6.0)
    assert len(some.start()) == 1


def test_a_function_that_is_gone_is_not_probed() -> None:
    some = lanes()
    (only,) = add(some, "a")
    some.start()
    some.park("a", now=0.0)
    assert some.remove("a", only)

    some.wake(1.0)
    assert (some.start(), some.wake_at, some.parked) == ([], None, ())


def test_a_lane_that_runs_nothing_cannot_end() -> None:
    some = lanes()
    add(some, "a")
    with pytest.raises(AssertionError, match="the lane a runs nothing"):
        some.end("a")


class Model(RuleBasedStateMachine):
    """Anything may happen in any order: nothing is lost, doubled, out of order, over a limit or left behind."""

    def __init__(self) -> None:
        super().__init__()
        self.per_function, self.total = 2, 3
        self.lanes: Lanes[Item] = lanes(self.per_function, self.total, failures=3)
        self.now = 0.0
        self.queues: dict[str, list[Item]] = {}
        self.running: dict[str, Item] = {}
        self.retry_at: dict[str, float] = {}
        self.parked: set[str] = set()
        self.failures: Counter[str] = Counter()
        self.first_attempts: dict[str, list[int]] = {}
        self.removed: set[Item] = set()
        self.number = 0

    @rule(lane=st.sampled_from("abcdef"), function=st.sampled_from(["f", "g"]), count=st.integers(1, 3))
    def add(self, lane: str, function: str, count: int) -> None:
        for _ in range(count):
            self.number += 1
            item = Item(lane, function, self.number)
            self.lanes.add(lane, function, item)
            self.queues.setdefault(lane, []).append(item)

    @rule()
    def start(self) -> None:
        self.took_a_turn(self.lanes.start())

    def took_a_turn(self, started: list[Item]) -> None:
        for item in started:
            assert item.lane not in self.running, "two of a lane at once"
            assert self.queues[item.lane][0] is item, "not the head of its lane"
            assert self.retry_at.get(item.lane, 0.0) <= self.now, "before its retry"
            self.running[item.lane] = item
            order = self.first_attempts.setdefault(item.lane, [])
            if item.number not in order:
                order.append(item.number)
                assert order == sorted(order)
        for function in {item.function for item in started}:
            if function in self.parked:
                assert sum(item.function == function for item in self.running.values()) == 1, "a probe is alone"

    def finish(self, data: st.DataObject) -> Item:
        return self.running.pop(data.draw(st.sampled_from(sorted(self.running))))

    @precondition(lambda self: self.running)
    @rule(data=st.data(), answered=st.booleans())
    def end(self, data: st.DataObject, answered: bool) -> None:
        item = self.finish(data)
        self.lanes.end(item.lane, answered=answered)
        self.queues[item.lane].pop(0)
        if answered:
            self.well(item.function)
        self.forget()

    def well(self, function: str) -> None:
        self.parked.discard(function)
        self.failures[function] = 0

    @property
    def wanted(self) -> set[str]:
        return {queue[0].function for queue in self.queues.values() if queue}

    def forget(self) -> None:
        """A function that never failed and that nothing waits for is not known to be parked."""
        self.parked -= {function for function in self.parked - self.wanted if not self.failures[function]}

    @precondition(lambda self: self.running)
    @rule(data=st.data(), delay=st.floats(0, 5))
    def again(self, data: st.DataObject, delay: float) -> None:
        item = self.finish(data)
        self.lanes.again(item.lane, self.now + delay)
        self.retry_at[item.lane] = self.now + delay
        self.well(item.function)

    @precondition(lambda self: self.running)
    @rule(data=st.data(), delay=st.none() | st.floats(0, 5))
    def fail(self, data: st.DataObject, delay: float | None) -> None:
        item = self.finish(data)
        if delay is None:
            self.lanes.end(item.lane, failed_at=self.now)
            self.queues[item.lane].pop(0)
        else:
            self.lanes.again(item.lane, self.now + delay, failed_at=self.now)
            self.retry_at[item.lane] = self.now + delay
        self.failures[item.function] += 1
        if self.failures[item.function] >= 3:
            self.parked.add(item.function)

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def park(self, data: st.DataObject) -> None:
        item = self.finish(data)
        self.lanes.park(item.lane, self.now)
        self.parked.add(item.function)

    @precondition(lambda self: any(self.queues.values()))
    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        item = data.draw(st.sampled_from([item for queue in self.queues.values() for item in queue]))
        assert self.lanes.remove(item.lane, item) is (self.running.get(item.lane) is not item)
        if self.running.get(item.lane) is not item:
            if self.queues[item.lane][0] is item:
                self.retry_at.pop(item.lane, None)
            self.queues[item.lane].remove(item)
            self.forget()

    @rule(seconds=st.floats(0, 70))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        self.lanes.wake(self.now)

    @invariant()
    def nothing_is_lost_or_over_a_limit(self) -> None:
        assert self.lanes.queued == sum(map(len, self.queues.values()))
        assert self.lanes.running == len(self.running) <= self.total
        assert max(Counter(item.function for item in self.running.values()).values(), default=0) <= self.per_function
        assert set(self.lanes.parked) == self.parked & self.wanted

    def teardown(self) -> None:
        """Everything that is still there can be brought to its end, and every lane gets its turn."""
        for _ in range(10 * self.number + 10):
            for lane in sorted(self.running):
                self.running.pop(lane)
                self.lanes.end(lane)
                self.queues[lane].pop(0)
            self.parked.clear()
            self.failures.clear()
            self.now += 61.0
            self.lanes.wake(self.now)
            self.retry_at.clear()
            self.took_a_turn(self.lanes.start())
            if not self.lanes.queued:
                break
        assert not any(self.queues.values()), f"left behind: {self.queues}"
        self.lanes.wake(self.now + 1000.0)
        assert (self.lanes.running, self.lanes.wake_at) == (0, None)


TestModel = Model.TestCase
TestModel.settings = settings(max_examples=60, stateful_step_count=30)


@pytest.mark.parametrize("per_function", [1, 2, 3])
def test_each_of_k_ready_lanes_gets_a_turn_within_k_starts_rule_9(per_function: int) -> None:
    some = lanes(per_function)
    names = [f"lane-{i}" for i in range(7)]
    add(some, *(names * 5))

    order: list[str] = []
    while some.queued:
        started = [item.lane for item in some.start()]
        order += started
        for name in started:
            some.end(name)
    for at in range(0, len(order), 7):
        assert sorted(order[at : at + 7]) == names
