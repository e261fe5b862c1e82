"""How a whole run is divided among workers (pytest-xdist): what shares a lab or an engine stays with one of them.

A lab, and an engine, are brought up once for all the tests that want them. These begin first, each with a worker of
its own: they wait more than they compute. The others take the rest meanwhile, file by file, as it comes.
"""

from __future__ import annotations

import os
from typing import Final

import pytest
from xdist.scheduler import LoadGroupScheduling

GROUPS: Final = {
    "three_pis": "lab",
    "swarm_engine": "engine",
    "swarm_of_one": "engine",
    "workshop": "engine",
}
"""Whose tests are one group: those of these fixtures, which take long to make."""
_IN_TURN: Final = ("lab", "engine", None)


class SideBySide(LoadGroupScheduling):  # type: ignore[misc]  # xdist has no type information
    """Gives each worker a group's tests, or those of one file."""

    def _split_scope(self, nodeid: str) -> str:
        scope: str = super()._split_scope(nodeid)
        return scope.split("::", 1)[0]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Say behind a test's name which group it is of, and put the groups first. A run in one process stays as it is.

    xdist would say so for its mark `xdist_group`, but its workers do not know how the work is divided (3.8, pytest 9).
    """
    if "PYTEST_XDIST_WORKER" not in os.environ:
        return
    groups = {item: _group(item) for item in items}
    items.sort(key=lambda item: _IN_TURN.index(groups[item]))
    for item, group in groups.items():
        if group is not None:
            item._nodeid = f"{item.nodeid}@{group}"  # type: ignore[attr-defined] # as xdist does it


def _group(item: pytest.Item) -> str | None:
    wanted = set(getattr(item, "fixturenames", ()))
    callspec = getattr(item, "callspec", None)
    # A bench asks for its engine only when it is one on a swarm.
    if callspec is not None and callspec.params.get("idle_bench") == "swarm":
        wanted.add("swarm_engine")
    return next((group for fixture, group in GROUPS.items() if fixture in wanted), None)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> SideBySide:
    """Who gives out the work; asked for where the workers are started."""
    return SideBySide(config, log)
