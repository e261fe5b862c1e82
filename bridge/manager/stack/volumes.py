"""The volumes of a stack, when it is removed. They hold data: none goes unasked, and none stays untold.

An engine knows the volumes of its own machine alone. Of other cluster nodes it is only known that tasks with a volume
have been there.
"""

from __future__ import annotations

from typing import Any

from bridge.clock import Clock
from bridge.errors import EngineError, StackError
from bridge.manager.stack.deployment import Tell
from bridge.manager.stack.service import STACK_LABEL
from bridge.swarm.cluster_nodes import read_cluster_node
from bridge.swarm.engine import Engine

_LOOK_S = 0.3
_IN_USE = 409
_GONE = 404


async def other_holders(engine: Engine, services: list[dict[str, Any]]) -> list[str]:
    """The names of the cluster nodes, but for the engine's own, where tasks of these services have volumes."""
    own = str((await engine.get("/info"))["Swarm"]["NodeID"])
    names = {one.id: one.name for one in map(read_cluster_node, await engine.get("/nodes"))}
    with_volumes = {str(each["ID"]) for each in services if _has_volume(each)}
    tasks = await engine.get("/tasks") or [] if with_volumes else []
    places = {str(task.get("NodeID")) for task in tasks if task.get("ServiceID") in with_volumes}
    return sorted(names[place] for place in places - {own} if place in names)


async def tell_volumes(
    engine: Engine, stack: str, others: list[str], tell: Tell, clock: Clock, *, remove: bool, deadline_s: float
) -> bool:
    """Remove the volumes of this engine's machine, or say that they stay; whether there were any.

    Raises StackError for one that is still in use at the deadline, EngineError.
    """
    found = (await engine.get("/volumes", filters={"label": [f"{STACK_LABEL}={stack}"]}))["Volumes"] or []
    names = sorted(str(each["Name"]) for each in found)
    for name in names:
        if remove:
            await _remove(engine, name, clock, deadline_s)
        tell(name, "volume removed, with the data in it" if remove else "volume stays, with the data in it")
    for other in others:
        command = f"docker volume ls --filter label={STACK_LABEL}={stack}"
        tell(other, f"its volumes stay: an engine removes those of its own machine only; there, see `{command}`")
    return bool(names)


async def _remove(engine: Engine, name: str, clock: Clock, deadline_s: float) -> None:
    """For a moment after its last task a volume may be in use."""
    while True:
        try:
            await engine.delete(f"/volumes/{name}")
        except EngineError as error:
            if error.status == _GONE:
                return
            if error.status != _IN_USE or clock.monotonic() >= deadline_s:
                raise StackError(f"the volume {name} cannot be removed: {error}") from error
        else:
            return
        await clock.sleep(_LOOK_S)


def _has_volume(service: dict[str, Any]) -> bool:
    template = service["Spec"].get("TaskTemplate") or {}
    mounts = (template.get("ContainerSpec") or {}).get("Mounts") or ()
    return any(mount.get("Type") == "volume" and mount.get("Source") for mount in mounts)
