"""Versions of secrets: which is the newest, which nobody needs, and what takes its place where."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from bridge.swarm.secrets import (
    NAME_LABEL,
    VERSION_LABEL,
    KeptSecret,
    docker_name,
    newest,
    read_secret,
    superseded,
    swapped,
)
from bridge.swarm.services import Service, read_service
from tests.swarm import documents

V1, V2, OTHER = (
    KeptSecret("1", "key.v1", "key", 1),
    KeptSecret("2", "key.v2", "key", 2),
    KeptSecret("3", "o", "other", 1),
)


def reference(secret: KeptSecret) -> dict[str, Any]:
    return {
        "SecretID": secret.id,
        "SecretName": secret.docker_name,
        "File": {"Name": f"/s/{secret.name}", "Mode": 0o440},
    }


def uses(*secrets: KeptSecret, before: tuple[KeptSecret, ...] = (), state: str = "") -> Service:
    document = documents.service(container={"Secrets": [reference(each) for each in secrets]})
    document["UpdateStatus"] = {"State": state}
    if before:
        document["PreviousSpec"] = documents.service(container={"Secrets": [reference(each) for each in before]})[
            "Spec"
        ]
    return read_service(document)


def test_only_secrets_with_the_label_are_ours() -> None:
    spec = {"Name": "mqtt-password", "Labels": {}}
    assert read_secret({"ID": "1", "Spec": spec}) is None
    assert read_secret({"ID": "1", "Spec": {"Name": "x"}}) is None
    labels = {NAME_LABEL: "key", VERSION_LABEL: "4"}
    assert read_secret({"ID": "1", "Spec": {"Name": "key.v4", "Labels": labels}}) == KeptSecret("1", "key.v4", "key", 4)
    for odd in ({NAME_LABEL: "key"}, {NAME_LABEL: "key", VERSION_LABEL: "x"}):
        assert read_secret({"ID": "1", "Spec": {"Name": "mine", "Labels": odd}}) == KeptSecret("1", "mine", "key", 1)


def test_the_newest_version_of_each_name_counts() -> None:
    assert newest([V2, OTHER, V1]) == {"key": V2, "other": OTHER}


def test_an_old_version_stays_as_long_as_a_service_has_it_or_may_go_back_to_it() -> None:
    assert superseded([V1, V2, OTHER], []) == [V1]
    assert superseded([V1, V2], [uses(V1)]) == []
    assert superseded([V1, V2], [uses(V2, before=(V1,), state="updating")]) == []
    assert superseded([V1, V2], [uses(V2, before=(V1,), state="completed")]) == [V1]


def test_a_swap_changes_the_secret_and_leaves_its_file_and_everything_else() -> None:
    service = uses(V1, OTHER)
    fresh = swapped(service.spec, ["1"], V2)
    assert fresh is not None
    container = fresh["TaskTemplate"]["ContainerSpec"]
    assert container["Secrets"] == [{**reference(V1), "SecretID": "2", "SecretName": "key.v2"}, reference(OTHER)]
    assert container["Image"] == service.container["Image"]
    assert service.container["Secrets"][0]["SecretID"] == "1", "the document that was given is not touched"
    assert swapped(service.spec, ["9"], V2) is None


@given(st.text("abc-_.9", min_size=1, max_size=253), st.integers(1, 10_000))
def test_docker_takes_every_name_and_two_names_never_meet(name: str, version: int) -> None:
    called = docker_name(name, version)
    assert len(called) <= 64
    assert called.endswith(f".v{version}")
    assert docker_name(name + "x", version) != called
