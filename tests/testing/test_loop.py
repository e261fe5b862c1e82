"""The loop of a house: it never waits, and keeps the order of things."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

import pytest

from bridge.clock import VirtualClock
from bridge.errors import BridgeError
from bridge.testing.loop import VirtualLoop


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


@pytest.fixture
def loop(clock: VirtualClock) -> Iterator[VirtualLoop]:
    loop = VirtualLoop(clock)
    yield loop
    loop.close()


def test_timers_of_the_clock_and_of_asyncio_fire_in_one_order(clock: VirtualClock, loop: VirtualLoop) -> None:
    seen: list[tuple[str, float]] = []

    def note(name: str) -> None:
        seen.append((name, clock.monotonic()))

    async def sleeps(name: str, delay_s: float) -> None:
        await asyncio.sleep(delay_s)
        note(name)

    clock.call_at(3.0, lambda: note("clock 3"))
    clock.call_at(1.0, lambda: note("clock 1"))
    clock.call_at(9.0, lambda: note("too late"))
    tasks = [loop.create_task(sleeps("asyncio 2", 2.0)), loop.create_task(sleeps("asyncio 4", 4.0))]

    loop.pass_until(5.0)

    assert seen == [("clock 1", 1.0), ("asyncio 2", 2.0), ("clock 3", 3.0), ("asyncio 4", 4.0)]
    assert clock.monotonic() == 5.0
    assert all(task.done() for task in tasks)


def test_timers_of_the_same_instant_fire_as_they_were_set_and_what_follows_comes_between(
    clock: VirtualClock, loop: VirtualLoop
) -> None:
    seen: list[str] = []

    def first() -> None:
        seen.append("first")
        loop.call_soon(lambda: seen.append("what follows the first"))

    clock.call_at(1.0, first)
    clock.call_at(1.0, lambda: seen.append("second"))
    clock.call_at(1.0, lambda: seen.append("cancelled")).cancel()
    loop.pass_until(1.0)
    assert seen == ["first", "what follows the first", "second"]


def test_work_is_completed_in_no_time_at_all(clock: VirtualClock, loop: VirtualLoop) -> None:
    async def work() -> str:
        await clock.sleep(3600)
        await asyncio.sleep(3600)
        return "done"

    began = time.perf_counter()
    assert loop.complete(work()) == "done"
    assert clock.monotonic() == 7200
    assert time.perf_counter() - began < 60


def test_work_that_waits_for_ever_is_an_error_and_not_a_hang(loop: VirtualLoop) -> None:
    async def work() -> None:
        await asyncio.Event().wait()

    with pytest.raises(BridgeError, match="waits for something that no timer brings"):
        loop.complete(work())
    loop.pass_until(1.0)


def test_a_circle_of_timers_is_an_error_and_not_a_hang(clock: VirtualClock, loop: VirtualLoop) -> None:
    def again() -> None:
        clock.call_at(clock.monotonic(), again)

    again()
    with pytest.raises(BridgeError, match="timers are due at the same instant"):
        loop.pass_until(1.0)


def test_what_a_task_raises_comes_out_of_its_work(loop: VirtualLoop) -> None:
    async def work() -> None:
        raise LookupError("gone")

    with pytest.raises(LookupError, match="gone"):
        loop.complete(work())
