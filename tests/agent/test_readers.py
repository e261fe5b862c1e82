from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable

import pytest

from bridge.agent.readers import LoopReader, ThreadReader
from bridge.clock import RealClock, VirtualClock
from bridge.errors import SensorError

Until = Callable[[Callable[[], object]], Awaitable[None]]


async def test_a_reading_is_taken_on_a_thread_of_its_own() -> None:
    reader = ThreadReader("test", RealClock())
    name = await reader.read(lambda: threading.current_thread().name, 5)
    reader.close()

    assert name == "reader test"


async def test_what_a_reading_raises_reaches_its_caller() -> None:
    reader = ThreadReader("test", RealClock())

    def reading() -> float:
        raise SensorError("no echo")

    with pytest.raises(SensorError, match="no echo"):
        await reader.read(reading, 5)
    assert await reader.read(lambda: 1.0, 5) == 1.0
    reader.close()


async def test_a_reading_that_hangs_is_given_up_and_only_one_is_ever_abandoned(until: Until) -> None:
    clock = VirtualClock()
    reader = ThreadReader("test", clock)
    begun, release = threading.Event(), threading.Event()

    def hang() -> float:
        begun.set()
        release.wait(60)
        return 1.0

    asked = asyncio.ensure_future(reader.read(hang, 2))
    await until(begun.is_set)
    await clock.advance(2)
    with pytest.raises(SensorError, match="the reading took longer than 2s"):
        await asked

    with pytest.raises(SensorError, match="given up, and has not come back"):
        await reader.read(lambda: 2.0, 2)

    release.set()
    answers: list[float] = []

    async def again() -> None:
        while not answers:
            try:
                answers.append(await reader.read(lambda: 3.0, 2))
            except SensorError:
                await asyncio.sleep(0.001)

    await asyncio.wait_for(again(), 60)
    assert answers == [3.0]
    reader.close()


async def test_a_hung_reading_does_not_delay_those_of_another_thread(until: Until) -> None:
    clock = RealClock()
    slow, quick = ThreadReader("slow", clock), ThreadReader("quick", clock)
    begun, release = threading.Event(), threading.Event()

    def hang() -> float:
        begun.set()
        release.wait(60)
        return 1.0

    asked = asyncio.ensure_future(slow.read(hang, 10))
    await until(begun.is_set)

    assert await quick.read(lambda: 2.0, 5) == 2.0
    release.set()
    assert await asked == 1.0
    slow.close()
    quick.close()


async def test_readings_on_one_thread_take_turns() -> None:
    reader = ThreadReader("bus", RealClock())
    order: list[int] = []

    await asyncio.gather(*(reader.read(lambda i=i: order.append(i), 5) for i in range(20)))  # type: ignore[misc] # the default binds the loop's variable
    reader.close()

    assert order == list(range(20))


async def test_a_reading_on_the_loop_is_taken_at_once() -> None:
    reader = LoopReader(VirtualClock(), lambda: 0.0)
    assert await reader.read(lambda: threading.current_thread() is threading.main_thread(), 1)


@pytest.mark.parametrize(("took_s", "error"), [(0.75, None), (2.5, "the reading took longer than 2s")])
async def test_a_reading_on_the_loop_takes_the_time_that_it_takes_in_the_world_of_its_clock(
    took_s: float, error: str | None
) -> None:
    clock = VirtualClock()
    asked = asyncio.ensure_future(LoopReader(clock, lambda: took_s).read(lambda: 1.0, 2))
    await clock.advance(min(took_s, 2) - 0.01)
    assert not asked.done()
    await clock.advance(0.01)
    assert asked.done()
    if error is None:
        assert await asked == 1.0
    else:
        with pytest.raises(SensorError, match=error):
            await asked


async def test_a_reading_on_the_loop_that_fails_has_taken_its_time_too() -> None:
    clock = VirtualClock()

    def reading() -> float:
        raise SensorError("CRC NO")

    asked = asyncio.ensure_future(LoopReader(clock, lambda: 1.5).read(reading, 5))
    await clock.advance(1.49)
    assert not asked.done()
    await clock.advance(0.01)
    with pytest.raises(SensorError, match="CRC NO"):
        await asked
