"""Looks into calls before they pass: what they bring, and whose it is that they are about.

A service, a secret, a network is asked for once, and what the engine is sent names it by the id that was looked at: a
name, or the beginning of an id, could stand for another one a moment later.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import orjson

from bridge.engine_door import parts
from bridge.engine_door.engine import EngineSide
from bridge.engine_door.passages import Call, Kind, Refused
from bridge.engine_door.services import (
    Allowances,
    might_problems,
    network_problems,
    networks_of,
    owner_problems,
    secrets_of,
    touch_problems,
)
from bridge.engine_door.settings import EngineDoorSettings
from bridge.engine_door.shapes import part
from bridge.swarm.function_labels import claimed_name

_SERVICE_ID = "com.docker.swarm.service.id"
_MOST_TOLD = 5


@dataclass(frozen=True, slots=True)
class Approved:
    """What the engine is sent for a call, and the name of what it is about, for the audit."""

    path: str
    subject: str = ""
    body: bytes | None = None


class Inspector:
    """Approves calls, or raises Refused with the reason; also what the engine itself refuses, and Away."""

    def __init__(self, engine: EngineSide, settings: EngineDoorSettings) -> None:
        self._engine = engine
        self._allowances = Allowances(settings.binds, settings.capabilities)
        self._function_networks = settings.gateway.networks if settings.gateway is not None else ()
        self._join_tokens = settings.manager is not None and settings.manager.join_tokens
        self._by_kind: Mapping[Kind, Callable[[Call, bytes], Awaitable[Approved]]] = {
            "look": self._look,
            "container stats": self._container_stats,
            "task log": self._task_log,
            "service log": self._service_log,
            "service create": self._service_create,
            "service update": self._service_update,
            "service delete": self._service_delete,
            "network create": self._network_create,
            "network delete": self._network_delete,
            "secret create": self._content_create,
            "secret delete": self._content_delete,
            "config create": self._content_create,
            "config delete": self._content_delete,
            "cluster node update": self._cluster_node_update,
            "join tokens": self._tokens,
        }

    async def approved(self, call: Call, body: bytes) -> Approved:
        """The call as it may pass."""
        try:
            return await self._by_kind[call.passage.kind](call, body)
        except (KeyError, TypeError, AttributeError) as error:
            # A document of the engine, or of the client, in a form that we do not know.
            raise Refused(f"the engine door does not understand what this is about: {error!r}") from error

    async def _look(self, call: Call, _: bytes) -> Approved:
        return Approved(call.path)

    async def _tokens(self, call: Call, _: bytes) -> Approved:
        if not self._join_tokens:
            raise Refused(
                "this would tell the tokens by which machines join the swarm; the setting manager.join_tokens of the"
                " engine door lets it, and on the cluster node itself there is: gpio-bridge cluster join-command"
            )
        return Approved(call.path)

    # --- services

    async def _service_create(self, call: Call, body: bytes) -> Approved:
        spec = _document(body)
        _refuse(owner_problems(call.client, spec, None))
        await self._examine(call, spec, None)
        return Approved(call.path, str(spec.get("Name")), orjson.dumps(spec))

    async def _service_update(self, call: Call, body: bytes) -> Approved:
        given = spec = _document(body)
        service = await self._service(call, call.name)
        current = service["Spec"]
        if call.params.get("version") != str(service["Version"]["Index"]):
            # What was looked at would not be what is changed.
            raise Refused("update out of sequence: the service has changed, or no version is given", 409)
        rollback = call.params.get("rollback")
        if rollback is not None:
            if rollback != "previous" or not service.get("PreviousSpec"):
                raise Refused("there is nothing to go back to")
            # The engine does not read what it is sent then.
            spec = service["PreviousSpec"]
        _refuse(owner_problems(call.client, spec, current))
        await self._examine(call, spec, current)
        return Approved(f"/services/{service['ID']}/update", str(current["Name"]), orjson.dumps(given))

    async def _service_delete(self, call: Call, _: bytes) -> Approved:
        service = await self._service(call, call.name)
        _refuse(touch_problems(call.client, service["Spec"], delete=True))
        return Approved(f"/services/{service['ID']}", str(service["Spec"]["Name"]))

    async def _examine(self, call: Call, spec: Mapping[str, Any], current: Mapping[str, Any] | None) -> None:
        """What a service has already it may keep; what is new in it is looked at."""
        new = {key: value for key, value in spec.items() if current is None or current.get(key) != value}
        _refuse(might_problems(call.client, new, self._allowances))
        targets = networks_of(new)
        if targets:
            only = self._function_networks if call.client == "gateway" else None
            _refuse(network_problems(targets, await self._overlays(call), only))
        secrets = secrets_of(new) if call.client == "gateway" else set()
        if secrets:
            ours = {
                each["ID"]
                for each in await self._ask(call, "/secrets")
                if not list(parts.owner_problems("gateway", "secrets", part(each, "Spec", "Labels")))
            }
            _refuse(f"Secrets: {each[:64]} is no secret of a function" for each in sorted(secrets - ours))

    async def _overlays(self, call: Call) -> dict[str, str]:
        return {
            str(each["Id"]): str(each["Name"])
            for each in await self._ask(call, "/networks")
            # Both are empty of one that was made a moment ago.
            if each.get("Driver") in (parts.OVERLAY, "") and each.get("Scope") in ("swarm", "")
        }

    # --- logs and numbers, which the gateway may have of functions

    async def _service_log(self, call: Call, _: bytes) -> Approved:
        if call.client == "manager":
            return Approved(call.path)
        return Approved(f"/services/{await self._function(call, call.name)}/logs")

    async def _task_log(self, call: Call, _: bytes) -> Approved:
        if call.client == "manager":
            return Approved(call.path)
        task = await self._ask(call, f"/tasks/{call.name}")
        await self._function(call, str(task["ServiceID"]))
        return Approved(f"/tasks/{task['ID']}/logs")

    async def _container_stats(self, call: Call, _: bytes) -> Approved:
        container = await self._ask(call, f"/containers/{call.name}/json")
        service = part(container, "Config", "Labels").get(_SERVICE_ID)
        if not service:
            raise Refused("this container is of no service, and the gateway may look into functions only")
        await self._function(call, str(service))
        return Approved(f"/containers/{container['Id']}/stats")

    async def _function(self, call: Call, name: str) -> str:
        service = await self._service(call, name)
        if claimed_name(service["Spec"]) is None:
            raise Refused(f"{service['Spec']['Name']} is no function, and the gateway may look into functions only")
        return str(service["ID"])

    # --- networks, secrets, configs, cluster nodes

    async def _network_create(self, call: Call, body: bytes) -> Approved:
        document = _document(body)
        _refuse(parts.network_problems(call.client, document, self._function_networks))
        return Approved(call.path, str(document.get("Name")), orjson.dumps(document))

    async def _network_delete(self, call: Call, _: bytes) -> Approved:
        network = await self._ask(call, f"/networks/{call.name}")
        _refuse(parts.owner_problems(call.client, "networks", part(network, "Labels")))
        return Approved(f"/networks/{network['Id']}", str(network["Name"]))

    async def _content_create(self, call: Call, body: bytes) -> Approved:
        document = _document(body)
        _refuse(parts.content_problems(call.client, call.passage.kind.split()[0], document))
        return Approved(call.path, str(document.get("Name")), orjson.dumps(document))

    async def _content_delete(self, call: Call, _: bytes) -> Approved:
        kinds = f"{call.passage.kind.split()[0]}s"
        content = await self._ask(call, f"/{kinds}/{call.name}")
        _refuse(parts.owner_problems(call.client, kinds, part(content, "Spec", "Labels")))
        return Approved(f"/{kinds}/{content['ID']}", str(content["Spec"]["Name"]))

    async def _cluster_node_update(self, call: Call, body: bytes) -> Approved:
        document = _document(body)
        _refuse(parts.cluster_node_problems(document))
        machine = await self._ask(call, f"/nodes/{call.name}")
        name = str(part(machine, "Description").get("Hostname") or machine["ID"])
        return Approved(f"/nodes/{machine['ID']}/update", name, orjson.dumps(document))

    async def _service(self, call: Call, name: str) -> dict[str, Any]:
        return cast("dict[str, Any]", await self._ask(call, f"/services/{name}"))

    async def _ask(self, call: Call, path: str) -> Any:
        return await self._engine.document(f"{call.version}{path}") or []


def _document(body: bytes) -> dict[str, Any]:
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise Refused("the document cannot be understood: it is no JSON") from None
    if not isinstance(document, dict):
        raise Refused("the document is no map")
    return document


def _refuse(problems: Iterable[str]) -> None:
    found = list(problems)
    if found:
        more = f"; and {len(found) - _MOST_TOLD} more" if len(found) > _MOST_TOLD else ""
        raise Refused("; ".join(found[:_MOST_TOLD]) + more)
