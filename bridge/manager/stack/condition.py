"""How a stack that was deployed is now: its services, where their tasks run, and why one does not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bridge.errors import StackError
from bridge.manager.stack.service import STACK_LABEL
from bridge.manager.stack.swarm_parts import documents_of
from bridge.swarm.cluster_nodes import ClusterNode, read_cluster_node
from bridge.swarm.engine import Engine
from bridge.swarm.services import Service, read_service
from bridge.swarm.tasks import Task, read_task


@dataclass(frozen=True, slots=True)
class ServiceCondition:
    """One service: how many of its tasks run, on which cluster nodes, and what is wrong, in the engine's words."""

    name: str
    image: str
    mode: str
    running: int
    wanted: int
    cluster_nodes: tuple[str, ...]
    update: str
    complaint: str

    @property
    def well(self) -> bool:
        """Whether as many run as are wanted."""
        return self.running >= self.wanted

    def document(self) -> dict[str, Any]:
        """For programs."""
        return {
            "name": self.name,
            "image": self.image,
            "mode": self.mode,
            "running": self.running,
            "wanted": self.wanted,
            "cluster_nodes": list(self.cluster_nodes),
            "update": self.update,
            "complaint": self.complaint,
        }


async def stack_condition(engine: Engine, stack: str) -> list[ServiceCondition]:
    """The services of a stack by name. Raises StackError when there is no such stack, EngineError."""
    documents = await documents_of(engine, "services", stack)
    if not documents:
        raise StackError(await _unknown(engine, stack))
    cluster_nodes = {machine.id: machine for machine in map(read_cluster_node, await engine.get("/nodes"))}
    ids = [document["ID"] for document in documents]
    tasks = [read_task(each) for each in await engine.get("/tasks", filters={"service": ids}) or []]
    found = [
        _condition(
            stack, read_service(document), [each for each in tasks if each.service_id == document["ID"]], cluster_nodes
        )
        for document in documents
    ]
    return sorted(found, key=lambda each: each.name)


async def stack_names(engine: Engine) -> list[str]:
    """The stacks of the swarm, those of the Docker CLI included."""
    services = await engine.get("/services") or []
    names = {(each["Spec"].get("Labels") or {}).get(STACK_LABEL) for each in services}
    return sorted(name for name in names if name)


async def _unknown(engine: Engine, stack: str) -> str:
    names = await stack_names(engine)
    return f"there is no stack {stack}; there {'are' if len(names) > 1 else 'is'} {', '.join(names) or 'none'}"


def _condition(
    stack: str, service: Service, tasks: Sequence[Task], cluster_nodes: Mapping[str, ClusterNode]
) -> ServiceCondition:
    tasks = sorted(tasks, key=lambda task: (task.created_at, task.id))
    running = [task for task in tasks if task.wanted and task.state == "running"]
    ready = [machine.id for machine in cluster_nodes.values() if machine.ready]
    wanted = service.replicas
    if not service.scalable:
        wanted = len({task.node_id for task in tasks if task.wanted and task.node_id in ready})
    # Of a service that is whole, what happened before is of no interest.
    complaints = [task for task in tasks if task.complaint()] if len(running) < wanted else []
    newest = max(complaints, key=lambda task: task.at, default=None)
    places = sorted({cluster_nodes[task.node_id].name for task in running if task.node_id in cluster_nodes})
    return ServiceCondition(
        name=service.name.removeprefix(f"{stack}_"),
        image=service.image,
        mode="replicated" if service.scalable else "global",
        running=len(running),
        wanted=wanted,
        cluster_nodes=tuple(places),
        update=service.update_state,
        complaint="" if newest is None else newest.complaint(),
    )
