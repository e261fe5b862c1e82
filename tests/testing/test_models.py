"""Parts as their data sheets say, in a house: what the agent makes of what a model does to its pins."""

from __future__ import annotations

from pathlib import Path

import pytest

from bridge.errors import ConfigError
from bridge.testing import Files, House
from bridge.testing.scenarios.document import read_scenarios
from bridge.testing.scenarios.run import prepare, run
from bridge.virtual.devices.obstacle import speed_of_sound_cm_s
from tests.testing.conftest import Build

AGENT = """
version: 1
node: pi-1
sensors:
  hall: {{kind: pir, pin: 17, warm_up: {warm_up}, hold: {hold}}}
virtual:
  hall: {{model: hc-sr501}}
"""


def names(house: House) -> list[str | None]:
    return [event.name for event in house.pi("pi-1").sensor("hall").events]


def test_in_a_house_it_has_warmed_up_when_the_test_begins_and_holds_its_output(build: Build) -> None:
    house = build(None, AGENT.format(warm_up="60s", hold="0s"))
    hall = house.pi("pi-1").sensor("hall")
    hall.motion(for_="1s")
    assert names(house) == ["motion.detected"]
    house.advance("2.6s")
    assert names(house) == ["motion.detected", "motion.ended"]
    hall.motion(for_="1s")
    assert len(names(house)) == 2, "it is blind"
    house.advance("5s")
    hall.motion()
    assert names(house)[2:] == ["motion.detected"]


def test_the_agents_warm_up_swallows_the_pulses_and_without_one_they_are_events(build: Build) -> None:
    for warm_up, seen in (("60s", False), ("0s", True)):
        house = build(None, AGENT.format(warm_up=warm_up, hold="0s"))
        pi = house.pi("pi-1")
        pi.sensor("hall").drive("power-on")
        pi.restart()
        house.advance("2m")
        assert ("motion.detected" in names(house)) is seen


def test_the_agents_hold_makes_one_motion_of_the_pulses_of_somebody_who_stays(build: Build) -> None:
    agent = AGENT.replace("hc-sr501", "hc-sr501, retrigger: false")
    pulses, one = (build(None, agent.format(warm_up="60s", hold=hold)) for hold in ("0s", "10s"))
    for house in (pulses, one):
        house.pi("pi-1").sensor("hall").motion(for_="29s")
        house.advance("30s")
    assert names(pulses).count("motion.detected") == 6
    assert names(one) == ["motion.detected", "motion.ended"]


def test_a_stuck_one_keeps_its_level_while_its_life_goes_on(build: Build) -> None:
    house = build(None, AGENT.format(warm_up="60s", hold="0s"))
    hall = house.pi("pi-1").sensor("hall").motion().stuck().still()
    house.advance("1m")
    assert names(house) == ["motion.detected"]
    hall.unstuck()
    assert names(house) == ["motion.detected", "motion.ended"]


def test_a_power_cut_makes_it_warm_up_again_and_see_nothing_until_then(build: Build) -> None:
    house = build(None, AGENT.format(warm_up="0s", hold="0s"))
    hall = house.pi("pi-1").sensor("hall").power_on()
    house.advance("59s")
    of_nothing = names(house)
    assert "motion.detected" in of_nothing
    hall.motion()
    assert names(house) == of_nothing
    house.advance("1s")
    assert names(house) == [*of_nothing, "motion.detected"]


PARTS = """
version: 1
node: pi-1
sensors:
  hall: {kind: pir, pin: 17, warm_up: 0s}
  porch: {kind: pir, pin: 18, warm_up: 0s}
  boiler: {kind: thermometer, sensor: ds18b20, device: 28-0316a2795cff}
  cpu: {kind: thermometer, sensor: cpu}
  gate: {kind: laser-tripwire, wiring: mcp3008, channel: 0}
  rc-gate: {kind: laser-tripwire, wiring: rc, pin: 22}
  plain-gate: {kind: laser-tripwire, pin: 27}
virtual:
  hall: {model: hc-sr501}
  gate: {model: ldr}
  rc-gate: {model: ldr}
"""


def test_the_light_on_a_resistor_decides_by_its_divider_and_its_capacitor(build: Build) -> None:
    """10 kohm at 10 lux and gamma 0.7: half of the divider's voltage, or half of 10 ms for 1 uF up to 2 V."""
    pi = build(None, PARTS).pi("pi-1")
    for name, whole, broken in (("gate", 18, 9.9), ("rc-gate", 34, 24)):
        gate = pi.sensor(name).lux(whole)
        assert gate.events == []
        gate.lux(broken)
        assert [event.name for event in gate.events] == ["beam.broken"]
        gate.lux(whole)
        assert [event.name for event in gate.events] == ["beam.broken", "beam.restored"]


def test_power_and_light_belong_to_the_parts_that_know_them(build: Build) -> None:
    pi = build(None, PARTS).pi("pi-1")
    boiler = pi.sensor("boiler").power_on()
    assert [event.name for event in boiler.events] == ["sensor.fault"]
    for sensor in ("porch", "cpu"):
        with pytest.raises(TypeError, match=rf"{sensor} has no power_on\(\): only a ds18b20, or a pir with `model: "):
            pi.sensor(sensor).power_on()
    with pytest.raises(TypeError, match=r"plain-gate is a laser-tripwire and has no power_on\(\); it has break_beam"):
        pi.sensor("plain-gate").power_on()
    with pytest.raises(TypeError, match=r"plain-gate has no lux\(\): only a laser-tripwire with `model: ldr` has"):
        pi.sensor("plain-gate").lux(3)
    with pytest.raises(TypeError, match=r"hall is a pir and has no lux\(\); it has motion"):
        pi.sensor("hall").lux(3)


def test_a_scenario_tells_power_and_light_and_what_a_device_cannot_do_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "it.scenario.yaml"
    (tmp_path / "agent.yaml").write_text(PARTS, encoding="utf-8")
    seen = "version: 1\nmappings:\n  all: {select: [{event: motion.detected}, {event: beam.broken}], invoke: seen}\n"
    (tmp_path / "mappings.yaml").write_text(seen, encoding="utf-8")

    def failures(*steps: str) -> tuple[str, ...]:
        lines = "".join(f"  - {step}\n" for step in steps)
        path.write_text(f"version: 1\nname: it\nsteps:\n{lines}", encoding="utf-8")
        (scenario,) = read_scenarios(path)
        return run(prepare(scenario, Files(root=tmp_path))).failures

    assert not failures(
        "{sensor: hall, do: power-on}",
        "{at: 50s, sensor: hall, do: motion}",
        "expect: {sensor: hall, times: 0, within: 9s}",
        "{at: 59s, expect: {sensor: hall, times: 1, within: 2s}}",
        "{sensor: rc-gate, do: lux 24}",
        "expect: {sensor: rc-gate, times: 1, within: 1s}",
    )
    with pytest.raises(ConfigError, match=r"it\.scenario\.yaml:4:5: gate does not know '-3 lux'; it accepts break"):
        failures("{sensor: gate, do: lux -3}", "expect: none")


BOILER = """
version: 1
node: pi-1
sensors:
  boiler: {kind: thermometer, sensor: ds18b20, device: 28-0316a2795cff, every: 10s, delta: 0, precision: 2}
virtual:
  boiler: {model: ds18b20, resolution: BITS}
"""


@pytest.mark.parametrize(("model", "celsius"), [("", 20.0), ("virtual: {tank: {model: hc-sr04, celsius: 0}}\n", 0.0)])
def test_an_echo_takes_as_long_on_the_virtual_clock_as_sound_and_a_missing_one_as_long_as_it_is_waited_for(
    build: Build, model: str, celsius: float
) -> None:
    agent = f"version: 1\nnode: pi-1\nsensors: {{tank: {{kind: distance, trigger: 20, echo: 21, every: 10s}}}}\n{model}"
    house = build(None, agent)
    tank = house.pi("pi-1").sensor("tank").distance(343)
    measured = tank.last_event
    tank.drive("unplugged")
    house.advance("30s")
    fault = tank.last_event
    assert measured is not None
    assert fault is not None
    assert (measured.name, fault.name) == ("distance.changed", "sensor.fault")
    echo_s = 2 * 343 / speed_of_sound_cm_s(celsius)
    assert (fault.time - measured.time).total_seconds() % 10 == pytest.approx(0.1 - echo_s, abs=0.0005)


@pytest.mark.parametrize(("bits", "told", "took_s"), [("12", 21.31, 0.75), ("9", 21.5, 0.095)])
def test_a_conversion_takes_its_time_on_the_virtual_clock_and_an_event_is_as_late(
    build: Build, bits: str, told: float, took_s: float
) -> None:
    house = build(None, BOILER.replace("BITS", bits))
    pi = house.pi("pi-1")
    boiler = pi.sensor("boiler").temperature(30).temperature(21.3)
    measured = boiler.events[-1]
    assert measured.data["value"] == told
    pi.board.drive_now("boiler", "missing")
    house.advance("10s")
    fault = boiler.events[-1]
    assert fault.name == "sensor.fault"
    # Who is not there is found missing at once, when the reading begins.
    assert (fault.time - measured.time).total_seconds() % 10 == pytest.approx(10 - took_s, abs=0.001)


def test_a_thermometer_slower_than_its_timeout_is_at_fault_without_anybody_waiting(build: Build) -> None:
    house = build(None, BOILER.replace("BITS", "12").replace("delta: 0", "delta: 0, timeout: 1s"))
    boiler = house.pi("pi-1").sensor("boiler")
    boiler.drive("slow")
    house.advance("10s")
    assert boiler.events[-1].name == "sensor.fault"
    boiler.temperature(30)
    house.advance("1m")
    assert boiler.events[-1].data["value"] == 30


WAVERING = """
version: 1
node: pi-1
sensors:
  cpu: {kind: thermometer, sensor: cpu, every: 1s, delta: 0, precision: 3}
  bell: {kind: button, pin: 17}
"""
ALL = "version: 1\nmappings:\n  all: {select: {sensor: cpu}, invoke: seen}\n"


def values(house: House) -> list[object]:
    return [event.data["value"] for event in house.pi("pi-1").sensor("cpu").events]


def test_noise_is_around_the_last_number_the_same_in_every_run_and_as_a_scenario_says_it(
    build: Build, tmp_path: Path
) -> None:
    houses = [build(ALL, WAVERING) for _ in range(2)]
    for house in houses:
        house.pi("pi-1").sensor("cpu").temperature(50).noise(0.5, for_="30s")
    wavered = values(houses[0])
    assert wavered == values(houses[1])
    assert wavered[0] == wavered[-1] == 50
    assert len(wavered) == 32
    assert all(49.5 <= value <= 50.5 for value in wavered if isinstance(value, float))
    houses[1].pi("pi-1").sensor("cpu").noise(0.5, for_="30s")
    assert values(houses[1])[32:63] != wavered[1:32], "the next time it is another one"

    path = tmp_path / "it.scenario.yaml"
    expected = "".join(
        f"  - {{at: 2s, expect: {{function: seen, value: {value}, within: 40s}}}}\n" for value in wavered[1:-1]
    )
    path.write_text(
        "version: 1\nname: it\nsteps:\n  - {sensor: cpu, do: temperature 50}\n"
        f"{expected}  - {{at: 2s, sensor: cpu, do: noise 0.5 for 30s}}\n",
        encoding="utf-8",
    )
    (tmp_path / "agent.yaml").write_text(WAVERING, encoding="utf-8")
    (tmp_path / "mappings.yaml").write_text(ALL, encoding="utf-8")
    (scenario,) = read_scenarios(path)
    assert not run(prepare(scenario, Files(root=tmp_path))).failures


def test_a_median_takes_noise_out_that_is_an_event_without_it(build: Build) -> None:
    plain, smooth = (build(None, WAVERING.replace("delta: 0", f"delta: 0.4{more}")) for more in
                     ("", ", median: 9"))  # fmt: skip
    for house in (plain, smooth):
        house.pi("pi-1").sensor("cpu").temperature(50).noise(0.5, for_="1m")
    assert len(values(plain)) > 2 * len(values(smooth))


def test_what_has_no_number_has_no_noise(build: Build) -> None:
    pi = build(None, WAVERING).pi("pi-1")
    with pytest.raises(TypeError, match=r"bell is a button and has no noise\(\)"):
        pi.sensor("bell").noise(1, for_="1s")
    with pytest.raises(ValueError, match="some amplitude for some time"):
        pi.sensor("cpu").noise(1, for_=0)
