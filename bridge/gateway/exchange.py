"""One request on a connection: how its head and its body are sent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

import aiohttp
from aiohttp.http import StreamWriter
from multidict import CIMultiDict

from bridge.gateway.connections import Connection

_IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})
"""RFC 9110 section 9.2.2: made twice, they mean the same as made once."""
_WITHOUT_BODY = frozenset({"GET", "HEAD", "OPTIONS"})
"""Methods whose requests say nothing of a length where there is no body (RFC 9110 section 8.6)."""
_MAX_FIELD_BYTES = 32 * 1024
_PIECE_BYTES = 64 * 1024


class StreamedBody:
    """A body that comes piece by piece. Its beginning is kept until somebody has received some of it.

    `take` gives the next piece, and nothing at the end; cancelled, it must lose nothing.
    """

    __slots__ = ("_kept", "_kept_bytes", "_take")

    def __init__(self, take: Callable[[], Awaitable[bytes]]) -> None:
        self._take = take
        self._kept: list[bytes] | None = []
        self._kept_bytes = 0

    @property
    def whole(self) -> bool:
        """Whether it can still be sent from its beginning."""
        return self._kept is not None

    async def pieces(self, received: Callable[[], Awaitable[None]]) -> AsyncIterator[bytes]:
        """The body from its beginning.

        `received` returns when the other side has got some of it, and raises OSError when that will not happen; it is
        waited for before more is taken than is to be kept.
        """
        for piece in self._kept or ():
            yield piece
        while True:
            if self._kept is not None and self._kept_bytes >= _PIECE_BYTES:
                await received()
                self._kept = None
            piece = await self._take()
            if not piece:
                return
            if self._kept is not None:
                self._kept.append(piece)
                self._kept_bytes += len(piece)
            yield piece


@dataclass(frozen=True, slots=True)
class Call:
    """One request to a function. `target` is the path (and query) below the function, percent-encoded as it came."""

    function: str
    method: str
    target: str
    headers: CIMultiDict[str]
    body: bytes | StreamedBody | None = None

    @property
    def whole(self) -> bool:
        """Whether its body, if any, can be sent from its beginning."""
        return not isinstance(self.body, StreamedBody) or self.body.whole

    @property
    def repeatable(self) -> bool:
        """Whether it may be made again after a replica may have seen it."""
        return self.method in _IDEMPOTENT and not isinstance(self.body, StreamedBody)


async def begin(call: Call, connection: Connection, silence_s: float) -> asyncio.Task[None] | None:
    """Send the head, and with it a body that is small; the task that sends any other body.

    `silence_s` is how long the function may say nothing, once it has the whole request. Raises
    aiohttp.ClientConnectionResetError when the connection was closed before anything was written.
    """
    connection.begin(bodiless=call.method == "HEAD", silence_s=silence_s, max_field_bytes=_MAX_FIELD_BYTES)
    headers, body = call.headers, call.body
    host, port = connection.place
    headers["Host"] = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    writer = StreamWriter(connection, asyncio.get_running_loop())
    if "Content-Length" not in headers:
        if body is None or isinstance(body, bytes):
            if body is not None or call.method not in _WITHOUT_BODY:
                headers["Content-Length"] = str(len(body or b""))
        else:
            headers["Transfer-Encoding"] = "chunked"
            writer.enable_chunking()
    await writer.write_headers(f"{call.method} {call.target} HTTP/1.1", headers)
    if body is None or (isinstance(body, bytes) and len(body) <= _PIECE_BYTES):
        # In one piece, and without waiting until it is on its way: the answer tells that.
        await writer.write(body or b"", drain=False)
        writer.set_eof()
        connection.start_timeout()
        return None
    if isinstance(body, bytes):
        pieces = _in_pieces(body)
    else:
        writer.send_headers()
        pieces = body.pieces(connection.received)
    return asyncio.create_task(_send(pieces, writer, connection), name=f"body for {call.function}")


async def _send(pieces: AsyncIterator[bytes], writer: StreamWriter, connection: Connection) -> None:
    """Send a body; what goes wrong is told to who waits for the answer."""
    try:
        async for piece in pieces:
            await writer.write(piece)
        await writer.write_eof()
    except OSError as error:
        connection.set_exception(aiohttp.ClientOSError(error.errno, str(error)), error)
    except Exception as error:  # noqa: BLE001 - whatever the body's source raises; the call fails by it
        connection.set_exception(aiohttp.ClientConnectionError(f"the body broke off: {error}"), error)
    else:
        connection.start_timeout()


async def _in_pieces(body: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(body), _PIECE_BYTES):
        yield body[start : start + _PIECE_BYTES]


async def stop(sending: asyncio.Task[None]) -> None:
    """Stop sending a body, and wait until nobody reads from its source any more."""
    sending.cancel()
    await asyncio.wait((sending,))
