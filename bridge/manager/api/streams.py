"""What is told for as long as somebody listens: as Server-Sent Events (HTML, 9.2) and over WebSocket (RFC 6455).

A client is let go when it goes, when it takes nothing any more, when its token is revoked, or when the manager stops.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any, Final

from fastapi import Request, Response, WebSocket, WebSocketDisconnect
from starlette.types import Receive, Scope, Send

from bridge.clock import Clock
from bridge.manager.api.caller import caller_of
from bridge.manager.door import ONLY_HEAD
from bridge.manager.feed import Feed
from bridge.manager.following import Follower, Told, View
from bridge.manager.problems import Refusal

_log = logging.getLogger(__name__)

LISTENERS: Final = 100
"""So many may listen at once."""
STALL_S: Final = 20.0
"""A client that takes nothing for so long is let go."""
STANDING_S: Final = 1.0
"""So often it is asked whether a client's token still stands."""
REVOKED: Final = "the token was revoked"
_POLICY, _RESTART = 1008, 1012
"""Why a WebSocket is closed (RFC 6455, 7.4.1, and IANA's registry of close codes)."""


def no_upgrade() -> Refusal:
    """What is said to a plain request for a WebSocket."""
    return Refusal(426, "this is a WebSocket: ask for an upgrade", headers={"Upgrade": "websocket"})


class EventStream(Response):
    """Tells a client by Server-Sent Events. `stands` says whether its token still does."""

    media_type = "text/event-stream"

    def __init__(
        self,
        feed: Feed,
        follower: Follower,
        stands: Callable[[], bool],
        dropped: Callable[[str], None],
        *,
        stall_s: float = STALL_S,
        standing_s: float = STANDING_S,
    ) -> None:
        super().__init__()
        del self.headers["content-length"]
        self._feed = feed
        self._follower = follower
        self._stands = stands
        self._dropped = dropped
        self._stall_s = stall_s
        self._standing_s = standing_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        if scope.get(ONLY_HEAD):
            await send({"type": "http.response.body"})
            return
        with self._feed.listening():
            try:
                await until_first(
                    self._tell(send), _gone(receive), _revoked(self._stands, self._standing_s, self._feed.clock)
                )
            except TimeoutError:
                # The rest of the answer cannot be written either: the server cuts the connection off.
                _let_go(self._dropped, self._stall_s)
                return
        await send({"type": "http.response.body"})

    async def _tell(self, send: Send) -> None:
        await self._write(send, b"retry: 2000\n\n")
        while told := await self._follower.more():
            await self._write(send, b"".join(_block(one) for one in told))

    async def _write(self, send: Send, body: bytes) -> None:
        async with asyncio.timeout(self._stall_s):
            await send({"type": "http.response.body", "body": body, "more_body": True})


class Socket:
    """Tells a client over a WebSocket: a text for each thing, `{"id": ..., "data": ...}`, without data when idle."""

    def __init__(
        self,
        feed: Feed,
        follower: Follower,
        stands: Callable[[], bool],
        dropped: Callable[[str], None],
        *,
        stall_s: float = STALL_S,
        standing_s: float = STANDING_S,
    ) -> None:
        self._feed = feed
        self._follower = follower
        self._stands = stands
        self._dropped = dropped
        self._stall_s = stall_s
        self._standing_s = standing_s

    async def serve(self, websocket: WebSocket, subprotocol: str | None) -> None:
        """Until it ends, whoever ends it. What the client says is of no concern."""
        try:
            await websocket.accept(subprotocol=subprotocol)
        except OSError:
            return  # it has gone while the API was loaded
        with self._feed.listening():
            try:
                await until_first(
                    self._tell(websocket), _left(websocket), _revoked(self._stands, self._standing_s, self._feed.clock)
                )
            except WebSocketDisconnect:
                return
            except TimeoutError:
                _let_go(self._dropped, self._stall_s)
                return
        try:
            async with asyncio.timeout(self._stall_s):
                if self._stands():
                    await websocket.close(_RESTART, "the manager stops")
                else:
                    await websocket.close(_POLICY, REVOKED)
        except (WebSocketDisconnect, RuntimeError, TimeoutError):
            return  # it has gone by itself meanwhile

    async def _tell(self, websocket: WebSocket) -> None:
        while told := await self._follower.more():
            for one in told:
                async with asyncio.timeout(self._stall_s):
                    await websocket.send_text(_frame(one))


class Live:
    """Lets clients follow a feed, each by what it wants to see of it. Refuses with 503 when enough of them listen."""

    def __init__(self, feed: Feed, dropped: Callable[[str], None]) -> None:
        self._feed = feed
        self._dropped = dropped

    def stream(self, request: Request, view: View, since: str | None) -> EventStream:
        """The answer to somebody who stays."""
        return EventStream(self._feed, self._follower(view, since), caller_of(request).stands, self._dropped)

    async def serve(self, websocket: WebSocket, view: View, since: str | None) -> None:
        """Tell somebody over a WebSocket, until it ends."""
        told = Socket(self._feed, self._follower(view, since), caller_of(websocket).stands, self._dropped)
        await told.serve(websocket, websocket.state.subprotocol)

    def _follower(self, view: View, since: str | None) -> Follower:
        if self._feed.listeners >= LISTENERS:
            raise Refusal(503, f"{LISTENERS} clients listen already", headers={"Retry-After": "30"})
        return Follower(self._feed, view, self._dropped, last_id=since)


async def until_first(*ways: Coroutine[Any, Any, None]) -> None:
    """Run several until the first of them ends, and raise what it raised."""
    tasks = [asyncio.create_task(way, name="serve a client of the feed") for way in ways]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        task.result()


async def _revoked(stands: Callable[[], bool], every_s: float, clock: Clock) -> None:
    """Return when the client's token does not stand any more; a command revokes it, in another process."""
    while stands():
        await clock.sleep(every_s)


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


def _let_go(dropped: Callable[[str], None], stall_s: float) -> None:
    dropped("listener")
    _log.warning(
        "a client of the feed was let go",
        extra={"op": "feed.listener", "why": f"it took nothing for {stall_s:g} s"},
    )


def _block(one: Told) -> bytes:
    if one.text is None:
        return f": nothing new\nid: {one.id}\n\n".encode()
    return b"id: %b\ndata: %b\n\n" % (one.id.encode(), one.text)


def _frame(one: Told) -> str:
    data = f',"data":{one.text.decode()}' if one.text is not None else ""
    return f'{{"id":"{one.id}"{data}}}'
