"""A Swarm service as it is wanted, and its document in the engine's API. Pure.

The keys are those of `POST /services/create` (https://docs.docker.com/reference/api/engine/, "Service").
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from bridge.swarm import versions

EndpointMode = Literal["dnsrr", "vip"]


@dataclass(frozen=True, slots=True)
class Amount:
    """CPU and memory of one replica; None for no bound."""

    cpu_nanos: int | None = None
    memory_bytes: int | None = None

    def document(self) -> dict[str, int]:
        """The engine's form."""
        given = {"NanoCPUs": self.cpu_nanos, "MemoryBytes": self.memory_bytes}
        return {key: value for key, value in given.items() if value is not None}


@dataclass(frozen=True, slots=True)
class SecretFile:
    """A Docker secret as a file in the container; `path` is absolute."""

    secret_id: str
    secret_name: str
    path: str
    uid: int = 0
    gid: int = 0
    mode: int = 0o444

    def document(self) -> dict[str, Any]:
        """The engine's form."""
        file = {"Name": self.path, "UID": str(self.uid), "GID": str(self.gid), "Mode": self.mode}
        return {"SecretID": self.secret_id, "SecretName": self.secret_name, "File": file}


@dataclass(frozen=True, slots=True)
class HealthCheck:
    """What the engine runs in a container to learn whether it is well; Swarm replaces one that is not.

    Failures in the first `start_s` do not count. Until it is well for the first time it is asked every
    `start_every_s`, by engines that know that (API 1.44); older ones wait for `every_s`.
    """

    test: tuple[str, ...]
    every_s: float = 10.0
    timeout_s: float = 5.0
    start_s: float = 30.0
    start_every_s: float = 0.5
    retries: int = 3

    def document(self, version: str) -> dict[str, Any]:
        """The engine's form."""
        document: dict[str, Any] = {
            "Test": list(self.test),
            "Interval": nanos(self.every_s),
            "Timeout": nanos(self.timeout_s),
            "StartPeriod": nanos(self.start_s),
            "Retries": self.retries,
        }
        if versions.at_least(version, (1, 44)):
            document["StartInterval"] = nanos(self.start_every_s)
        return document


@dataclass(frozen=True, slots=True)
class UpdatePolicy:
    """How new replicas take the place of old ones: one at a time, the new one first, and back when one fails."""

    monitor_s: float = 5.0
    """A new replica that fails within this long makes the update fail."""

    def update(self) -> dict[str, Any]:
        """`UpdateConfig`."""
        return {**self.rollback(), "FailureAction": "rollback"}

    def rollback(self) -> dict[str, Any]:
        """`RollbackConfig`: what once ran is brought back whatever happens on the way."""
        return {
            "Parallelism": 1,
            "Order": "start-first",
            "FailureAction": "continue",
            "Monitor": nanos(self.monitor_s),
            "MaxFailureRatio": 0.0,
        }


@dataclass(frozen=True, slots=True)
class ServiceSpec:
    """A replicated service. `revision` forces new replicas where nothing else has changed."""

    name: str
    image: str
    replicas: int
    labels: Mapping[str, str] = field(default_factory=dict)
    container_labels: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    constraints: tuple[str, ...] = ()
    limits: Amount = field(default_factory=Amount)
    reservations: Amount = field(default_factory=Amount)
    secrets: tuple[SecretFile, ...] = ()
    networks: tuple[str, ...] = ()
    endpoint_mode: EndpointMode = "vip"
    read_only: bool = False
    tmpfs: tuple[str, ...] = ()
    health: HealthCheck | None = None
    restart_delay_s: float = 2.0
    stop_grace_s: float = 10.0
    updates: UpdatePolicy = field(default_factory=UpdatePolicy)
    revision: int = 0

    def document(self, version: str) -> dict[str, Any]:
        """The body of a create or an update, for this version of the API."""
        return {
            "Name": self.name,
            "Labels": dict(self.labels),
            "TaskTemplate": self._task(version),
            "Mode": {"Replicated": {"Replicas": self.replicas}},
            "UpdateConfig": self.updates.update(),
            "RollbackConfig": self.updates.rollback(),
            "EndpointSpec": {"Mode": self.endpoint_mode},
        }

    def _task(self, version: str) -> dict[str, Any]:
        container: dict[str, Any] = {
            "Image": self.image,
            "Labels": dict(self.container_labels),
            "Env": [f"{name}={value}" for name, value in self.environment.items()],
            "StopGracePeriod": nanos(self.stop_grace_s),
        }
        if self.read_only:
            container["ReadOnly"] = True
        if self.tmpfs:
            container["Mounts"] = [{"Type": "tmpfs", "Target": target} for target in self.tmpfs]
        if self.secrets:
            container["Secrets"] = [secret.document() for secret in self.secrets]
        if self.health is not None:
            container["Healthcheck"] = self.health.document(version)
        task: dict[str, Any] = {
            "ContainerSpec": container,
            # Without a bound: a function that failed a few times must not stay away for ever.
            "RestartPolicy": {"Condition": "any", "Delay": nanos(self.restart_delay_s), "MaxAttempts": 0},
            "Placement": {"Constraints": list(self.constraints)} if self.constraints else {},
            "Networks": [{"Target": network} for network in self.networks],
            "ForceUpdate": self.revision,
        }
        resources = {"Limits": self.limits.document(), "Reservations": self.reservations.document()}
        task["Resources"] = {key: value for key, value in resources.items() if value}
        return task


def nanos(seconds: float) -> int:
    """A duration as the engine takes it."""
    return round(seconds * 1_000_000_000)
