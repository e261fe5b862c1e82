"""Calls of functions on a loop's thread, Python's and C's, as the interpreter tells its profiler of them.

A count says how much a program does, however busy the machine is; what a call costs it does not say.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Final

from benchmarks.roles.conversation import Answer, Command

_TIMEOUT_S: Final = 30.0


class Calls:
    """Counts the calls on a loop's thread while it is asked to, by another thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._python = self._c = 0

    def begin(self, _: Command) -> Answer:
        """Count from nothing."""
        self._python = self._c = 0
        self._on_the_loop(lambda: sys.setprofile(self._count))
        return {}

    def end(self, _: Command) -> Answer:
        """How many there were."""
        self._on_the_loop(lambda: sys.setprofile(None))
        return {"python": self._python, "c": self._c}

    def _count(self, _: FrameType, event: str, __: object) -> None:
        if event == "call":
            self._python += 1
        elif event == "c_call":
            self._c += 1

    def _on_the_loop(self, do: Callable[[], None]) -> None:
        done = threading.Event()

        def call() -> None:
            do()
            done.set()

        self._loop.call_soon_threadsafe(call)
        if not done.wait(_TIMEOUT_S):
            raise TimeoutError(f"the loop has not answered for {_TIMEOUT_S:g} s")
