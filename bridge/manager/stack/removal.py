"""Removes a stack: its services, then what they needed; volumes only where that is asked for.

Functions that stand in a network of the stack go with it: their gateway is gone, and no network can be removed from
under a service. Their secrets, which nobody could read back, stay.
"""

from __future__ import annotations

from typing import Any

from bridge.clock import Clock
from bridge.errors import EngineError, StackError
from bridge.manager.stack.deployment import Tell
from bridge.manager.stack.swarm_parts import documents_of
from bridge.manager.stack.volumes import other_holders, tell_volumes
from bridge.swarm.engine import Engine
from bridge.swarm.function_labels import claimed_name

_LOOK_S = 0.3


async def remove_stack(
    engine: Engine, stack: str, tell: Tell, clock: Clock, *, volumes: bool = False, timeout_s: float = 120.0
) -> bool:
    """Remove everything that carries the stack's label; False when there was nothing.

    Volumes stay, and are told, without `volumes`; with it those of the engine's own machine are removed.

    Networks are removed once the last task has left them. Raises StackError when that takes longer than `timeout_s`,
    EngineError.
    """
    deadline_s = clock.monotonic() + timeout_s
    services = await documents_of(engine, "services", stack)
    networks = await documents_of(engine, "networks", stack)
    holders = await other_holders(engine, services)
    for document in services:
        await _remove(engine, f"/services/{document['ID']}")
        tell(_short(stack, document["Spec"]["Name"]), "service removed")
    functions, others = await _in_networks(engine, {str(each["Id"]) for each in networks})
    for document in functions:
        await _remove(engine, f"/services/{document['ID']}")
        tell(document["Spec"]["Name"], "function removed")
    found = bool(services or functions)
    gone = {document["ID"] for document in (*services, *functions)}
    while gone and any(task.get("ServiceID") in gone for task in await engine.get("/tasks") or []):
        if clock.monotonic() >= deadline_s:
            raise StackError(f"tasks of the stack {stack} still run after {timeout_s:g} s; is a cluster node away?")
        await clock.sleep(_LOOK_S)
    for kind in ("secrets", "configs"):
        for document in await documents_of(engine, kind, stack):
            await _remove(engine, f"/{kind}/{document['ID']}")
            tell(document["Spec"]["Name"], f"{kind[:-1]} removed")
            found = True
    for document in networks:
        holder = others.get(str(document["Id"]))
        if holder is not None:
            raise StackError(
                f"the network {document['Name']} cannot be removed: the service {holder} is in it; remove that first"
            )
        await _leave(engine, document, clock, deadline_s)
        tell(document["Name"], "network removed")
        found = True
    left = await tell_volumes(engine, stack, holders, tell, clock, remove=volumes, deadline_s=deadline_s)
    return found or (left and volumes)


async def _in_networks(engine: Engine, networks: set[str]) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """The functions in these networks; and of the other services there the name of one, by the network's id."""
    functions: list[dict[str, Any]] = []
    others: dict[str, str] = {}
    for document in await engine.get("/services") or []:
        template = document["Spec"].get("TaskTemplate") or {}
        inside = {str(each.get("Target")) for each in template.get("Networks") or ()} & networks
        if inside and claimed_name(document["Spec"]) is not None:
            functions.append(document)
        else:
            others.update(dict.fromkeys(inside, str(document["Spec"]["Name"])))
    return functions, others


async def _remove(engine: Engine, path: str) -> None:
    """Remove one thing; it may be gone already."""
    try:
        await engine.delete(path)
    except EngineError as error:
        if error.status != 404:
            raise


async def _leave(engine: Engine, document: dict[str, object], clock: Clock, deadline_s: float) -> None:
    """Remove a network. For a moment after the last task it may be said to be in use, or be there all the same."""
    while True:
        why = "it is still there"
        try:
            await _remove(engine, f"/networks/{document['Id']}")
        except EngineError as error:
            why = str(error)
        else:
            if not await engine.get("/networks", filters={"id": [str(document["Id"])]}):
                return
        if clock.monotonic() >= deadline_s:
            raise StackError(f"the network {document['Name']} cannot be removed: {why}")
        await clock.sleep(_LOOK_S)


def _short(stack: str, docker_name: object) -> str:
    return str(docker_name).removeprefix(f"{stack}_")
