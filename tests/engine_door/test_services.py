"""What the document of a service may ask for."""

from __future__ import annotations

from typing import Any

import pytest

from bridge.engine_door.passages import Client
from bridge.engine_door.services import (
    Allowances,
    allowed_bind,
    might_problems,
    network_problems,
    networks_of,
    owner_problems,
    touch_problems,
)
from bridge.swarm.specification import HealthCheck, SecretFile, ServiceSpec

FUNCTION = {"com.openfaas.function": "echo"}
STACK = {"com.docker.stack.namespace": "house"}


def spec(container: dict[str, Any] | None = None, labels: dict[str, str] | None = None, **task: Any) -> dict[str, Any]:
    """A service of a stack with these parts."""
    template = {"ContainerSpec": {"Image": "echo:1", **(container or {})}, **task}
    return {"Name": "house_echo", "Labels": STACK if labels is None else labels, "TaskTemplate": template}


def problems(
    container: dict[str, Any] | None = None, client: Client = "manager", allow: Allowances | None = None, **task: Any
) -> list[str]:
    return list(might_problems(client, spec(container, **task), allow or Allowances()))


def mount(**parts: Any) -> dict[str, Any]:
    return {"Mounts": [{"Target": "/there", **parts}]}


@pytest.mark.parametrize("version", ["1.40", "1.51"])
def test_a_functions_service_as_the_gateway_makes_it_is_understood(version: str) -> None:
    wanted = ServiceSpec(
        "echo", "echo:1", 1, labels=FUNCTION, read_only=True, tmpfs=("/tmp",), secrets=(SecretFile("i", "n", "/p"),),
        networks=("net",), health=HealthCheck(("NONE",)), constraints=("node.role == worker",),
    )  # fmt: skip
    document = wanted.document(version)
    assert list(might_problems("gateway", document, Allowances())) == []
    assert list(owner_problems("gateway", document, None)) == []


@pytest.mark.parametrize(
    ("container", "why"),
    [
        (mount(Type="bind", Source="/var/run/docker.sock"), "binds"),
        (mount(Type="bind", Source="/"), "binds"),
        (mount(Type="bind", Source="/media/../var/run"), "binds"),
        (mount(Type="bind", Source="/media/"), "binds"),
        (mount(Type="bind", Source="//media"), "binds"),
        (mount(Type="bind", Source="media"), "binds"),
        (mount(Type="bind"), "binds"),
        (mount(Type="npipe", Source="x"), "the type 'npipe' is not allowed"),
        (mount(Type="cluster", Source="x"), "the type 'cluster' is not allowed"),
        (mount(Type="Bind", Source="/media"), "the type 'Bind' is not allowed"),
        (mount(Source="/var/run/docker.sock"), "the type '' is not allowed"),
        (mount(Type="volume", Source="/etc"), "is no name of a volume"),
        (mount(Type="volume", Source="../etc"), "is no name of a volume"),
        (mount(Type="volume", VolumeOptions={"DriverConfig": {"Name": "flocker"}}), "driver local only"),
        (
            mount(
                Type="volume",
                Source="x",
                VolumeOptions={"DriverConfig": {"Options": {"type": "none", "o": "bind", "device": "/"}}},
            ),
            "least of all a folder",
        ),
        (
            mount(Type="volume", VolumeOptions={"DriverConfig": {"Options": {"type": "tmpfs", "o": "size=1m, RBind"}}}),
            "least of all a folder",
        ),
        (
            mount(Type="volume", VolumeOptions={"DriverConfig": {"Options": {"type": "ext4", "device": "/dev/sda1"}}}),
            "least of all a folder",
        ),
        ({"CapabilityAdd": ["SYS_ADMIN"]}, "CAP_SYS_ADMIN is not allowed"),
        ({"CapabilityAdd": ["ALL"]}, "ALL is not allowed"),
        ({"CapabilityAdd": "cap_sys_ptrace"}, "CAP_SYS_PTRACE is not allowed"),
        ({"Isolation": "process"}, "Isolation"),
        ({"Privileges": {"Seccomp": {"Mode": "unconfined"}}}, "Privileges.Seccomp"),
        ({"Privileges": {"Seccomp": {"Mode": "custom", "Profile": "e30="}}}, "Privileges.Seccomp"),
        ({"Privileges": {"AppArmor": {"Mode": "disabled"}}}, "Privileges.AppArmor"),
        ({"Privileges": {"SELinuxContext": {"Disable": True}}}, "Privileges.SELinuxContext"),
        ({"Privileges": {"CredentialSpec": {"File": "x"}}}, "Privileges.CredentialSpec"),
        # The engine reads keys without regard to case.
        ({"mounts": [{"Type": "bind", "Source": "/"}]}, "ContainerSpec.mounts: is not known"),
        (mount(Type="tmpfs", type="bind", Source="/"), "type: is not known"),
        ({"\u212aind": 1}, "is not known"),
        ({"Mounts": [None]}, "is nothing"),
        ({"Mounts": {"Type": "bind"}}, "is no list"),
        ({"Mounts": "x"}, "is no list"),
        ({"Privileged": True}, "Privileged: is not known"),
        ({"Devices": ["/dev/mem"]}, "Devices: is not known"),
    ],
)
def test_what_makes_a_container_mighty_is_refused(container: dict[str, Any], why: str) -> None:
    for client in ("manager", "gateway"):
        found = problems(container, client)
        assert found
    assert why in "; ".join(problems(container)), problems(container)


@pytest.mark.parametrize(
    ("task", "why"),
    [
        ({"Runtime": "plugin"}, "Runtime"),
        ({"PluginSpec": {"Remote": "x", "PluginPrivilege": []}}, "PluginSpec: is not known"),
        ({"NetworkAttachmentSpec": {"ContainerID": "x"}}, "NetworkAttachmentSpec: is not known"),
        ({"LogDriver": {"Name": "syslog", "Options": {"syslog-address": "unix:///var/run/docker.sock"}}}, "LogDriver"),
        ({"Resources": {"Reservations": {"GenericResources": [{}]}}}, "GenericResources: is not known"),
    ],
)
def test_what_is_no_container_or_has_the_engine_call_somebody_is_refused(task: dict[str, Any], why: str) -> None:
    assert why in "; ".join(problems(**task))


def test_settings_allow_folders_and_capabilities() -> None:
    allow = Allowances(("/media/music",), ("NET_ADMIN",))
    assert problems(mount(Type="bind", Source="/media/music"), allow=allow) == []
    assert problems(mount(Type="bind", Source="/media/music/new"), allow=allow) == []
    assert problems(mount(Type="bind", Source="/media/music2"), allow=allow) != []
    assert problems(mount(Type="bind", Source="/media"), allow=allow) != []
    assert problems({"CapabilityAdd": ["net_admin", "CHOWN"]}, allow=allow) == []
    # Functions have none of a machine's folders all the same.
    assert problems(mount(Type="bind", Source="/media/music"), "gateway", allow) != []


@pytest.mark.parametrize(
    ("source", "allowed"), [("/", True), ("/etc", True), ("/a/../etc", False), ("//etc", False), ("etc", False)]
)
def test_the_root_covers_everything_in_its_plain_spelling(source: str, allowed: bool) -> None:
    assert allowed_bind(source, ["/"]) is allowed


def test_volumes_are_for_stacks_and_memory_is_for_both() -> None:
    for given in (mount(Type="volume", Source="house_data"), mount(Type="volume")):
        assert problems(given) == []
        assert "functions have no volumes" in problems(given, "gateway")[0]
    assert problems(mount(Type="tmpfs"), "gateway") == []


def test_functions_publish_no_ports_and_have_no_configs() -> None:
    document = spec({"Configs": [{"ConfigID": "x", "ConfigName": "x", "File": {}}]}) | {
        "EndpointSpec": {"Ports": [{"TargetPort": 1}]}
    }
    assert [each.partition(":")[0] for each in might_problems("gateway", document, Allowances())] == [
        "Configs",
        "EndpointSpec.Ports",
    ]
    assert list(might_problems("manager", document, Allowances())) == []


def test_only_networks_of_the_swarm_are_joined_in_both_places_of_a_document() -> None:
    document = spec(Networks=[{"Target": "n1"}]) | {"Networks": [{"Target": "host"}]}
    assert networks_of(document) == {"n1", "host"}
    overlays = {"n1": "functions", "n2": "inner"}
    assert network_problems({"n1", "functions", "n2"}, overlays, None) == []
    (problem,) = network_problems({"n1", "host"}, overlays, None)
    assert problem == "Networks: host is no overlay network of the swarm"
    (problem,) = network_problems({"n1", "n2"}, overlays, ["functions"])
    assert problem == "Networks: functions may be in functions only, not in inner"
    # The beginning of an id could be the machine's own network.
    assert network_problems({"n"}, overlays, None) != []


@pytest.mark.parametrize(
    ("client", "labels", "well"),
    [
        ("gateway", FUNCTION, True),
        ("gateway", {"function": "true"}, True),
        ("gateway", {}, False),
        ("gateway", STACK, False),
        ("gateway", {**STACK, **FUNCTION}, False),
        ("manager", STACK, True),
        ("manager", FUNCTION, False),
        ("manager", {}, False),
    ],
)
def test_each_client_makes_its_own_services_only(client: Client, labels: dict[str, str], well: bool) -> None:
    assert (list(owner_problems(client, spec(labels=labels), None)) == []) is well


def test_each_client_touches_its_own_services_only() -> None:
    broker, echo, other = spec(labels=STACK), spec(labels=FUNCTION), spec(labels={})
    both = spec(labels={**STACK, **FUNCTION})

    def touched(client: Client, *, delete: bool) -> list[bool]:
        return [not list(touch_problems(client, each, delete=delete)) for each in (broker, echo, other, both)]

    assert touched("gateway", delete=False) == touched("gateway", delete=True) == [False, True, False, True]
    assert touched("manager", delete=False) == [True, False, False, True]
    # A stack that goes takes the functions in its networks with it.
    assert touched("manager", delete=True) == [True, True, False, True]


def test_a_service_stays_what_it_is() -> None:
    broker, echo = spec(labels=STACK), spec(labels=FUNCTION)
    assert list(owner_problems("gateway", echo, broker)) != []
    assert list(owner_problems("gateway", spec(labels={}), echo)) != [], "a function must not become something else"
    assert list(owner_problems("gateway", spec(labels={**FUNCTION, **STACK}), echo)) != []
    assert list(owner_problems("manager", spec(labels={}), broker)) != []
    assert list(owner_problems("manager", spec(labels={**STACK, "a": "b"}), broker)) == []
    assert list(owner_problems("manager", {**broker, "Name": "other"}, broker)) != []
