"""What may be made besides services."""

from __future__ import annotations

from typing import Any

import pytest

from bridge.engine_door.parts import cluster_node_problems, content_problems, network_problems, owner_problems
from bridge.engine_door.passages import Client

STACK = {"com.docker.stack.namespace": "house"}
SECRET = {"io.gpio-bridge.secret": "key"}


def test_the_functions_network_is_made_by_the_gateway_and_those_of_stacks_by_the_manager() -> None:
    functions = {"Name": "fns", "Driver": "overlay", "Attachable": True, "CheckDuplicate": True}
    assert list(network_problems("gateway", functions, ["fns"])) == []
    assert list(network_problems("gateway", {**functions, "Name": "inner"}, ["fns"])) != []
    assert list(network_problems("manager", functions, ["fns"])) != []
    ipam = {"Config": [{"Subnet": "10.88.0.0/24"}]}
    inner = {"Name": "inner", "Driver": "overlay", "Labels": STACK, "IPAM": ipam, "Options": {"encrypted": ""}}
    assert list(network_problems("manager", inner, [])) == []


@pytest.mark.parametrize(
    "parts",
    [
        {"Driver": "host"},
        {"Driver": "macvlan", "Options": {"parent": "eth0"}},
        {"Driver": None},
        {"Ingress": True},
        {"IPAM": {"Driver": "strange"}},
        {"Options": {"com.docker.network.bridge.name": "docker0"}},
        {"ConfigFrom": {"Network": "x"}},
        {"ConfigOnly": True},
        {"driver": "host"},
    ],
)
def test_no_network_of_a_machine_is_made(parts: dict[str, Any]) -> None:
    document = {"Name": "fns", "Driver": "overlay", "Labels": STACK, **parts}
    for client in ("gateway", "manager"):
        assert list(network_problems(client, document, ["fns"])) != []


@pytest.mark.parametrize(
    ("client", "labels", "well"),
    [
        ("gateway", SECRET, True),
        ("gateway", {}, False),
        ("gateway", STACK, False),
        ("gateway", {**SECRET, **STACK}, False),
        ("manager", STACK, True),
        ("manager", SECRET, False),
    ],
)
def test_each_client_has_its_own_secrets(client: Client, labels: dict[str, str], well: bool) -> None:
    document = {"Name": "key.v1", "Labels": labels, "Data": "eA=="}
    assert (list(content_problems(client, "secret", document)) == []) is well
    assert (list(owner_problems(client, "secrets", labels)) == []) is well


def test_no_driver_is_asked_for_a_secret() -> None:
    document = {"Name": "x", "Labels": STACK, "Driver": {"Name": "strange"}}
    assert list(content_problems("manager", "secret", document)) == ["Driver: is not known to the engine door"]


def test_a_cluster_node_is_changed_in_what_is_known() -> None:
    well = {"Name": "", "Labels": {"a": "b"}, "Role": "worker", "Availability": "drain"}
    assert list(cluster_node_problems(well)) == []
    assert list(cluster_node_problems({**well, "role": "manager"})) != []
