"""`/api/v1/events`: what the dispatcher decides, as it does so; Server-Sent Events (HTML, 9.2) for who stays."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Annotated, Final

import orjson
from fastapi import APIRouter, Depends, Header, Query, Request, Response
from starlette.types import Receive, Scope, Send

from bridge.manager.access.roles import Role
from bridge.manager.api.caller import Desk
from bridge.manager.api.entity import document
from bridge.manager.api.schemas import EVERYWHERE, gives, streams
from bridge.manager.door import ONLY_HEAD
from bridge.manager.feed import Feed, Wanted
from bridge.manager.problems import Refusal

_log = logging.getLogger(__name__)

LISTENERS: Final = 100
"""So many may listen at once."""
LOOK_S: Final = 2.0
"""So long an answer waits for a dispatcher that has not been heard yet."""
HEARTBEAT_S: Final = 15.0
STALL_S: Final = 20.0
"""A client that takes nothing for so long is let go."""
PIECE: Final = 100
"""So many decisions are written at once."""

Glob = Annotated[str | None, Query(max_length=200, description="A glob.")]


def _wanted(
    node: Glob = None,
    sensor: Glob = None,
    event: Annotated[str | None, Query(max_length=200, description="An event's name; a glob.")] = None,
    type: Annotated[str | None, Query(max_length=200, description="A decision's type; a glob.")] = None,  # noqa: A002 - its name in the query
    mapping: Glob = None,
) -> Wanted:
    return Wanted(node=node, sensor=sensor, event=event, type=type, mapping=mapping)


def routes(feed: Feed, dropped: Callable[[str], None], desk: Desk) -> APIRouter:
    """The paths of this file."""
    router = APIRouter(prefix="/events", tags=["events"], dependencies=[desk.of(Role.VIEWER)])

    @router.get(
        "",
        summary="The last decisions of the dispatcher, oldest first.",
        responses=gives("Decisions", *EVERYWHERE, 304, 422),
    )
    async def listed(
        request: Request,
        wanted: Annotated[Wanted, Depends(_wanted)],
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    ) -> Response:
        await feed.look(LOOK_S)
        found = {
            "decisions": [{"id": one.id, **one.line} for one in feed.last(limit, wanted)],
            "last_id": feed.id_of(feed.newest),
            "problem": feed.problem,
        }
        return document(request, found)

    @router.get(
        "/stream",
        summary="New decisions as they are made, as Server-Sent Events.",
        responses=streams(*EVERYWHERE, 422, 503),
    )
    async def stream(
        wanted: Annotated[Wanted, Depends(_wanted)],
        last: Annotated[int, Query(ge=0, le=1000, description="So many earlier ones first.")] = 0,
        last_event_id: Annotated[str | None, Header(max_length=200)] = None,
    ) -> Response:
        if feed.listeners >= LISTENERS:
            raise Refusal(503, f"{LISTENERS} clients listen already", headers={"Retry-After": "30"})
        return EventStream(feed, wanted, dropped, last=last, last_id=last_event_id)

    return router


class EventStream(Response):
    """Tells a client what it wants until it goes, falls behind, takes nothing any more, or the manager stops."""

    media_type = "text/event-stream"

    def __init__(
        self,
        feed: Feed,
        wanted: Wanted,
        dropped: Callable[[str], None],
        *,
        last: int = 0,
        last_id: str | None = None,
        heartbeat_s: float = HEARTBEAT_S,
        stall_s: float = STALL_S,
    ) -> None:
        super().__init__()
        del self.headers["content-length"]
        self._feed = feed
        self._wanted = wanted
        self._dropped = dropped
        self._last = last
        self._last_id = last_id
        self._heartbeat_s = heartbeat_s
        self._stall_s = stall_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        if scope.get(ONLY_HEAD):
            await send({"type": "http.response.body"})
            return
        with self._feed.listening():
            telling = asyncio.create_task(self._tell(send), name="tell a client of the feed")
            gone = asyncio.create_task(_gone(receive), name="watch a client of the feed")
            try:
                await asyncio.wait((telling, gone), return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in (telling, gone):
                    task.cancel()
                ends = await asyncio.gather(telling, gone, return_exceptions=True)
            for end in ends:
                if isinstance(end, Exception):
                    raise end

    async def _tell(self, send: Send) -> None:
        try:
            why = await self._until_it_ends(send)
        except TimeoutError:
            # The rest of the answer cannot be written either: the server cuts the connection off.
            why, cut = f"it took nothing for {self._stall_s:g} s", True
        else:
            cut = False
        if why is not None:
            self._dropped("listener")
            _log.warning("a client of the feed was let go", extra={"op": "feed.listener", "why": why})
        if not cut:
            await send({"type": "http.response.body"})

    async def _until_it_ends(self, send: Send) -> str | None:
        """Tell everything that is wanted; why the client was let go, None where the manager stops."""
        feed = self._feed
        place, told = self._beginning()
        await self._write(send, b"retry: 2000\n\n" + told)
        while not feed.ended:
            found = feed.after(place, PIECE)
            if found is None:
                return "it was too slow"
            place += len(found)
            told = b"".join(_block(one.id, one.text) for one in found if self._wanted.includes(one.line))
            if told:
                await self._write(send, told)
            if not found:
                try:
                    async with asyncio.timeout(self._heartbeat_s):
                        await feed.news()
                except TimeoutError:
                    # With its place, so that who filters much does not come back for what it did not want.
                    await self._write(send, f": nothing new\nid: {feed.id_of(place)}\n\n".encode())
        return None

    def _beginning(self) -> tuple[int, bytes]:
        """Where to go on from, and what to tell before that."""
        feed = self._feed
        if self._last_id is not None:
            place, missed = feed.place_of(self._last_id)
            return place, _block(feed.id_of(place), orjson.dumps(missed)) if missed is not None else b""
        earlier = feed.last(self._last, self._wanted) if self._last else []
        return feed.newest, b"".join(_block(one.id, one.text) for one in earlier)

    async def _write(self, send: Send, body: bytes) -> None:
        async with asyncio.timeout(self._stall_s):
            await send({"type": "http.response.body", "body": body, "more_body": True})


async def _gone(receive: Receive) -> None:
    """Return when the client is gone."""
    while (await receive())["type"] != "http.disconnect":
        pass


def _block(id_: str, text: bytes) -> bytes:
    return b"id: %b\ndata: %b\n\n" % (id_.encode(), text)
