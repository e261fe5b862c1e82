"""The invoker: one attempt of an invocation over the gateway's HTTP API, and what its answer means.

The seam is `Invoker`. This one is aiohttp's client: on the hot path httpx is many times slower (docs/performance.md has
the measurement), and pyreqwest, as fast, needs more memory.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Protocol, Self

import aiohttp
from yarl import URL

from bridge.clock import Clock
from bridge.core.event import Event
from bridge.core.invocation import Invocation, call
from bridge.core.retry import Outcome, Verdict, classify
from bridge.dispatcher.settings import GatewaySettings

SHOWN_BYTES = 2048
"""How much of an answer is kept for dead letters and traces."""
READ_BYTES = 1024 * 1024
"""How much of an answer is read so that its connection can be used again; beyond, the connection is closed."""


class Invoker(Protocol):
    """Carries out attempts."""

    async def __aenter__(self) -> Self:
        """Be ready to invoke."""

    async def __aexit__(self, *exc: object) -> None:
        """Close the connections."""

    async def invoke(self, invocation: Invocation, event: Event, attempt: int) -> Outcome:
        """Make one attempt. What the outside does is told by the outcome; it never raises for that."""


class HttpInvoker:
    """Invokes over HTTP with kept-alive connections; redirects are not followed, cookies not kept."""

    def __init__(self, settings: GatewaySettings, clock: Clock, *, connections: int) -> None:
        self._base = URL(settings.url.rstrip("/"))
        self._settings = settings
        self._clock = clock
        self._connections = connections
        self._urls: dict[tuple[str, str], URL] = {}
        self._client: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        auth = None
        if self._settings.username is not None and self._settings.password_file is not None:
            password = self._settings.password_file.read_text(encoding="utf-8").rstrip("\r\n")
            auth = aiohttp.encode_basic_auth(self._settings.username, password)
        self._client = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=self._connections, keepalive_timeout=30.0),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": "gpio-bridge"} | ({"Authorization": auth} if auth else {}),
            auto_decompress=False,
        )
        return self

    async def __aexit__(self, *exc: object) -> None:
        assert self._client is not None
        await self._client.close()

    async def invoke(self, invocation: Invocation, event: Event, attempt: int) -> Outcome:
        assert self._client is not None, "enter the invoker before invoking"
        request = call(invocation, event, attempt)
        timeout = aiohttp.ClientTimeout(total=invocation.timeout_s, sock_connect=self._settings.connect_timeout_s)
        began = time.perf_counter()
        try:
            async with self._client.post(
                self._url(invocation),
                data=request.body,
                headers=request.headers,
                timeout=timeout,
                allow_redirects=False,
            ) as answer:
                body = await _read(answer)
                return _outcome(answer.status, answer.headers, body, time.perf_counter() - began, self._clock.now())
        except TimeoutError:
            return _failed(f"no answer within {invocation.timeout_s:g} s", began)
        except aiohttp.ClientConnectorError as error:
            # Nothing was reached, so no attempt was made: a gateway that is away for an hour uses up no one's attempts.
            return _failed(f"cannot connect to {self._base}: {_why(error.os_error)}", began, Verdict.PARKED)
        except aiohttp.ClientError as error:
            return _failed(f"{type(error).__name__}: {error}", began)
        except OSError as error:
            return _failed(f"connection failed: {_why(error)}", began)

    def _url(self, invocation: Invocation) -> URL:
        key = (invocation.mode, invocation.function)
        url = self._urls.get(key)
        if url is None:
            prefix = "function" if invocation.mode == "sync" else "async-function"
            url = self._urls[key] = self._base / prefix / invocation.function
        return url


def _why(error: OSError) -> str:
    """What the system calls the error; asyncio's own text names the address again."""
    return os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)


async def _read(answer: aiohttp.ClientResponse) -> bytes:
    """The beginning of the body; read to its end, so that half an answer is an error, unless it is very long."""
    begun, count = b"", 0
    while chunk := await answer.content.readany():
        begun = (begun + chunk)[:SHOWN_BYTES] if len(begun) < SHOWN_BYTES else begun
        count += len(chunk)
        if count > READ_BYTES:
            answer.close()
            break
    return begun


def _failed(reason: str, began: float, verdict: Verdict = Verdict.RETRYABLE) -> Outcome:
    return Outcome(verdict=verdict, status=None, reason=reason, duration_s=time.perf_counter() - began)


def _outcome(status: int, headers: Mapping[str, str], body: bytes, duration_s: float, now: datetime) -> Outcome:
    verdict = classify(status, from_gateway="X-OpenFaaS-Internal" in headers)
    if verdict is Verdict.SUCCEEDED:
        return Outcome(verdict=verdict, status=status, reason="", duration_s=duration_s)
    text = body.decode("utf-8", "replace")
    first = text.strip().splitlines()[0][:200] if text.strip() else ""
    return Outcome(
        verdict=verdict,
        status=status,
        reason=f"HTTP {status}: {first}" if first else f"HTTP {status}",
        duration_s=duration_s,
        body=text,
        retry_after_s=retry_after(headers.get("Retry-After"), now),
    )


def retry_after(value: str | None, now: datetime) -> float | None:
    """The seconds that `Retry-After` asks for: a number or an HTTP date (RFC 9110, 10.2.3); None for anything else."""
    if value is None:
        return None
    if value.strip().isdigit():
        return float(value)
    try:
        at = parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(0.0, (at - now).total_seconds()) if at.tzinfo is not None else None
