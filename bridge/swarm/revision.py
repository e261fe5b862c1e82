"""Changes of services and cluster nodes, each made on the newest version of its document."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from bridge.errors import EngineError
from bridge.swarm.engine import Engine
from bridge.swarm.services import Service, read_service

_ATTEMPTS = 8
_OUT_OF_SEQUENCE = "out of sequence"

Alter = Callable[[Service], Mapping[str, Any] | None]
"""The new document for a service, None to leave it as it is; asked again when somebody else was quicker."""


async def change(engine: Engine, service_id: str, alter: Alter, headers: Mapping[str, str] | None = None) -> bool:
    """Change one service; False when it was left as it is. Raises EngineError, with status 404 when it is gone."""
    return await amend(engine, f"/services/{service_id}", lambda document: alter(read_service(document)), headers)


async def amend(
    engine: Engine,
    path: str,
    alter: Callable[[Mapping[str, Any]], Mapping[str, Any] | None],
    headers: Mapping[str, str] | None = None,
) -> bool:
    """Change what the engine has at a path; `alter` gives the new specification for the document that is there."""
    for attempt in range(1, _ATTEMPTS + 1):
        document = await engine.get(path)
        spec = alter(document)
        if spec is None:
            return False
        try:
            await engine.post(f"{path}/update", spec, headers=headers, version=int(document["Version"]["Index"]))
        except EngineError as error:
            # Swarm's managers, too, write into what they are asked to change.
            if _OUT_OF_SEQUENCE not in str(error) or attempt == _ATTEMPTS:
                raise
            continue
        return True
    return False


def with_replicas(service: Service, replicas: int) -> dict[str, Any] | None:
    """A service's document with another number of replicas; None when it has that number."""
    if not service.scalable or service.replicas == replicas:
        return None
    return {**service.spec, "Mode": {"Replicated": {"Replicas": replicas}}}
