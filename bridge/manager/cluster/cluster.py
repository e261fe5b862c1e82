"""The cluster as its owner changes it: begun, joined, roles and labels given."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from bridge.errors import ClusterError, EngineError
from bridge.swarm.cluster_nodes import ClusterNode, chosen, read_cluster_node
from bridge.swarm.engine import Engine
from bridge.swarm.membership import read_membership
from bridge.swarm.revision import amend

PORT = 2377
"""Where managers of a swarm are joined."""


async def begin(engine: Engine, advertise: str, listen: str) -> str:
    """Make a swarm of this engine alone; the id of its first cluster node. Raises ClusterError, EngineError."""
    info = await engine.get("/info")
    state = (info.get("Swarm") or {}).get("LocalNodeState")
    if state not in (None, "", "inactive"):
        name = info.get("Name")
        raise ClusterError(f"{name} is part of a swarm already (it says {state}); leave it with: docker swarm leave")
    try:
        made = await engine.post("/swarm/init", {"ListenAddr": listen, "AdvertiseAddr": advertise, "Spec": {}})
    except EngineError as error:
        if "could not choose an IP address" in str(error):
            raise ClusterError(f"{error}; say it with --advertise-addr") from error
        raise
    return str(made)


async def join_command(engine: Engine, *, manager: bool) -> str:
    """What is typed on a machine that is to join, as a worker or as a manager. Raises ClusterError, EngineError."""
    info = await _manager(engine)
    tokens = (await engine.get("/swarm"))["JoinTokens"]
    swarm = info["Swarm"]
    own = [each["Addr"] for each in swarm.get("RemoteManagers") or () if each.get("NodeID") == swarm.get("NodeID")]
    address = own[0] if own else f"{swarm['NodeAddr']}:{PORT}"
    return f"docker swarm join --token {tokens['Manager' if manager else 'Worker']} {address}"


async def cluster_nodes(engine: Engine) -> list[ClusterNode]:
    """The cluster nodes by name. Raises ClusterError, EngineError."""
    await _manager(engine)
    found = [read_cluster_node(document) for document in await engine.get("/nodes")]
    return sorted(found, key=lambda node: (node.name, node.id))


async def running_tasks(engine: Engine) -> Mapping[str, Sequence[str]]:
    """The services whose tasks run on each cluster node, by its id; a name stands as often as tasks run."""
    services = {each["ID"]: str(each["Spec"]["Name"]) for each in await engine.get("/services") or []}
    tasks = await engine.get("/tasks", filters={"desired-state": ["running"]}) or []
    found: dict[str, list[str]] = {}
    for task in tasks:
        if (task.get("Status") or {}).get("State") == "running" and task.get("ServiceID") in services:
            found.setdefault(str(task.get("NodeID")), []).append(services[task["ServiceID"]])
    return {node_id: sorted(names) for node_id, names in found.items()}


def counted(names: Sequence[str]) -> str:
    """Service names for people: `gateway, echo x3`."""
    return ", ".join(name if count == 1 else f"{name} x{count}" for name, count in sorted(Counter(names).items()))


def shown(node: ClusterNode, tasks: Sequence[str]) -> dict[str, Any]:
    """One cluster node and the services whose tasks run on it, for programs."""
    return {
        "id": node.id,
        "name": node.name,
        "role": node.role,
        "leader": node.leader,
        "reachable": node.reachable,
        "state": node.state,
        "availability": node.availability,
        "os": node.os,
        "architecture": node.architecture,
        "cpus": node.cpus,
        "memory_bytes": node.memory_bytes,
        "engine": node.engine,
        "address": node.address,
        "labels": dict(node.labels),
        "tasks": list(tasks),
        "message": node.message,
    }


async def change(engine: Engine, given: str, alter: Callable[[dict[str, Any]], dict[str, Any] | None]) -> ClusterNode:
    """Change the specification of one cluster node; `alter` gives None where nothing is to be changed.

    Raises ClusterError for one that is not there, EngineError for what the engine refuses, such as to demote the last
    manager.
    """
    try:
        node_id = chosen(await cluster_nodes(engine), given).id
    except LookupError as error:
        raise ClusterError(str(error.args[0])) from None
    path = f"/nodes/{node_id}"
    await amend(engine, path, lambda document: alter(dict(document["Spec"])))
    return read_cluster_node(await engine.get(path))


def labelled(pairs: Sequence[str]) -> Callable[[dict[str, Any]], dict[str, Any] | None]:
    """A change of labels: `disk=ssd` gives one, `disk-` takes it away. Raises ClusterError for what is neither."""
    given: dict[str, str | None] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if equals and key:
            given[key] = value
        elif not equals and pair.endswith("-") and len(pair) > 1:
            given[pair[:-1]] = None
        else:
            raise ClusterError(f"{pair!r} is no label; write KEY=VALUE to give one, KEY- to take it away")
    return with_labels(given)


def with_labels(given: Mapping[str, str | None]) -> Callable[[dict[str, Any]], dict[str, Any] | None]:
    """A change of labels: each that has a value is given, and taken away where it is None."""

    def alter(spec: dict[str, Any]) -> dict[str, Any] | None:
        before = spec.get("Labels") or {}
        after = {key: value for key, value in {**before, **given}.items() if value is not None}
        return None if after == before else {**spec, "Labels": after}

    return alter


def with_value(key: str, value: str) -> Callable[[dict[str, Any]], dict[str, Any] | None]:
    """A change of `Role` or `Availability`."""
    return lambda spec: None if spec.get(key) == value else {**spec, key: value}


async def _manager(engine: Engine) -> Mapping[str, Any]:
    info: Mapping[str, Any] = await engine.get("/info")
    complaint = read_membership(info, engine.address.host).complaint
    if complaint is not None:
        raise ClusterError(complaint)
    return info
