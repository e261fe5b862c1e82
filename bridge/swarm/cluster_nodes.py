"""Cluster nodes, the machines of a swarm, as its managers know them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

_ARCHITECTURES: Mapping[str, str] = {
    "x86_64": "amd64",
    "aarch64": "arm64",
    "armv6l": "arm",
    "armv7l": "arm",
    "armv8l": "arm64",
}


@dataclass(frozen=True, slots=True)
class ClusterNode:
    """One machine of the swarm."""

    id: str
    name: str
    role: str
    """`manager` or `worker`."""
    availability: str
    """`active`, `pause` or `drain`: whether it takes new tasks, keeps those it has, or gives them up."""
    state: str
    """`ready`, `down`, ... as the managers see it."""
    os: str
    architecture: str
    """As images are labelled: `arm64` and not `aarch64`."""
    memory_bytes: int = 0
    cpus: float = 0.0
    engine: str = ""
    address: str = ""
    leader: bool = False
    reachable: bool = True
    """Of a manager: whether the other managers reach it."""
    message: str = ""
    """Why it is not ready, in the engine's words."""
    labels: Mapping[str, str] = field(default_factory=dict)
    engine_labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def manager(self) -> bool:
        """Whether it takes part in deciding."""
        return self.role == "manager"

    @property
    def ready(self) -> bool:
        """Whether it answers, and takes tasks."""
        return self.state == "ready" and self.availability == "active"


def read_cluster_node(document: Mapping[str, Any]) -> ClusterNode:
    """One from the engine's document. Raises KeyError for what is none."""
    spec, description = document.get("Spec") or {}, document.get("Description") or {}
    platform, resources = description.get("Platform") or {}, description.get("Resources") or {}
    status, manager = document.get("Status") or {}, document.get("ManagerStatus") or {}
    engine = description.get("Engine") or {}
    return ClusterNode(
        id=str(document["ID"]),
        name=str(description.get("Hostname") or document["ID"]),
        role=str(spec.get("Role") or "worker"),
        availability=str(spec.get("Availability") or "active"),
        state=str(status.get("State") or "unknown"),
        os=str(platform.get("OS") or "").lower(),
        architecture=architecture(str(platform.get("Architecture") or "")),
        memory_bytes=int(resources.get("MemoryBytes") or 0),
        cpus=int(resources.get("NanoCPUs") or 0) / 1_000_000_000,
        engine=str(engine.get("EngineVersion") or ""),
        address=str(manager.get("Addr") or "").rpartition(":")[0] or str(status.get("Addr") or ""),
        leader=bool(manager.get("Leader")),
        reachable=manager.get("Reachability", "reachable") == "reachable",
        message=str(status.get("Message") or ""),
        labels=spec.get("Labels") or {},
        engine_labels=engine.get("Labels") or {},
    )


def architecture(given: str) -> str:
    """What images call an architecture that an engine or a person names: `aarch64` is `arm64`."""
    return _ARCHITECTURES.get(given, given)


def chosen(nodes: Iterable[ClusterNode], given: str) -> ClusterNode:
    """The one of this name or id, or of which the id begins so. Raises LookupError that says which there are."""
    known = list(nodes)
    exact = [node for node in known if given in (node.name, node.id)]
    found = exact or [node for node in known if len(given) >= 4 and node.id.startswith(given)]
    if len(found) == 1:
        return found[0]
    if found:
        ids = ", ".join(f"{node.id} ({node.state})" for node in found)
        raise LookupError(f"{len(found)} cluster nodes are called {given}; say one by its id: {ids}")
    raise LookupError(f"there is no cluster node {given}; there are {', '.join(node.name for node in known) or 'none'}")
