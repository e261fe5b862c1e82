"""What would keep a stack from running, found before anything is changed. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bridge.manager.stack.document import ComposeFile
from bridge.manager.stack.service import STACK_LABEL, Image, scoped
from bridge.swarm.cluster_nodes import ClusterNode, architecture

_CONSTRAINT = re.compile(r"\s*([\w./-]+)\s*(==|!=)\s*(.*?)\s*")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong; a warning does not keep anything from being deployed."""

    where: str
    message: str
    warning: bool = False

    def __str__(self) -> str:
        return f"{self.where}: {self.message}"


def findings(
    stack: str,
    file: ComposeFile,
    cluster_nodes: Sequence[ClusterNode],
    images: Mapping[str, Image],
    services: Iterable[Mapping[str, Any]],
) -> list[Finding]:
    """What is wrong. `images` are those that a registry knows, by the name in the file; `services` all of the swarm."""
    ready = [machine for machine in cluster_nodes if machine.ready]
    found: list[Finding] = []
    for name, service in file.services.items():
        where = f"services.{name}"
        placement = service.deploy.placement
        unreadable = [each for each in placement.constraints if _CONSTRAINT.fullmatch(each) is None]
        if unreadable:
            found.append(Finding(f"{where}.deploy.placement", f"{unreadable[0]!r} is no constraint; write KEY==VALUE"))
            continue
        places = [machine for machine in ready if all(fits(machine, each) for each in placement.constraints)]
        if not places:
            found.append(Finding(f"{where}.deploy.placement", _nowhere(ready, placement.constraints)))
            continue
        found += _image_findings(where, images.get(service.image), places)
        reserved = service.deploy.resources.reservations.memory or 0
        largest = max(machine.memory_bytes for machine in places)
        if reserved > largest:
            needs = f"needs {_mebibytes(reserved)} MiB of memory, and the largest cluster node it may run on"
            found.append(Finding(f"{where}.deploy.resources.reservations", f"{needs} has {_mebibytes(largest)} MiB"))
        elif (service.deploy.resources.limits.memory or 0) > largest:
            message = (
                f"is more than the {_mebibytes(largest)} MiB of any cluster node that it may run on: it never holds"
            )
            found.append(Finding(f"{where}.deploy.resources.limits", message, warning=True))
    found += _port_clashes(stack, file, services)
    return found


def fits(machine: ClusterNode, constraint: str) -> bool:
    """Whether a constraint lets tasks run on a cluster node. Raises ValueError for what is none."""
    match = _CONSTRAINT.fullmatch(constraint)
    if match is None:
        raise ValueError(f"{constraint!r} is no constraint")
    key, operator, wanted = match.groups()
    known = {
        "node.id": machine.id,
        "node.hostname": machine.name,
        "node.role": machine.role,
        "node.platform.os": machine.os,
        "node.platform.arch": machine.architecture,
    }
    if key.startswith("node.labels."):
        value = machine.labels.get(key.removeprefix("node.labels."), "")
    elif key.startswith("engine.labels."):
        value = machine.engine_labels.get(key.removeprefix("engine.labels."), "")
    else:
        value = known.get(key, "")
    if key == "node.platform.arch":
        wanted = architecture(wanted)
    # Swarm compares without regard to case.
    return (value.lower() == wanted.lower()) == (operator == "==")


def _nowhere(ready: Sequence[ClusterNode], constraints: Sequence[str]) -> str:
    if not ready:
        return "no cluster node of the swarm is ready to run tasks"
    alone = [each for each in constraints if not any(fits(machine, each) for machine in ready)]
    label = next((each for each in alone if "node.labels." in each and "==" in each), None)
    message = f"no cluster node fits {' and '.join(alone or constraints)}"
    if label is not None:
        key, _, value = label.partition("==")
        pair = f"{key.strip().removeprefix('node.labels.')}={value.strip()}"
        message += f"; give one the label with: docker node update --label-add {pair} {ready[0].name}"
    return message


def _image_findings(where: str, image: Image | None, places: Sequence[ClusterNode]) -> Iterator[Finding]:
    if image is None or not image.platforms:
        return
    offered = {(os, architecture(made_for)) for os, made_for in image.platforms}
    able = [machine for machine in places if (machine.os, machine.architecture) in offered]
    listed = ", ".join(sorted(f"{os}/{made_for}" for os, made_for in offered))
    if not able:
        here = ", ".join(sorted({f"{machine.os}/{machine.architecture}" for machine in places}))
        yield Finding(f"{where}.image", f"is made for {listed}, and the cluster nodes that it may run on are {here}")
    elif len(able) < len(places):
        unable = ", ".join(machine.name for machine in places if machine not in able)
        yield Finding(f"{where}.image", f"is made for {listed}, so it cannot run on {unable}", warning=True)


def _port_clashes(stack: str, file: ComposeFile, services: Iterable[Mapping[str, Any]]) -> Iterator[Finding]:
    taken: dict[tuple[int, str], str] = {}
    own = {scoped(stack, name) for name in file.services}
    for document in services:
        name = str(document["Spec"]["Name"])
        if name in own or (document["Spec"].get("Labels") or {}).get(STACK_LABEL) == stack:
            continue
        for port in (document.get("Endpoint") or {}).get("Ports") or ():
            taken[int(port.get("PublishedPort") or 0), str(port.get("Protocol") or "tcp")] = f"the service {name}"
    for name, service in file.services.items():
        for i, port in enumerate(service.ports):
            if not port.published:
                continue
            holder = taken.get((port.published, port.protocol))
            if holder is not None:
                where = f"services.{name}.ports[{i}]"
                yield Finding(where, f"{port.published}/{port.protocol} is published by {holder} already")
            taken.setdefault((port.published, port.protocol), f"services.{name}")


def _mebibytes(size: int) -> int:
    return size // (1024 * 1024)
