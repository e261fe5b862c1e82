"""Docker secrets that can be changed: a new one for each value, told apart by a version in its labels. Pure.

A Docker secret never changes and is removed only when no service names it. So each value is a secret of its own, and
a label says which name it is a version of; secrets without that label, those of other stacks, are not ours to show.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from bridge.swarm.services import Service, container_of

NAME_LABEL, VERSION_LABEL = "io.gpio-bridge.secret", "io.gpio-bridge.secret.version"
LARGEST_BYTES = 500 * 1024
"""What a Docker secret holds at most."""
_LONGEST_NAME = 64


@dataclass(frozen=True, slots=True)
class KeptSecret:
    """One version of a secret, as Docker keeps it."""

    id: str
    docker_name: str
    name: str
    version: int


def read_secret(document: Mapping[str, Any]) -> KeptSecret | None:
    """A secret from the engine's document; None for one that carries no label of ours.

    A secret that was made by hand with the label alone is the first version of its name.
    """
    spec = document["Spec"]
    labels = spec.get("Labels") or {}
    name = labels.get(NAME_LABEL)
    if not name:
        return None
    version = labels.get(VERSION_LABEL, "1")
    number = int(version) if version.isascii() and version.isdigit() else 1
    return KeptSecret(document["ID"], spec["Name"], name, number)


def newest(kept: Iterable[KeptSecret]) -> dict[str, KeptSecret]:
    """The newest version of each name."""
    return {each.name: each for each in sorted(kept, key=lambda each: (each.version, each.id))}


def docker_name(name: str, version: int) -> str:
    """What Docker calls a version: the name, shortened where it has to be, and the version's number."""
    suffix = f".v{version}"
    if len(name) + len(suffix) > _LONGEST_NAME:
        digest = hashlib.sha256(name.encode()).hexdigest()[:12]
        name = f"{name[: _LONGEST_NAME - len(suffix) - len(digest) - 1]}-{digest}"
    return f"{name}{suffix}"


def superseded(kept: Iterable[KeptSecret], services: Iterable[Service]) -> list[KeptSecret]:
    """The versions that are not the newest, and that no service needs any more.

    A service that is being updated may go back to the secrets that it had before.
    """
    needed: set[str] = set()
    for service in services:
        specs = [service.spec]
        if service.previous is not None and service.updating:
            specs.append(service.previous)
        needed.update(each["SecretID"] for spec in specs for each in container_of(spec).get("Secrets") or ())
    all_kept = list(kept)
    current = {each.id for each in newest(all_kept).values()}
    return [each for each in all_kept if each.id not in current and each.id not in needed]


def swapped(spec: Mapping[str, Any], old: Iterable[str], new: KeptSecret) -> dict[str, Any] | None:
    """A service's document with the new version in place of the old ones (by id); None where it has none of them."""
    outdated = set(old)
    references = container_of(spec).get("Secrets") or ()
    if not any(each["SecretID"] in outdated for each in references):
        return None
    fresh = [
        {**each, "SecretID": new.id, "SecretName": new.docker_name} if each["SecretID"] in outdated else each
        for each in references
    ]
    task = spec["TaskTemplate"]
    return {**spec, "TaskTemplate": {**task, "ContainerSpec": {**task["ContainerSpec"], "Secrets": fresh}}}
