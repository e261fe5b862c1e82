"""`/api/v1/nodes`: the Pis, and what their sensors show now."""

from __future__ import annotations

import fnmatch
from datetime import datetime
from typing import Annotated, Any, Final

from fastapi import APIRouter, Path, Query, Request, Response

from bridge.clock import Clock
from bridge.config import NAME
from bridge.manager.access.roles import Role
from bridge.manager.api import ROOT
from bridge.manager.api.caller import Desk
from bridge.manager.api.entity import document, next_page, weak_tag
from bridge.manager.api.schemas import EVERYWHERE, gives
from bridge.manager.api.words import Glob
from bridge.manager.nodes import BIRTH, STATE, Node, Nodes
from bridge.manager.problems import Refusal
from bridge.manager.targets import Targets

MAX_OFFSET: Final = 10_000_000
NodePath = Annotated[str, Path(pattern=f"^{NAME.regex}$", description="The node's name.")]
Limit = Annotated[int, Query(ge=1, le=1000)]
Offset = Annotated[int, Query(ge=0, le=MAX_OFFSET)]


def routes(nodes: Nodes, targets: Targets, clock: Clock, desk: Desk) -> APIRouter:
    """The paths of this file."""
    router = APIRouter(prefix=f"{ROOT}/nodes", tags=["nodes"], dependencies=[desk.of(Role.VIEWER)])

    @router.get(
        "", summary="The nodes that have been heard of, by name.", responses=gives("Nodes", *EVERYWHERE, 304, 422)
    )
    async def listed(
        request: Request,
        limit: Limit = 100,
        offset: Offset = 0,
        name: Glob = None,
        state: Annotated[str | None, Query(pattern="^(online|offline|unknown)$")] = None,
    ) -> Response:
        chosen = [
            node
            for node in nodes.known.values()
            if (name is None or fnmatch.fnmatchcase(node.name, name)) and (state is None or node.state == state)
        ]
        chosen.sort(key=lambda node: node.name)
        found = {
            "nodes": [of_node(node, targets) for node in chosen[offset : offset + limit]],
            "total": len(chosen),
            "limit": limit,
            "offset": offset,
        }
        return document(request, found, headers=next_page(request, limit, offset, len(chosen)))

    @router.get("/{node}", summary="One node.", responses=gives("Node", *EVERYWHERE, 304, 404, 422))
    async def read(request: Request, node: NodePath) -> Response:
        return document(request, of_node(known(nodes, node), targets))

    @router.get(
        "/{node}/sensors",
        summary="The sensors of a node: what each shows, since when, and how far it can be believed.",
        responses=gives("Sensors", *EVERYWHERE, 304, 404, 422),
    )
    async def sensors(request: Request, node: NodePath, limit: Limit = 100, offset: Offset = 0) -> Response:
        found = known(nodes, node)
        names = found.sensors()
        page = [of_sensor(found, name) for name in names[offset : offset + limit]]
        head = {"node": node, "state": found.state, "total": len(names), "limit": limit, "offset": offset}
        # An age grows by itself: who has the state and when it was told knows it.
        tag, now = weak_tag([page, head]), clock.now()
        aged = [one | {"age_s": age_s(one["told_at"], now)} for one in page]
        more = next_page(request, limit, offset, len(names))
        return document(request, {"sensors": aged, **head}, etag=tag, headers=more)

    return router


def known(nodes: Nodes, name: str) -> Node:
    """The node of this name; refuses with 404."""
    found = nodes.known.get(name)
    if found is None:
        raise Refusal(404, f"nothing has been heard of a node {name!r}; /api/v1/nodes lists those that there are")
    return found


def of_node(node: Node, targets: Targets) -> dict[str, Any]:
    """A node as the API shows it; `metrics` says where Prometheus finds its agent's, or why it does not."""
    status, birth = node.status, node.birth
    at, why = targets.reach(birth.where) if birth is not None else (None, "it has told nothing of itself yet")
    return {
        "name": node.name,
        "state": node.state,
        "since": status.since if status is not None else None,
        "backlog": status.backlog if status is not None else None,
        "session": status.session if status is not None else None,
        "started": status.started if status is not None else None,
        "told_at": status.told_at if status is not None else None,
        **(birth.facts if birth is not None else dict.fromkeys(BIRTH)),
        "sensors": node.sensors(),
        "outputs": birth.outputs if birth is not None else {},
        "metrics": {"target": at, "problem": why},
    }


def of_sensor(node: Node, name: str) -> dict[str, Any]:
    """A sensor as the API shows it, without its age. What a node that is gone has told last is stale."""
    state, birth = node.states.get(name), node.birth
    facts = dict(state.facts) if state is not None else dict.fromkeys(STATE)
    if node.state == "offline":
        facts |= {"health": "stale", "reason": f"{node.name} is offline"}
    elif state is None:
        facts |= {"health": "stale", "reason": "it has told nothing yet"}
    return {
        "name": name,
        "kind": birth.kinds.get(name) if birth is not None else None,
        "value": state.value if state is not None else None,
        "unit": birth.units.get(name) if birth is not None else None,
        **facts,
        "told_at": state.told_at if state is not None else None,
    }


def age_s(told_at: str | None, now: datetime) -> float | None:
    """How long ago that was; a node's clock that is ahead of ours makes nothing younger than now."""
    try:
        told = datetime.fromisoformat(told_at) if told_at is not None else None
        return None if told is None else round(max(0.0, (now - told).total_seconds()), 3)
    except (ValueError, TypeError):  # no time, or one without an offset
        return None
