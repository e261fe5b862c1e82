"""Which handler of the dispatcher's HTTP API answers what, and its errors as problem+json (RFC 9457)."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl, unquote

import orjson

from bridge.errors import BridgeError, EventError
from bridge.runtime.http import Request, Response

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Asked:
    """One request to a route: its query (the first of each name), what its path holds, its body."""

    path: str
    query: Mapping[str, str]
    place: str
    """What stands where the route has a name in braces; empty for a route without one."""
    body: bytes


Handle = Callable[[Asked], Awaitable[Response]]


class Routes:
    """Routes by method and path; the last part of a path may be a name in braces, which stands for any one part."""

    def __init__(self) -> None:
        self._exact: dict[str, dict[str, Handle]] = {}
        self._below: dict[str, dict[str, Handle]] = {}

    def add(self, method: str, path: str, handle: Handle) -> None:
        """Serve `path`; GET serves HEAD too. An exact path goes before one with a name in it."""
        above, brace, _ = path.partition("{")
        routes = self._below if brace else self._exact
        routes.setdefault(above, {})[method] = handle

    async def answer(self, request: Request) -> Response:
        """Find who answers, and make of what is wrong a text that says what to do."""
        handles, place = self._exact.get(request.path), ""
        if handles is None:
            above, _, last = request.path.rpartition("/")
            handles, place = self._below.get(f"{above}/") if last else None, unquote(last)
        if handles is None:
            return problem(404, "Not Found")
        handle = handles.get("GET" if request.method == "HEAD" else request.method)
        if handle is None:
            allowed = sorted({*handles, *(["HEAD"] if "GET" in handles else [])})
            return problem(405, "Method Not Allowed", (("Allow", ", ".join(allowed)),))
        query: dict[str, str] = {}
        for name, value in parse_qsl(request.query, keep_blank_values=True):
            query.setdefault(name, value)
        try:
            return await handle(Asked(request.path, query, place, request.body))
        except (EventError, ValueError) as error:
            return problem(400, str(error))
        except BridgeError as error:
            _log.warning("request failed", extra={"op": "api", "path": request.path, "why": str(error)})
            return problem(503, str(error))


def problem(status: int, detail: str, headers: tuple[tuple[str, str], ...] = ()) -> Response:
    """An answer that says what is wrong."""
    body = orjson.dumps({"status": status, "title": detail, "detail": detail})
    return Response(status, body, (("Content-Type", "application/problem+json"), *headers))
