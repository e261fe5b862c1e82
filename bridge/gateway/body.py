"""Bodies of requests as they come: bounded in size, and in the time that their client may take over them."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
from aiohttp import web
from aiohttp.web_request import BaseRequest

from bridge.gateway.answers import Refusal

_LEAST_BYTES_PER_S = 1024
"""A client that sends slower than this on average has only the time of one pause: many such must not hold replicas."""
_MAX_DOCUMENT = 4 * 1024 * 1024


class Body:
    """One request's body on its way; `refusal` says why it ended too early.

    Refuses with 413 beyond `limit_bytes`, and with 408 after a pause of `read_s` or when it comes too slowly.
    """

    def __init__(self, request: BaseRequest, limit_bytes: int, read_s: float) -> None:
        self._request = request
        self._limit_bytes = limit_bytes
        self._read_s = read_s
        self._size = 0
        self._waited_s = 0.0
        self._asked_for = False
        self.refusal: Refusal | None = None

    def check_length(self) -> None:
        """Refuses what its client says will be too large, before a byte of it is read."""
        if (self._request.content_length or 0) > self._limit_bytes:
            raise self._too_large()

    async def take(self) -> bytes:
        """The next piece, or nothing at the end; only the time that the client takes counts, not that of who takes it.

        It may be cancelled: what has come until then is there for the next time.
        """
        if not self._asked_for:
            self.check_length()
            self._asked_for = True
            await _proceed(self._request)
        loop = asyncio.get_running_loop()
        allowed_s = min(self._read_s, self._read_s + self._size / _LEAST_BYTES_PER_S - self._waited_s)
        began = loop.time()
        try:
            async with asyncio.timeout(allowed_s):
                piece = await self._request.content.readany()
        except TimeoutError:
            self.refusal = Refusal(408, f"the request's body came too slowly (timeouts.read: {self._read_s:g} s)")
            raise self.refusal from None
        except web.RequestPayloadError as error:
            self.refusal = Refusal(400, f"the request's body is broken: {error}")
            raise self.refusal from None
        finally:
            self._waited_s += loop.time() - began
        self._size += len(piece)
        if self._size > self._limit_bytes:
            self.refusal = self._too_large()
            raise self.refusal
        return piece

    async def whole(self) -> bytes:
        """All of it."""
        self.check_length()
        content = self._request.content
        if content.is_eof() and content.exception() is None:
            # It came with the head: nobody has to be waited for.
            body = content.read_nowait(-1)
            if len(body) > self._limit_bytes:
                raise self._too_large()
            return body
        pieces: list[bytes] = []
        while piece := await self.take():
            pieces.append(piece)
        return b"".join(pieces)

    def _too_large(self) -> Refusal:
        return Refusal(413, f"the request's body is larger than {self._limit_bytes} bytes")


async def read_document(request: BaseRequest, timeout: float) -> Any:
    """The request's body as JSON. Refuses with 400 what is none."""
    body = await Body(request, _MAX_DOCUMENT, timeout).whole()
    try:
        return orjson.loads(body)
    except ValueError as error:
        raise Refusal(400, f"Cannot parse request. Please pass valid JSON: {error}") from None


async def _proceed(request: BaseRequest) -> None:
    """Tell a client that waits for permission to send its body (RFC 9110 section 10.1.1)."""
    if request.headers.get("Expect", "").lower() == "100-continue" and request.version >= (1, 1):
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0
