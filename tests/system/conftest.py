"""The site of a test, and the programs' logs in the report of a failure."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.system.programs import Site

AGENT = {
    "sensors": {
        "gate": {"kind": "digital", "pin": 17, "debounce": "0s"},
        "door": {"kind": "pir", "pin": 27, "warm_up": "0s", "hold": "100ms", "priority": "alarm"},
    },
    "outputs": {"light": {"kind": "led", "pin": 23}},
}
MAPPINGS = {
    "gate-seen": {"select": {"sensor": "gate"}, "invoke": "seen", "initial": "always"},
    "door-seen": {
        "select": {"sensor": "door", "event": "motion.detected"},
        "when": "data.value == true",
        "invoke": "seen",
    },
    "zigbee": {"select": {"topic": "zigbee2mqtt/+"}, "when": "payload.contact == false", "invoke": "other"},
}


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """Everything, started and ready; gone after the test."""
    with Site(tmp_path, agents={"pi-1": AGENT}, mappings=MAPPINGS, functions=("seen", "other")) as made:
        yield made


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """As `site`, for tests of one file that leave it as it was."""
    folder = tmp_path_factory.mktemp("shared")
    with Site(folder, agents={"pi-1": AGENT}, mappings=MAPPINGS, functions=("seen", "other")) as made:
        yield made


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """A failed test shows what the programs said."""
    outcome: Any = yield
    report = outcome.get_result()
    if not report.failed:
        return
    for value in getattr(item, "funcargs", {}).values():
        if isinstance(value, Site):
            report.sections.extend((f"log of the {name}", text) for name, text in value.logs())
