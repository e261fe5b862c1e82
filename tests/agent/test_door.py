from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable

import pytest

from bridge.agent.door import A_TURN, Door, Edge
from bridge.clock import Clock, RealClock, VirtualClock

Until = Callable[[Callable[[], object]], Awaitable[None]]


async def test_edges_of_another_thread_arrive_on_the_loop_in_order(until: Until) -> None:
    taken: list[tuple[bool, str]] = []
    door = Door(RealClock(), lambda edge: taken.append((edge.level, threading.current_thread().name)), waiting=5000)
    pushed = [i % 3 == 0 for i in range(3000)]

    def push() -> None:
        for level in pushed:
            door.push(level)

    thread = threading.Thread(target=push)
    thread.start()
    await until(lambda: len(taken) == len(pushed))
    thread.join()
    door.close()

    assert [level for level, _ in taken] == pushed
    assert {name for _, name in taken} == {threading.current_thread().name}
    assert door.dropped == 0


async def test_a_pin_that_oscillates_costs_bounded_memory_and_its_last_level_stays(until: Until) -> None:
    taken: list[Edge] = []
    door = Door(VirtualClock(), taken.append, waiting=100)
    for i in range(100_001):
        door.push(i % 2 == 1)
    await until(lambda: len(taken) == 100)

    assert taken[-1].level is False
    assert door.dropped == 100_001 - 100


async def test_a_pin_that_never_rests_lets_the_loop_do_something_else_in_between() -> None:
    taken: list[Edge] = []
    door = Door(VirtualClock(), taken.append)
    for i in range(3 * A_TURN):
        door.push(i % 2 == 1)
    turns = []
    for _ in range(4):
        await asyncio.sleep(0)
        turns.append(len(taken))
        door.push(len(taken) % 2 == 1)

    assert turns == [A_TURN, 2 * A_TURN, 3 * A_TURN, 3 * A_TURN + 3]


@pytest.mark.parametrize("clock", [RealClock(), VirtualClock()])
async def test_an_edge_that_breaks_who_takes_it_does_not_keep_the_next_ones(clock: Clock, until: Until) -> None:
    taken: list[bool] = []
    broken: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: broken.append(context["exception"]))

    def take(edge: Edge) -> None:
        if not taken:
            taken.append(edge.level)
            raise ValueError("broken")
        taken.append(edge.level)

    door = Door(clock, take)
    for level in (True, False, True):
        door.push(level)
    await until(lambda: len(taken) == 3)
    door.close()

    assert taken == [True, False, True]
    assert [str(error) for error in broken] == ["broken"]


async def test_an_edge_keeps_the_time_at_which_it_was_seen() -> None:
    clock = VirtualClock()
    taken: list[Edge] = []
    door = Door(clock, taken.append)
    await clock.advance(5)
    seen_at = clock.now()
    door.push(True)
    await clock.advance(2)

    assert taken == [Edge(True, seen_at, 5.0)]


async def test_a_closed_door_lets_nothing_through() -> None:
    taken: list[Edge] = []
    door = Door(VirtualClock(), taken.append)
    door.push(True)
    door.close()
    door.push(False)
    await asyncio.sleep(0)

    assert taken == []
