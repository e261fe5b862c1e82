"""`/api/v1/traces`: what became of events, as the dispatcher's traces tell it; live for who stays."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Depends, Header, Path, Query, Request, Response, WebSocket

from bridge.core.story import OUTCOMES, Chosen
from bridge.manager.access.roles import Role
from bridge.manager.api import ROOT
from bridge.manager.api.caller import Desk
from bridge.manager.api.entity import document
from bridge.manager.api.schemas import EVERYWHERE, gives, sockets, streams
from bridge.manager.api.streams import Live, no_upgrade
from bridge.manager.api.words import EventName, Glob, Since
from bridge.manager.dispatcher import DispatcherApi
from bridge.manager.feed import Feed
from bridge.manager.following import Stories

PLACE = "/v1/traces"


def _chosen(
    node: Glob = None,
    sensor: Glob = None,
    event: EventName = None,
    mapping: Glob = None,
    function: Glob = None,
    outcome: Annotated[
        str | None,
        Query(pattern=f"^({'|'.join(OUTCOMES)})$", description="What became of an invocation; `none`: there was none."),
    ] = None,
) -> Chosen:
    return Chosen(node=node, sensor=sensor, event=event, mapping=mapping, function=function, outcome=outcome)


@dataclass(frozen=True, slots=True)
class Asked:
    """What somebody who stays wants to be told."""

    chosen: Chosen
    since: str | None


def _asked(
    chosen: Annotated[Chosen, Depends(_chosen)],
    since: Since = None,
) -> Asked:
    return Asked(chosen, since)


def routes(dispatcher: DispatcherApi, feed: Feed, dropped: Callable[[str], None], desk: Desk) -> APIRouter:
    """The paths of this file."""
    router = APIRouter(prefix=f"{ROOT}/traces", tags=["traces"])
    viewer = [desk.of(Role.VIEWER)]
    live = Live(feed, dropped)

    @router.get(
        "",
        dependencies=viewer,
        summary="The newest events, and what became of each.",
        responses=gives("Traces", *EVERYWHERE, 304, 404, 422, 502, 503),
    )
    async def listed(
        request: Request,
        chosen: Annotated[Chosen, Depends(_chosen)],
        limit: Annotated[int, Query(ge=1, le=999)] = 100,
        after: Annotated[str | None, Query(max_length=200, description="The `next` of the page before.")] = None,
    ) -> Response:
        asked = {**asdict(chosen), "after": after, "limit": limit}
        params = {name: str(value) for name, value in asked.items() if value is not None}
        found = await dispatcher.ask("GET", PLACE, params=params)
        headers = {}
        if found["next"] is not None:
            query = request.url.include_query_params(after=found["next"], limit=limit).query
            headers["Link"] = f'<{request.url.path}?{query}>; rel="next"'
        return document(request, {"traces": found["traces"], "limit": limit, "next": found["next"]}, headers=headers)

    @router.get(
        "/stream",
        dependencies=viewer,
        summary="What becomes of events, whenever there is news of one, as Server-Sent Events.",
        responses=streams(*EVERYWHERE, 422, 503),
    )
    async def stream(
        request: Request,
        asked: Annotated[Asked, Depends(_asked)],
        last_event_id: Annotated[str | None, Header(max_length=200)] = None,
    ) -> Response:
        return live.stream(request, Stories(feed, asked.chosen), last_event_id or asked.since)

    @router.get(
        "/ws",
        dependencies=[*viewer, Depends(_asked)],
        status_code=101,
        summary="What becomes of events, whenever there is news of one, over a WebSocket.",
        responses=sockets(*EVERYWHERE, 422, 426, 503),
    )
    async def no_socket() -> Response:
        raise no_upgrade()

    @router.websocket("/ws", dependencies=[desk.of_socket(Role.VIEWER)])
    async def socket(websocket: WebSocket, asked: Annotated[Asked, Depends(_asked)]) -> None:
        await live.serve(websocket, Stories(feed, asked.chosen), asked.since)

    @router.get(
        "/{event_id}",
        dependencies=viewer,
        summary="The whole story of one event: what each mapping said, every attempt, and what each hop took.",
        responses=gives("Trace", *EVERYWHERE, 304, 404, 422, 502, 503),
    )
    async def read(request: Request, event_id: Annotated[str, Path(max_length=200)]) -> Response:
        return document(request, await dispatcher.ask("GET", f"{PLACE}/{quote(event_id, safe='')}"))

    return router
