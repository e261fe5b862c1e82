"""Calls of functions: a replica is leased, the request sent to it, and its answer handed out as it comes."""

from __future__ import annotations

import asyncio
import io
import time
from collections.abc import AsyncIterable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from bridge.errors import FunctionNotFound, FunctionUnavailable
from bridge.gateway.answers import Refusal
from bridge.gateway.backends import Backend, Lease
from bridge.gateway.connections import ReplicaConnector
from bridge.gateway.settings import GatewaySettings

_NOBODY, _BROKEN = "No endpoints available for", "Can't reach service for"
"""The words of OpenFaaS, which clients look for."""
_CONNECT_S = 1.5
"""A replica on another machine: long enough for one lost packet, short enough to try elsewhere."""
_KEEPALIVE_S = 15.0
"""Well below the function server's own; other servers' may be shorter, and then it is they who close."""
_UNREACHABLE_S = 2.0
"""How long other replicas, or the same one, are tried while none takes a connection; at least one other is."""
_IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})
"""RFC 9110 section 9.2.2: made twice, they mean the same as made once."""
_MAX_FIELD_BYTES = 32 * 1024
_PIECE_BYTES = 256 * 1024


class _Unreached(Exception):
    """No connection was had."""


class _Unseen(_Unreached):
    """The connection had been closed before any byte of the request was received."""


class _BrokenOff(Exception):
    """The connection broke before the answer began; the function may have seen the request."""


@dataclass(frozen=True, slots=True)
class Call:
    """One request to a function. `target` is the path (and query) below the function, percent-encoded as it came.

    A body of bytes can be sent again to another replica; one that streams cannot, once it was begun.
    """

    function: str
    method: str
    target: str
    headers: CIMultiDict[str]
    body: bytes | AsyncIterable[bytes] | None = None

    @property
    def whole(self) -> bool:
        """Whether its body, if any, is here, however often it was sent."""
        return self.body is None or isinstance(self.body, bytes)

    @property
    def repeatable(self) -> bool:
        """Whether it may be made again after a replica may have seen it."""
        return self.method in _IDEMPOTENT and self.whole


def as_payload(body: bytes | AsyncIterable[bytes] | None) -> bytes | io.BytesIO | AsyncIterable[bytes] | None:
    """A large body as a file, which aiohttp writes in pieces instead of at once."""
    return io.BytesIO(body) if isinstance(body, bytes) and len(body) > _PIECE_BYTES else body


class Answer:
    """A function's answer, with the lease of its replica; leaving the context gives both back."""

    __slots__ = ("_lease", "response")

    def __init__(self, response: aiohttp.ClientResponse, lease: Lease) -> None:
        self.response = response
        self._lease = lease

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        # What was read to its end leaves a connection to use again; anything else is cut.
        if self.response.content.at_eof():
            self.response.release()
        else:
            self.response.close()
        self._lease.release()


class Upstream:
    """Sends calls to the backend's replicas; an async context manager."""

    def __init__(self, backend: Backend, settings: GatewaySettings) -> None:
        self._backend = backend
        self._settings = settings
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._connector = ReplicaConnector(_KEEPALIVE_S)
        self._session = aiohttp.ClientSession(
            connector=self._connector,
            middlewares=(self._once,),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            max_line_size=_MAX_FIELD_BYTES,
            max_field_size=_MAX_FIELD_BYTES,
            trust_env=False,
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
            timeout=aiohttp.ClientTimeout(
                total=None, sock_connect=_CONNECT_S, sock_read=self._settings.timeouts.upstream_s
            ),
        )
        return self

    async def __aexit__(self, *exc: object) -> None:
        if self._session is not None:
            await self._session.close()

    async def send(self, call: Call) -> Answer:
        """The answer's head; its body is still to be read. Raises Refusal with 404, 502, 503 or 504.

        Another replica gets the call where that is safe: when nothing of it was received, or once for a repeatable call
        that broke off.
        """
        problem, broken_off = "", False
        deadline = time.monotonic() + _UNREACHABLE_S
        attempts = 0
        while attempts < 2 or time.monotonic() < deadline:
            attempts += 1
            try:
                lease = await self._backend.acquire(call.function)
            except FunctionNotFound as error:
                raise Refusal(404, str(error)) from None
            except FunctionUnavailable as error:
                raise Refusal(503, f"{_NOBODY}: {call.function}. {error}", {"Retry-After": "1"}) from None
            try:
                return Answer(await self._request(call, lease), lease)
            except _Unreached as error:
                lease.suspect()
                lease.release()
                problem = str(error)
                if isinstance(error, _Unseen) and not call.whole:
                    raise Refusal(502, f"{_BROKEN}: {call.function}. {problem}") from None
                # A process that died is noticed in a moment; then the call waits for the one that replaces it.
                await asyncio.sleep(0.02)
            except _BrokenOff as error:
                lease.suspect()
                lease.release()
                if broken_off or not call.repeatable:
                    raise Refusal(502, f"{_BROKEN}: {call.function}. {error}") from None
                problem, broken_off = str(error), True
            except BaseException:
                lease.release()
                raise
        if broken_off:
            raise Refusal(502, f"{_BROKEN}: {call.function}. {problem}")
        raise Refusal(503, f"{_NOBODY}: {call.function}. {problem}", {"Retry-After": "1"})

    async def _request(self, call: Call, lease: Lease) -> aiohttp.ClientResponse:
        assert self._session is not None
        # Built, not parsed: nothing in the path may be normalised or read as another host.
        path, question, query = call.target.partition("?")
        url = URL.build(scheme="http", host=lease.host, port=lease.port, path=path, query_string=query, encoded=True)
        del question
        try:
            return await self._session.request(
                call.method, url, headers=call.headers, data=as_payload(call.body), allow_redirects=False
            )
        except TimeoutError:
            # Also aiohttp's own time-outs, which are both of this kind and client errors.
            raise Refusal(
                504,
                f"the function {call.function} did not begin to answer within"
                f" {self._settings.timeouts.upstream_s:g} s (timeouts.upstream)",
            ) from None
        except (aiohttp.ClientError, OSError) as error:
            raise _BrokenOff(str(error) or type(error).__name__) from error

    async def _once(self, request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
        """Says what became of a request in our own words, before the client tries it again of its own accord."""
        try:
            return await send(request)
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            raise _Unreached(str(error)) from error
        except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
            problem = str(error) or type(error).__name__
            raise (_Unseen if self._connector.unseen(request) else _BrokenOff)(problem) from error
