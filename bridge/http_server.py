"""An aiohttp server with bounds: so many connections, so large heads, and so long until a request has come."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, cast

from aiohttp import web
from aiohttp.web_request import BaseRequest

_log = logging.getLogger(__name__)

_MAX_LINE_BYTES, _MAX_FIELD_BYTES, _MAX_FIELDS = 32 * 1024, 32 * 1024, 256

Told = Callable[[int, str], web.Response]
"""A program's own answer for a status and a reason."""


class BoundedServer(web.Server):
    """Answers `full`, the bytes of a whole answer, on connections beyond its bound, and closes those without a request.

    What is no request is answered in the program's own words (`told`). A client that leaves cancels its request.
    """

    def __init__(
        self,
        handler: Any,
        *,
        max_connections: int,
        idle_s: float,
        full: bytes,
        told: Told,
        lingering_s: float = 10.0,
    ) -> None:
        super().__init__(
            handler,
            handler_cancellation=True,
            access_log=None,
            # Also the time that a client has for a request's whole head.
            keepalive_timeout=idle_s,
            # For what is left of a body when its request was answered already.
            lingering_time=lingering_s,
            # Bodies belong to who gets them, and are theirs to unpack.
            auto_decompress=False,
            max_line_size=_MAX_LINE_BYTES,
            max_field_size=_MAX_FIELD_BYTES,
            max_headers=_MAX_FIELDS,
        )
        self._max_connections = max_connections
        self._full_answer = full
        self.told = told
        self._full = False

    def __call__(self) -> web.RequestHandler:
        full = len(self.connections) >= self._max_connections
        if full and not self._full:
            _log.warning("Too many connections", extra={"op": "http", "max_connections": self._max_connections})
        self._full = full
        if full:
            # asyncio asks for any protocol; only the type says more.
            return cast("web.RequestHandler", _Refuse(self._full_answer))
        return _Connection(self, loop=self._loop, **self._kwargs)


class _Connection(web.RequestHandler):
    """Answers what is no request in our own words, and without a traceback in the log."""

    __slots__ = ("_server",)

    def __init__(self, server: BoundedServer, **settings: Any) -> None:
        super().__init__(server, **settings)
        self._server = server

    def resume_reading(self, resume_parser: bool = True) -> None:  # noqa: FBT001, FBT002 - aiohttp calls it so
        """Go on reading. A stream says so for every piece that is taken from it, also where nothing had stopped."""
        if self._reading_paused:
            super().resume_reading(resume_parser)

    def handle_error(
        self, request: BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        if request.writer.output_size:
            raise ConnectionError("an answer has begun already")
        _log.info(
            "Bad request",
            extra={"op": "http", "status": status, "client": request.remote, "reason": message or repr(exc)},
        )
        refused = self._server.told(status, message or "the request could not be understood")
        refused.force_close()
        return refused


class _Refuse(asyncio.Protocol):
    """Says that there are too many already, and closes."""

    def __init__(self, answer: bytes) -> None:
        self._answer = answer

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        transport.write(self._answer)
        transport.close()
