"""The documents that the engine is sent, as far as the engine door knows them. Pure.

The engine reads keys without regard to case and takes the last of two, or mixes them. So a document passes only if
each of its keys is written as here, and what the engine gets is written anew from what was understood.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, TypeAlias

Shape: TypeAlias = "Mapping[str, Shape] | list[Mapping[str, Shape]] | None"
"""None is a plain value or a list of such; a list holds one shape, of each of its entries."""

TEXTS: Final[Mapping[str, Shape]] = {"*": None}
"""A map of texts, whose keys are anybody's own."""
_FILE: Final[Mapping[str, Shape]] = {"Name": None, "UID": None, "GID": None, "Mode": None}
_UPDATE: Final[Mapping[str, Shape]] = dict.fromkeys(
    ("Parallelism", "Delay", "FailureAction", "Monitor", "MaxFailureRatio", "Order")
)
_ATTACHED: Final[list[Mapping[str, Shape]]] = [{"Target": None, "Aliases": None, "DriverOpts": TEXTS}]
_AMOUNT: Final[Mapping[str, Shape]] = {"NanoCPUs": None, "MemoryBytes": None}
_MOUNT: Final[Mapping[str, Shape]] = {
    "Type": None,
    "Source": None,
    "Target": None,
    "ReadOnly": None,
    "Consistency": None,
    "BindOptions": dict.fromkeys(
        ("Propagation", "NonRecursive", "CreateMountpoint", "ReadOnlyNonRecursive", "ReadOnlyForceRecursive")
    ),
    "VolumeOptions": {"NoCopy": None, "Labels": TEXTS, "DriverConfig": {"Name": None, "Options": TEXTS}},
    "TmpfsOptions": {"SizeBytes": None, "Mode": None},
}
_CONTAINER: Final[Mapping[str, Shape]] = {
    **dict.fromkeys(("Image", "Command", "Args", "Hostname", "Env", "Dir", "User", "Groups", "TTY", "OpenStdin")),
    **dict.fromkeys(("ReadOnly", "StopSignal", "StopGracePeriod", "Hosts", "OomScoreAdj", "Isolation", "Init")),
    **dict.fromkeys(("CapabilityAdd", "CapabilityDrop")),
    "Labels": TEXTS,
    "Privileges": {
        "CredentialSpec": {"Config": None, "File": None, "Registry": None},
        "SELinuxContext": dict.fromkeys(("Disable", "User", "Role", "Type", "Level")),
        "Seccomp": {"Mode": None, "Profile": None},
        "AppArmor": {"Mode": None},
        "NoNewPrivileges": None,
    },
    "Mounts": [_MOUNT],
    "Healthcheck": dict.fromkeys(("Test", "Interval", "Timeout", "StartPeriod", "StartInterval", "Retries")),
    "DNSConfig": dict.fromkeys(("Nameservers", "Search", "Options")),
    "Secrets": [{"SecretID": None, "SecretName": None, "File": _FILE}],
    "Configs": [{"ConfigID": None, "ConfigName": None, "File": _FILE}],
    "Sysctls": TEXTS,
    "Ulimits": [{"Name": None, "Soft": None, "Hard": None}],
}
SERVICE: Final[Mapping[str, Shape]] = {
    "Name": None,
    "Labels": TEXTS,
    "TaskTemplate": {
        "ContainerSpec": _CONTAINER,
        "Resources": {"Limits": {**_AMOUNT, "Pids": None}, "Reservations": _AMOUNT},
        "RestartPolicy": dict.fromkeys(("Condition", "Delay", "MaxAttempts", "Window")),
        "Placement": {
            "Constraints": None,
            "Preferences": [{"Spread": {"SpreadDescriptor": None}}],
            "MaxReplicas": None,
            "Platforms": [{"OS": None, "Architecture": None}],
        },
        "ForceUpdate": None,
        "Runtime": None,
        "Networks": _ATTACHED,
        "LogDriver": {"Name": None, "Options": TEXTS},
    },
    "Mode": {"Replicated": {"Replicas": None}, "Global": {}},
    "UpdateConfig": _UPDATE,
    "RollbackConfig": _UPDATE,
    "Networks": _ATTACHED,
    "EndpointSpec": {
        "Mode": None,
        "Ports": [dict.fromkeys(("Name", "Protocol", "TargetPort", "PublishedPort", "PublishMode"))],
    },
}
"""`Service` of https://docs.docker.com/reference/api/engine/, without plugins, jobs and generic resources."""
NETWORK: Final[Mapping[str, Shape]] = {
    **dict.fromkeys(("Name", "CheckDuplicate", "Driver", "Scope", "Internal", "Attachable", "Ingress", "EnableIPv4")),
    **dict.fromkeys(("EnableIPv6", "ConfigOnly")),
    "ConfigFrom": {"Network": None},
    "IPAM": {
        "Driver": None,
        "Config": [{"Subnet": None, "IPRange": None, "Gateway": None, "AuxiliaryAddresses": TEXTS}],
        "Options": TEXTS,
    },
    "Options": TEXTS,
    "Labels": TEXTS,
}
SECRET: Final[Mapping[str, Shape]] = {"Name": None, "Labels": TEXTS, "Data": None, "Templating": {"Name": None}}
CONFIG: Final = SECRET
CLUSTER_NODE: Final[Mapping[str, Shape]] = {"Name": None, "Labels": TEXTS, "Role": None, "Availability": None}


def strangers(document: object, shape: Shape, at: str = "") -> Iterator[str]:
    """What a document has that its shape has not, each by its place."""
    if document is None:
        return
    if shape is None:
        if isinstance(document, dict) or (isinstance(document, list) and any(map(_compound, document))):
            yield f"{at}: is no plain value"
    elif isinstance(shape, list):
        if not isinstance(document, list):
            yield f"{at}: is no list"
            return
        for i, each in enumerate(document):
            if each is None:
                yield f"{at}[{i}]: is nothing"
            yield from strangers(each, shape[0], f"{at}[{i}]")
    elif not isinstance(document, dict):
        yield f"{at or 'the document'}: is no map"
    else:
        for key, value in document.items():
            place = f"{at}.{key}" if at else str(key)
            if key in shape:
                yield from strangers(value, shape[key], place)
            elif "*" in shape:
                yield from strangers(value, shape["*"], place)
            else:
                yield f"{place[:100]}: is not known to the engine door"


def part(document: Mapping[str, Any], *keys: str) -> Mapping[str, Any]:
    """A map inside of a document, empty where there is none."""
    found: Mapping[str, Any] = document
    for key in keys:
        found = found.get(key) or {}
    return found


def listed(value: object) -> list[object]:
    """The entries of a list, none where there is none; a plain value is one of it."""
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def _compound(value: object) -> bool:
    return isinstance(value, dict | list)
