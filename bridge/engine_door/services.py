"""What a service's document may ask for: nothing that makes its containers as mighty as their cluster node. Pure."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from bridge.engine_door.passages import Client
from bridge.engine_door.shapes import SERVICE, listed, part, strangers
from bridge.swarm.function_labels import claimed_name
from bridge.swarm.services import container_of

STACK_LABEL: Final = "com.docker.stack.namespace"
_DEFAULT_CAPABILITIES: Final = frozenset(
    f"CAP_{name}"
    for name in (
        "AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE", "NET_RAW",
        "SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT",
    )
)  # fmt: skip
"""What a container has anyway; it may drop all and add these."""
_LOG_DRIVERS: Final = frozenset({"", "json-file", "local", "journald", "none"})
"""Those that open no connection: the engine is root, and would write wherever it is told."""
_VOLUME_KINDS: Final = frozenset({"tmpfs", "nfs", "nfs4"})
_MOUNT_WORDS: Final = frozenset({"bind", "rbind", "move", "remount"})
"""Words in a volume's options that make of it a folder of the cluster node (mount(8))."""
_VOLUME: Final = re.compile("[A-Za-z0-9][A-Za-z0-9_.-]*")


@dataclass(frozen=True, slots=True)
class Allowances:
    """What the settings allow beyond: folders of cluster nodes, with what is below them, and capabilities."""

    binds: Collection[str] = ()
    capabilities: Collection[str] = ()


def networks_of(spec: Mapping[str, Any]) -> set[str]:
    """The networks that a service is to be in, by names or ids, in both places where they may stand."""
    places = (spec.get("Networks") or (), part(spec, "TaskTemplate").get("Networks") or ())
    return {str(each.get("Target")) for place in places for each in place}


def secrets_of(spec: Mapping[str, Any]) -> set[str]:
    """The ids of the secrets that its containers get."""
    return {str(each.get("SecretID")) for each in container_of(spec).get("Secrets") or ()}


def owner_problems(client: Client, spec: Mapping[str, Any], current: Mapping[str, Any] | None) -> Iterator[str]:
    """Whether a service is one that a client may make, or change into this; `current` is what it is now."""
    stack = part(spec, "Labels").get(STACK_LABEL)
    if current is not None:
        yield from touch_problems(client, current, delete=False)
        if str(spec.get("Name") or "") != str(current.get("Name") or ""):
            yield "Name: a service keeps its name"
        if stack != part(current, "Labels").get(STACK_LABEL):
            yield f"Labels: the label {STACK_LABEL} must stay as it is"
    if client == "gateway":
        if claimed_name(spec) is None:
            yield "Labels: the gateway makes functions only, and the label com.openfaas.function is missing"
        if current is None and stack is not None:
            yield f"Labels: {STACK_LABEL} is for the services of stacks, which the gateway does not make"
    elif stack is None:
        yield f"Labels: the manager makes services of stacks only, and the label {STACK_LABEL} is missing"


def touch_problems(client: Client, current: Mapping[str, Any], *, delete: bool) -> Iterator[str]:
    """Whether a service that is there is one that a client may change, or remove."""
    function = claimed_name(current) is not None
    if client == "gateway":
        if not function:
            yield f"{current.get('Name')} is no function, and the gateway may touch functions only"
    elif STACK_LABEL not in part(current, "Labels") and not (delete and function):
        yield f"{current.get('Name')} belongs to no stack, and the manager may touch stacks only"


def might_problems(client: Client, spec: Mapping[str, Any], allowances: Allowances) -> Iterator[str]:
    """What in a service's document would give its containers more than a container's might; else it is understood."""
    found = list(strangers(spec, SERVICE))
    yield from found or _mighty(client, spec, allowances)


def _mighty(client: Client, spec: Mapping[str, Any], allowances: Allowances) -> Iterator[str]:
    task, container = part(spec, "TaskTemplate"), container_of(spec)
    if task.get("Runtime") not in (None, "", "container"):
        yield "TaskTemplate.Runtime: only containers are run, no plugins"
    if container.get("Isolation") not in (None, "", "default"):
        yield "Isolation: must be left as it is"
    yield from _mount_problems(client, container, allowances)
    yield from _privilege_problems(part(container, "Privileges"))
    added = {_capability(each) for each in listed(container.get("CapabilityAdd"))}
    allowed = {_capability(each) for each in allowances.capabilities} | _DEFAULT_CAPABILITIES
    for name in sorted(added - allowed):
        yield f"CapabilityAdd: {name} is not allowed; the setting capabilities of the engine door could"
    driver = str(part(task, "LogDriver").get("Name") or "")
    if driver not in _LOG_DRIVERS:
        yield f"LogDriver: {driver[:40]} is not allowed; {', '.join(sorted(_LOG_DRIVERS - {''}))} are"
    if client == "gateway":
        if container.get("Configs"):
            yield "Configs: functions have none"
        if part(spec, "EndpointSpec").get("Ports"):
            yield "EndpointSpec.Ports: functions publish none; they are called through the gateway"


def network_problems(targets: Collection[str], overlays: Mapping[str, str], only: Collection[str] | None) -> list[str]:
    """`overlays` are the swarm's own networks, names by ids; `only` those names that a client's services may be in.

    Any other network is one of a single machine: that machine's own (`host`), or a bridge to it.
    """
    found = []
    for target in sorted(targets):
        name = overlays.get(target) or (target if target in overlays.values() else None)
        if name is None:
            found.append(f"Networks: {target[:64]} is no overlay network of the swarm")
        elif only is not None and name not in only:
            found.append(f"Networks: functions may be in {', '.join(sorted(only))} only, not in {name}")
    return found


def _mount_problems(client: Client, container: Mapping[str, Any], allowances: Allowances) -> Iterator[str]:
    for mount in container.get("Mounts") or ():
        kind, source = str(mount.get("Type") or ""), str(mount.get("Source") or "")
        where = f"the mount at {str(mount.get('Target'))[:100]}"
        if kind == "tmpfs":
            continue
        if client == "gateway":
            yield f"{where}: functions have no volumes and no folders of a cluster node"
        elif kind == "bind":
            if not allowed_bind(source, allowances.binds):
                yield (
                    f"{where}: the folder {source[:200]!r} of a cluster node is not allowed; the setting binds of the"
                    " engine door could"
                )
        elif kind == "volume":
            yield from _volume_problems(where, source, part(mount, "VolumeOptions", "DriverConfig"))
        else:
            yield f"{where}: the type {kind[:40]!r} is not allowed"


def allowed_bind(source: str, binds: Collection[str]) -> bool:
    """Whether a folder is one of these or stands below one; only a path in its one plain spelling is any."""
    if not source.startswith("/") or source.startswith("//") or posixpath.normpath(source) != source:
        return False
    return any(source == each or source.startswith(f"{each.rstrip('/')}/") for each in binds)


def _volume_problems(where: str, source: str, driver: Mapping[str, Any]) -> Iterator[str]:
    if source and not _VOLUME.fullmatch(source):
        yield f"{where}: {source[:100]!r} is no name of a volume"
    if driver.get("Name") not in (None, "", "local"):
        yield f"{where}: volumes of the driver local only"
    options = part(driver, "Options")
    if not options:
        return
    words = {word.strip().partition("=")[0].lower() for word in str(options.get("o") or "").split(",")}
    if str(options.get("type")) not in _VOLUME_KINDS or words & _MOUNT_WORDS or set(options) - {"type", "device", "o"}:
        yield (
            f"{where}: a volume's options may make it of type {', '.join(sorted(_VOLUME_KINDS))} and nothing else,"
            " least of all a folder of the cluster node"
        )


def _privilege_problems(privileges: Mapping[str, Any]) -> Iterator[str]:
    if any(part(privileges, "CredentialSpec").values()):
        yield "Privileges.CredentialSpec: is not allowed"
    if any(part(privileges, "SELinuxContext").values()):
        yield "Privileges.SELinuxContext: must be left as it is"
    for key in ("Seccomp", "AppArmor"):
        given = part(privileges, key)
        if given.get("Mode") not in (None, "", "default") or given.get("Profile"):
            yield f"Privileges.{key}: must be left as it is"


def _capability(name: object) -> str:
    upper = str(name).upper()
    return upper if upper == "ALL" or upper.startswith("CAP_") else f"CAP_{upper}"
