"""The tasks of Swarm services as the engine tells them, one container each, and what became of them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any

from bridge.swarm.services import moment

_STARTED = frozenset({"starting", "running"})
_OVER = frozenset({"complete", "shutdown", "failed", "rejected", "remove", "orphaned"})


class Phase(Enum):
    """How far a task is, in the words that matter to who calls it."""

    COMING = "coming"
    """Swarm looks for a place, or a machine pulls the image."""
    STARTED = "started"
    """Its container runs. Swarm calls it `starting` until its first good health check."""
    OVER = "over"


@dataclass(frozen=True, slots=True)
class Task:
    """One task. `error` is the engine's own words for what went wrong with it."""

    id: str
    service_id: str
    slot: int
    node_id: str
    state: str
    wanted: bool
    """Swarm has not decided to end it."""
    at: datetime
    """When it came into its state."""
    created_at: datetime
    error: str = ""
    exit_code: int = 0
    container_id: str = ""
    addresses: Mapping[str, str] = ()  # type: ignore[assignment] # read_task gives a map
    """Its address in each network."""

    @property
    def phase(self) -> Phase:
        """How far it is."""
        if self.state in _OVER:
            return Phase.OVER
        return Phase.STARTED if self.state in _STARTED else Phase.COMING

    @property
    def serving(self) -> bool:
        """Whether it may be called: its container runs, and shall go on."""
        return self.wanted and self.phase is Phase.STARTED

    @property
    def failed(self) -> bool:
        """Whether it ended by itself; one that was told to end is `shutdown`."""
        return self.state in ("failed", "rejected", "complete")

    def instance(self, service: str) -> str:
        """What its log calls it: service, slot, and as much of its id as the engine's own names have."""
        return f"{service}.{self.slot or self.node_id[:12]}.{self.id[:12]}"

    def complaint(self) -> str:
        """What went wrong, in the engine's words; empty when nothing did."""
        if self.error:
            return f"{self.error} ({self.state})"
        if self.failed:
            return f"its container ended with exit code {self.exit_code} ({self.state})"
        return ""


def read_task(document: Mapping[str, Any]) -> Task:
    """A task from the engine's document. Raises KeyError or ValueError for what is none."""
    status: Mapping[str, Any] = document.get("Status") or {}
    container: Mapping[str, Any] = status.get("ContainerStatus") or {}
    created = document["CreatedAt"]
    return Task(
        id=document["ID"],
        service_id=document.get("ServiceID") or "",
        slot=int(document.get("Slot") or 0),
        node_id=document.get("NodeID") or "",
        state=status.get("State") or "new",
        wanted=document.get("DesiredState") in ("running", "ready", "accepted"),
        at=moment(status.get("Timestamp") or created),
        created_at=moment(created),
        error=status.get("Err") or "",
        exit_code=int(container.get("ExitCode") or 0),
        container_id=container.get("ContainerID") or "",
        addresses={
            attachment["Network"]["ID"]: attachment["Addresses"][0].partition("/")[0]
            for attachment in document.get("NetworksAttachments") or ()
            if attachment.get("Addresses")
        },
    )


def by_service(tasks: Iterable[Task]) -> dict[str, list[Task]]:
    """The tasks of each service, oldest first."""
    found: dict[str, list[Task]] = {}
    for task in sorted(tasks, key=lambda task: (task.created_at, task.id)):
        found.setdefault(task.service_id, []).append(task)
    return found


def newest_complaint(tasks: Sequence[Task], *, replacing: bool) -> Task | None:
    """The newest task of a service (oldest first) whose complaint still stands; None when all is well.

    A slot that serves is well whatever happened in it before; while tasks are being replaced by others (`replacing`),
    only if its newest task does. The task after one that failed has nothing to complain of yet: the reason is with the
    one before.
    """
    slots: dict[tuple[int, str], list[Task]] = {}
    for task in tasks:
        slots.setdefault((task.slot, "" if task.slot else task.node_id), []).append(task)
    standing: list[Task] = []
    for slot in slots.values():
        last = slot[-1]
        well = last.serving if replacing else any(task.serving for task in slot)
        if well or not (last.wanted or last.failed):
            continue
        complaint = next((task for task in reversed(slot) if task.complaint()), None)
        if complaint is not None:
            standing.append(complaint)
    return max(standing, key=lambda task: task.at, default=None)
