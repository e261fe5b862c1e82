"""What would keep a stack from running, found before anything is changed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bridge.config import compose
from bridge.manager.stack.document import read_compose_file
from bridge.manager.stack.preflight import Finding, findings, fits
from bridge.manager.stack.service import STACK_LABEL, Image
from bridge.swarm.cluster_nodes import ClusterNode

GIB = 1024**3


def cluster_node(
    name: str, architecture: str = "arm64", *, role: str = "worker", memory: int = 4 * GIB, **labels: str
) -> ClusterNode:
    return ClusterNode(
        f"id-{name}",
        name,
        role,
        "active",
        "ready",
        "linux",
        architecture,
        memory,
        labels=labels,
        engine_labels={"rack": "a"},
    )


PIS = [cluster_node("pi-1", role="manager", data="yes"), cluster_node("pi-2", "arm", memory=GIB)]


def found(
    service: str, *, images: dict[str, Image] | None = None, others: list[dict[str, Any]] | None = None
) -> list[Finding]:
    file = read_compose_file(compose(f"services: {{one: {{image: it, {service}}}}}", "s.yml"), Path("/"), {})
    return findings("house", file, PIS, images or {}, others or [])


def published(name: str, port: int, stack: str = "garden") -> dict[str, Any]:
    ports = [{"PublishedPort": port, "Protocol": "tcp"}]
    return {"Spec": {"Name": name, "Labels": {STACK_LABEL: stack}}, "Endpoint": {"Ports": ports}}


@pytest.mark.parametrize(
    ("constraint", "names"),
    [
        ("node.role == manager", ["pi-1"]),
        ("node.role!=manager", ["pi-2"]),
        ("node.hostname==PI-2", ["pi-2"]),
        ("node.labels.data==yes", ["pi-1"]),
        ("node.labels.data!=yes", ["pi-2"]),
        ("node.platform.arch==aarch64", ["pi-1"]),
        ("node.platform.os==linux", ["pi-1", "pi-2"]),
        ("engine.labels.rack==a", ["pi-1", "pi-2"]),
        ("node.id==id-pi-1", ["pi-1"]),
        ("node.unheard==of", []),
    ],
)
def test_a_constraint_chooses_machines_as_swarm_does(constraint: str, names: list[str]) -> None:
    assert [each.name for each in PIS if fits(each, constraint)] == names


def test_what_is_no_constraint_is_told() -> None:
    with pytest.raises(ValueError, match="is no constraint"):
        fits(PIS[0], "node.role=manager")
    (one,) = found("deploy: {placement: {constraints: [node.role=manager]}}")
    assert "'node.role=manager' is no constraint" in str(one)


def test_a_label_that_no_machine_has_is_told_with_the_command_that_gives_it() -> None:
    (one,) = found("deploy: {placement: {constraints: [node.labels.broker==yes]}}")
    assert str(one) == (
        "services.one.deploy.placement: no cluster node fits node.labels.broker==yes; give one the label with:"
        " docker node update --label-add broker=yes pi-1"
    )


def test_constraints_that_only_together_fit_no_machine_are_told() -> None:
    (one,) = found("deploy: {placement: {constraints: [node.role==manager, node.hostname==pi-2]}}")
    assert one.message == "no cluster node fits node.role==manager and node.hostname==pi-2"


def test_an_image_for_other_machines_is_refused_and_one_for_some_is_a_warning() -> None:
    (one,) = found("read_only: true", images={"it": Image("it", (("linux", "amd64"),))})
    assert str(one) == (
        "services.one.image: is made for linux/amd64,"
        " and the cluster nodes that it may run on are linux/arm, linux/arm64"
    )
    (one,) = found("read_only: true", images={"it": Image("it", (("linux", "arm64"), ("linux", "amd64")))})
    assert (one.warning, one.message) == (True, "is made for linux/amd64, linux/arm64, so it cannot run on pi-2")
    assert found("read_only: true", images={"it": Image("it", (("linux", "arm64"), ("linux", "arm")))}) == []


def test_memory_that_no_machine_has_is_refused_and_a_limit_that_never_holds_is_a_warning() -> None:
    (one,) = found("deploy: {resources: {reservations: {memory: 5G}}}")
    assert "needs 5120 MiB of memory, and the largest cluster node it may run on has 4096 MiB" in str(one)
    (one,) = found("deploy: {resources: {limits: {memory: 5G}}}")
    assert one.warning
    assert found("deploy: {resources: {limits: {memory: 4G}}}") == []


def test_a_port_that_another_service_publishes_is_refused() -> None:
    (one,) = found("ports: ['1883:1883']", others=[published("garden_broker", 1883)])
    assert str(one) == "services.one.ports[0]: 1883/tcp is published by the service garden_broker already"
    assert found("ports: ['1883:1883']", others=[published("house_one", 1883, "house")]) == []
    assert found("ports: ['1884:1883']", others=[published("garden_broker", 1883)]) == []
    assert found("ports: ['1883:1883/udp']", others=[published("garden_broker", 1883)]) == []


def test_two_services_of_the_file_cannot_publish_one_port() -> None:
    text = "services: {a: {image: it, ports: ['80:1']}, b: {image: it, ports: ['80:2', '81']}}"
    file = read_compose_file(compose(text, "s.yml"), Path("/"), {})
    (one,) = findings("house", file, PIS, {}, [])
    assert str(one) == "services.b.ports[0]: 80/tcp is published by services.a already"


def test_without_a_machine_that_is_ready_nothing_can_run() -> None:
    file = read_compose_file(compose("services: {one: {image: it}}", "s.yml"), Path("/"), {})
    (one,) = findings("house", file, [], {}, [])
    assert one.message == "no cluster node of the swarm is ready to run tasks"
