"""An answer of the engine without an end, such as its events or a log, read in a thread of its own."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from collections.abc import Callable
from typing import Any, Self

import requests

from bridge.errors import EngineError, EngineUnavailable
from bridge.swarm.complaints import complaint

_log = logging.getLogger(__name__)

_PIECES = 64
_PIECE_BYTES = 64 * 1024
_END_S = 2.0


class Stream:
    """The pieces of one answer, as the engine wrote them; the thread waits when nobody takes what it read.

    `ask` is called in the thread and gives the answer whose body is still to come; `host` and `path` name it.
    """

    def __init__(self, ask: Callable[[], requests.Response], host: str, path: str) -> None:
        self._ask = ask
        self._host = host
        self._path = path
        self._loop = asyncio.get_running_loop()
        self._queue: asyncio.Queue[bytes | BaseException | None] = asyncio.Queue()
        self._opened: asyncio.Future[None] = self._loop.create_future()
        self._ended = asyncio.Event()
        self._slots = threading.Semaphore(_PIECES)
        self._closed = False
        self._response: requests.Response | None = None

    async def open(self) -> None:
        """Wait for the answer's head."""
        threading.Thread(target=self._pump, name=f"engine{self._path}", daemon=True).start()
        await self._opened

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        piece = await self._queue.get()
        self._slots.release()
        if piece is None:
            raise StopAsyncIteration
        if isinstance(piece, BaseException):
            raise piece
        return piece

    @property
    def waiting(self) -> int:
        """Pieces that were read and not taken."""
        return self._queue.qsize()

    async def close(self) -> None:
        """End the thread, wherever it waits."""
        self._closed = True
        self._slots.release()
        self.cut()
        try:
            async with asyncio.timeout(_END_S):
                await self._ended.wait()
        except TimeoutError:
            # It waits for the head of an answer, which has a time-out of its own.
            _log.debug("A stream of the engine still ends", extra={"op": "engine", "path": self._path})
        if self._opened.done() and not self._opened.cancelled():
            self._opened.exception()

    def cut(self) -> None:
        """Break the connection; who reads then finds the end."""
        connection = getattr(getattr(self._response, "raw", None), "connection", None)
        sock = getattr(connection, "sock", None)
        if sock is not None:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                return  # the engine was quicker

    # --- in the thread

    def _pump(self) -> None:
        last: BaseException | None = None
        try:
            response = self._response = self._ask()
            # From here on silence is no failure.
            connection = response.raw.connection
            if connection is not None and connection.sock is not None:
                connection.sock.settimeout(None)
            self._tell(self._set_opened, None)
            for piece in response.raw.stream(_PIECE_BYTES, decode_content=False):
                self._slots.acquire()
                if self._closed:
                    break
                self._tell(self._queue.put_nowait, piece)
        except EngineError as error:
            last = error
        except Exception as error:  # noqa: BLE001 - whatever urllib3 or a socket raises when a connection is cut
            last = EngineUnavailable(complaint(self._host, error))
        finally:
            self._tell(self._finish, last)
            if self._response is not None:
                self._response.close()

    def _tell(self, call: Any, value: object) -> None:
        try:
            self._loop.call_soon_threadsafe(call, value)
        except RuntimeError:
            self._closed = True  # the loop is closed, and with it everybody who listened

    def _set_opened(self, _: None) -> None:
        if not self._opened.done():
            self._opened.set_result(None)

    def _finish(self, error: BaseException | None) -> None:
        if not self._opened.done():
            self._opened.set_exception(error or EngineUnavailable("the stream ended before it began"))
        else:
            self._queue.put_nowait(error)
        self._ended.set()
