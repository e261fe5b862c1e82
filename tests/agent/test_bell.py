"""Both ways to wake the loop, from another thread."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable

import pytest

from bridge.agent.bell import Bell, Soon, Waking

WAYS = [Bell, Soon]


@pytest.mark.parametrize("way", WAYS)
async def test_a_ring_on_another_thread_calls_on_the_loop_once(way: Callable[[Callable[[], None]], Waking]) -> None:
    called: list[str] = []
    rung = asyncio.Event()

    def answer() -> None:
        called.append(threading.current_thread().name)
        bell.hush()
        rung.set()

    bell = way(answer)
    try:
        for _ in range(3):
            rung.clear()
            await asyncio.to_thread(bell.ring)
            async with asyncio.timeout(60):
                await rung.wait()
            await asyncio.sleep(0)
            await asyncio.sleep(0)
    finally:
        bell.close()

    assert called == [threading.current_thread().name] * 3


async def test_a_ring_that_comes_too_late_wakes_nobody_and_disturbs_no_other_file() -> None:
    called: list[int] = []
    bell = Bell(lambda: called.append(1))
    bell.close()
    one, other = socket.socketpair()  # with the numbers that the bell had
    with one, other:
        one.setblocking(False)
        other.setblocking(False)
        bell.ring()
        bell.hush()
        bell.close()
        await asyncio.sleep(0.01)
        for each in (one, other):
            with pytest.raises(BlockingIOError):
                each.recv(1)

    assert called == []
