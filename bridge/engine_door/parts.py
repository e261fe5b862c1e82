"""What may be made and changed besides services: networks, secrets, configs, cluster nodes. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from bridge.engine_door.passages import Client
from bridge.engine_door.services import STACK_LABEL
from bridge.engine_door.shapes import CLUSTER_NODE, CONFIG, NETWORK, SECRET, part, strangers
from bridge.swarm.secrets import NAME_LABEL

OVERLAY = "overlay"


def network_problems(client: Client, document: Mapping[str, Any], only: Collection[str]) -> Iterator[str]:
    """What is wrong with a network that is to be made; `only` are those of the gateway's functions."""
    found = list(strangers(document, NETWORK))
    yield from found or _network(client, document, only)


def _network(client: Client, document: Mapping[str, Any], only: Collection[str]) -> Iterator[str]:
    if document.get("Driver") != OVERLAY:
        yield f"Driver: only {OVERLAY} networks; others are of the cluster node itself"
    if document.get("Ingress"):
        yield "Ingress: the swarm has one"
    if document.get("ConfigOnly") or any(part(document, "ConfigFrom").values()):
        yield "ConfigFrom: a network is made of what is said here"
    if part(document, "IPAM").get("Driver") not in (None, "", "default"):
        yield "IPAM.Driver: must be left as it is"
    if set(part(document, "Options")) - {"encrypted", "com.docker.network.driver.mtu"}:
        yield "Options: only encrypted and com.docker.network.driver.mtu"
    if client == "gateway" and document.get("Name") not in only:
        yield f"Name: the gateway makes the networks {', '.join(sorted(only))} only"
    if client == "manager" and STACK_LABEL not in part(document, "Labels"):
        yield _no_stack("networks")


def content_problems(client: Client, kind: str, document: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with a config or a secret that is to be made."""
    found = list(strangers(document, CONFIG if kind == "config" else SECRET))
    yield from found or owner_problems(client, f"{kind}s", part(document, "Labels"))


def owner_problems(client: Client, kinds: str, labels: Mapping[str, Any]) -> Iterator[str]:
    """Whether the labels of a config, a secret or a network say that it belongs to what a client looks after."""
    if client == "manager":
        if STACK_LABEL not in labels:
            yield _no_stack(kinds)
    elif NAME_LABEL not in labels or STACK_LABEL in labels:
        yield f"Labels: the gateway makes and removes secrets of functions only; they have the label {NAME_LABEL}"


def cluster_node_problems(document: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong with a change of a cluster node."""
    yield from strangers(document, CLUSTER_NODE)


def _no_stack(kinds: str) -> str:
    return f"Labels: the manager makes and removes {kinds} of stacks only, and the label {STACK_LABEL} is missing"
