"""The gateway's own answers: JSON documents, lines of text, and refusals."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import orjson
from aiohttp import web
from aiohttp.web_request import BaseRequest

from bridge.errors import BridgeError

INTERNAL = "X-OpenFaaS-Internal"
"""On every error that is the gateway's own and not a function's."""
SERVER = "gpio-bridge"
_MAX_DOCUMENT = 4 * 1024 * 1024


class Refusal(BridgeError):
    """The request ends with an error of our own; the message goes to the client."""

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.headers = dict(headers or {})

    def response(self) -> web.Response:
        """The answer that tells it."""
        headers = {"Server": SERVER, INTERNAL: "gateway", **self.headers}
        return web.Response(status=self.status, text=f"{self}\n", headers=headers)


def document(value: object, status: int = 200) -> web.Response:
    """A JSON answer."""
    headers = {"Server": SERVER, "Content-Type": "application/json"}
    return web.Response(status=status, body=orjson.dumps(value), headers=headers)


def empty(status: int, headers: Mapping[str, str] | None = None) -> web.Response:
    """An answer without a body."""
    return web.Response(status=status, headers={"Server": SERVER, **(headers or {})})


async def read_body(request: BaseRequest, limit_bytes: int, timeout: float) -> bytes:
    """The whole body of a request. Refuses with 413 beyond the limit, 408 after a pause of `timeout` s."""
    too_large = Refusal(413, f"the request's body is larger than {limit_bytes} bytes")
    if (request.content_length or 0) > limit_bytes:
        raise too_large
    await proceed(request)
    pieces: list[bytes] = []
    size = 0
    while True:
        try:
            async with asyncio.timeout(timeout):
                piece = await request.content.readany()
        except TimeoutError:
            raise Refusal(408, f"nothing of the request's body came for {timeout:g} s") from None
        if not piece:
            return b"".join(pieces)
        size += len(piece)
        if size > limit_bytes:
            raise too_large
        pieces.append(piece)


async def read_document(request: BaseRequest, timeout: float) -> Any:
    """The request's body as JSON. Refuses with 400 what is none."""
    body = await read_body(request, _MAX_DOCUMENT, timeout)
    try:
        return orjson.loads(body)
    except ValueError as error:
        raise Refusal(400, f"the request's body is not JSON: {error}") from None


async def proceed(request: BaseRequest) -> None:
    """Tell a client that waits for permission to send its body (RFC 9110 section 10.1.1)."""
    if request.headers.get("Expect", "").lower() == "100-continue" and request.version >= (1, 1):
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0
