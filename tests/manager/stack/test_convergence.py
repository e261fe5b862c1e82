"""How far a service has come, and when it will not come any further."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from bridge.manager.stack.convergence import MOST_FAILURES, Course, Progress, made_of_the_same, progress
from bridge.swarm.services import Service
from bridge.swarm.tasks import Task

BEGAN = datetime(2026, 11, 27, 9, 0, tzinfo=UTC)


def service(replicas: int = 2, update: str = "", *, everywhere: bool = False, message: str = "") -> Service:
    mode = {"Global": {}} if everywhere else {"Replicated": {"Replicas": replicas}}
    return Service("s", 7, "house_broker", BEGAN, BEGAN, {"Mode": mode}, replicas, update, message)


def task(number: int, state: str, *, slot: int = 1, after_s: float = 1, wanted: bool = True, error: str = "") -> Task:
    at = BEGAN + timedelta(seconds=after_s)
    return Task(f"t{number}", "s", slot, "n1", state, wanted, at, at, error)


def course(of: Service, *tasks: Task, current: Collection[str] | None = None) -> Progress:
    ids = {each.id for each in tasks} if current is None else current
    return progress(of, tasks, since=BEGAN, current=ids, cluster_nodes=["n1", "n2"])


def test_it_has_converged_when_all_that_are_wanted_run() -> None:
    assert course(service(), task(1, "running"), task(2, "running", slot=2)).course is Course.CONVERGED
    assert course(service(0)).course is Course.CONVERGED


def test_it_is_under_way_while_one_is_coming_and_says_what_that_waits_for() -> None:
    found = course(service(), task(1, "running"), task(2, "preparing", slot=2))
    assert (found.course, str(found)) == (Course.UNDER_WAY, "1/2  pulling the image")
    assert str(course(service())) == "0/2"


def test_tasks_of_what_was_wanted_before_do_not_count() -> None:
    found = course(service(1), task(1, "running", after_s=-60), current=())
    assert (found.course, found.running) == (Course.UNDER_WAY, 0)


def test_an_update_that_goes_on_has_not_converged() -> None:
    assert course(service(1, "updating"), task(1, "running")).course is Course.UNDER_WAY


def test_a_task_that_cannot_be_placed_is_told_in_the_engines_words() -> None:
    found = course(service(1), task(1, "pending", error="no suitable node"))
    assert (found.course, found.detail) == (Course.UNDER_WAY, "no suitable node (pending)")


def test_a_slot_that_fails_again_and_again_has_failed() -> None:
    failing = [task(n, "failed", after_s=n, wanted=False, error=f"exit {n}") for n in range(MOST_FAILURES)]
    assert course(service(1), *failing[:-1], task(9, "running")).course is Course.CONVERGED
    found = course(service(1), *failing, task(9, "starting"))
    assert (found.course, found.detail) == (Course.FAILED, f"exit {MOST_FAILURES - 1} (failed)")
    assert found.blamed == failing[-1]


def test_failures_of_different_slots_or_of_before_are_not_one_slots() -> None:
    apart = [task(n, "failed", slot=n + 1, wanted=False) for n in range(MOST_FAILURES)]
    assert course(service(4), *apart).course is Course.UNDER_WAY
    before = [task(n, "failed", after_s=-9, wanted=False) for n in range(MOST_FAILURES)]
    assert course(service(1), *before).course is Course.UNDER_WAY


@pytest.mark.parametrize(
    ("state", "wanted", "told"),
    [
        ("paused", Course.FAILED, "the update has stopped: boom (failed)"),
        ("rollback_completed", Course.FAILED, "rolled back: boom (failed)"),
        ("rollback_paused", Course.FAILED, "rolled back: boom (failed)"),
        ("rollback_started", Course.UNDER_WAY, "rolled back: boom (failed)"),
    ],
)
def test_an_update_that_did_not_work_is_told_with_its_reason(state: str, wanted: Course, told: str) -> None:
    found = course(service(1, state), task(1, "failed", wanted=False, error="boom"), task(2, "running"))
    assert (found.course, found.detail) == (wanted, told)


def test_without_a_tasks_complaint_the_engines_message_is_told() -> None:
    found = course(service(1, "paused", message="update paused due to failure"), task(2, "running"))
    assert found.detail == "the update has stopped: update paused due to failure"


def test_a_global_service_wants_one_on_each_machine_that_it_was_given_one() -> None:
    found = course(service(everywhere=True), task(1, "running", slot=0))
    assert (found.course, found.wanted) == (Course.CONVERGED, 1)


def test_a_task_is_of_the_same_make_whatever_its_placement() -> None:
    template: dict[str, Any] = {"ContainerSpec": {"Image": "a"}, "ForceUpdate": 0, "Placement": {"Constraints": ["x"]}}
    wanted = {"Spec": {"TaskTemplate": template}}
    assert made_of_the_same({"Spec": {"ContainerSpec": {"Image": "a"}}}, wanted)
    assert not made_of_the_same({"Spec": {"ContainerSpec": {"Image": "b"}}}, wanted)
    assert not made_of_the_same({"Spec": {"ContainerSpec": {"Image": "a"}, "ForceUpdate": 1}}, wanted)
