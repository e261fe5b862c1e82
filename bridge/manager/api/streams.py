"""What is told for as long as somebody listens: as Server-Sent Events (HTML, 9.2) and over WebSocket (RFC 6455).

A client is let go when it goes, when it takes nothing any more, when its token is revoked, or when the manager stops.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Final

from fastapi import Request, Response, WebSocket, WebSocketDisconnect
from starlette.requests import HTTPConnection
from starlette.types import Receive, Scope, Send

from bridge.manager.api.caller import caller_of
from bridge.manager.api.staying import REVOKED, STALL_S, STANDING_S, revoked, until_first
from bridge.manager.door import ONLY_HEAD
from bridge.manager.feed import Feed
from bridge.manager.following import Follower, Told, View
from bridge.manager.problems import Refusal

_log = logging.getLogger(__name__)

LISTENERS: Final = 100
"""So many may listen at once."""
_POLICY, _RESTART = 1008, 1012
"""Why a WebSocket is closed (RFC 6455, 7.4.1, and IANA's registry of close codes)."""


def no_upgrade() -> Refusal:
    """What is said to a plain request for a WebSocket."""
    return Refusal(426, "this is a WebSocket: ask for an upgrade", headers={"Upgrade": "websocket"})


@dataclass(frozen=True, slots=True)
class Listener:
    """A client that stays to hear the feed, and until when. `stands` says whether its token still does."""

    feed: Feed
    follower: Follower
    stands: Callable[[], bool]
    dropped: Callable[[str], None]
    stall_s: float = STALL_S
    standing_s: float = STANDING_S

    async def hear(self, told: Coroutine[Any, Any, None], gone: Coroutine[Any, Any, None]) -> None:
        """Tell it until nothing more comes, it goes, or its token is revoked.

        Raises TimeoutError when it took nothing for too long; that is counted and logged.
        """
        with self.feed.listening():
            try:
                await until_first(told, gone, revoked(self.stands, self.standing_s, self.feed.clock))
            except TimeoutError:
                self.dropped("listener")
                _log.warning(
                    "a client of the feed was let go",
                    extra={"op": "feed.listener", "why": f"it took nothing for {self.stall_s:g} s"},
                )
                raise


class EventStream(Response):
    """Tells a listener by Server-Sent Events."""

    media_type = "text/event-stream"

    def __init__(self, listener: Listener) -> None:
        super().__init__()
        del self.headers["content-length"]
        self._listener = listener

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        if scope.get(ONLY_HEAD):
            await send({"type": "http.response.body"})
            return
        try:
            await self._listener.hear(self._tell(send), _gone(receive))
        except TimeoutError:
            return  # the rest of the answer cannot be written either: the server cuts the connection off
        await send({"type": "http.response.body"})

    async def _tell(self, send: Send) -> None:
        await self._write(send, b"retry: 2000\n\n")
        while told := await self._listener.follower.more():
            await self._write(send, b"".join(_block(one) for one in told))

    async def _write(self, send: Send, body: bytes) -> None:
        async with asyncio.timeout(self._listener.stall_s):
            await send({"type": "http.response.body", "body": body, "more_body": True})


async def serve_socket(listener: Listener, websocket: WebSocket, subprotocol: str | None) -> None:
    """Tell a listener over a WebSocket, until it ends, whoever ends it. What the client says is of no concern.

    A text for each thing, `{"id": ..., "data": ...}`, without data when idle.
    """
    try:
        await websocket.accept(subprotocol=subprotocol)
    except OSError:
        return  # it has gone while the API was loaded
    try:
        await listener.hear(_tell_socket(listener, websocket), _left(websocket))
    except (WebSocketDisconnect, TimeoutError):
        return
    try:
        async with asyncio.timeout(listener.stall_s):
            if listener.stands():
                await websocket.close(_RESTART, "the manager stops")
            else:
                await websocket.close(_POLICY, REVOKED)
    except (WebSocketDisconnect, RuntimeError, TimeoutError):
        return  # it has gone by itself meanwhile


async def _tell_socket(listener: Listener, websocket: WebSocket) -> None:
    while told := await listener.follower.more():
        for one in told:
            async with asyncio.timeout(listener.stall_s):
                await websocket.send_text(_frame(one))


class Live:
    """Lets clients follow a feed, each by what it wants to see of it. Refuses with 503 when enough of them listen."""

    def __init__(self, feed: Feed, dropped: Callable[[str], None]) -> None:
        self._feed = feed
        self._dropped = dropped

    def stream(self, request: Request, view: View, since: str | None) -> EventStream:
        """The answer to somebody who stays."""
        return EventStream(self._listener(request, view, since))

    async def serve(self, websocket: WebSocket, view: View, since: str | None) -> None:
        """Tell somebody over a WebSocket, until it ends."""
        await serve_socket(self._listener(websocket, view, since), websocket, websocket.state.subprotocol)

    def _listener(self, connection: HTTPConnection, view: View, since: str | None) -> Listener:
        if self._feed.listeners >= LISTENERS:
            raise Refusal(503, f"{LISTENERS} clients listen already", headers={"Retry-After": "30"})
        follower = Follower(self._feed, view, self._dropped, last_id=since)
        return Listener(self._feed, follower, caller_of(connection).stands, self._dropped)


async def _gone(receive: Receive) -> None:
    """Return when the client is gone."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def _left(websocket: WebSocket) -> None:
    """Raise WebSocketDisconnect when the client is gone."""
    while True:
        message = await websocket.receive()
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message.get("code", 1006))


def _block(one: Told) -> bytes:
    if one.text is None:
        return f": nothing new\nid: {one.id}\n\n".encode()
    return b"id: %b\ndata: %b\n\n" % (one.id.encode(), one.text)


def _frame(one: Told) -> str:
    data = f',"data":{one.text.decode()}' if one.text is not None else ""
    return f'{{"id":"{one.id}"{data}}}'
