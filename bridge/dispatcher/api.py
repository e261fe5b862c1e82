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

import logging
from typing import TYPE_CHECKING, Any, Self

import orjson
from aiohttp import web

from bridge.core.event import MAX_BYTES, Event, parse_any
from bridge.core.plan import explain
from bridge.core.topics import Topics
from bridge.dispatcher.answers import json_answer, whole_number
from bridge.dispatcher.audit_api import AuditApi
from bridge.dispatcher.dead_letters import DeadLetterApi
from bridge.dispatcher.feed import told
from bridge.dispatcher.trace_api import TraceApi
from bridge.errors import BridgeError, EventError
from bridge.journal.engine import Journal
from bridge.service import page

if TYPE_CHECKING:
    from bridge.dispatcher.dispatcher import Dispatcher

_log = logging.getLogger(__name__)


class Api:
    """The HTTP server; `url` is known once it is entered."""

    def __init__(self, dispatcher: Dispatcher, journal: Journal, host: str, port: int) -> None:
        self._dispatcher = dispatcher
        self._journal = journal
        self._host = host
        self._port = port
        self.url = ""

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=2 * MAX_BYTES, middlewares=[_problems])
        for path in ("/healthz", "/readyz", "/metrics"):
            app.router.add_get(path, self._page)
        app.router.add_get("/v1/events", self._events)
        app.router.add_post("/v1/explain", self._explain)
        app.router.add_get("/v1/mappings", self._mappings)
        DeadLetterApi(self._dispatcher, self._journal).add_routes(app.router)
        TraceApi(self._dispatcher).add_routes(app.router)
        AuditApi(self._dispatcher).add_routes(app.router)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        try:
            site = web.TCPSite(self._runner, self._host, self._port)
            await site.start()
        except OSError as error:
            await self._runner.cleanup()
            raise BridgeError(
                f"cannot serve the dispatcher's API on {self._host}:{self._port}: {error.strerror or error};"
                " set http.port to another one"
            ) from error
        port = self._runner.addresses[0][1]
        self.url = f"http://{self._host}:{port}"
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._runner.cleanup()

    async def _page(self, request: web.Request) -> web.Response:
        found = page(request.path, self._dispatcher.health, self._dispatcher.registry)
        assert found is not None
        status, content_type, body = found
        return web.Response(status=status, body=body, headers={"Content-Type": content_type})

    async def _events(self, request: web.Request) -> web.StreamResponse:
        limit = whole_number(request, "limit", 100)
        recent = self._dispatcher.feed.recent(limit) if limit else []
        head = b"".join(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE) for line in recent)
        if request.query.get("follow") not in ("1", "true"):
            return web.Response(body=head, content_type="application/x-ndjson")
        answer = web.StreamResponse(headers={"Content-Type": "application/x-ndjson", "Cache-Control": "no-store"})
        await answer.prepare(request)
        await answer.write(head)
        async for lines in self._dispatcher.feed.follow():
            await answer.write(lines)
        return answer

    async def _explain(self, request: web.Request) -> web.Response:
        ledger, now = self._dispatcher.ledger, self._dispatcher.now()
        event = read_event(await request.read(), Topics(self._dispatcher.settings.root), now.wall)
        judgements = explain(event, ledger.mappings, ledger.state, received_at=now.wall)
        return json_answer({"event_id": event.id, "judgements": [told(judgement) for judgement in judgements]})

    async def _mappings(self, request: web.Request) -> web.Response:
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


def read_event(payload: bytes, topics: Topics, received_at: Any) -> Event:
    """The event in a request: {"topic", "payload"} as a device would publish it, or an event's own JSON.

    Raises EventError.
    """
    try:
        document = orjson.loads(payload)
    except orjson.JSONDecodeError as error:
        raise EventError(f"the body is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise EventError("the body is not a JSON object")
    if "specversion" in document:
        data = document.get("data")
        names = [data.get(name) for name in ("site", "node", "sensor")] if isinstance(data, dict) else []
        if len(names) == 3 and all(isinstance(name, str) for name in names):
            own = topics.event(*[str(name) for name in names])
            return parse_any(payload, topics.parse(own) or own, id="explained", received_at=received_at)
        return parse_any(payload, "explained", id="explained", received_at=received_at)
    topic = document.get("topic")
    if not isinstance(topic, str) or "payload" not in document:
        raise EventError('give a CloudEvent, or {"topic": ..., "payload": ...}')
    content = document["payload"]
    raw = content.encode() if isinstance(content, str) else orjson.dumps(content)
    return parse_any(raw, topics.parse(topic) or topic, id="explained", received_at=received_at)


@web.middleware
async def _problems(request: web.Request, handler: Any) -> web.StreamResponse:
    """Errors as problem+json (RFC 9457), with a text that says what to do."""
    try:
        answer: web.StreamResponse = await handler(request)
    except web.HTTPException as error:
        return _problem(error.status, error.reason)
    except (EventError, ValueError) as error:
        return _problem(400, str(error))
    except ConnectionResetError:
        raise  # the watcher has gone; there is nobody to tell
    except BridgeError as error:
        _log.warning("request failed", extra={"op": "api", "path": request.path, "why": str(error)})
        return _problem(503, str(error))
    return answer


def _problem(status: int, detail: str) -> web.Response:
    body = orjson.dumps({"status": status, "title": detail, "detail": detail})
    return web.Response(status=status, body=body, content_type="application/problem+json")
