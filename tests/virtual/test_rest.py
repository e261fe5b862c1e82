"""Rest: the word that brings each kind of sensor back to what a new board shows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bridge.testing import Files, House, find
from bridge.virtual.rest import rest_word

AGENT = """
version: 1
node: pi-1
sensors:
  front-door: {kind: pir, pin: 17, warm_up: 0s}
  gate: {kind: laser-tripwire, pin: 27}
  window: {kind: laser-tripwire, wiring: mcp3008, channel: 1}
  doorbell: {kind: button, pin: 22}
  water: {kind: digital, pin: 5}
  boiler: {kind: thermometer, sensor: ds18b20, device: 28-0316a2795cff, every: 1s, delta: 0.1}
  greenhouse: {kind: thermometer, sensor: tmp36, channel: 0, every: 1s, delta: 0.1}
  cpu: {kind: thermometer, sensor: cpu, every: 1s, delta: 0.1}
  tank: {kind: distance, trigger: 20, echo: 21, every: 1s, delta: 1, near: 20}
  soil: {kind: analog, channel: 2, every: 1s, delta: 0.01, factor: 100, offset: 7}
"""
ELSEWHERE = {
    "front-door": "motion", "gate": "break", "window": "break", "doorbell": "press", "water": "on",
    "boiler": "85", "greenhouse": "50", "cpu": "70", "tank": "15", "soil": "60",
}  # fmt: skip
MAPPINGS = "{version: 1, mappings: {all: {select: {event: '*'}, invoke: seen}}}\n\n"


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    with House(find(Files(root=tmp_path, agents=[AGENT], mappings=MAPPINGS))) as made:
        yield made


def test_nothing_changes_where_a_sensor_at_rest_is_brought_to_rest(house: House) -> None:
    pi = house.pi("pi-1")
    for name, settings in pi.settings.sensors.items():
        house.board("pi-1").drive_now(name, rest_word(settings))
    house.advance("1m")
    assert house.events == []


@pytest.mark.parametrize("sensor", ELSEWHERE)
def test_a_sensor_that_saw_something_tells_afterwards_what_it_told_at_first(house: House, sensor: str) -> None:
    pi = house.pi("pi-1")
    house.advance("1m")
    before = pi.agent.sensors[sensor].state.value
    house.board("pi-1").drive_now(sensor, ELSEWHERE[sensor])
    house.advance("1m")
    assert pi.agent.sensors[sensor].state.value != before
    house.board("pi-1").drive_now(sensor, rest_word(pi.settings.sensors[sensor]))
    house.advance("1m")
    assert pi.agent.sensors[sensor].state.value == pytest.approx(before, abs=0.1)
