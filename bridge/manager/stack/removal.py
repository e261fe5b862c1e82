"""Removes a stack: its services, then what they needed. Volumes hold data and stay on their cluster nodes."""

from __future__ import annotations

from bridge.clock import Clock
from bridge.errors import EngineError, StackError
from bridge.manager.stack.deployment import Tell
from bridge.manager.stack.swarm_parts import documents_of
from bridge.swarm.engine import Engine

_LOOK_S = 0.3


async def remove_stack(engine: Engine, stack: str, tell: Tell, clock: Clock, *, timeout_s: float = 120.0) -> bool:
    """Remove everything that carries the stack's label; False when there was nothing.

    Networks are removed once the last task has left them. Raises StackError when that takes longer than `timeout_s`,
    EngineError.
    """
    deadline_s = clock.monotonic() + timeout_s
    services = await documents_of(engine, "services", stack)
    for document in services:
        await _remove(engine, f"/services/{document['ID']}")
        tell(_short(stack, document["Spec"]["Name"]), "service removed")
    found = bool(services)
    while services and await documents_of(engine, "tasks", stack):
        if clock.monotonic() >= deadline_s:
            raise StackError(f"tasks of the stack {stack} still run after {timeout_s:g} s; is a cluster node away?")
        await clock.sleep(_LOOK_S)
    for kind in ("secrets", "configs"):
        for document in await documents_of(engine, kind, stack):
            await _remove(engine, f"/{kind}/{document['ID']}")
            tell(document["Spec"]["Name"], f"{kind[:-1]} removed")
            found = True
    for document in await documents_of(engine, "networks", stack):
        await _leave(engine, document, clock, deadline_s)
        tell(document["Name"], "network removed")
        found = True
    return found


async def _remove(engine: Engine, path: str) -> None:
    """Remove one thing; it may be gone already."""
    try:
        await engine.delete(path)
    except EngineError as error:
        if error.status != 404:
            raise


async def _leave(engine: Engine, document: dict[str, object], clock: Clock, deadline_s: float) -> None:
    """Remove a network; for a moment after the last task it may still be said to be in use."""
    while True:
        try:
            await _remove(engine, f"/networks/{document['Id']}")
        except EngineError as error:
            if clock.monotonic() >= deadline_s:
                raise StackError(f"the network {document['Name']} cannot be removed: {error}") from error
            await clock.sleep(_LOOK_S)
        else:
            return


def _short(stack: str, docker_name: object) -> str:
    return str(docker_name).removeprefix(f"{stack}_")
