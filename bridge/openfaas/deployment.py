"""What is deployed and how it fares: the documents of OpenFaaS' interface as values. Pure.

What a client gave comes back unchanged and what it left out stays out; only `labels` and `annotations` are always
objects, because clients dereference them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from bridge.errors import FunctionError
from bridge.openfaas.names import NAMESPACE, complaint, resolve
from bridge.runtime.settings import duration_s

MIN_LABEL, MAX_LABEL = "com.openfaas.scale.min", "com.openfaas.scale.max"
FACTOR_LABEL, ZERO_LABEL = "com.openfaas.scale.factor", "com.openfaas.scale.zero"
ZERO_AFTER_LABEL = "com.openfaas.scale.zero-duration"
TYPE_LABEL, TARGET_LABEL = "com.openfaas.scale.type", "com.openfaas.scale.target"


@dataclass(frozen=True, slots=True)
class Resources:
    """Memory and CPU as Kubernetes writes them (`20m`, `5Mi`, `0.5`); verbatim."""

    memory: str = ""
    cpu: str = ""

    def document(self) -> dict[str, str]:
        """The JSON form."""
        return {key: value for key, value in (("memory", self.memory), ("cpu", self.cpu)) if value}


@dataclass(frozen=True, slots=True)
class Deployment:
    """What a client asks to be deployed. None stands for a part that was not given."""

    service: str
    image: str = ""
    env_process: str = ""
    env_vars: Mapping[str, str] | None = None
    constraints: tuple[str, ...] | None = None
    secrets: tuple[str, ...] | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    limits: Resources | None = None
    requests: Resources | None = None
    read_only_root_filesystem: bool = False
    registry_auth: str = field(default="", repr=False)
    """Who may pull the image, as old clients send it; a secret, and never part of a document."""

    @property
    def scale_min(self) -> int:
        """Replicas to start with and to return to; label com.openfaas.scale.min, default 1."""
        return self._number(MIN_LABEL, 1)

    @property
    def scale_max(self) -> int:
        """The most replicas that load may bring; label com.openfaas.scale.max, default 20."""
        return max(self.scale_min, self._number(MAX_LABEL, 20))

    @property
    def scale_factor(self) -> int:
        """Per cent of the maximum that one alert adds; label com.openfaas.scale.factor, default 20."""
        return self._number(FACTOR_LABEL, 20)

    @property
    def scale_target(self) -> int:
        """The load that one replica is to carry; label com.openfaas.scale.target, 0 where it is not given."""
        return self._number(TARGET_LABEL, 0)

    @property
    def scales(self) -> bool:
        """Whether load may change its replicas: not where minimum and maximum are the same, or the factor is 0."""
        return self.scale_min != self.scale_max and self.scale_factor != 0

    @property
    def scales_to_zero(self) -> bool:
        """Whether an idle function gives up its last replica; label com.openfaas.scale.zero."""
        return self.labels.get(ZERO_LABEL, "").lower() in ("1", "true")

    def _number(self, label: str, default: int) -> int:
        text = self.labels.get(label, "")
        return int(text) if text.isascii() and text.isdigit() else default

    def document(self) -> dict[str, Any]:
        """The JSON form of a deployment, as a client would post it."""
        return {"service": self.service, "namespace": NAMESPACE, **self._shared()}

    def _shared(self) -> dict[str, Any]:
        document: dict[str, Any] = {"image": self.image, "labels": dict(self.labels)}
        document["annotations"] = dict(self.annotations)
        optional = {
            "envProcess": self.env_process or None,
            "envVars": None if self.env_vars is None else dict(self.env_vars),
            "constraints": None if self.constraints is None else list(self.constraints),
            "secrets": None if self.secrets is None else list(self.secrets),
            "limits": None if self.limits is None else self.limits.document(),
            "requests": None if self.requests is None else self.requests.document(),
            "readOnlyRootFilesystem": self.read_only_root_filesystem or None,
        }
        return document | {key: value for key, value in optional.items() if value is not None}

    def status_document(self) -> dict[str, Any]:
        """The deployment's part of a function's status: `name` for `service`, and the label that names the function."""
        document = {"name": self.service, "namespace": NAMESPACE, **self._shared()}
        document["labels"] = {**self.labels, "faas_function": self.service}
        return document


@dataclass(frozen=True, slots=True)
class Usage:
    """What a function's replicas use now: thousandths of a CPU, and bytes resident."""

    cpu_milli: float
    memory_bytes: int


@dataclass(frozen=True, slots=True)
class FunctionStatus:
    """A deployed function. `problem` says in words what keeps it from having its replicas, or its newest version."""

    deployment: Deployment
    replicas: int
    available_replicas: int
    created_at: datetime
    usage: Usage | None = None
    problem: str | None = None

    def document(self, invocations: int) -> dict[str, Any]:
        """The JSON form; `invocations` is counted by whoever proxies."""
        document = self.deployment.status_document() | {
            "replicas": self.replicas,
            "availableReplicas": self.available_replicas,
            "invocationCount": invocations,
            "createdAt": timestamp(self.created_at),
        }
        if self.usage is not None:
            document["usage"] = {"cpu": self.usage.cpu_milli, "totalMemoryBytes": self.usage.memory_bytes}
        if self.problem is not None:
            document["problem"] = self.problem
        return document


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line that a replica wrote."""

    name: str
    instance: str
    at: datetime
    text: str

    def document(self) -> dict[str, str]:
        """The JSON form."""
        return {
            "name": self.name,
            "namespace": NAMESPACE,
            "instance": self.instance,
            "timestamp": timestamp(self.at),
            "text": self.text,
        }


def timestamp(at: datetime) -> str:
    """A time as RFC 3339 with `Z`."""
    return at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def parse_deployment(document: object) -> Deployment:
    """A deployment from its JSON form. Raises FunctionError with every problem; unknown keys are left alone."""
    if not isinstance(document, dict):
        raise FunctionError("the deployment must be a JSON object")
    reader = _Reader(document)
    service = reader.text("service")
    wrong = complaint(service, reader.text("namespace")) if not reader.problems else None
    if wrong:
        reader.problems.append(wrong)
    labels, annotations = reader.texts("labels") or {}, reader.texts("annotations") or {}
    for label in (MIN_LABEL, MAX_LABEL, FACTOR_LABEL, TARGET_LABEL):
        if label in labels and not (labels[label].isascii() and labels[label].isdigit() and len(labels[label]) <= 6):
            reader.problems.append(f"labels.{label}: {labels[label]!r} is no whole number")
    if labels.get(ZERO_AFTER_LABEL):
        try:
            duration_s(labels[ZERO_AFTER_LABEL])
        except ValueError as error:
            reader.problems.append(f"labels.{ZERO_AFTER_LABEL}: {error}")
    env_vars = reader.texts("envVars")
    for name, value in (env_vars or {}).items():
        if not name or "=" in name or "\0" in name or "\0" in value:
            reader.problems.append(f"envVars: {name!r} cannot be an environment variable")
    deployment = Deployment(
        service=resolve(service) or "",
        image=reader.text("image"),
        env_process=reader.text("envProcess"),
        env_vars=env_vars,
        constraints=reader.list("constraints"),
        secrets=reader.list("secrets"),
        labels=labels,
        annotations=annotations,
        limits=reader.resources("limits"),
        requests=reader.resources("requests"),
        read_only_root_filesystem=reader.flag("readOnlyRootFilesystem"),
        registry_auth=reader.text("registryAuth"),
    )
    if "\0" in deployment.env_process or "\0" in deployment.image:
        reader.problems.append("envProcess and image must not contain NUL")
    if not reader.problems and MAX_LABEL in labels and int(labels[MAX_LABEL]) < deployment.scale_min:
        reader.problems.append(f"labels: {MIN_LABEL} is above {MAX_LABEL}")
    if reader.problems:
        raise FunctionError("; ".join(reader.problems))
    return deployment


def placed(deployment: Deployment, **changes: Any) -> Deployment:
    """The deployment with some fields replaced."""
    return dataclasses.replace(deployment, **changes)


class _Reader:
    """Reads one document's keys and gathers what is wrong with them; null counts as not given."""

    def __init__(self, document: dict[str, Any]) -> None:
        self._document = document
        self.problems: list[str] = []

    def text(self, key: str) -> str:
        value = self._document.get(key)
        if value is None or isinstance(value, str):
            return value or ""
        self.problems.append(f"{key}: must be text")
        return ""

    def flag(self, key: str) -> bool:
        value = self._document.get(key)
        if value is None or isinstance(value, bool):
            return bool(value)
        self.problems.append(f"{key}: must be true or false")
        return False

    def texts(self, key: str) -> dict[str, str] | None:
        value = self._document.get(key)
        if value is None:
            return None
        if isinstance(value, dict) and all(isinstance(item, str) for item in value.values()):
            return value
        self.problems.append(f"{key}: must be an object with text values")
        return None

    def list(self, key: str) -> tuple[str, ...] | None:
        value = self._document.get(key)
        if value is None:
            return None
        if isinstance(value, list) and all(isinstance(item, str) for item in value):
            return tuple(value)
        self.problems.append(f"{key}: must be a list of texts")
        return None

    def resources(self, key: str) -> Resources | None:
        value = self._document.get(key)
        if value is None:
            return None
        if isinstance(value, dict) and all(isinstance(value.get(part, ""), str | None) for part in ("memory", "cpu")):
            return Resources(value.get("memory") or "", value.get("cpu") or "")
        self.problems.append(f"{key}: must be an object with the texts memory and cpu")
        return None
