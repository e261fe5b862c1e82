"""The HTTP server at a gateway's port: how many connections it takes, and how long each may keep it waiting."""

from __future__ import annotations

import logging
import resource
from typing import Any

from aiohttp import web

from bridge.gateway.answers import INTERNAL, SERVER, Refusal
from bridge.http_server import BoundedServer

_log = logging.getLogger(__name__)

_FULL = (
    f"HTTP/1.1 503 Service Unavailable\r\nServer: {SERVER}\r\n{INTERNAL}: gateway\r\nRetry-After: 1\r\n"
    "Content-Type: text/plain; charset=utf-8\r\nContent-Length: 28\r\nConnection: close\r\n\r\n"
    "too many connections at once"
).encode()
_OTHER_FILES = 512
"""What a gateway has open besides its connections: functions' outputs, journals, an engine's socket."""


class Door(BoundedServer):
    """Answers 503 on connections beyond its bound.

    A client that leaves cancels its request, which frees the function's replica at once.
    """

    def __init__(self, handler: Any, *, max_connections: int, idle_s: float) -> None:
        super().__init__(handler, max_connections=max_connections, idle_s=idle_s, full=_FULL, told=_told)


def _told(status: int, reason: str) -> web.Response:
    return Refusal(status, reason).response()


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
