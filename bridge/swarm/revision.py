"""Changes of services, each made on the newest version of its document."""

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
    for attempt in range(1, _ATTEMPTS + 1):
        service = read_service(await engine.get(f"/services/{service_id}"))
        spec = alter(service)
        if spec is None:
            return False
        try:
            await engine.post(f"/services/{service_id}/update", spec, headers=headers, version=service.version)
        except EngineError as error:
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
