"""From a deployment to a Swarm service and back. Pure.

What a client gave is kept in a label of the service as it came, because the service's own document says it in other
words: Swarm drops `docker.io/` from an image, and knows bytes where the client wrote `5Mi`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from bridge.errors import FunctionError
from bridge.gateway.backends.swarm import probe
from bridge.gateway.settings import SwarmSettings
from bridge.openfaas.deployment import Deployment, Resources, parse_deployment, placed
from bridge.openfaas.names import resolve
from bridge.swarm.function_labels import MARK, NAMING_LABELS, claimed_name
from bridge.swarm.quantities import cpu_nanos, cpu_text, memory_bytes, memory_text
from bridge.swarm.secrets import KeptSecret
from bridge.swarm.services import Service, without_digest
from bridge.swarm.specification import Amount, SecretFile, ServiceSpec, UpdatePolicy

DEPLOYMENT_LABEL = "io.gpio-bridge.deployment"
STACK_LABEL = "io.gpio-bridge.stack"
"""The fingerprint of the stack file's entry that a function came from."""
_ANNOTATION_PREFIX = "com.openfaas.annotations."
_OURS = (*NAMING_LABELS, MARK, DEPLOYMENT_LABEL, STACK_LABEL)

SECRETS_FOLDER = "/var/openfaas/secrets"
PORT = 8080
_DRAIN_DELAY_S = 1.0
_LARGEST_BYTES = 256 * 1024
"""Of a deployment's document: the whole service must fit into one message of Swarm's managers to each other."""
_CONSTRAINT = re.compile(
    r"\s*[a-z_][a-z0-9\-_.]+\s*(?:==|!=)\s*[a-z0-9:\-_\s.*()?+\[\]\\^$|/]+", re.IGNORECASE | re.ASCII
)
"""As Swarm reads it; what it cannot read, old engines answer as if it were a fault of their own."""


def service_spec(
    deployment: Deployment,
    *,
    service_name: str,
    replicas: int,
    network_id: str,
    secrets: Mapping[str, KeptSecret],
    settings: SwarmSettings,
    revision: int = 0,
    stack: str | None = None,
) -> ServiceSpec:
    """The service for a deployment. Raises FunctionError with everything that is wrong with it."""
    problems: list[str] = []
    if not deployment.image:
        problems.append("image: is missing; a Swarm runs images")
    missing = [name for name in deployment.secrets or () if name not in secrets]
    if missing:
        problems.append(f"secrets: create the secret {', '.join(missing)} first")
    limits = _amount(deployment.limits, "limits", problems)
    reservations = _amount(deployment.requests, "requests", problems)
    problems += _above(reservations, limits)
    problems += [
        f"constraints: {constraint[:100]!r} is none; write one such as node.role == worker"
        for constraint in deployment.constraints or ()
        if not _CONSTRAINT.fullmatch(constraint)
    ]
    if deployment.scale_min > settings.max_replicas:
        problems.append(f"labels: com.openfaas.scale.min is above swarm.max_replicas, {settings.max_replicas}")
    kept = orjson.dumps(deployment.document()).decode()
    if len(kept) > _LARGEST_BYTES:
        problems.append(f"the deployment is larger than {_LARGEST_BYTES} bytes")
    try:
        health = probe.health_check(deployment, settings.health)
    except FunctionError as error:
        problems.append(str(error))
        health = None
    if problems:
        raise FunctionError(f"{deployment.service}: {'; '.join(problems)}")
    naming = dict.fromkeys(NAMING_LABELS, deployment.service)
    files = settings.secret_files
    return ServiceSpec(
        name=service_name,
        image=deployment.image,
        replicas=replicas,
        labels={
            **deployment.labels,
            **{f"{_ANNOTATION_PREFIX}{key}": value for key, value in deployment.annotations.items()},
            **naming,
            DEPLOYMENT_LABEL: kept,
            **({} if stack is None else {STACK_LABEL: stack}),
        },
        container_labels={**deployment.labels, **naming},
        environment=_environment(deployment, settings),
        constraints=deployment.constraints or (),
        limits=limits,
        reservations=reservations,
        secrets=tuple(
            SecretFile(
                secrets[name].id,
                secrets[name].docker_name,
                f"{SECRETS_FOLDER}/{name}",
                files.uid,
                files.gid,
                int(files.mode, 8),
            )
            for name in dict.fromkeys(deployment.secrets or ())
        ),
        networks=(network_id,),
        endpoint_mode=settings.endpoint_mode,
        read_only=deployment.read_only_root_filesystem,
        tmpfs=("/tmp",) if deployment.read_only_root_filesystem else (),  # noqa: S108 - in the container
        health=health,
        restart_delay_s=settings.restart_delay_s,
        stop_grace_s=settings.stop_grace_s,
        updates=UpdatePolicy(settings.monitor_s),
        revision=revision,
    )


def _environment(deployment: Deployment, settings: SwarmSettings) -> dict[str, str]:
    delay_s = min(_DRAIN_DELAY_S, settings.stop_grace_s / 5)
    environment = {
        "secret_path": SECRETS_FOLDER,
        # Swarm lets two seconds pass between its decision to end a task and SIGTERM, in which we mostly have seen the
        # former. For a gateway that hears late, and for clients of other makes, a replica serves on for a moment.
        "drain_delay": f"{delay_s:g}s",
        "drain_timeout": f"{max(1.0, settings.stop_grace_s - 1.0) - delay_s:g}s",
    }
    environment |= deployment.env_vars or {}
    if deployment.env_process:
        environment["fprocess"] = deployment.env_process
    return environment


def _amount(given: Resources | None, key: str, problems: list[str]) -> Amount:
    cpu, memory = None, None
    if given is not None and given.cpu:
        try:
            cpu = cpu_nanos(given.cpu)
        except ValueError as error:
            problems.append(f"{key}.cpu: {error}")
    if given is not None and given.memory:
        try:
            memory = memory_bytes(given.memory)
        except ValueError as error:
            problems.append(f"{key}.memory: {error}")
    return Amount(cpu, memory)


def _above(reservations: Amount, limits: Amount) -> list[str]:
    pairs = (
        ("cpu", reservations.cpu_nanos, limits.cpu_nanos),
        ("memory", reservations.memory_bytes, limits.memory_bytes),
    )
    return [
        f"requests.{part}: is above limits.{part}"
        for part, wanted, most in pairs
        if wanted is not None and most is not None and wanted > most
    ]


def functions_of(services: Iterable[Service]) -> dict[str, tuple[Service, Deployment]]:
    """The functions among services, by name.

    Where two claim one name, the service of that very name has it, else the older one.
    """
    found: dict[str, tuple[Service, Deployment]] = {}
    for service in sorted(services, key=lambda service: (service.created_at, service.id)):
        name = function_name(service)
        if name is not None and (name not in found or service.name == name):
            found[name] = (service, deployment_of(service, name))
    return found


def function_name(service: Service) -> str | None:
    """The function that a service is, None where it is none: by its labels or its containers'."""
    name = claimed_name(service.spec)
    return name if name is not None and resolve(name) == name else None


def deployment_of(service: Service, name: str) -> Deployment:
    """What was deployed: as it was given, or read from a service that was made by hand."""
    kept = service.labels.get(DEPLOYMENT_LABEL)
    if kept is not None:
        try:
            deployment = parse_deployment(orjson.loads(kept))
        except (orjson.JSONDecodeError, FunctionError):
            return _by_hand(service, name)
        if deployment.service == name:
            # Somebody may have changed the image by hand since.
            same = _familiar(deployment.image) == _familiar(service.image)
            return deployment if same else placed(deployment, image=service.image)
    return _by_hand(service, name)


def _by_hand(service: Service, name: str) -> Deployment:
    container = service.container
    environment = dict(_variables(container.get("Env") or ()))
    task: Mapping[str, Any] = service.spec.get("TaskTemplate") or {}
    resources: Mapping[str, Any] = task.get("Resources") or {}
    labels = {**(container.get("Labels") or {}), **service.labels}
    secrets = tuple(each["SecretName"] for each in container.get("Secrets") or () if each.get("SecretName"))
    constraints = tuple((task.get("Placement") or {}).get("Constraints") or ())
    return Deployment(
        service=name,
        image=service.image,
        env_process=environment.pop("fprocess", ""),
        env_vars=environment or None,
        constraints=constraints or None,
        secrets=secrets or None,
        labels={
            key: value for key, value in labels.items() if key not in _OURS and not key.startswith(_ANNOTATION_PREFIX)
        },
        annotations={
            key.removeprefix(_ANNOTATION_PREFIX): value
            for key, value in labels.items()
            if key.startswith(_ANNOTATION_PREFIX)
        },
        limits=_resources(resources.get("Limits")),
        requests=_resources(resources.get("Reservations")),
        read_only_root_filesystem=bool(container.get("ReadOnly")),
    )


def _variables(given: Iterable[str]) -> Iterable[tuple[str, str]]:
    for variable in given:
        name, _, value = variable.partition("=")
        yield name, value


def _resources(given: Mapping[str, Any] | None) -> Resources | None:
    memory, cpu = (given or {}).get("MemoryBytes") or 0, (given or {}).get("NanoCPUs") or 0
    if not (memory or cpu):
        return None
    return Resources(memory_text(memory) if memory else "", cpu_text(cpu) if cpu else "")


def _familiar(image: str) -> str:
    """An image's name as Swarm shortens it."""
    name = without_digest(image).removeprefix("docker.io/").removeprefix("library/")
    return name if ":" in name.rpartition("/")[2] else f"{name}:latest"
