"""Images as their registries know them, asked through the engine."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from bridge.errors import EngineError
from bridge.manager.stack.service import Image
from bridge.swarm.engine import Engine
from bridge.swarm.registry import kept_header
from bridge.swarm.services import without_digest


@dataclass(frozen=True, slots=True)
class Unresolved:
    """An image that no registry told anything of, and why."""

    name: str
    reason: str


async def resolve(engine: Engine, names: Iterable[str], config: Path | None) -> list[Image | Unresolved]:
    """The images with their digests and platforms, as they are in their registries now, in order."""
    return list(await asyncio.gather(*(_resolved(engine, name, config) for name in names)))


async def registry_header(image: str, config: Path | None) -> dict[str, str]:
    """Who may pull the image, from Docker's own configuration file."""
    return await asyncio.to_thread(kept_header, image, config)


async def _resolved(engine: Engine, name: str, config: Path | None) -> Image | Unresolved:
    try:
        header = await registry_header(name, config)
        found = await engine.get_authorized(f"/distribution/{name}/json", header)
        digest = str(found["Descriptor"]["digest"])
    except (EngineError, ValueError, KeyError, TypeError) as error:
        return Unresolved(name, str(error))
    platforms = {
        (str(each["os"]), str(each["architecture"]))
        for each in found.get("Platforms") or ()
        # An index also lists what describes its images, for no cluster node at all.
        if each.get("os") not in (None, "", "unknown")
    }
    return Image(f"{without_digest(name)}@{digest}", tuple(sorted(platforms)))
