"""`/api/v1/targets`: whom Prometheus is to ask, as its http_sd reads it."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from bridge.manager.access.roles import Role
from bridge.manager.api import ROOT
from bridge.manager.api.caller import Desk
from bridge.manager.api.entity import document
from bridge.manager.api.schemas import EVERYWHERE, gives
from bridge.manager.targets import Targets


def routes(targets: Targets, desk: Desk) -> APIRouter:
    """The path of this file."""
    router = APIRouter(prefix=ROOT, tags=["targets"])

    @router.get(
        "/targets",
        dependencies=[desk.of(Role.VIEWER)],
        summary="The programs that Prometheus is to ask, for its http_sd_configs.",
        responses=gives("Targets", *EVERYWHERE, 304),
    )
    async def listed(request: Request) -> Response:
        return document(request, targets.groups())

    return router
