"""When tasks are looked at."""

from __future__ import annotations

from typing import Any

import pytest

from bridge.gateway.backends.swarm.pace import pause_s, settled
from bridge.swarm.services import read_service
from bridge.swarm.tasks import read_task
from tests.swarm import documents

ENDING = {"DesiredState": "shutdown"}


@pytest.mark.parametrize(
    ("parts", "tasks", "is_settled"),
    [
        ({"replicas": 1}, [{}], True),
        ({"replicas": 2}, [{}], False),
        ({"replicas": 1}, [{}, {}], False),
        ({"replicas": 0}, [], True),
        ({"replicas": 0}, [{}], False),
        ({"replicas": 1}, [{"state": "preparing"}], False),
        # one that still ends may be called by nobody, and its address is not free yet
        ({"replicas": 1}, [{}, ENDING], False),
        ({"replicas": 1}, [{}, {"state": "shutdown", **ENDING}], True),
        ({"replicas": 1, "UpdateStatus": {"State": "updating"}}, [{}], False),
        ({"mode": {"Global": {}}}, [{}, {}, {}], True),
        ({"mode": {"Global": {}}}, [{}, {"state": "pending"}], False),
        ({"mode": {"Global": {}}}, [], False),
    ],
)
def test_a_service_is_settled_when_it_has_what_it_wants_and_nothing_ends(
    parts: dict[str, Any], tasks: list[dict[str, Any]], is_settled: bool
) -> None:
    service = read_service(documents.service(**parts))
    found = [read_task(documents.task(number, **each)) for number, each in enumerate(tasks, 1)]
    assert settled(service, found) is is_settled


def test_the_longer_nothing_changes_the_rarer_a_look() -> None:
    assert pause_s(5.0, waiting=True, at_rest_s=30) == 0.1
    pauses = [pause_s(age, waiting=False, at_rest_s=30) for age in (0.0, 14.9, 20.0, 119.0, 1000.0)]
    assert pauses == [0.25, 0.25, 1.0, 1.0, 5.0]
    assert pause_s(None, waiting=False, at_rest_s=30) == 30
    assert pause_s(1000.0, waiting=False, at_rest_s=2) == 2
