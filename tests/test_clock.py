from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bridge import clock as clock_module
from bridge.clock import RealClock, VirtualClock, kernel_synchronized

START = datetime(2026, 1, 1, tzinfo=UTC)


async def test_a_virtual_clock_stands_still_until_it_is_advanced() -> None:
    clock = VirtualClock()
    assert (clock.now(), clock.monotonic()) == (START, 0.0)

    await clock.advance(90.5)

    assert (clock.now(), clock.monotonic()) == (START + timedelta(seconds=90.5), 90.5)


async def test_timers_run_in_their_order_at_their_time() -> None:
    clock, seen = VirtualClock(), list[tuple[str, float]]()
    for name, when in (("b", 2.0), ("a", 1.0), ("c", 2.0), ("late", 9.0)):
        clock.call_at(when, lambda name=name: seen.append((name, clock.monotonic())))  # type: ignore[misc] # a default binds the loop's name

    await clock.advance(5)

    assert seen == [("a", 1.0), ("b", 2.0), ("c", 2.0)]


async def test_tasks_run_between_two_timers() -> None:
    clock, seen = VirtualClock(), list[str]()

    async def sleeper(name: str, delay_s: float) -> None:
        await clock.sleep(delay_s)
        seen.append(f"{name} woke at {clock.monotonic():g}")
        await clock.sleep(1)
        seen.append(f"{name} ended at {clock.monotonic():g}")

    tasks = [asyncio.create_task(sleeper("a", 1)), asyncio.create_task(sleeper("b", 1.5))]
    await clock.advance(10)
    await asyncio.gather(*tasks)

    assert seen == ["a woke at 1", "b woke at 1.5", "a ended at 2", "b ended at 2.5"]


async def test_a_cancelled_timer_does_not_run_and_may_be_cancelled_again() -> None:
    clock, seen = VirtualClock(), list[str]()
    timer = clock.call_at(1.0, lambda: seen.append("x"))
    timer.cancel()
    ran = clock.call_at(1.0, lambda: seen.append("y"))
    await clock.advance(2)
    timer.cancel()
    ran.cancel()

    assert seen == ["y"]


async def test_a_cancelled_sleep_ends_at_once() -> None:
    clock = VirtualClock()
    task = asyncio.create_task(clock.sleep(100))
    await clock.settle()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await clock.advance(200)


async def test_what_is_due_already_runs_without_time_passing() -> None:
    clock, seen = VirtualClock(), list[str]()
    clock.call_at(-5.0, lambda: seen.append("overdue"))
    await clock.sleep(0)
    await clock.sleep(-1)
    assert seen == []

    await clock.settle()

    assert (seen, clock.monotonic()) == (["overdue"], 0.0)


def test_timers_may_be_fired_one_by_one_without_a_loop() -> None:
    clock, seen = VirtualClock(), list[str]()
    clock.call_at(2.0, lambda: seen.append("second"))
    clock.call_at(1.0, lambda: seen.append("cancelled")).cancel()
    clock.call_at(1.5, lambda: seen.append("first"))
    assert clock.next_at == 1.5
    assert not clock.fire()

    clock.move(2.0)
    clock.move(1.0)

    assert [clock.fire(), clock.fire(), clock.fire()] == [True, True, False]
    assert (seen, clock.monotonic()) == (["first", "second"], 2.0)
    assert VirtualClock().next_at is None


async def test_wall_time_jumps_and_monotonic_time_does_not() -> None:
    clock = VirtualClock(datetime(1970, 1, 1, tzinfo=UTC), synchronized=False)
    await clock.advance(7)
    assert not clock.synchronized()

    clock.set(START)

    assert clock.synchronized()
    assert (clock.now(), clock.monotonic()) == (START, 7.0)
    await clock.advance(3)
    assert (clock.now(), clock.monotonic()) == (START + timedelta(seconds=3), 10.0)


async def test_many_small_steps_do_not_drift() -> None:
    clock = VirtualClock()
    for _ in range(1000):
        clock.call_at(clock.monotonic() + 1e-7, lambda: None)
        await clock.advance(1e-7)

    assert abs(clock.now() - START - timedelta(seconds=1e-4)) <= timedelta(microseconds=1)


async def test_the_real_clock_goes_on() -> None:
    clock = RealClock()
    before, wall = clock.monotonic(), clock.now()
    assert wall.tzinfo is UTC
    await clock.sleep(0.002)
    await clock.sleep(-1)

    assert clock.monotonic() - before >= 0.001
    assert abs(clock.monotonic() - time.monotonic()) < 5


async def test_the_real_clock_calls_back_on_the_loop() -> None:
    clock, called = RealClock(), asyncio.Event()
    never = clock.call_at(clock.monotonic() + 0.001, lambda: pytest.fail("it was cancelled"))
    never.cancel()
    clock.call_at(clock.monotonic() - 1, called.set)

    await asyncio.wait_for(called.wait(), timeout=5)


def test_whether_the_clock_is_right_is_asked_of_the_kernel_or_told() -> None:
    assert RealClock("always").synchronized()
    assert not RealClock("never").synchronized()
    assert RealClock("auto").synchronized() is kernel_synchronized()


def test_a_mark_says_that_the_clock_is_right_instead_of_the_kernel(tmp_path: Path) -> None:
    mark = tmp_path / "clock-is-set"
    clock = RealClock("auto", mark=mark)
    assert not clock.synchronized()

    mark.touch()
    assert clock.synchronized()
    mark.unlink()
    assert clock.synchronized(), "once true it stays true"
    assert not RealClock("never", mark=mark).synchronized()


def test_a_clock_that_was_right_once_stays_right(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mark = tmp_path / "synchronized"
    mark.touch()
    monkeypatch.setattr(clock_module, "SYNCHRONIZED_MARK", mark)
    clock = RealClock()
    assert clock.synchronized()
    mark.unlink()
    assert clock.synchronized()
