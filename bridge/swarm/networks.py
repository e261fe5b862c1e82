"""The overlay network that services share: found by its exact name, or made."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from bridge.errors import EngineError
from bridge.swarm.engine import Engine

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Network:
    """An overlay network of the swarm."""

    id: str
    name: str


async def ensure_overlay(engine: Engine, name: str) -> Network:
    """The overlay network of this name, attachable where it has to be made. Raises EngineError for another kind."""
    found = await _find(engine, name)
    if found is not None:
        return found
    body = {"Name": name, "Driver": "overlay", "Attachable": True, "CheckDuplicate": True}
    try:
        await engine.post("/networks/create", body)
        _log.info("Made the network", extra={"op": "network", "network": name})
    except EngineError as error:
        # Another gateway may have been quicker.
        if error.status != 409:
            raise
    found = await _find(engine, name)
    if found is None:
        raise EngineError(f"the network {name} was made and is not there; see the engine's log")
    return found


async def _find(engine: Engine, name: str) -> Network | None:
    # The engine's filter matches parts of names: the exact one is chosen here.
    documents = [each for each in await engine.get("/networks", filters={"name": [name]}) if each["Name"] == name]
    for document in documents:
        # Both are empty of an overlay that was made a moment ago, until the swarm has allotted its addresses.
        if document.get("Driver") in ("overlay", "") and document.get("Scope") in ("swarm", ""):
            return Network(document["Id"], document["Name"])
    if documents:
        raise EngineError(
            f"the network {name} is a {documents[0].get('Driver')} network of one machine; services need an overlay:"
            f" remove it with `docker network rm {name}`, or name another"
        )
    return None
