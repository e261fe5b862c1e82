"""Cluster nodes as the engine tells them."""

from __future__ import annotations

from typing import Any

import pytest

from bridge.swarm.cluster_nodes import ClusterNode, chosen, read_cluster_node

DOCUMENT: dict[str, Any] = {
    "ID": "abcd1234",
    "Spec": {"Role": "manager", "Availability": "active", "Labels": {"data": "yes"}},
    "Description": {
        "Hostname": "pi-1",
        "Platform": {"Architecture": "aarch64", "OS": "linux"},
        "Resources": {"NanoCPUs": 4_000_000_000, "MemoryBytes": 1024**3},
        "Engine": {"EngineVersion": "28.2.2", "Labels": {"rack": "a"}},
    },
    "Status": {"State": "ready", "Addr": "0.0.0.0"},
    "ManagerStatus": {"Leader": True, "Reachability": "reachable", "Addr": "10.0.0.1:2377"},
}


def node(name: str, node_id: str) -> ClusterNode:
    return ClusterNode(node_id, name, "worker", "active", "ready", "linux", "arm64")


def test_one_is_read_from_the_engines_document() -> None:
    found = read_cluster_node(DOCUMENT)
    assert (found.name, found.manager, found.leader, found.address, found.architecture) == (
        "pi-1",
        True,
        True,
        "10.0.0.1",
        "arm64",
    )
    assert (found.cpus, found.memory_bytes, found.engine, found.labels["data"], found.engine_labels["rack"]) == (
        4.0,
        1024**3,
        "28.2.2",
        "yes",
        "a",
    )
    assert found.ready


@pytest.mark.parametrize(("availability", "state"), [("drain", "ready"), ("pause", "ready"), ("active", "down")])
def test_one_that_is_away_or_takes_nothing_is_not_ready(availability: str, state: str) -> None:
    spec = {**DOCUMENT["Spec"], "Availability": availability}
    assert not read_cluster_node({**DOCUMENT, "Spec": spec, "Status": {"State": state}}).ready


def test_one_that_has_told_nothing_yet_is_called_by_its_id() -> None:
    found = read_cluster_node({"ID": "n2"})
    assert (found.name, found.role, found.state, found.ready) == ("n2", "worker", "unknown", False)


def test_one_is_chosen_by_name_id_or_the_beginning_of_an_id() -> None:
    nodes = [node("pi-1", "abcd1"), node("pi-2", "abce2")]
    assert chosen(nodes, "pi-2") is chosen(nodes, "abce2") is chosen(nodes, "abce") is nodes[1]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("pi-9", "there is no cluster node pi-9; there are pi-1, pi-2, pi-2"),
        ("abc", "there is no cluster node abc"),
        ("pi-2", r"2 cluster nodes are called pi-2; say one by its id: abce2 \(ready\), abcf3 \(ready\)"),
        ("abcx", "there is no cluster node abcx"),
    ],
)
def test_what_is_none_or_more_than_one_is_told(given: str, told: str) -> None:
    with pytest.raises(LookupError, match=told):
        chosen([node("pi-1", "abcd1"), node("pi-2", "abce2"), node("pi-2", "abcf3")], given)


def test_of_an_empty_cluster_that_is_told() -> None:
    with pytest.raises(LookupError, match="there are none"):
        chosen([], "pi-1")
