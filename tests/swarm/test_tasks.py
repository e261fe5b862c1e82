"""Tasks read from the engine's documents, and what a service's tasks complain of."""

from __future__ import annotations

from typing import Any

import pytest

from bridge.swarm.tasks import Phase, Task, by_service, newest_complaint, read_task
from tests.swarm import documents
from tests.swarm.documents import NETWORK


def task(number: int = 1, **parts: Any) -> Task:
    return read_task(documents.task(number, **parts))


def test_a_running_task_is_read() -> None:
    found = task(7)
    assert (found.id, found.service_id, found.slot, found.node_id) == ("task7", "id-echo", 1, "node1")
    assert (found.addresses[NETWORK], found.container_id) == ("10.0.1.7", "c7")
    assert found.serving
    assert found.complaint() == ""
    assert found.instance("echo") == "echo.1.task7"


def test_a_task_that_was_made_just_now_has_hardly_anything() -> None:
    found = read_task({"ID": "t", "CreatedAt": "2026-11-27T05:01:00Z", "DesiredState": "running"})
    assert (found.state, found.phase, found.addresses, found.serving) == ("new", Phase.COMING, {}, False)


def test_a_task_of_a_global_service_is_called_after_its_node() -> None:
    assert task(1, Slot=0).instance("echo") == "echo.node1.task1"


STATES = {
    **dict.fromkeys(("new", "pending", "assigned", "accepted", "preparing", "ready"), Phase.COMING),
    **dict.fromkeys(("starting", "running"), Phase.STARTED),
    **dict.fromkeys(("complete", "shutdown", "failed", "rejected", "remove", "orphaned"), Phase.OVER),
}


@pytest.mark.parametrize("state", STATES)
def test_every_state_of_swarm_has_a_phase_and_only_a_started_task_that_shall_go_on_serves(state: str) -> None:
    assert task(state=state).phase is STATES[state]
    assert task(state=state).serving is (STATES[state] is Phase.STARTED)
    assert not task(state=state, DesiredState="shutdown").serving
    assert task(state=state).failed is (state in ("failed", "rejected", "complete"))


def test_a_complaint_holds_the_engines_own_words() -> None:
    assert task(state="rejected", err="No such image: x").complaint() == "No such image: x (rejected)"
    assert task(state="failed", exit_code=3).complaint() == "its container ended with exit code 3 (failed)"
    assert task(state="complete").complaint() == "its container ended with exit code 0 (complete)"
    assert task(state="pending", err="no suitable node").complaint() == "no suitable node (pending)"
    assert task(state="shutdown", DesiredState="shutdown").complaint() == ""


def test_tasks_are_gathered_by_service_oldest_first() -> None:
    found = by_service([task(3), task(1), task(2, ServiceID="other")])
    assert {key: [each.id for each in tasks] for key, tasks in found.items()} == {
        "id-echo": ["task1", "task3"],
        "other": ["task2"],
    }


FAILED = {"state": "failed", "err": "bad", "DesiredState": "shutdown"}


@pytest.mark.parametrize(
    ("tasks", "replacing", "complaint"),
    [
        ([], False, None),
        ([task(1)], False, None),
        # the one after a failed task has nothing to say yet
        ([task(1, **FAILED), task(2, state="preparing")], False, "task1"),
        ([task(1, **FAILED), task(2, **FAILED), task(3, state="starting")], False, None),
        # made good for
        ([task(1, **FAILED), task(2)], False, None),
        # nothing came after it: a service that gave up
        ([task(1, **FAILED)], False, "task1"),
        # scaled away
        ([task(1, state="shutdown", DesiredState="shutdown")], False, None),
        ([task(1, **FAILED), task(2, state="shutdown", DesiredState="shutdown")], False, None),
        # nobody takes it
        ([task(1, state="pending", err="no suitable node")], False, "task1"),
        # the newest of two slots that are not well
        ([task(1, Slot=1, **FAILED), task(2, Slot=2, **FAILED)], False, "task2"),
        ([task(1, Slot=1), task(2, Slot=2, **FAILED)], False, "task2"),
        # an old one serves while its successor fails: told while they are replaced only
        ([task(1), task(2, **FAILED)], True, "task2"),
        ([task(1), task(2, **FAILED)], False, None),
        # slots of a global service are its nodes
        ([task(1, Slot=0, NodeID="a"), task(2, Slot=0, NodeID="b", **FAILED)], False, "task2"),
    ],
)
def test_the_complaint_that_stands_is_the_newest_of_a_slot_that_is_not_well(
    tasks: list[Task], replacing: bool, complaint: str | None
) -> None:
    found = newest_complaint(tasks, replacing=replacing)
    assert (None if found is None else found.id) == complaint
