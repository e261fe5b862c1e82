"""A virtual HC-SR501: what its output does, moment by moment, and what the agent's filters make of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from itertools import pairwise

import pytest

from bridge.agent.models import HcSr501
from bridge.clock import VirtualClock
from bridge.virtual.board import VirtualBoard
from bridge.virtual.devices import NotAccepted
from bridge.virtual.devices.motion import MOST_PULSES, MotionDetector
from bridge.virtual.factory import VirtualFactory
from bridge.virtual.timers import ClockTimers
from tests.virtual.test_board import settings

QUIET = HcSr501(warm_up_s=0.0)


class Bench:
    """A sensor on a virtual clock, and every edge of its output with its time."""

    def __init__(self, model: HcSr501, *, name: str = "hall", active_high: bool = True) -> None:
        self.clock = VirtualClock()
        self.pin = VirtualFactory(self.clock.monotonic).pin(17)
        self.edges: list[tuple[float, bool]] = []
        self.pin.edges = "both"
        self.pin.when_changed = self._edge
        self.sensor = MotionDetector(name, self.pin, model, ClockTimers(self.clock), active_high=active_high)
        self.edges.clear()

    def _edge(self, ticks: float, state: bool) -> None:
        self.edges.append((round(self.clock.monotonic(), 3), bool(state)))

    def at(self, when_s: float, word: str | None = None) -> None:
        while (next_at := self.clock.next_at) is not None and next_at <= when_s:
            self.clock.move(next_at)
            self.clock.fire()
        self.clock.move(when_s)
        if word is not None:
            self.sensor.understand(word).make()

    def script(self, **words: str) -> list[tuple[float, bool]]:
        """Words by their times, `t3="motion"`, and then a minute in which nothing is done."""
        self.at(0.0)
        for key, word in words.items():
            self.at(float(key[1:].replace("_", ".")), word)
        self.at(self.clock.monotonic() + 60.0)
        return self.edges


def test_a_short_movement_is_one_pulse_of_the_hold_time() -> None:
    assert Bench(QUIET).script(t1="motion", t1_1="still") == [(1.0, True), (3.6, False)]


def test_at_h_the_pulse_lasts_until_the_hold_after_the_last_movement() -> None:
    edges = Bench(QUIET).script(t1="motion", t1_5="still", t3="motion", t20="still")
    assert edges == [(1.0, True), (22.5, False)]


def test_at_l_every_pulse_lasts_the_hold_and_who_goes_on_moving_is_seen_again_after_the_blind_time() -> None:
    edges = Bench(HcSr501(warm_up_s=0.0, retrigger=False)).script(t1="motion", t8="still")
    assert edges == [(1.0, True), (3.5, False), (6.0, True), (8.5, False)]


def test_a_movement_within_the_blind_time_is_not_seen_at_all() -> None:
    edges = Bench(QUIET).script(t1="motion", t1_1="still", t4="motion", t4_5="still", t7="motion", t7_5="still")
    assert edges == [(1.0, True), (3.6, False), (7.0, True), (10.0, False)]


def test_a_movement_that_outlasts_the_blind_time_is_seen_when_that_is_over() -> None:
    edges = Bench(QUIET).script(t1="motion", t1_1="still", t4="motion", t7="still")
    assert edges[2:] == [(6.1, True), (9.5, False)]


@pytest.mark.parametrize("name", ["hall", "attic", "cellar"])
def test_while_it_warms_up_it_puts_out_pulses_of_nothing_and_sees_nothing(name: str) -> None:
    bench = Bench(HcSr501(), name=name)
    bench.at(0.0, "motion")
    bench.at(59.9, "still")
    warm_up = list(bench.edges)
    bench.at(120.0)
    assert bench.edges == warm_up, "the movement was over before it could see"
    assert len(warm_up) in {2 * pulses for pulses in range(1, MOST_PULSES + 1)}
    assert all(earlier[1] != later[1] for earlier, later in pairwise(warm_up))
    assert warm_up[-1][1] is False


def test_the_pulses_of_a_warm_up_are_the_same_in_every_run_and_others_after_the_next_power_on() -> None:
    first, second = Bench(HcSr501()), Bench(HcSr501())
    for bench in (first, second):
        bench.at(100.0, "power-on")
        bench.at(200.0)
    assert first.edges == second.edges
    one = [moment for moment, _ in first.edges if moment < 60]
    other = [moment - 100 for moment, _ in first.edges if moment >= 100]
    assert one
    assert other
    assert one != other


def test_power_that_comes_back_ends_the_pulse_and_begins_the_warm_up() -> None:
    bench = Bench(HcSr501(warm_up_s=10.0))
    bench.at(20.0, "motion")
    bench.at(21.0, "power-on")
    assert bench.edges[-2:] == [(20.0, True), (21.0, False)]
    bench.at(30.9)
    assert bench.pin.state == 0
    bench.at(31.0)
    assert bench.pin.state == 1, "who still moves is seen when it has warmed up"


def test_an_active_low_sensor_is_low_while_it_sees() -> None:
    bench = Bench(QUIET, active_high=False)
    assert bench.script(t1="motion", t1_1="still") == [(1.0, False), (3.6, True)]


def test_what_it_does_not_know_is_refused() -> None:
    with pytest.raises(NotAccepted, match=r"does not know 'dance'; it accepts motion, still, power-on, stuck or"):
        Bench(QUIET).sensor.understand("dance")


AGENT = """
version: 1
node: pi-1
sensors:
  hall: {kind: pir, pin: 17}
virtual:
  hall: {model: hc-sr501, warm_up: 0s, hold: 100ms, blind: 50ms, retrigger: false}
"""


def eventually(condition: Callable[[], bool], within_s: float = 60.0) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "it did not become true in time"
        time.sleep(0.005)


async def test_in_real_time_it_does_the_same_on_the_drivers_thread() -> None:
    board = VirtualBoard(settings(AGENT))
    pin = board.pin_factory.pin(17)
    seen: list[tuple[float, bool]] = []
    pin.edges = "both"

    def changed(ticks: float, state: bool) -> None:
        seen.append((ticks, bool(state)))

    pin.when_changed = changed  # the pin keeps it weakly
    await board.drive("hall", "motion")
    await asyncio.to_thread(eventually, lambda: len(seen) >= 4)
    assert [state for _, state in seen[:4]] == [True, False, True, False]
    assert seen[1][0] - seen[0][0] >= 0.1
    assert seen[2][0] - seen[1][0] >= 0.05
    board.close()
    edges = len(seen)
    await asyncio.to_thread(time.sleep, 0.2)
    assert len(seen) == edges, "a closed board does nothing by itself"
