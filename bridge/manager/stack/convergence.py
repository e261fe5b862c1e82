"""How far a service of a stack has come, from what the engine says of it and of its tasks. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any

from bridge.swarm.services import Service
from bridge.swarm.tasks import Task

MOST_FAILURES = 3
"""A task that has ended so often since the deployment began will not become well by waiting."""


class Course(Enum):
    """Where a service is on its way."""

    UNDER_WAY = "under way"
    CONVERGED = "converged"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Progress:
    """One service's way: how many tasks run of how many that are wanted, and what holds it up, in Docker's words."""

    course: Course
    running: int
    wanted: int
    detail: str = ""
    blamed: Task | None = None
    """The task that the detail tells of, if it is one that has ended."""

    def __str__(self) -> str:
        return f"{self.running}/{self.wanted}{f'  {self.detail}' if self.detail else ''}"


_MADE_OF = ("ContainerSpec", "Resources", "ForceUpdate", "LogDriver")
_STATES: Mapping[str, str] = {
    "new": "waiting for its turn",
    "pending": "waiting for a cluster node",
    "assigned": "waiting for its cluster node",
    "accepted": "waiting for its cluster node",
    "preparing": "pulling the image",
    "ready": "about to start",
    "starting": "starting",
}


def progress(
    service: Service,
    tasks: Sequence[Task],
    *,
    since: datetime,
    current: Collection[str],
    cluster_nodes: Collection[str],
) -> Progress:
    """How far it is. `tasks` are all of the service's; `since` is when the deployment began, by the engine's clock.

    `current` are the ids of the tasks that are made of what is wanted now, `cluster_nodes` those of the cluster nodes
    that may run tasks: a global service wants one on each. A replica counts once its container runs and its health
    check, if it has one, is good.
    """
    own = [task for task in tasks if task.id in current]
    running = sum(1 for task in own if task.wanted and task.state == "running")
    wanted = service.replicas if service.scalable else _places(own, cluster_nodes)
    fresh = [task for task in tasks if task.created_at >= since]
    blamed = _blamed(fresh)
    complaint = "" if blamed is None else blamed.complaint()
    state = service.update_state
    if state == "paused" or state.startswith("rollback"):
        words = "rolled back" if state.startswith("rollback") else "the update has stopped"
        detail = ": ".join(part for part in (words, complaint or service.update_message) if part)
        course = Course.UNDER_WAY if state == "rollback_started" else Course.FAILED
        return Progress(course, running, wanted, detail, blamed)
    if state != "updating" and running >= wanted and not any(_coming(task) for task in own):
        return Progress(Course.CONVERGED, running, wanted)
    if _hopeless(fresh):
        return Progress(Course.FAILED, running, wanted, complaint, blamed)
    return Progress(Course.UNDER_WAY, running, wanted, complaint or _waiting(own), blamed)


def made_of_the_same(task: Mapping[str, Any], service: Mapping[str, Any]) -> bool:
    """Whether a task (the engine's document) is made of what its service wants now.

    Where it may run and how often it is started anew is no part of it: Swarm changes that without a new task.
    """
    spec, template = task.get("Spec") or {}, service["Spec"].get("TaskTemplate") or {}
    return all((spec.get(key) or None) == (template.get(key) or None) for key in _MADE_OF)


def _places(tasks: Sequence[Task], cluster_nodes: Collection[str]) -> int:
    """How many tasks a global service wants: constraints leave it none on some cluster nodes."""
    return sum(1 for machine in cluster_nodes if any(task.node_id == machine and task.wanted for task in tasks))


def _coming(task: Task) -> bool:
    return task.wanted and task.state != "running"


def _hopeless(fresh: Sequence[Task]) -> bool:
    failures: dict[tuple[int, str], int] = {}
    for task in fresh:
        if task.failed:
            place = (task.slot, "" if task.slot else task.node_id)
            failures[place] = failures.get(place, 0) + 1
    return any(count >= MOST_FAILURES for count in failures.values())


def _blamed(fresh: Sequence[Task]) -> Task | None:
    """The task with the newest complaint."""
    return max((task for task in fresh if task.complaint()), key=lambda task: task.at, default=None)


def _waiting(tasks: Sequence[Task]) -> str:
    coming = [task for task in tasks if _coming(task)]
    return _STATES.get(coming[-1].state, coming[-1].state) if coming else ""
