"""`/async-function/{name}`: accept a call, answer 202, make it later and post its answer to `X-Callback-Url`."""

from __future__ import annotations

import time

from aiohttp import web
from aiohttp.web_request import BaseRequest
from yarl import URL

from bridge.gateway.accepted import AcceptedCall
from bridge.gateway.answers import Refusal, empty
from bridge.gateway.api.invoke import call_id_of, identified, locate
from bridge.gateway.async_queue import AsyncQueue
from bridge.gateway.backends import Backend
from bridge.gateway.body import Body
from bridge.gateway.headers import CALL_ID, SERVED_BY, START_TIME, UnsendableHeader, to_function
from bridge.gateway.settings import GatewaySettings

_CALLBACK = "X-Callback-Url"


class Accept:
    """Accepts asynchronous calls."""

    def __init__(self, backend: Backend, queue: AsyncQueue, settings: GatewaySettings, served_by: str) -> None:
        self._backend = backend
        self._queue = queue
        self._settings = settings
        self._served_by = served_by

    async def __call__(self, request: BaseRequest, rest: str) -> web.StreamResponse:
        """Store the call; `rest` is what follows `/async-function/` in the target, not decoded."""
        call_id, start_ns = call_id_of(request), time.time_ns()
        with identified(call_id, start_ns, self._served_by):
            await self._store(request, rest, call_id, start_ns)
        return empty(202, {CALL_ID: call_id, START_TIME: str(start_ns), SERVED_BY: self._served_by})

    async def _store(self, request: BaseRequest, rest: str, call_id: str, start_ns: int) -> None:
        if request.method != "POST":
            raise Refusal(405, "asynchronous calls are made with POST", {"Allow": "POST"})
        name, target = locate(self._backend, rest)
        callback = _callback(request.headers.get(_CALLBACK))
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
        headers.popall(_CALLBACK, None)
        body = await Body(request, self._settings.asynchronous.max_body_bytes, self._settings.timeouts.read_s).whole()
        await self._queue.accept(AcceptedCall(call_id, name, target, tuple(headers.items()), body, callback))


def _callback(given: str | None) -> str | None:
    if not given:
        return None
    try:
        url = URL(given)
    except ValueError:
        url = URL()
    if url.scheme not in ("http", "https") or not url.host:
        raise Refusal(400, f"{_CALLBACK}: {given[:200]!r} is no http or https address")
    return given
