"""Readings that block, taken on threads beside the loop, each with a time limit.

A reading that does not come back cannot be ended; it is given up and its thread refuses further ones until it does, so
that there is never more than one abandoned reading for each thread.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any, Protocol, TypeVar

from bridge.clock import Clock
from bridge.config import duration
from bridge.errors import SensorError

T = TypeVar("T")

_log = logging.getLogger(__name__)


class Reader(Protocol):
    """Takes readings for one sensor or one bus, in the order they were asked for."""

    async def read(self, reading: Callable[[], T], timeout_s: float) -> T:
        """The reading, or what it raised; SensorError after `timeout_s` seconds."""

    def close(self) -> None:
        """Take no more; one that is under way is left to itself."""


class LoopReader:
    """Takes readings on the loop itself: for a virtual clock, which stands still while a thread works.

    `took_s` tells how long what was just read takes in the world of that clock; then that time passes.
    """

    def __init__(self, clock: Clock, took_s: Callable[[], float]) -> None:
        self._clock = clock
        self._took_s = took_s

    async def read(self, reading: Callable[[], T], timeout_s: float) -> T:
        try:
            value = reading()
        finally:
            # A reading that fails has taken its time too.
            if (took_s := self._took_s()) > 0:
                await self._clock.sleep(min(took_s, timeout_s))
        if took_s > timeout_s:
            raise SensorError(f"the reading took longer than {duration(timeout_s)}")
        return value

    def close(self) -> None:
        """There is no thread to end."""


@dataclass(slots=True)
class _Asked:
    reading: Callable[[], Any]
    answer: asyncio.Future[Any]
    loop: asyncio.AbstractEventLoop


class ThreadReader:
    """Takes readings on one daemon thread, which starts with the first of them."""

    def __init__(self, name: str, clock: Clock) -> None:
        self._name = name
        self._clock = clock
        self._asked: SimpleQueue[_Asked | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._current: _Asked | None = None

    async def read(self, reading: Callable[[], T], timeout_s: float) -> T:
        if self._current is not None and self._current.answer.done():
            raise SensorError("the reading before was given up, and has not come back yet")
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name=f"reader {self._name}", daemon=True)
            self._thread.start()
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[T] = loop.create_future()

        def give_up() -> None:
            if not answer.done():
                answer.set_exception(SensorError(f"the reading took longer than {duration(timeout_s)}"))

        self._asked.put(_Asked(reading, answer, loop))
        timer = self._clock.call_at(self._clock.monotonic() + timeout_s, give_up)
        try:
            return await answer
        finally:
            # Cancelled or given up: `done` tells the thread not to begin with it, and later callers not to wait.
            answer.cancel()
            timer.cancel()

    def close(self) -> None:
        self._asked.put(None)

    def _work(self) -> None:
        while (asked := self._asked.get()) is not None:
            if asked.answer.done():
                continue
            self._current = asked
            result, error = None, None
            try:
                result = asked.reading()
            except Exception as raised:  # noqa: BLE001 - handed to the caller, whatever it is
                error = raised
            self._current = None
            try:
                asked.loop.call_soon_threadsafe(_answer, asked.answer, result, error)
            except RuntimeError:
                # The loop has been closed meanwhile: the program has ended, and nobody waits.
                return


def _answer(answer: asyncio.Future[Any], result: object, error: Exception | None) -> None:
    if answer.done():
        _log.info("A reading came back after it was given up", extra={"op": "late_reading"})
    elif error is not None:
        answer.set_exception(error)
    else:
        answer.set_result(result)
