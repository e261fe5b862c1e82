"""One process of the function server: started, waited for, listened to and ended."""

from __future__ import annotations

import asyncio
import ctypes
import json
import os
import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from bridge.errors import FunctionUnavailable
from bridge.gateway.backends.local.logs import LineSplitter

_PR_SET_PDEATHSIG = 1  # prctl(2)
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None
_READ_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Launch:
    """How to start it. `environment` is the whole environment, but for the descriptor that is added here."""

    python: Path
    environment: Mapping[str, str]
    folder: Path


class FunctionProcess:
    """A process that ends when we do, however we end. `log` gets each line it writes."""

    def __init__(self, launch: Launch, lifeline: int, log: Callable[[str], None]) -> None:
        self._launch = launch
        self._lifeline = lifeline
        self._log = log
        self._process: asyncio.subprocess.Process | None = None
        self._listening: asyncio.Task[None] | None = None

    @property
    def pid(self) -> int | None:
        """The process id, once started."""
        return None if self._process is None else self._process.pid

    async def start(self, timeout_s: float) -> int:
        """Start and wait until it listens; the port. Raises FunctionUnavailable with how it failed."""
        ready, announce = os.pipe()
        try:
            try:
                self._process = await self._spawn(announce)
            finally:
                os.close(announce)
            assert self._process.stdout is not None
            self._listening = asyncio.create_task(self._listen(self._process.stdout), name="function output")
            line = await _line(ready, timeout_s)
        except OSError as error:
            raise FunctionUnavailable(f"it could not be started: {error}") from error
        except TimeoutError:
            raise FunctionUnavailable(f"it was not ready after {timeout_s:g} s") from None
        finally:
            os.close(ready)
        if not line:
            code = await self.wait()
            raise FunctionUnavailable(f"it ended with {_how(code)} before it was ready")
        return int(json.loads(line)["port"])

    async def wait(self) -> int:
        """Its exit code, once it has ended and its last line was read."""
        assert self._process is not None
        code = await self._process.wait()
        if self._listening is not None:
            # A grandchild may hold the pipe open; nobody waits for that one.
            await asyncio.wait((self._listening,), timeout=0.5)
            self._listening.cancel()
        return code

    def ended(self) -> bool:
        """Whether it has ended, even when nobody was told yet."""
        if self._process is None or self._process.returncode is not None:
            return True
        if sys.platform != "linux":
            return False
        try:
            # Looks without taking the exit code away from whoever waits for it.
            return os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
        except ChildProcessError:
            return True

    async def stop(self, grace_s: float) -> None:
        """SIGTERM, and SIGKILL after `grace_s`."""
        if self._process is None or self._process.returncode is not None:
            return
        self._signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(grace_s):
                await self._process.wait()
        except TimeoutError:
            self._signal(signal.SIGKILL)
            await self._process.wait()

    def kill(self) -> None:
        """SIGKILL, now."""
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.returncode is None:
            try:
                self._process.send_signal(number)
            except ProcessLookupError:
                return  # it ended in between

    async def _spawn(self, announce: int) -> asyncio.subprocess.Process:
        parent = os.getpid()

        def last_words() -> None:
            # Between fork and exec; nothing here takes a lock or allocates much.
            if _LIBC is not None:
                _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
                if os.getppid() != parent:
                    os._exit(1)  # we were gone before it could know

        environment = {
            **self._launch.environment,
            "announce_fd": str(announce),
            "lifeline_fd": str(self._lifeline),
        }
        return await asyncio.create_subprocess_exec(
            str(self._launch.python),
            "-m",
            "bridge.runtime",
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env=environment,
            cwd=self._launch.folder,
            pass_fds=(announce, self._lifeline),
            # A group of its own: Ctrl-C on our terminal is ours, and drains it in order.
            start_new_session=True,
            preexec_fn=last_words,
        )

    async def _listen(self, stdout: asyncio.StreamReader) -> None:
        splitter = LineSplitter()
        while data := await stdout.read(_READ_BYTES):
            for line in splitter.feed(data):
                self._log(line)
        for line in splitter.end():
            self._log(line)


async def _line(descriptor: int, timeout_s: float) -> bytes:
    """The one line that comes over a pipe; nothing when its other end was closed before."""
    loop = asyncio.get_running_loop()
    os.set_blocking(descriptor, False)
    arrived: asyncio.Future[bytes] = loop.create_future()
    pieces: list[bytes] = []

    def readable() -> None:
        piece = os.read(descriptor, 256)
        pieces.append(piece)
        if (not piece or piece.endswith(b"\n")) and not arrived.done():
            arrived.set_result(b"".join(pieces))

    loop.add_reader(descriptor, readable)
    try:
        async with asyncio.timeout(timeout_s):
            return await arrived
    finally:
        loop.remove_reader(descriptor)


def _how(code: int) -> str:
    return f"exit code {code}" if code >= 0 else f"signal {signal.Signals(-code).name}"


def how_it_ended(code: int) -> str:
    """An exit code in words."""
    return _how(code)
