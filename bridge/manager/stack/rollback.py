"""Puts services of a stack back to what they were before their last update."""

from __future__ import annotations

from collections.abc import Iterable

from bridge.errors import StackError
from bridge.manager.stack.deployment import Tell
from bridge.manager.stack.swarm_parts import documents_of
from bridge.swarm.engine import Engine
from bridge.swarm.services import read_service


async def roll_back(engine: Engine, stack: str, services: Iterable[str], tell: Tell) -> None:
    """Roll back these services, or all that can be. Raises StackError when none can be, EngineError."""
    there = {
        service.name.removeprefix(f"{stack}_"): service
        for service in map(read_service, await documents_of(engine, "services", stack))
    }
    chosen = list(services) or sorted(there)
    unknown = [name for name in chosen if name not in there]
    if unknown or not there:
        raise StackError(
            f"the stack {stack} has no service {', '.join(unknown)}" if unknown else f"there is no stack {stack}"
        )
    able = [name for name in chosen if there[name].previous is not None]
    if not able:
        raise StackError(f"nothing of {', '.join(chosen)} was updated since it was made; it cannot go back")
    for name in able:
        service = there[name]
        path = f"/services/{service.id}/update"
        await engine.post(path, service.spec, version=service.version, rollback="previous")
        tell(name, "goes back to what it was before its last update")
