"""Timers of a virtual board: what its devices do by themselves later, in real time or on a house's virtual clock.

A device that lives (a PIR that holds its output) asks for a call after some time. In real time it comes on the thread
that drives the board's pins, so that a device is never moved by two threads at once.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Protocol

from bridge.clock import Timer, VirtualClock


class Timers(Protocol):
    """What a device knows of time."""

    def now_s(self) -> float:
        """Seconds since some moment."""

    def after(self, delay_s: float, call: Callable[[], None]) -> Timer:
        """Call once, so much later, on the thread that drives the pins."""

    def close(self) -> None:
        """Call nobody any more."""


class ClockTimers:
    """Timers on a virtual clock; calls come on its loop's thread."""

    def __init__(self, clock: VirtualClock) -> None:
        self._clock = clock
        self._closed = False

    def now_s(self) -> float:
        return self._clock.monotonic()

    def after(self, delay_s: float, call: Callable[[], None]) -> Timer:
        def due() -> None:
            if not self._closed:
                call()

        return self._clock.call_at(self._clock.monotonic() + delay_s, due)

    def close(self) -> None:
        self._closed = True


class ThreadTimers:
    """Timers in real time; each waits on a thread of its own, and calls come on the thread of `driver`."""

    def __init__(self, driver: Executor) -> None:
        self._driver = driver
        self._waiting: set[_Waiting] = set()
        self._lock = threading.Lock()
        self._closed = False

    def now_s(self) -> float:
        return time.monotonic()

    def after(self, delay_s: float, call: Callable[[], None]) -> Timer:
        waiting = _Waiting(delay_s, call, self._due)
        with self._lock:
            if not self._closed:
                self._waiting.add(waiting)
                waiting.thread.start()
        return waiting

    def close(self) -> None:
        """Call nobody any more. Close it before the driver is shut down."""
        with self._lock:
            self._closed = True
            for waiting in self._waiting:
                waiting.cancel()
            self._waiting.clear()

    def _due(self, waiting: _Waiting) -> None:
        with self._lock:
            self._waiting.discard(waiting)
            if not self._closed:
                self._driver.submit(waiting.call_unless_cancelled)


class _Waiting:
    """One call that is to come."""

    def __init__(self, delay_s: float, call: Callable[[], None], due: Callable[[_Waiting], None]) -> None:
        self._call = call
        self._cancelled = False
        self.thread = threading.Timer(delay_s, due, (self,))
        self.thread.daemon = True

    def cancel(self) -> None:
        """Forget the call; on the driver's thread nothing comes in between."""
        self._cancelled = True
        self.thread.cancel()

    def call_unless_cancelled(self) -> None:
        """The call, on the driver's thread."""
        if not self._cancelled:
            self._call()
