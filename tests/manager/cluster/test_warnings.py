"""What a cluster's owner is told before it happens."""

from __future__ import annotations

from bridge.manager.cluster.warnings import warnings
from bridge.swarm.cluster_nodes import ClusterNode


def node(
    name: str, role: str = "worker", state: str = "ready", availability: str = "active", message: str = ""
) -> ClusterNode:
    return ClusterNode(name, name, role, availability, state, "linux", "arm64", message=message)


def told(*nodes: ClusterNode) -> list[str]:
    return list(warnings(nodes))


def test_three_managers_that_are_there_need_no_warning() -> None:
    assert told(*(node(f"pi-{n}", "manager") for n in (1, 2, 3)), node("pi-4")) == []


def test_a_single_manager_is_a_single_point_of_failure() -> None:
    assert told(node("pi-1", "manager")) == ["one cluster node is all there is: when it is away, everything is"]
    assert told(node("pi-1", "manager"), node("pi-2"), node("pi-3")) == [
        (
            "pi-1 is the only manager: while it is away nothing is moved, scaled or deployed;"
            " make two more managers with: gpio-bridge cluster promote NODE"
        )
    ]
    assert told(node("pi-1", "manager"), node("pi-2"))[0].endswith("three managers survive the loss of one; two do not")


def test_an_even_number_of_managers_is_no_better_than_one_less() -> None:
    assert told(node("pi-1", "manager"), node("pi-2", "manager")) == [
        "2 managers survive the loss of 0, no more than 1 would: promote one more, for 3, or demote one"
    ]


def test_managers_that_are_away_are_named_with_how_many_more_may_be() -> None:
    managers = [node(f"pi-{n}", "manager") for n in (1, 2, 3, 4)]
    away = node("pi-5", "manager", "down")
    assert told(*managers, away) == ["managers away: pi-5; 1 more may be lost"]
    assert told(*managers[:2], away) == ["managers away: pi-5; one more lost and nothing can be decided"]


def test_workers_that_are_away_and_nodes_that_take_nothing_are_named() -> None:
    managers = [node(f"pi-{n}", "manager") for n in (1, 2, 3)]
    assert told(*managers, node("pi-4", state="down", message="heartbeat failure")) == [
        "pi-4 is down: heartbeat failure"
    ]
    assert told(*managers, node("pi-4", availability="drain")) == [
        "pi-4 gives up its tasks; bring it back with: gpio-bridge cluster activate pi-4"
    ]
    assert told(*managers, node("pi-4", availability="pause"))[0].startswith("pi-4 takes no new tasks")
