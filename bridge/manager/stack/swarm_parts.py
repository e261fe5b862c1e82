"""What the swarm has of a stack, asked for and made: networks, configs and secrets, services."""

from __future__ import annotations

import base64
import logging
from collections.abc import Mapping
from typing import Any

from bridge.errors import EngineError
from bridge.manager.stack.contents import DIGEST_LABEL, Kind, Wanted
from bridge.manager.stack.document import ComposeFile, StackNetwork
from bridge.manager.stack.service import STACK_LABEL, labelled, networks_of, scoped
from bridge.swarm.engine import Engine

_log = logging.getLogger(__name__)


async def documents_of(engine: Engine, kind: str, stack: str) -> list[dict[str, Any]]:
    """The engine's documents of one kind (`services`, `tasks`, ...) that carry the stack's label."""
    found: list[dict[str, Any]] = await engine.get(f"/{kind}", filters={"label": [f"{STACK_LABEL}={stack}"]}) or []
    return [each for each in found if _labels(each).get(STACK_LABEL) == stack]


def _labels(document: Mapping[str, Any]) -> Mapping[str, str]:
    spec = document.get("Spec")
    if spec is None:
        return document.get("Labels") or {}
    # A task's are those of its container.
    return spec.get("ContainerSpec", spec).get("Labels") or {}


class Networks:
    """The networks that the services of a stack file are in."""

    def __init__(self, engine: Engine, stack: str, file: ComposeFile) -> None:
        self._engine, self._stack = engine, stack
        used = {network for service in file.services.values() for network in networks_of(service)}
        self._wanted = {name: file.networks.get(name, StackNetwork()) for name in sorted(used)}

    def docker_name(self, name: str) -> str:
        """What Docker calls one."""
        network = self._wanted[name]
        given = network.name or network.external.name
        if given:
            return str(given)
        return name if network.external.external else scoped(self._stack, name)

    async def missing(self) -> list[str]:
        """Those that must be there already and are not."""
        there = await self._there()
        external = [name for name, network in self._wanted.items() if network.external.external]
        return [name for name in external if self.docker_name(name) not in there]

    async def ensure(self) -> tuple[dict[str, str], list[str]]:
        """The ids by the names in the file, and the names of those that were made."""
        there = await self._there()
        made = []
        for name, network in self._wanted.items():
            docker_name = self.docker_name(name)
            if docker_name not in there:
                await self._engine.post("/networks/create", self._document(docker_name, network))
                made.append(docker_name)
        if made:
            there = await self._there()
        ids = {name: there.get(self.docker_name(name), "") for name in self._wanted}
        lost = [name for name, found in ids.items() if not found]
        if lost:
            raise EngineError(f"the network {self.docker_name(lost[0])} is not there; was it removed meanwhile?")
        return ids, made

    async def _there(self) -> dict[str, str]:
        found = await self._engine.get("/networks", filters={"scope": ["swarm"]})
        return {str(each["Name"]): str(each["Id"]) for each in found}

    def _document(self, docker_name: str, network: StackNetwork) -> dict[str, Any]:
        document: dict[str, Any] = {
            "Name": docker_name,
            "CheckDuplicate": True,
            "Driver": str(network.driver),
            "Attachable": network.attachable,
            "Internal": network.internal,
            "Labels": labelled(self._stack, network.labels),
        }
        if network.driver_opts:
            document["Options"] = {key: value or "" for key, value in network.driver_opts.items()}
        if network.ipam is not None:
            config = [
                {"Subnet": str(each.subnet), **({"Gateway": str(each.gateway)} if each.gateway else {})}
                for each in network.ipam.config
            ]
            driver = {"Driver": str(network.ipam.driver)} if network.ipam.driver else {}
            document["IPAM"] = {**driver, "Config": config}
        return document


class Contents:
    """Configs or secrets of a stack."""

    def __init__(self, engine: Engine, kind: Kind) -> None:
        self._engine, self.kind = engine, kind
        self._there: dict[str, dict[str, Any]] | None = None

    async def all(self) -> dict[str, dict[str, Any]]:
        """The engine's documents by Docker's name."""
        return {str(each["Spec"]["Name"]): each for each in await self._engine.get(f"/{self.kind}s") or []}

    async def ensure(self, wanted: Wanted) -> tuple[str, bool]:
        """The id of one, and whether it was made; looks once for all. Raises EngineError for one that cannot be had."""
        if self._there is None:
            self._there = await self.all()
        found = self._there.get(wanted.docker_name)
        if found is not None:
            self._compare(wanted, found)
            return str(found["ID"]), False
        if wanted.data is None:
            raise EngineError(missing(wanted))
        document: dict[str, Any] = {
            "Name": wanted.docker_name,
            "Labels": dict(wanted.labels or {}),
            "Data": base64.b64encode(wanted.data).decode(),
        }
        if wanted.template_driver:
            document["Templating"] = {"Name": wanted.template_driver}
        made = await self._engine.post(f"/{self.kind}s/create", document)
        self._there[wanted.docker_name] = {"ID": made["ID"], "Spec": document}
        return str(made["ID"]), True

    def _compare(self, wanted: Wanted, found: Mapping[str, Any]) -> None:
        """One whose name is given in the file cannot be changed where it is."""
        there = (found["Spec"].get("Labels") or {}).get(DIGEST_LABEL)
        if wanted.data is not None and there is not None and there != wanted.digest:
            raise EngineError(
                f"the {self.kind} {wanted.docker_name} has another content, and Swarm cannot change it; leave its"
                " `name` out, so that each content gets a name of its own"
            )

    async def remove(self, content_id: str) -> bool:
        """Remove one; False where a service still needs it, or somebody was quicker."""
        try:
            await self._engine.delete(f"/{self.kind}s/{content_id}")
        except EngineError as error:
            if error.status in (400, 404, 409):
                _log.info("Left it", extra={"op": "stack", "kind": self.kind, "id": content_id, "reason": str(error)})
                return False
            raise
        return True


def missing(wanted: Wanted) -> str:
    """What to tell of one that must be there already."""
    return (
        f"{wanted.kind}s.{wanted.name}: there is no {wanted.kind} {wanted.docker_name} in the swarm; make it with:"
        f" docker {wanted.kind} create {wanted.docker_name} FILE"
    )
