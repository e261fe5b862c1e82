"""`/api/v1/cluster`: the cluster nodes, what runs on each, and their roles, availability and labels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Path, Request, Response

from bridge.manager.access.roles import Role
from bridge.manager.api import ROOT
from bridge.manager.api.bodies import read_object
from bridge.manager.api.caller import Desk, caller_of
from bridge.manager.api.entity import answer, document
from bridge.manager.api.schemas import BODY, EVERYWHERE, gives, takes
from bridge.manager.cluster.cluster import (
    change,
    cluster_nodes,
    join_command,
    running_tasks,
    shown,
    with_labels,
    with_value,
)
from bridge.manager.cluster.warnings import warnings
from bridge.manager.problems import Place, Refusal
from bridge.manager.swarm import Swarm
from bridge.swarm.cluster_nodes import ClusterNode, chosen
from bridge.swarm.engine import Engine

NodePath = Annotated[
    str,
    Path(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,254}$", description="A cluster node, by its name or id."),
]
Alter = Callable[[dict[str, Any]], dict[str, Any] | None]
_CHANGES: Final[dict[str, tuple[str, str, str, str]]] = {
    "promote": ("Role", "manager", "promoted", "Make a cluster node a manager."),
    "demote": ("Role", "worker", "demoted", "Make a manager a worker; the last one cannot be."),
    "drain": ("Availability", "drain", "drained", "Move everything away from a cluster node."),
    "activate": ("Availability", "active", "activated", "Let a cluster node take tasks again."),
}
"""What a path's last word sets, to what, what the audit calls it, and its summary."""


class Cluster:
    """The handlers; `routes` puts them in place."""

    def __init__(self, swarm: Swarm) -> None:
        self._swarm = swarm

    def routes(self, desk: Desk) -> APIRouter:
        """The paths of this file."""
        router = APIRouter(prefix=f"{ROOT}/cluster", tags=["cluster"])
        viewer, admin = [desk.of(Role.VIEWER)], [desk.of(Role.ADMIN)]
        add = router.add_api_route
        add(
            "/nodes",
            self.listed,
            methods=["GET"],
            dependencies=viewer,
            summary="The cluster nodes, the services that run on each, and what would stop the cluster.",
            responses=gives("ClusterNodes", *EVERYWHERE, 304, 503),
        )
        add(
            "/nodes/{node}",
            self.read,
            methods=["GET"],
            dependencies=viewer,
            summary="One cluster node.",
            responses=gives("ClusterNode", *EVERYWHERE, 304, 404, 409, 422, 503),
        )
        add(
            "/nodes/{node}",
            self.patch,
            methods=["PATCH"],
            dependencies=admin,
            summary="Give a cluster node labels, or take them away.",
            responses=gives("ClusterNode", *EVERYWHERE, *BODY, 404, 409, 503),
            openapi_extra=takes(
                ("application/json", "ClusterNodePatch"), ("application/merge-patch+json", "ClusterNodePatch")
            ),
        )
        for word, (_, _, _, summary) in _CHANGES.items():
            add(
                f"/nodes/{{node}}/{word}",
                self._changing(word),
                methods=["POST"],
                dependencies=admin,
                summary=summary,
                responses=gives("ClusterNode", *EVERYWHERE, 404, 409, 422, 503),
            )
        add(
            "/join-command",
            self.joined,
            methods=["GET"],
            dependencies=admin,
            summary="What is to be typed on a machine that joins; it holds a secret.",
            responses=gives("JoinCommand", *EVERYWHERE, 422, 503),
        )
        return router

    async def listed(self, request: Request) -> Response:
        """All of them by name."""
        async with self._swarm.asked() as engine:
            nodes, tasks = await cluster_nodes(engine), await running_tasks(engine)
        found = [shown(node, tasks.get(node.id, ())) for node in nodes]
        return document(request, {"nodes": found, "warnings": list(warnings(nodes))})

    async def read(self, request: Request, node: NodePath) -> Response:
        """One of them."""
        async with self._swarm.asked() as engine:
            found = _chosen(await cluster_nodes(engine), node)
            tasks = await running_tasks(engine)
        return document(request, shown(found, tasks.get(found.id, ())))

    async def patch(self, request: Request, node: NodePath) -> Response:
        """One of them with other labels."""
        return await self._change(request, node, "labelled", with_labels(_labels(await read_object(request))))

    async def joined(self, request: Request, role: Literal["worker", "manager"] = "worker") -> Response:
        """The command, by which its reader can bring a machine into the swarm: noted as a change is."""
        async with self._swarm.asked() as engine:
            command = await join_command(engine, manager=role == "manager")
        caller_of(request).note("join command read", role)
        return answer({"role": role, "command": command})

    def _changing(self, word: str) -> Callable[..., Any]:
        key, value, became, _ = _CHANGES[word]

        async def changed(request: Request, node: NodePath) -> Response:
            return await self._change(request, node, became, with_value(key, value))

        changed.__name__ = word
        return changed

    async def _change(self, request: Request, given: str, became: str, alter: Alter) -> Response:
        async with self._swarm.asked() as engine:
            node = _chosen(await cluster_nodes(engine), given)
            return await self._changed(request, engine, node, became, alter)

    async def _changed(
        self, request: Request, engine: Engine, node: ClusterNode, became: str, alter: Alter
    ) -> Response:
        altered = False

        def noted(spec: dict[str, Any]) -> dict[str, Any] | None:
            nonlocal altered
            after = alter(spec)
            altered = after is not None
            return after

        after = await change(engine, node.id, noted)
        if altered:
            caller_of(request).note(f"cluster node {became}", f"{after.name} ({after.id})")
        tasks = await running_tasks(engine)
        return answer(shown(after, tasks.get(after.id, ())))


def _chosen(nodes: list[ClusterNode], given: str) -> ClusterNode:
    try:
        return chosen(nodes, given)
    except LookupError as error:
        several = any(given == node.name or (len(given) >= 4 and node.id.startswith(given)) for node in nodes)
        raise Refusal(409 if several else 404, str(error.args[0])) from None


def _labels(patch: dict[str, Any]) -> dict[str, str | None]:
    """The labels that a merge patch gives and takes away."""
    places = [Place("is not changed here; labels are", pointer=f"/{key}") for key in patch if key != "labels"]
    labels = patch.get("labels", {})
    if not isinstance(labels, dict):
        places.append(Place("must be an object; null takes a single label away", pointer="/labels"))
        labels = {}
    for key, value in labels.items():
        if not key or not (value is None or isinstance(value, str)):
            escaped = key.replace("~", "~0").replace("/", "~1")
            places.append(Place("a label has a name, and a text or null", pointer=f"/labels/{escaped}"))
    if places:
        detail = "; ".join(f"{place.pointer}: {place.detail}" for place in places[:5])
        raise Refusal(422, f"the labels have mistakes: {detail}", errors=places)
    return labels
