"""A log: records in one file of a fixed size, written one after the other, and over again from the start.

A write is one system call on the loop's thread, a copy into the kernel's memory; what must survive a power cut, and
everything for a while after the disk was slow, is written on a thread instead, all that waits together. The file keeps
its size and its place, so that a write changes nothing but the pages it touches, and the disk may be full.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple, TypeAlias

from bridge.core.frames import HEAD_BYTES, End, frame, room_for
from bridge.errors import JournalError
from bridge.inline import Inline

_log = logging.getLogger(__name__)

LOG_BYTES: Final = 2 * 1024 * 1024
_PAGE: Final = 4096
SLOW_S: Final = 0.05
"""A write on the loop's thread that takes longer than this met a busy disk..."""
SPARED_S: Final = 30.0
"""...and for so long there is no other one."""

_TITLE: Final = b"gpio-bridge log\n"
IDENTITY_BYTES: Final = 16
_BEGIN: Final = len(_TITLE) + IDENTITY_BYTES
"""Here the frames begin."""

Then: TypeAlias = Callable[[], None]


class LogFile:
    """The file. Every method is called by one thread at a time and raises OSError when the disk refuses."""

    def __init__(self, path: Path, size_bytes: int) -> None:
        self.path = path
        self.room_bytes = size_bytes - _BEGIN
        """For frames."""
        self._size_bytes = size_bytes
        self._fd = -1

    def make(self, identity: bytes) -> None:
        """Begin a new one with this identity, on the disk before anything relies on it; opened as by `open`."""
        fresh = self.path.with_name(self.path.name + ".new")
        empty, _ = frame((), End(1))
        fd = os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            # Real zeros: what is only reserved has to be marked as written later, in the file system's own books.
            # Page by page: of a larger piece the kernel would hold, and count as written, more than a write changes.
            content = (_TITLE + identity + empty).ljust(self._size_bytes, b"\0")
            for offset in range(0, self._size_bytes, _PAGE):
                _write(fd, offset, content[offset : offset + _PAGE])
            os.fsync(fd)
            fresh.rename(self.path)
            folder = os.open(self.path.parent, os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except BaseException:
            os.close(fd)
            fresh.unlink(missing_ok=True)
            raise
        self._fd = fd

    def open(self) -> tuple[bytes, bytes]:
        """What stands in it: its identity, empty when its beginning is damaged, and its frames.

        Raises FileNotFoundError when there is none.
        """
        self._fd = os.open(self.path, os.O_RDWR | os.O_CLOEXEC)
        content = b""
        while piece := os.pread(self._fd, self._size_bytes - len(content), len(content)):
            content += piece
        identity = content[len(_TITLE) : _BEGIN] if content.startswith(_TITLE) else b""
        return identity, content[_BEGIN:]

    def put(self, offset: int, data: bytes, *, power: bool) -> None:
        """Write at an offset of the frames; with `power`, onto the disk itself."""
        for place, piece in pieces(_BEGIN + offset, data):
            _write(self._fd, place, piece)
        if power:
            os.fdatasync(self._fd)

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def pieces(offset: int, data: bytes) -> tuple[tuple[int, bytes], ...]:
    """What to write where, in this order, so that a kill in the middle leaves the log as it was.

    The kernel ends a write of a process that is killed between two pages. The first page holds the end mark that is
    covered, so it comes last: until then the log ends where it did. (A mark that two pages share is written by itself.)
    """
    first = max(_PAGE - offset % _PAGE, HEAD_BYTES)
    if len(data) <= first:
        return ((offset, data),)
    return (offset + first, data[first:]), (offset, data[:first])


def frames_of(path: Path) -> bytes:
    """The frames of a log that somebody else may have open, or that was set aside. Raises OSError."""
    return path.read_bytes()[_BEGIN:]


def set_log_aside(path: Path) -> Path:
    """Rename a log that cannot be used, so that somebody can look at it. Raises OSError."""
    return path.rename(_aside(path))


def copy_aside(path: Path) -> Path | None:
    """Copy a damaged log before it is written over; None when the disk has no room for it."""
    aside = _aside(path)
    try:
        aside.write_bytes(path.read_bytes())
    except OSError as error:
        aside.unlink(missing_ok=True)
        _log.error("damaged log not copied", extra={"op": "log.quarantine", "file": str(path), "why": str(error)})
        return None
    return aside


def _aside(path: Path) -> Path:
    number = 1
    while (aside := path.with_name(f"{path.name}.corrupt-{number}")).exists():
        number += 1
    return aside


@dataclass(slots=True)
class LogCounters:
    """What the log has done since it was opened."""

    writes: int = 0
    at_once: int = 0
    """Those of the writes that the loop's thread made."""
    power: int = 0
    """Those that waited for the disk itself."""
    failed: int = 0


class _Waiting(NamedTuple):
    payloads: Sequence[bytes]
    power: bool
    then: Then | None
    written: asyncio.Future[None]


class Log:
    """An open log, as the loop's thread uses it. One write at a time is under way; those behind it go together.

    `on_full` is called when something waits that there is no room for, and is expected to `pause` the log and to
    `resume` it, after what stands in it is kept elsewhere. Without `threads` all is written on the loop's thread.
    """

    def __init__(self, file: LogFile, *, on_full: Callable[[], None], threads: bool = True) -> None:
        self.path = file.path
        self.counters = LogCounters()
        self.problem: str | None = None
        """Why the last write failed, in words; None again as soon as one works."""
        self._file = file
        self._size_bytes = file.room_bytes
        self._on_full = on_full
        self._threads = threads
        self._executor: Executor = (
            ThreadPoolExecutor(1, thread_name_prefix=f"{file.path.stem} log") if threads else Inline()
        )
        self._loop = asyncio.get_running_loop()
        self._done: asyncio.Future[None] = self._loop.create_future()
        self._done.set_result(None)
        self._end = End(1)
        self._waiting: deque[_Waiting] = deque()
        self._busy = False
        self._pauses: deque[Callable[[], None]] = deque()
        self._paused = False
        self._full = False
        self._closed = False
        self._spared_until = 0.0

    @property
    def empty(self) -> bool:
        """Whether nothing has been written since it was begun, or begun anew."""
        return self._end.offset == 0

    @property
    def last(self) -> int:
        """The serial of the last record."""
        return self._end.serial - 1

    @property
    def used(self) -> float:
        """Which part of its room is taken."""
        return self._end.offset / self._size_bytes

    def begin(self, serial: int) -> None:
        """Everything before this serial is kept elsewhere: write from the start of the file again."""
        data, self._end = frame((), End(serial))
        try:
            self._file.put(0, data, power=False)
        except OSError as error:  # it only says so to whoever looks at the file alone
            _log.warning("log not begun anew", extra={"op": "log.write", "file": str(self.path), "why": str(error)})

    def takes(self, payloads: Sequence[bytes]) -> bool:
        """Whether so much is for a log at all: a part of it, so that it is not always full."""
        return room_for(payloads) <= self._size_bytes // 2

    def write(
        self, payloads: Sequence[bytes], *, power: bool = False, then: Then | None = None
    ) -> asyncio.Future[None]:
        """Write records, in the order of the calls; the future is done when a kill, or a power cut, leaves them.

        `then` is called in the same moment, before anybody can hear of it or write behind it. The future may be done
        already; it raises JournalError when the disk refuses, and then nothing was written.
        """
        # Here and not in a function of its own: an event that comes alone waits for every call.
        idle = not (self._busy or self._waiting or self._paused or self._pauses or self._closed)
        quick = not self._threads or (not power and time.perf_counter() >= self._spared_until)
        if idle and quick and self._end.offset + room_for(payloads) <= self._size_bytes:
            return self._write_at_once(payloads, power=power, then=then)
        one = _Waiting(payloads, power, then, self._loop.create_future())
        if self._closed:
            one.written.set_exception(JournalError(f"cannot use the log {self.path}: it is closed"))
        else:
            self._waiting.append(one)
            self._next()
        return one.written

    async def flush(self) -> None:
        """Return when all that waits is written or has failed. Raises JournalError when the last write failed."""
        while self._busy or self._waiting:
            await asyncio.wait([self._waiting[-1].written] if self._waiting else [self._writing])
        if self.problem is not None:
            raise JournalError(self.problem)

    def pause(self, quiet: Callable[[], None]) -> None:
        """Call `quiet` as soon as no write is under way; until it calls `resume` there is no other one."""
        self._pauses.append(quiet)
        self._next()

    def resume(self, error: BaseException | None = None) -> None:
        """Go on; with an error, what there is no room for fails."""
        self._paused = False
        if self._full and error is not None:
            waiting, self._waiting = self._waiting, deque()
            self._fail(waiting, error)
        self._full = False
        self._next()

    async def close(self) -> None:
        """Wait for the write that is under way, and close the file; what waits behind it fails."""
        self._closed = True
        self._fail(self._waiting, JournalError(f"cannot use the log {self.path}: it is closed"))
        self._waiting.clear()
        if self._busy:
            await asyncio.wait([self._writing])
        self._executor.shutdown(wait=False)
        self._file.close()

    def abandon(self) -> None:
        """Let go of the file at once, as a kill of the process does. Only without threads."""
        assert not self._threads, "a thread cannot be killed"
        self._closed = True
        self._waiting.clear()
        self._file.close()

    def _write_at_once(self, payloads: Sequence[bytes], *, power: bool, then: Then | None) -> asyncio.Future[None]:
        data, end = frame(payloads, self._end)
        began = time.perf_counter()
        try:
            self._file.put(self._end.offset, data, power=power)
        except OSError as error:
            failed = self._loop.create_future()
            failed.set_exception(self._failed(error))
            return failed
        now = time.perf_counter()
        if now - began > SLOW_S:
            self._spared_until = now + SPARED_S
        self.counters.at_once += 1
        self._written(end, power=power)
        if then is not None:
            then()
        return self._done  # one for all, which spares each event the making of one

    def _next(self) -> None:
        """Pause if somebody wants it, or else write what waits on the thread, as much of it as there is room for."""
        if self._busy or self._paused:
            return
        if self._pauses:
            self._paused = True
            self._pauses.popleft()()
            return
        if not self._waiting:
            return
        group: list[_Waiting] = []
        payloads: list[bytes] = []
        taken = 0
        left = self._size_bytes - self._end.offset
        while self._waiting and taken + (room := room_for(self._waiting[0].payloads)) <= left:
            one = self._waiting.popleft()
            group.append(one)
            payloads += one.payloads
            taken += room - HEAD_BYTES  # they share an end mark
        if not group:
            if not self._full:
                self._full = True
                self._on_full()
            return
        power = any(one.power for one in group)
        data, end = frame(payloads, self._end)
        self._busy = True
        self._writing = self._loop.run_in_executor(
            self._executor, partial(self._file.put, self._end.offset, data, power=power)
        )
        self._writing.add_done_callback(partial(self._settle, group, end, power))

    def _settle(self, group: list[_Waiting], end: End, power: bool, written: asyncio.Future[None]) -> None:  # noqa: FBT001 - bound by `partial`
        self._busy = False
        error = written.exception()
        if error is None:
            self._written(end, power=power)
            for one in group:
                if one.then is not None:
                    one.then()
                if not one.written.done():
                    one.written.set_result(None)
        else:
            self._fail(group, self._failed(error))
        self._next()

    def _written(self, end: End, *, power: bool) -> None:
        self._end = end
        self.counters.writes += 1
        self.counters.power += power
        if self.problem is not None:
            self.problem = None
            _log.warning("log works again", extra={"op": "log.recovered", "file": str(self.path)})

    def _failed(self, error: BaseException) -> JournalError:
        """Note a write that failed; the error to tell."""
        self.counters.failed += 1
        explained = JournalError(f"cannot write the log {self.path}: {getattr(error, 'strerror', None) or error}")
        explained.__cause__ = error
        if self.problem != str(explained):
            self.problem = str(explained)
            _log.error("log cannot be written", extra={"op": "log.write", "file": str(self.path), "why": str(error)})
        return explained

    def _fail(self, group: Sequence[_Waiting] | deque[_Waiting], error: BaseException) -> None:
        for one in group:
            if not one.written.done():
                one.written.set_exception(error)


def _write(fd: int, offset: int, data: bytes) -> None:
    while (count := os.pwrite(fd, data, offset)) < len(data):
        data, offset = data[count:], offset + count
