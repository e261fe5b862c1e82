"""`/api/v1/events`: what the dispatcher decides, as it does so; who stays listens to a stream or a WebSocket."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Header, Query, Request, Response, WebSocket

from bridge.manager.access.roles import Role
from bridge.manager.api import ROOT
from bridge.manager.api.caller import Desk
from bridge.manager.api.entity import document
from bridge.manager.api.schemas import EVERYWHERE, gives, sockets, streams
from bridge.manager.api.streams import Live, no_upgrade
from bridge.manager.api.words import EventName, Glob, Since
from bridge.manager.feed import Feed, Wanted
from bridge.manager.following import Decisions

LOOK_S: Final = 2.0
"""So long an answer waits for a dispatcher that has not been heard yet."""


def _wanted(
    node: Glob = None,
    sensor: Glob = None,
    event: EventName = None,
    type: Annotated[str | None, Query(max_length=200, description="A decision's type; a glob.")] = None,  # noqa: A002 - its name in the query
    mapping: Glob = None,
    function: Glob = None,
    event_id: Annotated[str | None, Query(max_length=200, description="The story of one event; a glob.")] = None,
) -> Wanted:
    return Wanted(
        node=node, sensor=sensor, event=event, type=type, mapping=mapping, function=function, event_id=event_id
    )


@dataclass(frozen=True, slots=True)
class Asked:
    """What somebody who stays wants to be told."""

    wanted: Wanted
    last: int
    since: str | None


def _asked(
    wanted: Annotated[Wanted, Depends(_wanted)],
    last: Annotated[int, Query(ge=0, le=1000, description="So many earlier ones first.")] = 0,
    since: Since = None,
) -> Asked:
    return Asked(wanted, last, since)


def routes(feed: Feed, dropped: Callable[[str], None], desk: Desk) -> APIRouter:
    """The paths of this file."""
    router = APIRouter(prefix=f"{ROOT}/events", tags=["events"])
    viewer = [desk.of(Role.VIEWER)]
    live = Live(feed, dropped)

    @router.get(
        "",
        dependencies=viewer,
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
            "decisions": [{**one.line, "id": one.id} for one in feed.last(limit, wanted)],
            "last_id": feed.id_of(feed.newest),
            "problem": feed.problem,
        }
        return document(request, found)

    @router.get(
        "/stream",
        dependencies=viewer,
        summary="New decisions as they are made, as Server-Sent Events.",
        responses=streams(*EVERYWHERE, 422, 503),
    )
    async def stream(
        request: Request,
        asked: Annotated[Asked, Depends(_asked)],
        last_event_id: Annotated[str | None, Header(max_length=200)] = None,
    ) -> Response:
        # What a browser sends by itself when it comes back is newer than what stood in the address.
        return live.stream(request, Decisions(feed, asked.wanted, asked.last), last_event_id or asked.since)

    @router.get(
        "/ws",
        dependencies=[*viewer, Depends(_asked)],
        status_code=101,
        summary="New decisions as they are made, over a WebSocket.",
        responses=sockets(*EVERYWHERE, 422, 426, 503),
    )
    async def no_socket() -> Response:
        raise no_upgrade()

    @router.websocket("/ws", dependencies=[desk.of_socket(Role.VIEWER)])
    async def socket(websocket: WebSocket, asked: Annotated[Asked, Depends(_asked)]) -> None:
        await live.serve(websocket, Decisions(feed, asked.wanted, asked.last), asked.since)

    return router
