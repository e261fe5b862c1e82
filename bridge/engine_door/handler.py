"""One call of a client, from its request to the end of its answer: understood, looked into, passed on, noted."""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
from typing import Final

import orjson
from aiohttp import web
from aiohttp.web_request import BaseRequest

from bridge.engine_door.engine import Away, EngineSide
from bridge.engine_door.inspector import Approved, Inspector
from bridge.engine_door.metrics import Metrics, Outcome
from bridge.engine_door.passages import Call, Client, Refused, call_of
from bridge.engine_door.settings import EngineDoorSettings

_log = logging.getLogger(__name__)

_CREDENTIALS: Final = struct.Struct("3i")
"""Of the process at the other end: its number, user and group (unix(7), SO_PEERCRED)."""
_AUTH: Final = "X-Registry-Auth"
_PASSED: Final = ("Content-Type", "Api-Version", "Ostype", "Docker-Experimental", "Swarm", "Server")
"""Of the engine's answer. What is about the connection is our own."""


class Handler:
    """Answers the requests on one client's socket; `user` is the only one whose processes are served."""

    def __init__(
        self,
        client: Client,
        user: int,
        engine: EngineSide,
        inspector: Inspector,
        metrics: Metrics,
        settings: EngineDoorSettings,
    ) -> None:
        self._client: Client = client
        self._user = user
        self._engine = engine
        self._inspector = inspector
        self._metrics = metrics
        self._settings = settings

    async def __call__(self, request: BaseRequest) -> web.StreamResponse:
        """Answer one request."""
        call: Call | None = None
        approved: Approved | None = None
        try:
            self._refuse_strangers(request)
            call = call_of(self._client, request.method, request.raw_path)
            approved = await self._inspector.approved(call, await self._body(request, call))
            answer = await self._passed(request, call, approved)
        except Refused as refused:
            self._note(request, call, approved, refused.status, str(refused))
            return told(refused.status, str(refused))
        except Away as away:
            self._count(call, "failed")
            _log.warning("The engine is away", extra={"op": "engine_door.engine", "reason": str(away)})
            if request.writer.output_size and request.transport is not None:
                request.transport.abort()  # an answer has begun: only a cut connection can tell that this is not all
            return told(away.status, str(away))
        except Exception:  # noqa: BLE001 - the outermost place of a request; the traceback is logged
            _log.exception("Call failed", extra={"op": "engine_door.call", "client": self._client})
            if request.writer.output_size and request.transport is not None:
                request.transport.abort()
            return told(500, "the engine door failed at this call; its log has the reason")
        self._note(request, call, approved, answer.status, None)
        return answer

    def _refuse_strangers(self, request: BaseRequest) -> None:
        """Who connects must be the client's user; the kernel says who it is. And what is no plain request is none."""
        if request.transport is None:
            raise Refused("the connection is gone")
        connection = request.transport.get_extra_info("socket")
        raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        _, user, _ = _CREDENTIALS.unpack(raw)
        if user != self._user:
            raise Refused(f"this socket is the {self._client}'s, and the user {user} is not it")
        headers = request.headers
        if "Upgrade" in headers or "upgrade" in headers.get("Connection", "").lower():
            raise Refused("the engine door passes on no connection that becomes something else than HTTP")
        if "Transfer-Encoding" in headers and "Content-Length" in headers:
            raise Refused("a body has one length", 400)

    async def _body(self, request: BaseRequest, call: Call) -> bytes:
        most = self._settings.max_body_bytes
        if not call.passage.body:
            if request.can_read_body:
                raise Refused(f"{call.passage.method} {call.passage.path} has no document")
            return b""
        found = bytearray()
        try:
            async with asyncio.timeout(self._settings.read_s):
                async for piece in request.content.iter_any():
                    found += piece
                    if len(found) > most:
                        raise Refused(f"the document is larger than {most} bytes (max_body)", 413)
        except TimeoutError:
            raise Refused(f"the document did not come within {self._settings.read_s:g} s (read)", 408) from None
        return bytes(found)

    async def _passed(self, request: BaseRequest, call: Call, approved: Approved) -> web.StreamResponse:
        headers = {"User-Agent": f"gpio-bridge-engine-door/{self._client}"}
        if approved.body is not None:
            headers["Content-Type"] = "application/json"
        if _AUTH in request.headers:
            headers[_AUTH] = request.headers[_AUTH]
        target = call.target(approved.path)
        async with self._engine.sent(call.passage.method, target, headers, approved.body) as answer:
            if answer.status < 200:
                raise Away(f"the Docker Engine answered with status {answer.status}", 502)
            passed = web.StreamResponse(status=answer.status)
            passed.headers.update({name: answer.headers[name] for name in _PASSED if name in answer.headers})
            passed.headers.setdefault("Content-Type", "application/octet-stream")
            await passed.prepare(request)
            async for piece in self._engine.pieces(answer, standing=call.standing):
                await self._write(request, passed, piece)
            await passed.write_eof()
        return passed

    async def _write(self, request: BaseRequest, passed: web.StreamResponse, piece: bytes) -> None:
        try:
            async with asyncio.timeout(self._settings.write_s):
                await passed.write(piece)
        except TimeoutError:
            if request.transport is not None:
                request.transport.abort()
            raise Away(f"the {self._client} took nothing of its answer for {self._settings.write_s:g} s", 408) from None

    def _note(
        self, request: BaseRequest, call: Call | None, approved: Approved | None, status: int, reason: str | None
    ) -> None:
        """The audit: a line for each change, and for each refusal."""
        self._count(call, "passed" if reason is None else "refused")
        facts = {
            "op": "engine_door.call",
            "client": self._client,
            "method": request.method,
            "path": request.raw_path.partition("?")[0][:200] if call is None else call.path,
            "status": status,
        }
        if approved is not None and approved.subject:
            facts["subject"] = approved.subject
        if reason is not None:
            _log.warning("Refused", extra={**facts, "reason": reason})
        elif call is not None and call.changing:
            _log.info("Passed on", extra=facts)

    def _count(self, call: Call | None, outcome: Outcome) -> None:
        self._metrics.called(self._client, "none" if call is None else call.passage.kind, outcome)


def told(status: int, reason: str) -> web.Response:
    """The door's own answer, in the engine's form."""
    body = orjson.dumps({"message": f"engine door: {reason}"})
    refused = web.Response(status=status, body=body, headers={"Content-Type": "application/json"})
    refused.force_close()
    return refused
