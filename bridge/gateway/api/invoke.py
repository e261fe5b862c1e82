"""`/function/{name}`: a call of a function, passed on in both directions as it streams."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
import uuid
from collections.abc import Iterator

import aiohttp
from aiohttp import web
from aiohttp.web_request import BaseRequest
from multidict import CIMultiDict

from bridge.gateway import tunnel
from bridge.gateway.answers import SERVER, Refusal
from bridge.gateway.backends import Backend
from bridge.gateway.body import Body
from bridge.gateway.exchange import Call, StreamedBody
from bridge.gateway.headers import CALL_ID, SERVED_BY, START_TIME, UnsendableHeader, to_client, to_function
from bridge.gateway.metrics import GatewayMetrics
from bridge.gateway.settings import GatewaySettings
from bridge.gateway.upstream import Answer, Upstream
from bridge.openfaas.names import resolve

_log = logging.getLogger(__name__)

METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD"})
_WHOLE_BYTES = 64 * 1024
"""A body whose length is told and no larger travels in one piece, which is quicker, and can be sent again."""
_SWITCHED = web.RequestKey("switched", bool)
_BODILESS = frozenset({204, 304})


class Invoke:
    """Answers calls; one that becomes a websocket ends when the socket does."""

    def __init__(
        self, backend: Backend, upstream: Upstream, metrics: GatewayMetrics, settings: GatewaySettings, served_by: str
    ) -> None:
        self._backend = backend
        self._upstream = upstream
        self._metrics = metrics
        self._settings = settings
        self._served_by = served_by

    async def __call__(self, request: BaseRequest, rest: str) -> web.StreamResponse:
        """Call the function that the target names; `rest` is what follows `/function/` in it, not decoded."""
        call_id, start_ns = call_id_of(request), time.time_ns()
        with identified(call_id, start_ns, self._served_by):
            return await self._counted(request, rest, call_id, start_ns)

    async def _counted(self, request: BaseRequest, rest: str, call_id: str, start_ns: int) -> web.StreamResponse:
        name, target = locate(self._backend, rest)
        if request.method not in METHODS:
            raise Refusal(405, f"{request.method} is not passed on to functions", {"Allow": ", ".join(sorted(METHODS))})
        began = time.perf_counter()
        self._metrics.started(name)
        code = 500
        try:
            response = await self._pass_on(request, name, target, call_id, start_ns)
            code = response.status
        except Refusal as refusal:
            code = refusal.status
            raise
        except asyncio.CancelledError:
            # The client has gone; the number is nginx's. A websocket has no other end than that.
            code = 101 if _SWITCHED in request else 499
            raise
        finally:
            self._metrics.ended(name, code, time.perf_counter() - began)
        return response

    async def _pass_on(
        self, request: BaseRequest, name: str, target: str, call_id: str, start_ns: int
    ) -> web.StreamResponse:
        try:
            headers = to_function(
                request.headers,
                client=request.remote,
                host=request.headers.get("Host"),
                call_id=call_id,
                start_ns=start_ns,
            )
        except UnsendableHeader as problem:
            raise Refusal(400, str(problem)) from None
        if tunnel.wanted(request):
            tunnel.switch(headers)
        body, streamed = await self._body(request)
        if body is not None and request.content_length is not None:
            headers["Content-Length"] = str(request.content_length)
        try:
            answer = await self._upstream.send(Call(name, request.method, target, headers, body))
        except Refusal:
            # A client that sends too much or too slowly makes the call fail; that is what it is told.
            if streamed is not None and streamed.refusal is not None:
                raise streamed.refusal from None
            raise
        async with answer:
            return await self._answer(request, name, answer, call_id, start_ns)

    async def _body(self, request: BaseRequest) -> tuple[bytes | StreamedBody | None, Body | None]:
        body = Body(request, self._settings.max_body_bytes, self._settings.timeouts.read_s)
        body.check_length()
        length = request.content_length
        if not request.can_read_body:
            return (b"" if length == 0 and request.method in ("POST", "PUT", "PATCH") else None), None
        if length is not None and length <= _WHOLE_BYTES:
            return await body.whole(), None
        return StreamedBody(body.take), body

    async def _answer(
        self, request: BaseRequest, name: str, answer: Answer, call_id: str, start_ns: int
    ) -> web.StreamResponse:
        try:
            headers = to_client(answer.headers, call_id=call_id, start_ns=start_ns, served_by=self._served_by)
        except UnsendableHeader as problem:
            raise Refusal(502, f"the function {name} answered with a bad header: {problem}") from None
        headers.setdefault("Server", SERVER)
        if answer.status == 101:
            return await self._switch(request, name, answer, headers)
        bodiless = answer.status in _BODILESS or request.method == "HEAD"
        if "Content-Type" not in headers and answer.status not in _BODILESS:
            headers["Content-Type"] = request.headers.get("Content-Type") or "text/plain"
        length = answer.length
        if bodiless:
            if length is not None and answer.status != 204:
                headers["Content-Length"] = str(length)
            await answer.read()
            return web.StreamResponse(status=answer.status, reason=answer.reason, headers=headers)
        if length is not None and length <= _WHOLE_BYTES:
            try:
                body = await answer.read()
            except TimeoutError:
                raise Refusal(504, f"the function {name} stopped in the middle of its answer") from None
            except (aiohttp.ClientError, OSError) as error:
                raise Refusal(502, f"the function {name} broke off its answer: {error}") from None
            return web.Response(status=answer.status, reason=answer.reason, headers=headers, body=body)
        if length is not None:
            headers["Content-Length"] = str(length)
        return await self._stream(request, name, answer, headers)

    async def _switch(
        self, request: BaseRequest, name: str, answer: Answer, headers: CIMultiDict[str]
    ) -> web.StreamResponse:
        """The function changes to another protocol: only who asked for that may be told so."""
        if not tunnel.wanted(request):
            raise Refusal(502, f"the function {name} changed the protocol, which nobody asked for")
        tunnel.switch(headers)
        out = web.StreamResponse(status=101, reason=answer.reason, headers=headers)
        out.force_close()
        try:
            await out.prepare(request)
        except ConnectionError:
            return out  # the client has gone
        request[_SWITCHED] = True
        await tunnel.carry(request, answer.connection, out, self._settings.timeouts.write_s)
        return out

    async def _stream(
        self,
        request: BaseRequest,
        name: str,
        answer: Answer,
        headers: aiohttp.typedefs.LooseHeaders,
    ) -> web.StreamResponse:
        """Each piece goes out as it comes in; the function is read no faster than the client reads us."""
        out = web.StreamResponse(status=answer.status, reason=answer.reason, headers=headers)
        await out.prepare(request)
        write_s = self._settings.timeouts.write_s
        try:
            async for piece in answer.content.iter_any():
                async with asyncio.timeout(write_s):
                    await out.write(piece)
            await out.write_eof()
        except ConnectionError:
            return out  # the client has gone; aiohttp closes what is left of the connection
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            # The head is out: only a cut connection can tell the client that this is not all.
            _log.warning(
                "Answer cut off", extra={"op": "invoke", "function": name, "reason": str(error) or type(error).__name__}
            )
            if request.transport is not None:
                request.transport.abort()
        return out


def call_id_of(request: BaseRequest) -> str:
    """The client's own, or a new one where it gave none, or bytes that are no text."""
    given = request.headers.get(CALL_ID, "")
    try:
        given.encode()
    except UnicodeEncodeError:
        given = ""
    return given or str(uuid.uuid4())


@contextlib.contextmanager
def identified(call_id: str, start_ns: int, served_by: str) -> Iterator[None]:
    """What refuses a call says which one, as its answer would have."""
    try:
        yield
    except Refusal as refusal:
        refusal.headers |= {CALL_ID: call_id, START_TIME: str(start_ns), SERVED_BY: served_by}
        raise


def locate(backend: Backend, rest: str) -> tuple[str, str]:
    """The function and the target below it, from what follows the prefix. Refuses with 404 what is not deployed."""
    path, question, query = rest.partition("?")
    given, _, below = path.partition("/")
    name = resolve(given)
    if name is None or not backend.known(name):
        raise Refusal(404, f"the function {given[:100]!r} is not deployed")
    return name, f"/{below}{question}{query}"
