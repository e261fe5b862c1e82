"""The engine's document of a wanted service."""

from __future__ import annotations

from bridge.swarm.specification import Amount, HealthCheck, SecretFile, ServiceSpec


def test_a_bare_service_restarts_for_ever_and_is_updated_one_by_one_with_a_way_back() -> None:
    document = ServiceSpec("echo", "a/b:1", 2, networks=("n1",)).document("1.41")
    assert document == {
        "Name": "echo",
        "Labels": {},
        "TaskTemplate": {
            "ContainerSpec": {"Image": "a/b:1", "Labels": {}, "Env": [], "StopGracePeriod": 10_000_000_000},
            "RestartPolicy": {"Condition": "any", "Delay": 2_000_000_000, "MaxAttempts": 0},
            "Placement": {},
            "Networks": [{"Target": "n1"}],
            "ForceUpdate": 0,
            "Resources": {},
        },
        "Mode": {"Replicated": {"Replicas": 2}},
        "UpdateConfig": {
            "Parallelism": 1,
            "Order": "start-first",
            "FailureAction": "rollback",
            "Monitor": 5_000_000_000,
            "MaxFailureRatio": 0.0,
        },
        "RollbackConfig": {
            "Parallelism": 1,
            "Order": "start-first",
            "FailureAction": "continue",
            "Monitor": 5_000_000_000,
            "MaxFailureRatio": 0.0,
        },
        "EndpointSpec": {"Mode": "vip"},
    }


def test_everything_that_can_be_asked_for_stands_in_its_place() -> None:
    spec = ServiceSpec(
        "f",
        "i",
        1,
        environment={"A": "x=y", "B": ""},
        constraints=("node.role == worker",),
        limits=Amount(100_000_000, 64_000_000),
        reservations=Amount(memory_bytes=32_000_000),
        secrets=(SecretFile("s1", "key.v2", "/var/openfaas/secrets/key", 1, 2, 0o440),),
        read_only=True,
        tmpfs=("/tmp",),
        endpoint_mode="dnsrr",
        revision=7,
    )
    document = spec.document("1.41")
    task = document["TaskTemplate"]
    container = task["ContainerSpec"]
    assert container["Env"] == ["A=x=y", "B="]
    assert container["ReadOnly"] is True
    assert container["Mounts"] == [{"Type": "tmpfs", "Target": "/tmp"}]
    assert container["Secrets"] == [
        {
            "SecretID": "s1",
            "SecretName": "key.v2",
            "File": {"Name": "/var/openfaas/secrets/key", "UID": "1", "GID": "2", "Mode": 0o440},
        }
    ]
    assert task["Placement"] == {"Constraints": ["node.role == worker"]}
    assert task["Resources"] == {
        "Limits": {"NanoCPUs": 100_000_000, "MemoryBytes": 64_000_000},
        "Reservations": {"MemoryBytes": 32_000_000},
    }
    assert task["ForceUpdate"] == 7
    assert document["EndpointSpec"] == {"Mode": "dnsrr"}


def test_a_quick_check_at_the_start_is_asked_only_of_engines_that_know_it() -> None:
    check = HealthCheck(("CMD-SHELL", "true"), every_s=1.5, start_s=20)
    assert check.document("1.43") == {
        "Test": ["CMD-SHELL", "true"],
        "Interval": 1_500_000_000,
        "Timeout": 5_000_000_000,
        "StartPeriod": 20_000_000_000,
        "Retries": 3,
    }
    assert check.document("1.44") == {**check.document("1.43"), "StartInterval": 500_000_000}
    document = ServiceSpec("f", "i", 1, health=check).document("1.44")
    assert document["TaskTemplate"]["ContainerSpec"]["Healthcheck"]["StartInterval"] == 500_000_000
