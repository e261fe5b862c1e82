"""The dispatcher's HTTP API: health, metrics, the live feed, and why something did or did not fire.

GET  /healthz /readyz /metrics
GET  /v1/events            the last decisions; `?follow=1` streams new ones, one JSON object per line
POST /v1/explain           an event, or {"topic", "payload"}: what every mapping says to it
GET  /v1/mappings          the mapping set in force and, if the file is bad, why it is not
     /v1/deadletters       dead letters: see dead_letters.py
     /v1/traces /v1/why    the stories of events: see trace_api.py
     /v1/audit             what is missing, came twice or was dropped: see audit_api.py
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from typing import TYPE_CHECKING, Any, Final, Self

import orjson

from bridge.core.event import MAX_BYTES
from bridge.core.judgement import told
from bridge.core.plan import explain
from bridge.core.sample import read_event
from bridge.core.topics import Topics
from bridge.dispatcher.answers import json_answer, whole_number
from bridge.dispatcher.audit_api import AuditApi
from bridge.dispatcher.dead_letters import DeadLetterApi
from bridge.dispatcher.routes import Asked, Routes
from bridge.dispatcher.trace_api import TraceApi
from bridge.errors import BridgeError
from bridge.journal.engine import Journal
from bridge.runtime.http import Response, Server
from bridge.service import page

if TYPE_CHECKING:
    from bridge.dispatcher.dispatcher import Dispatcher

DRAIN_S: Final = 1.0
"""How long answers under way may go on when the dispatcher stops; who follows the feed is cut off then."""


class Api:
    """The HTTP server; `url` and `port` are known once it is entered."""

    def __init__(self, dispatcher: Dispatcher, journal: Journal, host: str, port: int) -> None:
        self._dispatcher = dispatcher
        self._journal = journal
        self._host = host
        self._port = port
        self.url = ""
        self.port = 0

    async def __aenter__(self) -> Self:
        routes = Routes()
        for path in ("/healthz", "/readyz", "/metrics"):
            routes.add("GET", path, self._page)
        routes.add("GET", "/v1/events", self._events)
        routes.add("POST", "/v1/explain", self._explain)
        routes.add("GET", "/v1/mappings", self._mappings)
        DeadLetterApi(self._dispatcher, self._journal).add_routes(routes)
        TraceApi(self._dispatcher).add_routes(routes)
        AuditApi(self._dispatcher).add_routes(routes)
        self._server = Server(routes.answer, self._host, self._port, max_body_bytes=2 * MAX_BYTES)
        try:
            await self._server.start()
        except OSError as error:
            raise BridgeError(
                f"cannot serve the dispatcher's API on {self._host}:{self._port}: {error.strerror or error};"
                " set http.port to another one"
            ) from error
        self.port = self._server.port
        self.url = f"http://{self._host}:{self.port}"
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._server.stop(DRAIN_S)

    async def _page(self, asked: Asked) -> Response:
        found = page(asked.path, self._dispatcher.health, self._dispatcher.registry)
        assert found is not None
        status, content_type, body = found
        return Response(status, body, (("Content-Type", content_type),))

    async def _events(self, asked: Asked) -> Response:
        limit = whole_number(asked, "limit", 100)
        recent = self._dispatcher.feed.recent(limit) if limit else []
        head = _json_lines(recent)
        if asked.query.get("follow") not in ("1", "true"):
            return Response(200, head, (("Content-Type", "application/x-ndjson"),))
        headers = (("Content-Type", "application/x-ndjson"), ("Cache-Control", "no-store"))
        return Response(200, self._following(head), headers)

    async def _following(self, head: bytes) -> AsyncIterator[bytes]:
        yield head
        async for lines in self._dispatcher.feed.follow():
            yield _json_lines(lines)

    async def _explain(self, asked: Asked) -> Response:
        ledger, now = self._dispatcher.ledger, self._dispatcher.now()
        event = read_event(asked.body, Topics(self._dispatcher.settings.root), now.wall)
        judgements = explain(event, ledger.mappings, ledger.state, received_at=now.wall)
        return json_answer({"event_id": event.id, "judgements": [told(judgement) for judgement in judgements]})

    async def _mappings(self, asked: Asked) -> Response:
        mappings, problem = self._dispatcher.mappings, self._dispatcher.mapping_problem
        return json_answer(
            {
                "version": mappings.version,
                "mappings": [
                    {"name": mapping.name, "function": mapping.function, "enabled": mapping.enabled}
                    for mapping in mappings.mappings.values()
                ],
                "subscriptions": self._dispatcher.wanted(),
                "problems": [str(one) for one in problem.problems] if problem else [],
            }
        )


def _json_lines(lines: Iterable[dict[str, Any]]) -> bytes:
    return b"".join(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE) for line in lines)
