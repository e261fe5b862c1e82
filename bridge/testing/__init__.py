"""Tests for a house: its own agents, mappings and functions in one process, on a clock that a test moves.

    def test_intruder_at_night(bridge, virtual_clock):
        virtual_clock.set("2026-11-22T23:10:00+00:00")
        bridge.pi("pi-1").sensor("front-door").motion()
        assert bridge.invocations.only().function == "intruder-alert"

`plugin` gives pytest the fixtures; `House` is what they stand on, and needs no pytest. Nothing is imported before it is
asked for: pytest loads this package in every run, also where nobody tests a house.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

    from bridge.testing.files import Files, HousePlan, find
    from bridge.testing.functions import Call, Function
    from bridge.testing.house import House
    from bridge.testing.invocations import Attempt, Invocations, RecordedInvocation
    from bridge.testing.pi import Output, VirtualPi
    from bridge.testing.sensor import Sensor
    from bridge.testing.virtual_time import VirtualTime

__all__ = [
    "Attempt",
    "Call",
    "Files",
    "Function",
    "House",
    "HousePlan",
    "Invocations",
    "Output",
    "RecordedInvocation",
    "Sensor",
    "VirtualPi",
    "VirtualTime",
    "find",
]

SCENARIO_SUFFIXES: Final = (".scenario.yaml", ".scenario.yml")
"""How the names of scenario files end."""
MAPPINGS: Final = ("mappings.yaml", "config/mappings.yaml")
"""Where the mapping file of a project is looked for: the first of these that is there."""


def may_have_examples(mapping_file: Path) -> bool:
    """Whether a mapping file is worth reading for the examples in it."""
    return b"examples:" in mapping_file.read_bytes()


_HOMES: Final = {
    "Attempt": "invocations",
    "Call": "functions",
    "Files": "files",
    "Function": "functions",
    "House": "house",
    "HousePlan": "files",
    "Invocations": "invocations",
    "Output": "pi",
    "RecordedInvocation": "invocations",
    "Sensor": "sensor",
    "VirtualPi": "pi",
    "VirtualTime": "virtual_time",
    "find": "files",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
