"""The engine's side of the door: asked what a call is about, and sent what passes."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Self

import aiohttp
import orjson
from yarl import URL

from bridge.engine_door.passages import Refused
from bridge.engine_door.settings import EngineSettings

_CONNECT_S = 3.0
_LARGEST_BYTES = 32 * 1024 * 1024
"""Of a document that the door itself reads."""


class Away(Exception):
    """The engine cannot be asked; `status` is what the client is told."""

    def __init__(self, reason: str, status: int = 503) -> None:
        super().__init__(reason)
        self.status = status


class EngineSide:
    """A client of the engine's socket, with a connection for each request: one from before a restart would fail."""

    def __init__(self, settings: EngineSettings) -> None:
        self._settings = settings
        self._session: aiohttp.ClientSession | None = None
        self.problem: str | None = "the engine was not asked yet"

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.UnixConnector(str(self._settings.socket), force_close=True, limit=0),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            trust_env=False,
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_S),
        )
        return self

    async def __aexit__(self, *exc: object) -> None:
        if self._session is not None:
            await self._session.close()

    async def ping(self) -> None:
        """See whether it answers; `problem` says."""
        try:
            async with self.sent("GET", "/_ping") as answer:
                await self.read(answer, 1024)
        except (Away, Refused):
            return  # `problem` has the reason

    async def document(self, target: str) -> Any:
        """What the engine says of something. Raises Refused in its own words where it refuses, Away."""
        async with self.sent("GET", target) as answer:
            body = await self.read(answer, _LARGEST_BYTES)
        try:
            found = orjson.loads(body)
            if answer.status >= 400:
                raise Refused(str(found["message"]), answer.status)
        except (orjson.JSONDecodeError, KeyError, TypeError):
            raise Away(f"the Docker Engine's answer to {target.partition('?')[0]} is no document", 502) from None
        return found

    @asynccontextmanager
    async def sent(
        self, method: str, target: str, headers: Mapping[str, str] | None = None, body: bytes | None = None
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """The answer's head; leaving the context closes the connection. Raises Away."""
        assert self._session is not None
        path, _, query = target.partition("?")
        # Built, not parsed: nothing in it is normalised.
        url = URL.build(scheme="http", host="engine", path=path, query_string=query, encoded=True)
        # A file is written in pieces; large bytes would be written at once.
        data = None if body is None else io.BytesIO(body)
        try:
            async with asyncio.timeout(self._settings.timeout_s):
                answer = await self._session.request(method, url, headers=headers, data=data, allow_redirects=False)
        except TimeoutError:
            raise self._away(f"does not answer within {self._settings.timeout_s:g} s", 504) from None
        except (aiohttp.ClientError, OSError) as error:
            raise self._away(f"cannot be asked: {getattr(error, 'strerror', None) or error}", 503) from error
        self.problem = None
        try:
            yield answer
        finally:
            answer.close()

    async def pieces(self, answer: aiohttp.ClientResponse, *, standing: bool) -> AsyncIterator[bytes]:
        """The answer's body as it comes. Raises Away when it breaks off, or pauses for too long unless it may."""
        while True:
            try:
                async with asyncio.timeout(None if standing else self._settings.timeout_s):
                    piece = await answer.content.readany()
            except TimeoutError:
                raise self._away("has begun an answer and does not end it", 504) from None
            except (aiohttp.ClientError, OSError) as error:
                raise self._away(f"broke off: {error}", 502) from error
            if not piece:
                return
            yield piece

    async def read(self, answer: aiohttp.ClientResponse, most: int) -> bytes:
        """The whole body, which is not large. Raises Away."""
        found = bytearray()
        async for piece in self.pieces(answer, standing=False):
            found += piece
            if len(found) > most:
                raise Away("the Docker Engine's answer is larger than the engine door reads", 502)
        return bytes(found)

    def _away(self, what: str, status: int) -> Away:
        self.problem = f"the Docker Engine at {self._settings.socket} {what}"
        return Away(self.problem, status)
