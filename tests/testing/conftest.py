"""Houses from files given in place."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bridge.testing import Files, House, find

AGENT = """
version: 1
node: pi-1
sensors:
  front-door: {kind: pir, pin: 17, warm_up: 30s}
  doorbell: {kind: button, pin: 22}
  water: {kind: digital, pin: 5, delayed_on: 2s}
  boiler: {kind: thermometer, sensor: ds18b20, device: 28-0316a2795cff, every: 10s, high: 70, low: 15}
outputs:
  siren: {kind: relay, pin: 24, max_on: 30s}
"""
MAPPINGS = """
version: 1
timezone: UTC
mappings:
  intruder:
    select: {sensor: front-door, event: motion.detected}
    hours: "22:00-06:00"
    invoke: intruder-alert
    retry: {attempts: 3, first: 1s, max: 10s}
"""
NIGHT, NOON = "2026-11-22T23:10:00+00:00", "2026-11-22T12:00:00+00:00"

Build = Callable[..., House]


@pytest.fixture
def build(tmp_path: Path) -> Iterator[Build]:
    """Makes a house; its files are the ones above unless others are given. It is night in it."""
    houses: list[House] = []

    def make(mappings: str | None = MAPPINGS, *agents: str, at: str = NIGHT, seed: int = 0, **files: str) -> House:
        plan = find(Files(root=tmp_path, agents=agents or (AGENT,), mappings=mappings, **files))
        houses.append(House(plan, seed=seed))
        houses[-1].time.set(at)
        return houses[-1]

    yield make
    for house in houses:
        house.close()
