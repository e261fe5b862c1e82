"""The clock every program takes as an argument: real time, or virtual time that a test moves.

Three readings, never mixed (PROTOCOL.md, "Which clock"): `now()` is wall time for what happened in the world,
`monotonic()` measures delays inside one process, and `synchronized()` says whether wall time can be believed yet.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Literal, Protocol

SYNCHRONIZED_MARK = Path("/run/systemd/timesync/synchronized")
"""systemd-timesyncd touches this file once the clock has been set from the network (systemd-timesyncd.service(8))."""

_TIME_ERROR = 5  # adjtimex(2): the clock is not synchronised
_TIMEX_BYTES = 512  # more than sizeof(struct timex) on every ABI; `modes` stands first, and 0 only reads


class Timer(Protocol):
    """A callback that has been put off; `cancel` may be called at any time, also after it ran."""

    def cancel(self) -> None:
        """Forget the callback, if it has not run yet."""


class Clock(Protocol):
    """What programs know of time. Methods are called on the loop's thread, `now` and `monotonic` on any."""

    def now(self) -> datetime:
        """Wall time: aware, UTC."""

    def monotonic(self) -> float:
        """Seconds since an arbitrary point; never goes back, does not follow changes of wall time."""

    def synchronized(self) -> bool:
        """Whether wall time has been set from outside since boot."""

    def call_at(self, when: float, callback: Callable[[], None]) -> Timer:
        """Call `callback` on the loop once `monotonic()` has reached `when`."""

    async def sleep(self, delay_s: float) -> None:
        """Return after `delay_s` seconds of this clock's monotonic time."""


def kernel_synchronized() -> bool:
    """Whether this machine's wall clock was set since boot; True where the system cannot say (adjtimex(2))."""
    if SYNCHRONIZED_MARK.exists():
        return True
    import ctypes  # noqa: PLC0415 - 0.2 MB that a Pi with systemd-timesyncd does not need

    try:
        adjtimex = ctypes.CDLL(None, use_errno=True).adjtimex
    except (AttributeError, OSError):
        return True
    state: int = adjtimex(ctypes.create_string_buffer(_TIMEX_BYTES))
    return state != _TIME_ERROR


class RealClock:
    """The machine's clock and the running event loop's timers.

    `synchronized` is `auto` (ask the kernel; once true it stays true), `always` (a machine whose clock is known to
    be good, such as a laptop) or `never` (for tests of what happens before the first synchronisation). With a `mark`,
    `auto` asks whether that file exists instead: some clocks are set by what never tells the kernel.
    """

    def __init__(self, synchronized: Literal["auto", "always", "never"] = "auto", *, mark: Path | None = None) -> None:
        self._policy = synchronized
        self._mark = mark
        self._synchronized = synchronized == "always"

    # Not methods of Python's: an event asks for the time half a dozen times.
    now: Callable[[], datetime] = staticmethod(partial(datetime.now, UTC))
    monotonic: Callable[[], float] = staticmethod(time.monotonic)

    def synchronized(self) -> bool:
        if not self._synchronized and self._policy == "auto":
            self._synchronized = kernel_synchronized() if self._mark is None else self._mark.exists()
        return self._synchronized

    def call_at(self, when: float, callback: Callable[[], None]) -> Timer:
        loop = asyncio.get_running_loop()
        return loop.call_later(max(0.0, when - time.monotonic()), callback)

    async def sleep(self, delay_s: float) -> None:
        await asyncio.sleep(max(0.0, delay_s))


class _VirtualTimer:
    __slots__ = ("callback",)

    def __init__(self, callback: Callable[[], None]) -> None:
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        self.callback = None


class VirtualClock:
    """A clock that stands still until it is advanced: ten minutes of timers pass in a millisecond.

    `advance` runs the timers that fall due in their order, and lets every task that became ready run between two of
    them, so that a program on this clock sees the same order of things as on a real one.
    """

    def __init__(self, start: datetime = datetime(2026, 1, 1, tzinfo=UTC), *, synchronized: bool = True) -> None:
        self._origin = start.astimezone(UTC)  # wall time when monotonic time was 0
        self._monotonic = 0.0
        self._synchronized = synchronized
        self._timers: list[tuple[float, int, _VirtualTimer]] = []
        self._order = itertools.count()

    def now(self) -> datetime:
        return self._origin + timedelta(seconds=self._monotonic)

    def monotonic(self) -> float:
        return self._monotonic

    def synchronized(self) -> bool:
        return self._synchronized

    def call_at(self, when: float, callback: Callable[[], None]) -> Timer:
        timer = _VirtualTimer(callback)
        heapq.heappush(self._timers, (when, next(self._order), timer))
        return timer

    async def sleep(self, delay_s: float) -> None:
        if delay_s <= 0:
            await asyncio.sleep(0)
            return
        woken = asyncio.get_running_loop().create_future()

        def wake() -> None:
            if not woken.done():
                woken.set_result(None)

        timer = self.call_at(self._monotonic + delay_s, wake)
        try:
            await woken
        finally:
            timer.cancel()

    def set(self, wall: datetime, *, synchronized: bool = True) -> None:
        """Make wall time jump, as NTP does at boot; monotonic time does not move."""
        self._origin = wall.astimezone(UTC) - timedelta(seconds=self._monotonic)
        self._synchronized = synchronized

    @property
    def next_at(self) -> float | None:
        """When the next timer is due, in monotonic seconds; None when nobody waits."""
        while self._timers and self._timers[0][2].callback is None:
            heapq.heappop(self._timers)
        return self._timers[0][0] if self._timers else None

    def move(self, to: float) -> None:
        """Let monotonic time be at least `to`, without running anything: for who runs the timers one by one."""
        self._monotonic = max(to, self._monotonic)

    def fire(self) -> bool:
        """Run the first timer that is due; False when none is."""
        next_at = self.next_at
        if next_at is None or next_at > self._monotonic:
            return False
        _, _, timer = heapq.heappop(self._timers)
        callback, timer.callback = timer.callback, None
        assert callback is not None, "next_at leaves none out that was cancelled"
        callback()
        return True

    async def advance(self, seconds: float) -> None:
        """Let `seconds` pass: run every timer that falls due, settling the tasks after each."""
        end = self._monotonic + seconds
        await self.settle()
        while (next_at := self.next_at) is not None and next_at <= end:
            self.move(next_at)
            await self.settle()
        self.move(end)
        await self.settle()

    async def settle(self, rounds: int = 64) -> None:
        """Let tasks that are ready, and timers that are due already, run without letting time pass.

        `rounds` bounds a chain of hand-overs between tasks.
        """
        await _turn(rounds)
        while self.fire():
            await _turn(rounds)


async def _turn(rounds: int) -> None:
    for _ in range(rounds):
        await asyncio.sleep(0)
