"""A TCP proxy between two programs that can be cut like a cable, with resets or in silence, or answer HTTP by itself.

One thread with a loop of its own serves all proxies of a process.
"""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Coroutine
from typing import Any, Self, TypeVar

T = TypeVar("T")

_HOST = "127.0.0.1"
_PIECE_BYTES = 65536
_CALL_S = 5.0


class Network:
    """The proxies; a context manager."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxies", daemon=True)
        self.cables: dict[str, Cable] = {}

    def cable(self, name: str, port: int) -> int:
        """Lay a cable to a port; the port to use instead."""
        cable = self.cables[name] = Cable(port)
        return self.call(cable.lay())

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(_CALL_S)

    def cut(self, name: str, *, silent: bool) -> None:
        """Nothing passes any more. Silent: connections stay and wait; else they are reset, and new ones too."""
        self.call(self.cables[name].cut(silent=silent))

    def answer(self, name: str, answer: bytes) -> None:
        """Pass nothing on: each HTTP request gets this answer."""
        self.call(self.cables[name].answer(answer))

    def mend(self, name: str) -> None:
        """Let everything pass again; what waited in a silent cable arrives now."""
        self.call(self.cables[name].mend())

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        for cable in self.cables.values():
            self.call(cable.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_CALL_S)
        self._loop.close()


class Cable:
    """One proxy. Its loop owns it."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._passing = asyncio.Event()
        self._passing.set()
        self._refusing = False
        self._answer: bytes | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def lay(self) -> int:
        self._server = await asyncio.start_server(self._serve, _HOST, 0)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def cut(self, *, silent: bool) -> None:
        self._passing.clear()
        if not silent:
            self._refusing = True
            self._reset()

    async def answer(self, answer: bytes) -> None:
        self._answer = answer
        self._reset()

    async def mend(self) -> None:
        self._refusing = False
        self._answer = None
        self._passing.set()

    def _reset(self) -> None:
        for writer in tuple(self._writers):
            writer.transport.abort()

    async def close(self) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._writers.add(writer)
        try:
            if self._refusing:
                return
            if self._answer is not None:
                await _answer_once(reader, writer, self._answer)
                return
            await self._passing.wait()  # a connection that is made over a silent cable hears nothing until it is mended
            there, to_there = await asyncio.open_connection(_HOST, self._port)
            self._writers.add(to_there)
            try:
                ways = [asyncio.create_task(self._pump(*way)) for way in ((reader, to_there), (there, writer))]
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
                for way in ways:
                    way.cancel()
                await asyncio.gather(*ways, return_exceptions=True)
            finally:
                to_there.transport.abort()
                self._writers.discard(to_there)
        except OSError:
            return  # nobody is there: the connection ends, as it would without us
        finally:
            writer.transport.abort()
            self._writers.discard(writer)
            self._tasks.discard(task)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while piece := await reader.read(_PIECE_BYTES):
            await self._passing.wait()
            writer.write(piece)
            await writer.drain()


async def _answer_once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answer: bytes) -> None:
    """Read one request and answer it as told; `answer` says that the connection ends with it."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"(?im)^content-length: *(\d+)", head)
        await reader.readexactly(int(length[1]) if length else 0)
    except asyncio.IncompleteReadError:
        return  # it was reset in the middle of its request
    writer.write(answer)
    await writer.drain()
    writer.close()
    await writer.wait_closed()
