"""The event loop of a house: it never waits, it moves the virtual clock.

Whenever nothing is ready to run, the next timer of the clock is fired, and time is moved to it first, as far as the
caller allows. So a program sees everything in the order in which it would happen, and two runs are the same.
"""

from __future__ import annotations

import asyncio
import contextvars
import math
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar, TypeVarTuple

from bridge.clock import VirtualClock
from bridge.errors import BridgeError

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

AT_ONE_INSTANT = 200_000
"""So many timers without time passing between them, and a program is running in a circle."""


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose time is that of a virtual clock; `asyncio.sleep` and `asyncio.timeout` are virtual too."""

    def __init__(self, clock: VirtualClock) -> None:
        self._virtual = clock
        self._until = 0.0
        self._busy = False
        self._problem: BaseException | None = None
        super().__init__(_Idle(self._idle))
        self.set_exception_handler(self._note)

    def time(self) -> float:
        return self._virtual.monotonic()

    def call_soon(
        self, callback: Callable[[*Ts], object], *args: *Ts, context: contextvars.Context | None = None
    ) -> asyncio.Handle:
        self._busy = True
        return super().call_soon(callback, *args, context=context)

    def call_soon_threadsafe(
        self, callback: Callable[[*Ts], object], *args: *Ts, context: contextvars.Context | None = None
    ) -> asyncio.Handle:
        self._busy = True
        return super().call_soon_threadsafe(callback, *args, context=context)

    def pass_until(self, until: float) -> None:
        """Let everything happen that is due until then (monotonic seconds); time stands there afterwards.

        Raises what a callback of a program raised.
        """
        self._until = until
        self.run_forever()
        self._raise()

    def complete(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of a coroutine; time passes as far as it must. Raises BridgeError when it would wait for ever."""
        self._until = math.inf
        task = self.create_task(work, name="the house's own work")
        task.add_done_callback(lambda _: self.stop())
        self.run_forever()
        if not task.done():
            task.cancel()
            self._raise()
        self._raise()
        return task.result()

    def _idle(self, timeout: float | None) -> None:
        """Nothing is ready: fire timers until something is, or until the time that was allowed is over."""
        clock = self._virtual
        own_at = math.inf if timeout is None else clock.monotonic() + timeout  # asyncio's own timers
        self._busy = False
        fired = 0
        while not self._busy:
            next_at = min(own_at, math.inf if (at := clock.next_at) is None else at)
            if next_at > self._until or next_at == math.inf:
                if self._until == math.inf:
                    self._problem = BridgeError("the house waits for something that no timer brings")
                else:
                    clock.move(self._until)
                self.stop()
                return
            fired = fired + 1 if next_at <= clock.monotonic() else 0
            if fired > AT_ONE_INSTANT:
                self._problem = BridgeError(f"more than {AT_ONE_INSTANT} timers are due at the same instant")
                self.stop()
                return
            clock.move(next_at)
            if own_at <= next_at:
                return  # the loop itself finds it due
            clock.fire()

    def _note(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception") or BridgeError(str(context.get("message")))
        self._problem = self._problem or error
        self.stop()

    def _raise(self) -> None:
        problem, self._problem = self._problem, None
        if problem is not None:
            raise problem


class _Idle(selectors.DefaultSelector):
    """A selector that does not wait: when the loop has nothing to do, it says so."""

    def __init__(self, idle: Callable[[float | None], None]) -> None:
        super().__init__()
        self._say_idle = idle

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is not None and timeout <= 0:
            return []
        events = super().select(0)
        if not events:
            self._say_idle(timeout)
        return events
