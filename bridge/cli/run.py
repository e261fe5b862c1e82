"""Runs one long-running program: signals, systemd, and what a second Ctrl-C does."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import signal
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, Generic, Literal, Self, TypeVar

from bridge.cli import exit_codes
from bridge.clock import RealClock
from bridge.service import Notifier, Program, serve

P = TypeVar("P", bound=Program)
Q = TypeVar("Q", bound=Program)

_log = logging.getLogger(__name__)

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_USED_UP = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_COMPLAIN_EVERY_S = 60.0


def run_program(
    make: Callable[[RealClock], P],
    synchronized: Literal["auto", "always", "never"] = "auto",
    started: Callable[[P], None] | None = None,
    clock_mark: Path | None = None,
) -> int:
    """Run the program until SIGINT or SIGTERM; the exit code. Raises what the program raised.

    It is made on the loop; `started` is called once it runs.
    """

    async def main(stop: asyncio.Event) -> None:
        clock = RealClock(synchronized, mark=clock_mark)
        program = make(clock)
        if started is None:
            await serve(program, stop, clock, Notifier())
        else:
            telling = _Telling(program, started)
            await serve(telling, stop, clock, Notifier())

    return run_until_signal(main)


class _Telling(Generic[Q]):
    """A program that calls back when it has started."""

    def __init__(self, program: Q, started: Callable[[Q], None]) -> None:
        self.name = program.name
        self.health = program.health
        self._program = program
        self._started = started

    async def __aenter__(self) -> Self:
        await self._program.__aenter__()
        try:
            self._started(self._program)
        except BaseException as error:
            await self._program.__aexit__(type(error), error, error.__traceback__)
            raise
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._program.__aexit__(*exc)

    async def failed(self) -> None:
        await self._program.failed()


def run_until_signal(main: Callable[[asyncio.Event], Coroutine[Any, Any, None]]) -> int:
    """Run a coroutine that ends soon after the event it is given is set; the exit code.

    The first signal sets the event. A second one forces the exit at once, for a stop that hangs.
    """

    async def guarded() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(_Complaint())

        def told(number: int) -> None:
            if stop.is_set():
                # Nothing is flushed here on purpose: what was accepted is already in the journals.
                os._exit(exit_codes.INTERRUPTED if number == signal.SIGINT else 128 + number)
            stop.set()

        for number in _SIGNALS:
            loop.add_signal_handler(number, told, number)
        try:
            await main(stop)
        finally:
            for number in _SIGNALS:
                loop.remove_signal_handler(number)

    asyncio.run(guarded())
    return exit_codes.OK


class _Complaint:
    """What the loop does with an error that nobody waits for: as always, but for connections that cannot be taken.

    Those it tells once for each place in the listener's queue, a thousand times a second with a traceback each, which
    fills the disk and leaves no time for events. It tries again by itself.
    """

    def __init__(self) -> None:
        self._again_at = 0.0

    def __call__(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if not (isinstance(error, OSError) and error.errno in _USED_UP and "socket" in context):
            loop.default_exception_handler(context)
            return
        now = loop.time()
        if now < self._again_at:
            return
        self._again_at = now + _COMPLAIN_EVERY_S
        _log.error(
            "connections wait: no more files can be opened; close what holds them, or raise LimitNOFILE (ulimit -n)",
            extra={"op": "accept", "listener": str(context["socket"].getsockname()), "why": error.strerror},
        )
