"""`/api/v1/audit`: every change, with who made it and from where."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Query, Request, Response

from bridge.manager.access.audit import Audit
from bridge.manager.access.roles import Role
from bridge.manager.api import ROOT
from bridge.manager.api.caller import Desk
from bridge.manager.api.entity import document
from bridge.manager.api.schemas import EVERYWHERE, gives

MAX_OFFSET: Final = 10_000_000


def routes(audit: Audit, desk: Desk) -> APIRouter:
    """The paths of this file."""
    router = APIRouter(prefix=ROOT, tags=["audit"])

    @router.get(
        "/audit",
        dependencies=[desk.of(Role.ADMIN)],
        summary="The last changes, newest first.",
        responses=gives("Audit", *EVERYWHERE, 304, 422, 503),
    )
    async def audited(
        request: Request,
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
        offset: Annotated[int, Query(ge=0, le=MAX_OFFSET)] = 0,
    ) -> Response:
        total, entries = await audit.entries(limit, offset)
        return document(request, {"total": total, "entries": entries})

    return router
