"""`/system/logs`: what a function's replicas wrote, a JSON object a line, as it comes."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncGenerator, Mapping
from datetime import UTC, datetime

import orjson
from aiohttp import web
from aiohttp.web_request import BaseRequest

from bridge.errors import FunctionNotFound
from bridge.gateway.answers import SERVER, Refusal
from bridge.gateway.backends import Backend, LogQuery
from bridge.gateway.cors import GRANTED
from bridge.openfaas.deployment import LogLine
from bridge.openfaas.names import resolve

_TRUE, _FALSE = frozenset({"1", "t", "true"}), frozenset({"", "0", "f", "false"})
_FRACTION = re.compile(r"(\.\d{6})\d+")
_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(?:\.\d+)?(?:[Zz]|[-+]\d\d:\d\d)")
_WRITE_S = 60.0
_UNREADABLE = "could not parse the log request"


class Logs:
    """The verb for logs."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._reading: set[asyncio.Task[object]] = set()

    def close(self) -> None:
        """End the logs that are being followed: they would never end by themselves."""
        for task in self._reading:
            task.cancel()

    async def read(self, request: BaseRequest) -> web.StreamResponse:
        """The lines; with `follow` until the client leaves or the function is removed."""
        query = parse(request.query)
        try:
            lines = self._backend.logs(query)
        except FunctionNotFound as error:
            raise Refusal(404, str(error)) from None
        headers = {"Server": SERVER, "Content-Type": "application/x-ndjson", **request.get(GRANTED, {})}
        out = web.StreamResponse(headers=headers)
        await out.prepare(request)
        task = asyncio.current_task()
        assert task is not None
        self._reading.add(task)
        try:
            await _write(out, lines)
        finally:
            self._reading.discard(task)
        return out


async def _write(out: web.StreamResponse, lines: AsyncGenerator[LogLine, None]) -> None:
    async with contextlib.aclosing(lines):
        try:
            async for line in lines:
                async with asyncio.timeout(_WRITE_S):
                    await out.write(orjson.dumps(line.document(), option=orjson.OPT_APPEND_NEWLINE))
            await out.write_eof()
        except (ConnectionError, TimeoutError):
            return  # the client has gone, or reads no more


def parse(query: Mapping[str, str]) -> LogQuery:
    """The query of a request. Refuses with 422 what it cannot understand, 404 a name that belongs to no function."""
    given = query.get("name", "")
    if not given:
        raise Refusal(422, f"{_UNREADABLE}: name: say whose log is wanted")
    follow, tail_text, since_text = query.get("follow", "").lower(), query.get("tail", ""), query.get("since", "")
    if follow not in _TRUE | _FALSE:
        raise Refusal(422, f"{_UNREADABLE}: follow: {follow!r} is neither true nor false")
    tail: int | None = None
    if tail_text:
        if not re.fullmatch(r"-?\d{1,9}", tail_text, re.ASCII):
            raise Refusal(422, f"{_UNREADABLE}: tail: {tail_text!r} is no whole number")
        tail = int(tail_text)
    name = resolve(given, query.get("namespace", ""))
    since = _time(since_text) if since_text else None
    if name is None:
        raise Refusal(404, f"the function {given[:100]!r} is not deployed")
    # Clients say -1, and 0, for all of them.
    return LogQuery(name, query.get("instance", ""), tail if tail and tail > 0 else None, since, follow in _TRUE)


def _time(text: str) -> datetime:
    # A plus sign that was not escaped in the query arrives as a space.
    text = text.replace(" ", "+")
    if not _TIME.fullmatch(text):
        raise Refusal(422, f"{_UNREADABLE}: since: {text!r} is no time such as 2026-11-22T17:30:00Z")
    try:
        # datetime keeps microseconds; Go writes nanoseconds.
        return datetime.fromisoformat(_FRACTION.sub(r"\1", text)).astimezone(UTC)
    except ValueError as error:
        raise Refusal(422, f"{_UNREADABLE}: since: {error}") from None
