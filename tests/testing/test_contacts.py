"""Contacts that bounce or are stuck, in a house: what the agent makes of them, and that each run sees the same."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from bridge.testing import Files, House
from bridge.testing.scenarios.document import read_scenarios
from bridge.testing.scenarios.run import prepare, run
from bridge.virtual.contact import Contact
from tests.testing.conftest import Build

RAW = """
version: 1
node: pi-1
sensors:
  doorbell: {kind: button, pin: 22, debounce: 0s}
  water: {kind: digital, pin: 5, debounce: 0s}
  gate: {kind: laser-tripwire, pin: 27, debounce: 0s}
  adc-gate: {kind: laser-tripwire, wiring: mcp3008, channel: 1}
  boiler: {kind: thermometer, sensor: cpu, every: 10s}
"""
DEBOUNCED = RAW.replace("debounce: 0s", "debounce: 20ms")
ALL = 'version: 1\nmappings:\n  all: {select: {event: "*"}, invoke: seen}\n'


def levels(house: House, sensor: str) -> list[tuple[str | None, timedelta]]:
    """The names of a sensor's events, and when they were since the first."""
    events = house.pi("pi-1").sensor(sensor).events
    return [(event.name, event.time - events[0].time) for event in events]


@pytest.mark.parametrize("sensor", ["doorbell", "water", "gate"])
def test_without_debounce_every_bounce_of_a_make_and_a_break_is_an_event(build: Build, sensor: str) -> None:
    house = build(None, RAW)
    contact = Contact(sensor)
    made = contact.bounces(0.005, active=True)
    for edge in made:
        contact.move(active=edge.active)
    broken = contact.bounces(0.005, active=False)

    house.pi("pi-1").sensor(sensor).bounce(for_="5ms", active=True)
    after_make = levels(house, sensor)
    house.pi("pi-1").sensor(sensor).bounce(for_="5ms")
    both = levels(house, sensor)

    assert len(after_make) == len(made) >= 3
    assert len(both) == len(made) + len(broken)
    assert after_make[0][0] == after_make[-1][0] != after_make[1][0]
    assert both[-1][0] == after_make[1][0]
    gaps = {later - earlier for (_, earlier), (_, later) in pairwise(after_make)}
    assert len(gaps) > 1, "uneven"
    assert after_make[-1][1] == pytest.approx(timedelta(milliseconds=5), abs=timedelta(milliseconds=1))


@pytest.mark.parametrize("sensor", ["doorbell", "water", "gate"])
def test_the_agents_debounce_makes_one_event_of_a_make_and_one_of_a_break(build: Build, sensor: str) -> None:
    house = build(None, DEBOUNCED)
    it = house.pi("pi-1").sensor(sensor)
    assert len(it.bounce(active=True).events) == 1
    assert len(it.bounce().events) == 2
    assert it.events[0].name != it.events[1].name


def test_two_runs_bounce_alike_and_a_scenario_as_a_test_does(build: Build, tmp_path: Path) -> None:
    houses = [build(ALL, RAW), build(ALL, RAW)]
    for house in houses:
        house.pi("pi-1").sensor("doorbell").bounce(for_="5ms", active=True).bounce(for_="5ms")
    assert levels(houses[0], "doorbell") == levels(houses[1], "doorbell")

    times = len(houses[0].invocations)
    path = tmp_path / "it.scenario.yaml"
    path.write_text(
        "version: 1\nname: it\nsteps:\n"
        f"  - expect: seen times {times} within 5s\n"
        "  - {at: 0s, sensor: doorbell, do: press bouncing for 5ms}\n"
        "  - {at: 1s, sensor: doorbell, do: release bouncing for 5ms}\n",
        encoding="utf-8",
    )
    (tmp_path / "agent.yaml").write_text(RAW, encoding="utf-8")
    (tmp_path / "mappings.yaml").write_text(ALL, encoding="utf-8")
    (scenario,) = read_scenarios(path)
    result = run(prepare(scenario, Files(root=tmp_path)))
    assert not result.failures, result.failures


def test_what_has_no_contact_does_not_bounce(build: Build) -> None:
    pi = build(None, RAW).pi("pi-1")
    with pytest.raises(TypeError, match=r"boiler is a thermometer and has no bounce\(\); it has temperature"):
        pi.sensor("boiler").bounce()
    with pytest.raises(TypeError, match="adc-gate has no contact that bounces"):
        pi.sensor("adc-gate").bounce()
    with pytest.raises(ValueError, match="for some time"):
        pi.sensor("doorbell").bounce(for_=0)


def test_a_stuck_sensor_tells_nothing_more_until_it_is_stuck_no_more_also_over_a_restart(build: Build) -> None:
    house = build(None, DEBOUNCED)
    pi = house.pi("pi-1")
    bell = pi.sensor("doorbell").press().stuck().release()
    assert [event.name for event in bell.events] == ["button.pressed"]
    bell.bounce(for_="5ms")
    pi.restart()
    house.advance("1m")
    assert "button.released" not in [event.name for event in bell.events]
    bell.unstuck()
    assert bell.events[-1].name == "button.released"


def test_a_stuck_thermometer_goes_on_telling_what_it_told(build: Build) -> None:
    boiler = build(None, RAW).pi("pi-1").sensor("boiler").temperature(20).stuck().temperature(60)
    assert boiler.last_event is not None
    assert boiler.last_event.data["value"] == 20
    boiler.unstuck()
    assert boiler.last_event is not None
    assert boiler.last_event.data["value"] == 60


def test_a_scenario_sticks_a_sensor_and_frees_it(tmp_path: Path) -> None:
    path = tmp_path / "it.scenario.yaml"
    path.write_text(
        "version: 1\nname: it\nsteps:\n"
        "  - {sensor: doorbell, do: stuck}\n"
        "  - {after: 1s, sensor: doorbell, do: press}\n"
        "  - expect: none within 5s\n"
        "  - {sensor: doorbell, do: unstuck}\n"
        "  - expect: seen times 1 within 5s\n",
        encoding="utf-8",
    )
    (tmp_path / "agent.yaml").write_text(RAW, encoding="utf-8")
    (tmp_path / "mappings.yaml").write_text(ALL, encoding="utf-8")
    (scenario,) = read_scenarios(path)
    result = run(prepare(scenario, Files(root=tmp_path)))
    assert not result.failures, result.failures
