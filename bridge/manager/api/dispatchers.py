"""`/api/v1/dispatchers`: who dispatches, and by which mappings."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from bridge.manager.access.roles import Role
from bridge.manager.api import ROOT
from bridge.manager.api.caller import Desk
from bridge.manager.api.entity import document
from bridge.manager.api.schemas import EVERYWHERE, gives
from bridge.manager.bus import Bus


def routes(bus: Bus, desk: Desk) -> APIRouter:
    """The path of this file."""
    router = APIRouter(prefix=ROOT, tags=["dispatchers"])

    @router.get(
        "/dispatchers",
        dependencies=[desk.of(Role.VIEWER)],
        summary="The dispatchers, and which mapping set each runs.",
        responses=gives("Dispatchers", *EVERYWHERE, 304),
    )
    async def listed(request: Request) -> Response:
        return document(request, bus.document())

    return router
