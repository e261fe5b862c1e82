"""A service of a compose file as the document that the engine takes. Pure.

The document is the one that `docker stack deploy` would send for the same file, but for the names of configs and
secrets, which carry a digest of their content here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from bridge.manager.stack.document import (
    DEFAULT_NETWORK,
    ComposeFile,
    HealthTest,
    Limits,
    Placement,
    Reservations,
    Resources,
    Restarting,
    StackService,
    StackVolume,
    Update,
)
from bridge.manager.stack.shapes import Grant, Mount, Pairs

STACK_NAME = "[a-z0-9][a-z0-9_-]{0,31}"
"""A stack's name, which begins the names of all that is made for it."""
STACK_LABEL, IMAGE_LABEL = "com.docker.stack.namespace", "com.docker.stack.image"
"""What Docker's own tools know the parts of a stack by."""


@dataclass(frozen=True, slots=True)
class Image:
    """An image as its registry knows it: with its digest, and for which cluster nodes there is one."""

    name: str
    platforms: tuple[tuple[str, str], ...] = ()
    """Operating system and architecture of each."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What the swarm has of a stack besides its services: the ids of networks, and of configs and secrets with names.

    Keys are the names in the file.
    """

    networks: Mapping[str, str] = field(default_factory=dict)
    configs: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    secrets: Mapping[str, tuple[str, str]] = field(default_factory=dict)


def scoped(stack: str, name: str) -> str:
    """What Docker calls a part of a stack."""
    return f"{stack}_{name}"


def labelled(stack: str, labels: Mapping[str, str | None]) -> dict[str, str]:
    """Labels of a part of the stack."""
    return {**{key: value or "" for key, value in labels.items()}, STACK_LABEL: stack}


def networks_of(service: StackService) -> dict[str, tuple[str, ...]]:
    """The networks of a service and its further names in each; without any it is in the stack's own."""
    if not service.networks:
        return {DEFAULT_NETWORK: ()}
    return {name: tuple(attachment.aliases) for name, attachment in service.networks.items()}


def service_document(stack: str, name: str, file: ComposeFile, parts: Parts, image: Image) -> dict[str, Any]:
    """The body of a create or an update of one service."""
    service = file.services[name]
    deploy = service.deploy
    labels = labelled(stack, deploy.labels) | {IMAGE_LABEL: str(service.image)}
    document: dict[str, Any] = {
        "Name": scoped(stack, name),
        "Labels": labels,
        "TaskTemplate": {
            "ContainerSpec": _container(stack, service, file, parts, image),
            "Resources": _resources(deploy.resources),
            "Placement": _placement(deploy.placement, image),
            "Networks": _networks(name, service, parts),
            "ForceUpdate": 0,
        },
        "Mode": {"Global": {}} if deploy.mode == "global" else {"Replicated": {"Replicas": _replicas(deploy.replicas)}},
        "EndpointSpec": _endpoint(service),
    }
    if deploy.restart_policy is not None:
        document["TaskTemplate"]["RestartPolicy"] = _restarting(deploy.restart_policy)
    if service.logging is not None and service.logging.driver is not None:
        options = {key: value or "" for key, value in service.logging.options.items()}
        document["TaskTemplate"]["LogDriver"] = _given({"Name": str(service.logging.driver), "Options": options})
    if deploy.update_config is not None:
        document["UpdateConfig"] = _update(deploy.update_config)
    if deploy.rollback_config is not None:
        document["RollbackConfig"] = _update(deploy.rollback_config)
    return document


def _replicas(given: int | None) -> int:
    return 1 if given is None else given


def _container(stack: str, service: StackService, file: ComposeFile, parts: Parts, image: Image) -> dict[str, Any]:
    hosts = [f"{address} {host}" for host, address in _hosts(service.extra_hosts or {})]
    variables = sorted(key if value is None else f"{key}={value}" for key, value in service.environment.items())
    add, drop = _capabilities(service.cap_add), _capabilities(service.cap_drop)
    return {
        "Image": image.name,
        "Labels": labelled(stack, service.labels),
        "Privileges": {},
        **_given(
            {
                "Command": list(service.entrypoint or ()),
                "Args": list(service.command or ()),
                "Hostname": service.hostname,
                "Hosts": hosts,
                "DNSConfig": _given({"Nameservers": list(service.dns), "Search": list(service.dns_search)}),
                "Healthcheck": _health(service.healthcheck),
                "Env": variables,
                "Dir": service.working_dir,
                "User": service.user,
                "Mounts": [_mount(stack, mount, file.volumes) for mount in service.volumes],
                "StopGracePeriod": service.stop_grace_period,
                "StopSignal": service.stop_signal,
                "TTY": service.tty,
                "OpenStdin": service.stdin_open,
                "ReadOnly": service.read_only,
                "Sysctls": {key: value or "" for key, value in service.sysctls.items()},
                "CapabilityAdd": sorted(add - drop),
                "CapabilityDrop": sorted(drop),
                "Ulimits": [
                    {"Name": key, "Soft": limit.soft, "Hard": limit.hard}
                    for key, limit in sorted(service.ulimits.items())
                ],
                "Configs": _grants(service.configs, parts.configs, "Config"),
                "Secrets": _grants(service.secrets, parts.secrets, "Secret"),
            }
        ),
        **({} if service.init is None else {"Init": service.init}),
    }


def _hosts(extra: Mapping[str, str | None]) -> Iterable[tuple[str, str]]:
    """Names and addresses; in a list they are written `name:address`."""
    for name, value in extra.items():
        host, _, address = (name, "", value) if value is not None else name.partition(":")
        yield host, address or ""


def _capabilities(given: Iterable[str]) -> set[str]:
    """As the kernel names them: `net_admin` is CAP_NET_ADMIN."""
    names = (name.upper() for name in given)
    return {name if name == "ALL" or name.startswith("CAP_") else f"CAP_{name}" for name in names}


def _health(health: HealthTest | None) -> dict[str, Any]:
    if health is None:
        return {}
    if health.disable:
        return {"Test": ["NONE"]}
    return _given(
        {
            "Test": ["CMD-SHELL", health.shell] if health.shell is not None else list(health.test or ()),
            "Interval": health.interval,
            "Timeout": health.timeout,
            "StartPeriod": health.start_period,
            "StartInterval": health.start_interval,
            "Retries": health.retries,
        }
    )


def _mount(stack: str, mount: Mount, volumes: Mapping[str, StackVolume]) -> dict[str, Any]:
    document: dict[str, Any] = {"Type": mount.type, "Target": str(mount.target)}
    if mount.read_only:
        document["ReadOnly"] = True
    if mount.type == "tmpfs":
        if mount.tmpfs is not None:
            size, mode = mount.tmpfs.size, mount.tmpfs.mode
            document["TmpfsOptions"] = _given({"SizeBytes": size, "Mode": mode})
        return document
    if mount.type == "bind":
        document["Source"] = str(mount.source)
        if mount.bind is not None and mount.bind.propagation is not None:
            document["BindOptions"] = {"Propagation": mount.bind.propagation}
        return document
    options: dict[str, Any] = {"NoCopy": True} if mount.volume is not None and mount.volume.nocopy else {}
    if not mount.source:
        # Of this task alone.
        return {**document, "VolumeOptions": options} if options else document
    volume = volumes[mount.source]
    document["Source"] = str(volume.name or volume.external.name or "") or (
        str(mount.source) if volume.external.external else scoped(stack, mount.source)
    )
    if not volume.external.external:
        options["Labels"] = labelled(stack, volume.labels)
        if volume.driver is not None or volume.driver_opts is not None:
            opts = {key: value or "" for key, value in (volume.driver_opts or Pairs()).items()}
            options["DriverConfig"] = _given({"Name": volume.driver, "Options": opts})
    return {**document, "VolumeOptions": options}


def _grants(grants: Iterable[Grant], kept: Mapping[str, tuple[str, str]], kind: str) -> list[dict[str, Any]]:
    documents = []
    for grant in grants:
        found_id, found_name = kept[grant.source]
        documents.append({f"{kind}ID": found_id, f"{kind}Name": found_name, "File": grant.file()})
    return sorted(documents, key=lambda document: str(document[f"{kind}Name"]))


def _resources(resources: Resources) -> dict[str, Any]:
    limits, reservations = _amount(resources.limits), _amount(resources.reservations)
    if resources.limits.pids:
        limits["Pids"] = resources.limits.pids
    return _given({"Limits": limits, "Reservations": reservations})


def _amount(amount: Limits | Reservations) -> dict[str, int]:
    return _given({"NanoCPUs": amount.cpus, "MemoryBytes": amount.memory})


def _placement(placement: Placement, image: Image) -> dict[str, Any]:
    return _given(
        {
            "Constraints": [str(each) for each in placement.constraints],
            "Preferences": [{"Spread": {"SpreadDescriptor": str(each.spread)}} for each in placement.preferences],
            "MaxReplicas": placement.max_replicas_per_node,
            "Platforms": [{"OS": os, "Architecture": architecture} for os, architecture in image.platforms],
        }
    )


def _networks(name: str, service: StackService, parts: Parts) -> list[dict[str, Any]]:
    documents = [
        {"Target": parts.networks[network], "Aliases": [*aliases, name]}
        for network, aliases in networks_of(service).items()
    ]
    return sorted(documents, key=lambda document: str(document["Target"]))


def _restarting(policy: Restarting) -> dict[str, Any]:
    return _given(
        {
            "Condition": policy.condition,
            "Delay": policy.delay,
            "MaxAttempts": policy.max_attempts,
            "Window": policy.window,
        }
    )


def _update(update: Update) -> dict[str, Any]:
    given = {
        "Delay": update.delay,
        "FailureAction": update.failure_action,
        "Monitor": update.monitor,
        "Order": update.order,
    }
    return {"Parallelism": update.parallelism, "MaxFailureRatio": update.max_failure_ratio, **_given(given)}


def _endpoint(service: StackService) -> dict[str, Any]:
    ports = sorted((port.document() for port in service.ports), key=lambda port: int(port["PublishedPort"]))
    mode = service.deploy.endpoint_mode
    return _given({"Mode": mode, "Ports": ports})


def _given(values: Mapping[str, Any]) -> dict[str, Any]:
    """Without what says nothing."""
    return {key: _plain(value) for key, value in values.items() if value not in (None, "", 0, False, [], {}, ())}


def _plain(value: Any) -> Any:
    """Numbers and texts without the classes that read them, which no JSON writer knows."""
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        return int(value)
    return str(value) if isinstance(value, str) else value
