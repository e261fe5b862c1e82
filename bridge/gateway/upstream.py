"""Calls of functions: a replica is leased, the request sent to it, and its answer handed out as it comes."""

from __future__ import annotations

import asyncio
import time
from types import TracebackType
from typing import Self

import aiohttp
from aiohttp import StreamReader
from aiohttp.http import HttpProcessingError, RawResponseMessage

from bridge.errors import FunctionNotFound, FunctionUnavailable
from bridge.gateway.answers import Refusal
from bridge.gateway.backends import Backend, Lease
from bridge.gateway.connections import Connection, Connections
from bridge.gateway.exchange import Call, begin, stop
from bridge.gateway.settings import GatewaySettings

_NOBODY, _BROKEN = "No endpoints available for", "Can't reach service for"
"""The words of OpenFaaS, which clients look for."""
_CONNECT_S = 1.5
"""A replica on another machine: long enough for one lost packet, short enough to try elsewhere."""
_KEEPALIVE_S = 15.0
"""Well below the function server's own; other servers' may be shorter, and then it is they who close."""
_UNREACHABLE_S = 2.0
"""How long other replicas, or the same one, are tried while none takes a connection; at least one other is."""


class _Unreached(Exception):
    """No connection was had."""


class _Unseen(_Unreached):
    """The connection had been closed before any byte of the request was received."""


class _BrokenOff(Exception):
    """The connection broke before the answer began; the function may have seen the request."""


class Answer:
    """A function's answer, with the lease of its replica; leaving the context gives both back.

    `length` is what the function says of its body, `content` the body as it comes.
    """

    __slots__ = ("_connections", "_lease", "_sending", "connection", "content", "headers", "length", "reason", "status")

    def __init__(
        self,
        head: tuple[RawResponseMessage, StreamReader],
        connection: Connection,
        connections: Connections,
        sending: asyncio.Task[None] | None,
        lease: Lease,
    ) -> None:
        message, self.content = head
        self.status, self.reason, self.headers = message.code, message.reason, message.headers
        length = self.headers.get("Content-Length")
        self.length = None if length is None else int(length)
        self.connection = connection
        self._connections = connections
        self._sending = sending
        self._lease = lease

    async def read(self) -> bytes:
        """The rest of the body. Raises aiohttp.ClientError, OSError or TimeoutError when it does not come."""
        if self.content.is_eof():
            return self.content.read_nowait(-1)
        return await self.content.read()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        # What was read to its end leaves a connection to use again; anything else is cut.
        try:
            if self._sending is not None and not self._sending.done():
                self._connections.cut(self.connection)
                await stop(self._sending)
            elif self.content.at_eof():
                self._connections.give(self.connection)
            else:
                self._connections.drop(self.connection)
        finally:
            self._lease.release()


class Upstream:
    """Sends calls to the backend's replicas; an async context manager, which closes the connections, too."""

    def __init__(self, backend: Backend, settings: GatewaySettings, connections: Connections | None = None) -> None:
        self._backend = backend
        self._settings = settings
        self._connections = connections or Connections(connect_s=_CONNECT_S, keep_s=_KEEPALIVE_S)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._connections.close()

    async def send(self, call: Call) -> Answer:
        """The answer's head; its body is still to be read. Raises Refusal with 404, 502, 503 or 504.

        Another replica gets the call where that is safe: when nothing of it was received, or once for a repeatable call
        that broke off.
        """
        problem, broken_off = "", False
        deadline = time.monotonic() + _UNREACHABLE_S
        attempts = 0
        while attempts < 2 or time.monotonic() < deadline:
            attempts += 1
            try:
                lease = await self._backend.acquire(call.function)
            except FunctionNotFound as error:
                raise Refusal(404, str(error)) from None
            except FunctionUnavailable as error:
                raise Refusal(503, f"{_NOBODY}: {call.function}. {error}", {"Retry-After": "1"}) from None
            try:
                return await self._request(call, lease)
            except _Unreached as error:
                lease.suspect()
                lease.release()
                problem = str(error)
                if isinstance(error, _Unseen) and not call.whole:
                    raise Refusal(502, f"{_BROKEN}: {call.function}. {problem}") from None
                # A process that died is noticed in a moment; then the call waits for the one that replaces it.
                await asyncio.sleep(0.02)
            except _BrokenOff as error:
                lease.suspect()
                lease.release()
                if broken_off or not call.repeatable:
                    raise Refusal(502, f"{_BROKEN}: {call.function}. {error}") from None
                problem, broken_off = str(error), True
            except BaseException:
                lease.release()
                raise
        if broken_off:
            raise Refusal(502, f"{_BROKEN}: {call.function}. {problem}")
        raise Refusal(503, f"{_NOBODY}: {call.function}. {problem}", {"Retry-After": "1"})

    async def _request(self, call: Call, lease: Lease) -> Answer:
        try:
            connection = await self._connections.take(lease.host, lease.port)
        except OSError as error:  # a time-out is one, too
            problem = str(error) or f"no connection within {_CONNECT_S:g} s"
            raise _Unreached(f"Cannot connect to {lease.host}:{lease.port}: {problem}") from error
        sending: asyncio.Task[None] | None = None
        try:
            sending = await begin(call, connection, self._settings.timeouts.upstream_s)
            while True:
                head = await connection.read()
                if head[0].code >= 200 or head[0].code == 101:
                    return Answer(head, connection, self._connections, sending, lease)
        except BaseException as error:
            self._connections.cut(connection)
            if sending is not None:
                await stop(sending)
            if isinstance(error, aiohttp.ClientConnectionResetError):
                # It was closed before anything was written.
                raise _Unreached(f"{lease.host}:{lease.port} closed the connection at once") from error
            if isinstance(error, TimeoutError):  # also aiohttp's own, which is a client error, too
                raise Refusal(
                    504,
                    f"the function {call.function} did not begin to answer within"
                    f" {self._settings.timeouts.upstream_s:g} s (timeouts.upstream)",
                ) from None
            if isinstance(error, aiohttp.ClientOSError | aiohttp.ServerDisconnectedError):
                problem = str(error) or type(error).__name__
                raise (_Unseen if connection.unseen() else _BrokenOff)(problem) from error
            if isinstance(error, aiohttp.ClientError | HttpProcessingError | OSError):
                raise _BrokenOff(str(error) or type(error).__name__) from error
            raise
