"""From a deployment to a service and back."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.errors import FunctionError
from bridge.gateway.backends.swarm.translation import (
    DEPLOYMENT_LABEL,
    STACK_LABEL,
    deployment_of,
    function_name,
    functions_of,
    service_spec,
)
from bridge.gateway.settings import SecretFileSettings, SwarmSettings
from bridge.openfaas.deployment import Deployment, Resources, parse_deployment
from bridge.swarm.secrets import KeptSecret
from bridge.swarm.services import Service, read_service
from bridge.swarm.specification import ServiceSpec
from tests.swarm import documents

SECRETS = {"key": KeptSecret("s1", "key.v3", "key", 3)}
FULL: dict[str, Any] = {
    "service": "echo",
    "namespace": "openfaas-fn",
    "image": "docker.io/library/example-echo:1.0",
    "envProcess": "python index.py",
    "envVars": {"A": "x=y", "fprocess": "overruled"},
    "constraints": ["node.labels.site == home"],
    "secrets": ["key"],
    "labels": {"team": "a", "com.openfaas.scale.min": "2"},
    "annotations": {"topic": "alarms"},
    "limits": {"memory": "64Mi", "cpu": "100m"},
    "requests": {"memory": "20m"},
    "readOnlyRootFilesystem": True,
}


def spec(deployment: Deployment, settings: SwarmSettings | None = None, **parts: Any) -> ServiceSpec:
    given: dict[str, Any] = {
        "service_name": deployment.service,
        "replicas": 1,
        "network_id": "net1",
        "secrets": SECRETS,
    }
    return service_spec(deployment, settings=settings or SwarmSettings(), **(given | parts))


def kept(deployment: Deployment, **parts: Any) -> Service:
    """The service as an engine would tell it."""
    return read_service({**documents.service(), "Spec": spec(deployment, **parts).document("1.41")})


def test_everything_that_a_client_asked_for_stands_in_the_service() -> None:
    made = spec(parse_deployment(FULL), revision=4, stack="f00")
    assert made.environment["A"] == "x=y"
    assert made.environment["fprocess"] == "python index.py"
    assert made.constraints == ("node.labels.site == home",)
    assert (made.limits.memory_bytes, made.limits.cpu_nanos) == (64 * 1024**2, 100_000_000)
    assert made.reservations.memory_bytes == 20 * 1024**2
    (secret,) = made.secrets
    assert (secret.secret_id, secret.path, secret.mode) == ("s1", "/var/openfaas/secrets/key", 0o444)
    assert (made.read_only, made.tmpfs) == (True, ("/tmp",))
    assert made.labels["team"] == "a"
    assert made.labels["com.openfaas.function"] == made.labels["faas_function"] == "echo"
    assert made.labels["com.openfaas.annotations.topic"] == "alarms"
    assert made.labels[STACK_LABEL] == "f00"
    assert made.container_labels == {**FULL["labels"], "com.openfaas.function": "echo", "faas_function": "echo"}
    assert (made.networks, made.endpoint_mode, made.revision) == (("net1",), "dnsrr", 4)


def test_what_was_given_comes_back_unchanged() -> None:
    found = functions_of([kept(parse_deployment(FULL))])
    service, deployment = found["echo"]
    assert deployment.document() == FULL
    assert service.name == "echo"
    bare = {"service": "bare", "namespace": "openfaas-fn", "image": "a", "labels": {}, "annotations": {}}
    assert functions_of([kept(parse_deployment(bare))])["bare"][1].document() == bare


texts = st.dictionaries(st.text("abc.-", min_size=1, max_size=8), st.text(max_size=8))
constraints_given = st.lists(st.from_regex(r"node\.[a-z]{2,5} ?(==|!=) ?[a-z]{1,5}", fullmatch=True))


@given(texts, texts, st.none() | constraints_given)
def test_labels_annotations_and_constraints_come_back_whatever_they_are(
    labels: dict[str, str], annotations: dict[str, str], constraints: list[str] | None
) -> None:
    document = {"service": "f", "image": "a", "labels": labels, "annotations": annotations, "constraints": constraints}
    deployment = parse_deployment(document)
    assert deployment_of(kept(deployment), "f") == deployment


def test_a_registrys_password_is_kept_nowhere_in_the_service() -> None:
    made = spec(parse_deployment(FULL | {"registryAuth": "c2VzYW1l"}))
    assert "c2VzYW1l" not in json.dumps(made.document("1.41"))


def test_every_mistake_is_told_at_once() -> None:
    document = {
        "service": "f",
        "secrets": ["key", "none", "nil"],
        "limits": {"memory": "1Mi", "cpu": "lots"},
        "requests": {"cpu": "2"},
        "constraints": ["node.role == worker", "node.role = worker"],
        "labels": {"com.openfaas.scale.min": "500"},
        "annotations": {"com.openfaas.health.http.path": "no"},
    }
    with pytest.raises(FunctionError) as told:
        spec(parse_deployment(document))
    for words in (
        "image: is missing",
        "create the secret none, nil first",
        "limits.memory: '1Mi'",
        "limits.cpu: 'lots'",
        "com.openfaas.scale.min is above swarm.max_replicas, 100",
        "is no path",
        "constraints: 'node.role = worker' is none",
    ):
        assert words in str(told.value)


def test_more_reserved_than_allowed_is_refused() -> None:
    for part, much, little in (("cpu", "1", "500m"), ("memory", "1Gi", "64Mi")):
        deployment = Deployment("f", "i", requests=Resources(**{part: much}), limits=Resources(**{part: little}))
        with pytest.raises(FunctionError, match=rf"requests.{part}: is above limits.{part}"):
            spec(deployment)


def test_a_deployment_too_large_for_the_swarms_managers_is_refused() -> None:
    with pytest.raises(FunctionError, match="larger than"):
        spec(Deployment("f", "i", env_vars={"A": "x" * 300_000}))


def test_settings_decide_about_files_network_and_time_to_stop() -> None:
    settings = SwarmSettings(
        endpoint_mode="vip", stop_grace_s=30, restart_delay_s=1, secret_files=SecretFileSettings(100, 101, "0400")
    )
    made = spec(parse_deployment(FULL), settings)
    (secret,) = made.secrets
    assert (secret.uid, secret.gid, secret.mode) == (100, 101, 0o400)
    assert (made.endpoint_mode, made.stop_grace_s, made.restart_delay_s) == ("vip", 30, 1)
    assert made.environment["drain_timeout"] == "28s"


def test_a_variable_of_the_client_wins_over_ours() -> None:
    assert spec(Deployment("f", "i", env_vars={"drain_timeout": "3s"})).environment["drain_timeout"] == "3s"


@pytest.mark.parametrize(
    ("parts", "name"),
    [
        ({"labels": {"com.openfaas.function": "mine"}}, "mine"),
        ({"labels": {"faas_function": "mine"}}, "mine"),
        ({"labels": {"function": "true"}}, "echo"),
        ({"container": {"Labels": {"com.openfaas.function": "mine"}}}, "mine"),
        ({"container": {"Labels": {"function": "true"}}}, "echo"),
        ({}, None),
        ({"labels": {"function": "false"}}, None),
        ({"labels": {"faas_function": "../up"}}, None),
        ({"labels": {"faas_function": "a.openfaas-fn"}}, None),
        ({"labels": {"faas_function": ""}}, None),
    ],
)
def test_a_service_is_a_function_by_its_labels(parts: dict[str, Any], name: str | None) -> None:
    assert function_name(read_service(documents.service(**parts))) == name


def test_a_function_that_was_made_by_hand_is_read_from_its_service() -> None:
    service = read_service(
        documents.service(
            "stack_echo",
            labels={"com.openfaas.function": "echo", "team": "a", "com.openfaas.annotations.topic": "t"},
            container={
                "Image": f"example/echo:1@sha256:{'a' * 64}",
                "Env": ["fprocess=cat", "A=b=c", "EMPTY"],
                "Secrets": [{"SecretID": "1", "SecretName": "key"}],
                "ReadOnly": True,
                "Labels": {"of": "container"},
            },
            task={
                "Placement": {"Constraints": ["node.role==worker"]},
                "Resources": {"Limits": {"MemoryBytes": 67108864}, "Reservations": {"NanoCPUs": 100000000}},
            },
        )
    )
    assert deployment_of(service, "echo") == Deployment(
        service="echo",
        image="example/echo:1",
        env_process="cat",
        env_vars={"A": "b=c", "EMPTY": ""},
        constraints=("node.role==worker",),
        secrets=("key",),
        labels={"team": "a", "of": "container"},
        annotations={"topic": "t"},
        limits=Resources(memory="64Mi"),
        requests=Resources(cpu="100m"),
        read_only_root_filesystem=True,
    )
    assert deployment_of(read_service(documents.service()), "echo") == Deployment("echo", "example/echo:1")


def test_an_image_that_was_changed_by_hand_is_told_as_it_is() -> None:
    deployment = parse_deployment(FULL)
    service = kept(deployment)

    def with_image(image: str) -> Service:
        task = service.spec["TaskTemplate"]
        container = {**task["ContainerSpec"], "Image": image}
        return dataclasses.replace(service, spec={**service.spec, "TaskTemplate": {**task, "ContainerSpec": container}})

    assert deployment_of(with_image("example-echo:1.0"), "echo") == deployment
    assert deployment_of(with_image(f"example-echo:1.0@sha256:{'a' * 64}"), "echo") == deployment
    assert deployment_of(with_image("example-echo:2.0"), "echo").image == "example-echo:2.0"


@pytest.mark.parametrize("damage", ["{", "[]", '{"service": "other", "image": "x"}', '{"service": 7}'])
def test_a_damaged_label_does_not_hide_the_function(damage: str) -> None:
    service = read_service(documents.service(labels={"faas_function": "echo", DEPLOYMENT_LABEL: damage}))
    assert deployment_of(service, "echo").image == "example/echo:1"


def test_of_two_services_that_claim_a_name_the_one_called_so_has_it_else_the_older() -> None:
    def claims(name: str, created: str) -> Service:
        document = documents.service(name, labels={"faas_function": "echo"}, CreatedAt=created)
        return read_service(document)

    old, new = claims("a", "2026-01-01T00:00:00Z"), claims("b", "2026-01-02T00:00:00Z")
    named = claims("echo", "2026-01-03T00:00:00Z")
    assert functions_of([new, old])["echo"][0].name == "a"
    assert functions_of([named, new, old])["echo"][0].name == "echo"
    assert functions_of([]) == {}
