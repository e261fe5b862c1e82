"""The HTTP server at a gateway's port: how many connections it takes, and how long each may keep it waiting."""

from __future__ import annotations

import asyncio
import logging
import resource
from typing import Any, cast

from aiohttp import web
from aiohttp.web_request import BaseRequest

from bridge.gateway.answers import INTERNAL, SERVER, Refusal

_log = logging.getLogger(__name__)

_MAX_LINE_BYTES, _MAX_FIELD_BYTES, _MAX_FIELDS = 32 * 1024, 32 * 1024, 256
_FULL = (
    f"HTTP/1.1 503 Service Unavailable\r\nServer: {SERVER}\r\n{INTERNAL}: gateway\r\nRetry-After: 1\r\n"
    "Content-Type: text/plain; charset=utf-8\r\nContent-Length: 28\r\nConnection: close\r\n\r\n"
    "too many connections at once"
).encode()
_OTHER_FILES = 512
"""What a gateway has open besides its connections: functions' outputs, journals, an engine's socket."""


class Door(web.Server):
    """An aiohttp server that answers 503 on connections beyond its bound, and closes those that bring no request.

    A client that leaves cancels its request, which frees the function's replica at once.
    """

    def __init__(self, handler: Any, *, max_connections: int, idle_s: float) -> None:
        super().__init__(
            handler,
            handler_cancellation=True,
            access_log=None,
            # Also the time that a client has for a request's whole head.
            keepalive_timeout=idle_s,
            # Bodies belong to functions, and are theirs to unpack.
            auto_decompress=False,
            max_line_size=_MAX_LINE_BYTES,
            max_field_size=_MAX_FIELD_BYTES,
            max_headers=_MAX_FIELDS,
        )
        self._max_connections = max_connections
        self._full = False

    def __call__(self) -> web.RequestHandler:
        full = len(self.connections) >= self._max_connections
        if full and not self._full:
            _log.warning("Too many connections", extra={"op": "http", "max_connections": self._max_connections})
        self._full = full
        if full:
            return cast("web.RequestHandler", _Refuse())  # asyncio asks for any protocol; only the type says more
        return _Connection(self, loop=self._loop, **self._kwargs)


class _Connection(web.RequestHandler):
    """Answers what is no request in our own words, and without a traceback in the log."""

    __slots__ = ()

    def handle_error(
        self, request: BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        if request.writer.output_size:
            raise ConnectionError("an answer has begun already")
        _log.info(
            "Bad request",
            extra={"op": "http", "status": status, "client": request.remote, "reason": message or repr(exc)},
        )
        refused = Refusal(status, message or "the request could not be understood").response()
        refused.force_close()
        return refused


class _Refuse(asyncio.Protocol):
    """Says that there are too many already, and closes."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        transport.write(_FULL)
        transport.close()


def allow_files(max_connections: int) -> None:
    """Raise the number of files that we may have open, as far as the system lets us: each call has two sockets."""
    wanted = 2 * max_connections + _OTHER_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    reached = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (reached, hard))
    if reached < wanted:
        _log.warning(
            "Fewer files than max_connections needs", extra={"op": "start", "files": reached, "wanted": wanted}
        )
