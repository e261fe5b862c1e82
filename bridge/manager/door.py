"""The door of the HTTP server: what holds for every request, whoever answers it.

It answers `/healthz`, `/readyz` and `/metrics` itself, so that watching a manager costs no more than with any other
program. For everything else it loads the application, which is FastAPI's and costs a second and 17 MB (measured): with
`gpio-bridge up` only when somebody asks for it.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final, TypeAlias

from bridge.clock import Clock
from bridge.manager.metrics import Metrics
from bridge.manager.problems import MEDIA_TYPE, Refusal, problem
from bridge.ulid import mint

_log = logging.getLogger(__name__)

Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Application: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]
Page: TypeAlias = Callable[[str], tuple[int, str, bytes] | None]
"""Status, content type and body for `/healthz`, `/readyz` and `/metrics`; None for other paths."""

MAX_BODY_BYTES: Final = 4 * 1024 * 1024
"""As large as a file that people write may be (bridge/config)."""
REQUEST_ID: Final = "gpio_bridge_request_id"
"""Where the request's id stands in its scope."""
ONLY_HEAD: Final = "gpio_bridge_only_head"
"""In the scope of a request for the head alone, which the application sees as a GET."""

_GIVEN_ID = re.compile(rb"[A-Za-z0-9._:-]{1,128}")
_SECURITY: Final = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
)


class Door:
    """An ASGI application around the one that `load` makes, in a thread, at the first request that needs it."""

    def __init__(self, load: Callable[[], Application], page: Page, metrics: Metrics, clock: Clock) -> None:
        self._load = load
        self._page = page
        self._metrics = metrics
        self._clock = clock
        self._loading: asyncio.Task[Application] | None = None

    async def application(self) -> Application:
        """The application, loaded once."""
        if self._loading is None:
            self._loading = asyncio.create_task(asyncio.to_thread(self._load), name="load the manager's API")
        return await asyncio.shield(self._loading)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        assert scope["type"] in ("http", "websocket"), "lifespan is not switched on"
        socket = scope["type"] == "websocket"
        method = "GET" if socket else scope["method"]  # as a WebSocket begins
        request_id = _given_id(scope) or mint(self._clock.now())
        scope[REQUEST_ID] = request_id
        answer = _Answer(send, request_id, "websocket." if socket else "")
        begun = self._clock.monotonic()
        try:
            if socket:
                await (await self.application())(scope, receive, answer)
            else:
                await self._answer(scope, _limited(receive), answer)
        except Refusal as refusal:
            await answer.problem(refusal)
        except Exception:  # noqa: BLE001 - the outermost place of a request; the traceback is logged
            _log.exception("request failed", extra={"op": "http", "path": scope["path"], "request_id": request_id})
            await answer.problem(Refusal(500, "the manager failed at this request; its log has the reason"))
        finally:
            duration_s = self._clock.monotonic() - begun
            self._metrics.answered(method, answer.status, duration_s)
            _log.debug(
                "request answered",
                extra={
                    "op": "http",
                    "method": method,
                    "path": scope["path"],
                    "status": answer.status,
                    "duration_s": duration_s,
                    "request_id": request_id,
                },
            )

    async def _answer(self, scope: Scope, receive: Receive, answer: _Answer) -> None:
        found = self._page(scope["path"])
        if found is None:
            application = await self.application()
            # HEAD is GET without a body (RFC 9110, 9.3.2), which the server leaves out by itself.
            head = scope["method"] == "HEAD"
            await application({**scope, "method": "GET", ONLY_HEAD: True} if head else scope, receive, answer)
            return
        if scope["method"] not in ("GET", "HEAD"):
            raise Refusal(405, "only GET is served here", headers={"Allow": "GET, HEAD"})
        status, content_type, body = found
        await answer.whole(status, {"Content-Type": content_type}, body)


class _Answer:
    """The way out: adds the headers that every answer has, and notes its status.

    `kind` is what the messages of a refusal begin with: those of a WebSocket that is not let in have a name of their
    own (ASGI, "WebSocket Denial Response").
    """

    def __init__(self, send: Send, request_id: str, kind: str) -> None:
        self._kind = kind
        self._send = send
        self._request_id = request_id
        self.status = 500
        self._begun = False

    async def __call__(self, message: MutableMapping[str, Any]) -> None:
        if message["type"] == "websocket.accept":
            self._begun = True
            self.status = 101
            message = {**message, "headers": [*message["headers"], (b"x-request-id", self._request_id.encode())]}
        elif message["type"] == f"{self._kind}http.response.start":
            self._begun = True
            self.status = message["status"]
            headers = [*message["headers"], (b"x-request-id", self._request_id.encode()), *_SECURITY]
            if not any(name.lower() == b"cache-control" for name, _ in headers):
                headers.append((b"cache-control", b"no-store"))
            message = {**message, "headers": headers}
        await self._send(message)

    async def whole(self, status: int, headers: dict[str, str], body: bytes) -> None:
        """One answer with its body."""
        raw = [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()]
        raw.append((b"content-length", str(len(body)).encode()))
        await self({"type": f"{self._kind}http.response.start", "status": status, "headers": raw})
        await self({"type": f"{self._kind}http.response.body", "body": body})

    async def problem(self, refusal: Refusal) -> None:
        """A problem document, unless an answer has begun already: then the connection breaks off."""
        if self._begun:
            return
        body = problem(refusal.status, str(refusal), self._request_id, refusal.errors)
        await self.whole(refusal.status, {"Content-Type": MEDIA_TYPE, **refusal.headers}, body)


def _limited(receive: Receive) -> Receive:
    """The body's pieces, until they are too many."""
    too_large = Refusal(413, f"the body is larger than {MAX_BODY_BYTES} bytes")
    size = 0

    async def limited() -> MutableMapping[str, Any]:
        nonlocal size
        message = await receive()
        size += len(message.get("body", b""))
        if size > MAX_BODY_BYTES:
            raise too_large
        return message

    return limited


def _given_id(scope: Scope) -> str | None:
    """The id that a client gave its request, if it is one that may stand in a log."""
    given = next((value for name, value in scope["headers"] if name == b"x-request-id"), b"")
    return given.decode() if _GIVEN_ID.fullmatch(given) else None
