"""`/api/v1/topic-annotations`: the mappings that stand in no file, because functions carry them as annotations."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from bridge.manager.access.roles import Role
from bridge.manager.api import ROOT
from bridge.manager.api.caller import Desk
from bridge.manager.api.entity import document
from bridge.manager.api.schemas import EVERYWHERE, gives
from bridge.manager.mappings.store import MappingStore
from bridge.manager.topic_annotations import TopicAnnotations


def routes(annotations: TopicAnnotations, store: MappingStore, desk: Desk) -> APIRouter:
    """The path of this file."""
    router = APIRouter(prefix=ROOT, tags=["mappings"])

    @router.get(
        "/topic-annotations",
        dependencies=[desk.of(Role.VIEWER)],
        summary="The functions with a topic annotation, and which mappings that means.",
        responses=gives("TopicAnnotations", *EVERYWHERE, 304),
    )
    async def listed(request: Request) -> Response:
        return document(request, annotations.document(store.loaded.mappings.mappings))

    return router
