"""How a whole run is divided among workers (pytest-xdist): what shares a lab or an engine stays with one of them.

A lab, and an engine, are brought up once for all the tests that want them. These begin first, each with a worker of
its own: they wait more than they compute, so that there are more workers than a small machine has cores. Who has done
with them takes the rest, file by file: first what takes long, lest one worker is left with it when the others are done.

Who gives out the work knows nothing of a test but its name, so the names say here what is shared; a test that takes a
lab or an engine and is not named here stops the run before it begins.
"""

from __future__ import annotations

from typing import Final

import pytest
from xdist.scheduler import LoadScopeScheduling

_GROUPS: Final = {
    # In a lab of its own: with the others in one they would take longer than all the rest.
    "whole_stack": ("tests/system/stack/",),
    "swarm_of_one": (
        "tests/manager/api/test_cluster.py",
        "tests/manager/api/test_stacks.py",
        "tests/manager/cluster/",
        "tests/manager/stack/test_engine_door.py",
        "tests/manager/stack/test_stack.py",
    ),
    "three_pis": ("tests/lab/test_lab.py", "tests/system/swarm/"),
    "swarm_engine": ("tests/gateway/swarm/test_backend.py", "tests/gateway/swarm/test_faults.py"),
    "workshop": ("tests/images/test_on_an_engine.py",),
}
"""By the fixture that takes long to make: the beginnings of the names of the tests that share it."""
_LONG: Final = (
    "tests/system/",
    "tests/runtime/test_process.py",
    "tests/cli/test_programs.py",
    "tests/benchmarks/",
    "tests/gateway/test_openapi.py",
    "tests/manager/test_openapi.py",
    "tests/cli/test_test_live.py",
    "tests/functions/",
    "tests/core/test_filters_properties.py",
    "tests/simulation/",
)
"""What takes longer than twenty seconds by itself, by the beginnings of the names of its tests; the longest first."""
_ON_BOTH_BACKENDS: Final = ("tests/gateway/", "[swarm")
"""How the names of the gateway's tests begin, and what stands in those of them that are on a swarm."""


def group(nodeid: str) -> str | None:
    """The fixture that a test shares with others, by the test's name."""
    folder, parameter = _ON_BOTH_BACKENDS
    if nodeid.startswith(folder) and parameter in nodeid:
        return "swarm_engine"
    return next((name for name, places in _GROUPS.items() if nodeid.startswith(places)), None)


class SideBySide(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no type information
    """Gives each worker a group's tests, or those of one file."""

    def _split_scope(self, nodeid: str) -> str:
        return group(nodeid) or nodeid.split("::", 1)[0]


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put the groups first, where there are workers, and let nobody share what the names do not say."""
    for item in items:
        taken = _taken(item)
        if taken is not None and taken != group(item.nodeid):
            raise pytest.UsageError(f"{item.nodeid} takes {taken}: tests/side_by_side.py has to say so")
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: _turn(item.nodeid))


def _turn(nodeid: str) -> int:
    """When a test is given out: the groups, what takes long, the rest."""
    own = group(nodeid)
    if own is not None:
        return list(_GROUPS).index(own)
    places = (place for place, name in enumerate(_LONG) if nodeid.startswith(name))
    return len(_GROUPS) + next(places, len(_LONG))


def _taken(item: pytest.Item) -> str | None:
    wanted = set(getattr(item, "fixturenames", ()))
    callspec = getattr(item, "callspec", None)
    # A bench asks for its engine only when it is one on a swarm.
    if callspec is not None and callspec.params.get("idle_bench") == "swarm":
        wanted.add("swarm_engine")
    return next((name for name in _GROUPS if name in wanted), None)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> SideBySide:
    """Who gives out the work; asked for where the workers are started."""
    return SideBySide(config, log)
