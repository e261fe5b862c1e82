"""Connections that change to another protocol (websockets): the bytes of both ends are passed on as they come."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import cast

import aiohttp
from aiohttp import web
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http import WebSocketReader
from aiohttp.http_writer import StreamWriter
from aiohttp.web_request import BaseRequest
from multidict import CIMultiDict

from bridge.gateway.connections import Connection

UPGRADE = "websocket"
_BUFFER_BYTES = 64 * 1024

Write = Callable[[bytes], Awaitable[None]]


def wanted(request: BaseRequest) -> bool:
    """Whether the client asks for a websocket (RFC 6455 section 4.2.1)."""
    tokens = {token.strip().lower() for value in request.headers.getall("Connection", ()) for token in value.split(",")}
    return (
        request.method == "GET"
        and request.version >= (1, 1)
        and request.headers.get("Upgrade", "").lower() == UPGRADE
        and "upgrade" in tokens
    )


def switch(headers: CIMultiDict[str]) -> None:
    """Add what asks the next hop to change the protocol, or tells the client that it did."""
    headers["Connection"] = "Upgrade"
    headers["Upgrade"] = UPGRADE


class _Intake:
    """Takes a connection's bytes from aiohttp instead of its own reader of frames; full, it stops the other end."""

    def __init__(self, protocol: BaseProtocol) -> None:
        loop = asyncio.get_running_loop()
        self._reader = aiohttp.StreamReader(protocol, _BUFFER_BYTES, loop=loop)

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        self._reader.feed_data(data)
        return False, b""

    def feed_eof(self) -> None:
        self._reader.feed_eof()

    def pieces(self) -> AsyncIterator[bytes]:
        return self._reader.iter_any()


async def carry(request: BaseRequest, function: Connection, out: web.StreamResponse, write_s: float) -> None:
    """Pass bytes in both directions until one end closes, or takes nothing for `write_s`.

    `function` is the connection of a function's 101 and `out` ours, prepared; afterwards neither is good for anything
    else.
    """
    # A websocket may be silent for as long as it likes; whoever uses it sends pings.
    function.read_timeout = None
    from_function, from_client = _Intake(function), _Intake(request.protocol)
    function.set_parser(from_function, aiohttp.EMPTY_PAYLOAD)
    request.protocol.set_parser(cast("WebSocketReader", from_client))
    to_function = StreamWriter(function, asyncio.get_running_loop())
    directions = (
        asyncio.create_task(_pass_on(from_function.pieces(), out.write, write_s), name="tunnel to client"),
        asyncio.create_task(_pass_on(from_client.pieces(), to_function.write, write_s), name="tunnel to function"),
    )
    try:
        await asyncio.wait(directions, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for direction in directions:
            direction.cancel()
        await asyncio.gather(*directions, return_exceptions=True)
        function.close()


async def _pass_on(pieces: AsyncIterator[bytes], write: Write, write_s: float) -> None:
    with contextlib.suppress(ConnectionError, aiohttp.ClientError, TimeoutError):  # the other end has gone: the end
        async for piece in pieces:
            async with asyncio.timeout(write_s):
                await write(piece)
