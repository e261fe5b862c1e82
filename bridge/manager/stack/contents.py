"""Configs and secrets of a stack under names that say what is in them. Pure.

Swarm never changes a config or a secret: other content is another one, under another name. So the name ends with a
digest of the content, services are updated to the new one, and those that nobody needs any more are removed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from bridge.manager.stack.document import Content
from bridge.manager.stack.service import STACK_LABEL, labelled, scoped
from bridge.swarm.services import container_of

Kind = Literal["config", "secret"]
KINDS: tuple[Kind, ...] = ("config", "secret")

NAME_LABEL, DIGEST_LABEL = "io.gpio-bridge.stack.name", "io.gpio-bridge.stack.digest"
_DIGEST_LETTERS = 12
_LONGEST_NAME = 64
LARGEST_BYTES: Mapping[Kind, int] = {"config": 1000 * 1024, "secret": 500 * 1024}
"""What Docker keeps at most."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """One config or secret as the file wants it. `data` is None for one that must be there already."""

    kind: Kind
    name: str
    docker_name: str
    data: bytes | None = None
    digest: str = ""
    labels: Mapping[str, str] | None = None
    template_driver: str = ""


def wanted(stack: str, kind: Kind, name: str, content: Content) -> Wanted:
    """What the file says of one; reads its file. Raises OSError; ValueError for what Docker would not keep."""
    if content.file is None:
        return Wanted(kind, name, str(content.name or content.external.name or name))
    data = content.file.read_bytes()
    if len(data) > LARGEST_BYTES[kind]:
        raise ValueError(f"{content.file} has {len(data)} bytes; a {kind} holds {LARGEST_BYTES[kind]} at most")
    if not data and kind == "secret":
        raise ValueError(f"{content.file} is empty, and a secret must not be")
    driver = str(content.template_driver or "")
    labels = labelled(stack, content.labels)
    digest = hashlib.sha256(b"\0".join((data, driver.encode()))).hexdigest()
    given = None if content.name is None else str(content.name)
    docker_name = given or _named(scoped(stack, name), digest[:_DIGEST_LETTERS])
    return Wanted(kind, name, docker_name, data, digest, labels | {NAME_LABEL: name, DIGEST_LABEL: digest}, driver)


def _named(name: str, digest: str) -> str:
    room = _LONGEST_NAME - len(digest) - 1
    if len(name) > room:
        name = f"{name[: room - 9]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
    return f"{name}-{digest}"


def superseded(
    stack: str,
    kind: Kind,
    kept: Iterable[Mapping[str, Any]],
    current: Iterable[str],
    specs: Iterable[Mapping[str, Any]],
) -> list[tuple[str, str]]:
    """Id and name of what this stack has made before and no service needs now, nor would after a rollback.

    `kept` are the engine's documents of all of the kind, `current` the ids that the file wants, `specs` the documents
    of services, those before the last update included.
    """
    key, list_key = ("SecretID", "Secrets") if kind == "secret" else ("ConfigID", "Configs")
    needed = {each[key] for spec in specs for each in container_of(spec).get(list_key) or ()} | set(current)
    found = []
    for document in kept:
        labels = document["Spec"].get("Labels") or {}
        if labels.get(STACK_LABEL) == stack and NAME_LABEL in labels and document["ID"] not in needed:
            found.append((str(document["ID"]), str(document["Spec"]["Name"])))
    return found
