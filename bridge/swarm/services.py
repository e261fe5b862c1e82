"""Swarm services as the engine tells them, read from its documents. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

_FRACTION = re.compile(r"(\.\d{1,6})\d*")
_DIGEST = re.compile(r"@sha256:[0-9a-f]{64}\Z")


@dataclass(frozen=True, slots=True)
class Service:
    """One service. `spec` is its document, to be changed and sent back; `version` is what a change must name."""

    id: str
    version: int
    name: str
    created_at: datetime
    updated_at: datetime
    spec: Mapping[str, Any]
    replicas: int
    """Wanted ones; of a global service 1."""
    update_state: str = ""
    """`updating`, `completed`, `rollback_completed`, ...; empty when it was never updated."""
    update_message: str = ""
    addresses: Mapping[str, str] = ()  # type: ignore[assignment] # read_service gives a map
    """Its virtual address in each network."""
    previous: Mapping[str, Any] | None = None

    @property
    def labels(self) -> Mapping[str, str]:
        """The service's own labels."""
        return self.spec.get("Labels") or {}

    @property
    def container(self) -> Mapping[str, Any]:
        """What its containers are made of."""
        return container_of(self.spec)

    @property
    def scalable(self) -> bool:
        """Whether a number of replicas can be wanted; not of a global service or a job."""
        return "Replicated" in (self.spec.get("Mode") or {})

    @property
    def updating(self) -> bool:
        """Whether an update, or the way back from one, is under way."""
        return self.update_state in ("updating", "rollback_started")

    @property
    def image(self) -> str:
        """Its image without the digest that a client may have added."""
        return without_digest(str(self.container.get("Image") or ""))

    @property
    def dnsrr(self) -> bool:
        """Whether it has no virtual address."""
        return (self.spec.get("EndpointSpec") or {}).get("Mode") == "dnsrr"


def container_of(spec: Mapping[str, Any]) -> Mapping[str, Any]:
    """The part of a service's document that its containers are made of."""
    container: Mapping[str, Any] = (spec.get("TaskTemplate") or {}).get("ContainerSpec") or {}
    return container


def without_digest(image: str) -> str:
    """An image's name without the digest that a client or an engine has added."""
    return _DIGEST.sub("", image)


def read_service(document: Mapping[str, Any]) -> Service:
    """A service from the engine's document. Raises KeyError or ValueError for what is none."""
    spec = document["Spec"]
    mode = spec.get("Mode") or {}
    update = document.get("UpdateStatus") or {}
    endpoint = document.get("Endpoint") or {}
    return Service(
        id=document["ID"],
        version=int(document["Version"]["Index"]),
        name=spec["Name"],
        created_at=moment(document["CreatedAt"]),
        updated_at=moment(document.get("UpdatedAt") or document["CreatedAt"]),
        spec=spec,
        replicas=int((mode.get("Replicated") or {}).get("Replicas") or 0) if "Replicated" in mode else 1,
        update_state=update.get("State") or "",
        update_message=update.get("Message") or "",
        addresses={
            each["NetworkID"]: each["Addr"].partition("/")[0]
            for each in endpoint.get("VirtualIPs") or ()
            if each.get("Addr")
        },
        previous=document.get("PreviousSpec"),
    )


def moment(text: str) -> datetime:
    """A time as Go writes it, with nanoseconds; those below a microsecond are cut off. Raises ValueError."""
    return datetime.fromisoformat(_FRACTION.sub(r"\1", text)).astimezone(UTC)
