from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from bridge.agent.pins import Pin
from bridge.agent.sensors.settings import Limits
from bridge.agent.settings import AgentSettings
from bridge.config import load
from bridge.errors import ConfigError

Load = Callable[[str], AgentSettings]

KINDS = "pir, laser-tripwire, thermometer, button, digital, analog, distance"

CONFIG = Path(__file__).parents[2] / "config"


def problems(load_agent: Load, text: str) -> list[str]:
    """What is wrong with a file, each as `line: key: message`."""
    with pytest.raises(ConfigError) as raised:
        load_agent(text)
    return [f"{each.line}: {each.key}: {each.message}" for each in raised.value.problems]


@pytest.mark.parametrize("name", ["agent", "agent-pi-1", "agent-pi-2"])
def test_an_example_file_is_valid(name: str) -> None:
    settings = load(CONFIG / f"{name}.yaml", AgentSettings)

    assert settings.sensors


def test_what_the_example_shows_as_a_default_is_the_default(tmp_path: Path) -> None:
    text = (CONFIG / "agent.yaml").read_text(encoding="utf-8")
    shown = re.sub(r"^# (site|root|state_dir|outbox|http|clock):", r"\1:", text, flags=re.MULTILINE)
    shown = shown.replace("  # one_wire:", "  one_wire:")
    (tmp_path / "shown.yaml").write_text(shown, encoding="utf-8")
    assert shown != text

    assert load(tmp_path / "shown.yaml", AgentSettings) == load(CONFIG / "agent.yaml", AgentSettings)


def test_every_sensor_and_output_that_the_example_comments_out_is_valid(tmp_path: Path) -> None:
    text = (CONFIG / "agent.yaml").read_text(encoding="utf-8")
    shown = re.sub(r"^  # ([a-z-]+: \{)", r"  \1", text, flags=re.MULTILINE)
    (tmp_path / "shown.yaml").write_text(re.sub(r"^  tls:.*$", "", shown, flags=re.MULTILINE), encoding="utf-8")

    settings = load(tmp_path / "shown.yaml", AgentSettings)

    assert set(settings.sensors) == {
        "front-door", "gate", "window", "boiler", "greenhouse", "cpu", "doorbell", "cellar-water", "soil", "water-tank",
    }  # fmt: skip
    assert set(settings.outputs) == {"porch-light", "doorbell-buzzer", "siren"}


def test_a_pin_is_named_by_number_or_by_its_place_on_the_header(load_agent: Load) -> None:
    settings = load_agent("""
        version: 1
        node: pi-1
        sensors:
          a: {kind: button, pin: 17}
          b: {kind: button, pin: gpio18}
          c: {kind: button, pin: BCM27}
          d: {kind: button, pin: BOARD15}
          e: {kind: button, pin: "J8:16"}
        """)

    pins = [getattr(sensor, "pin", None) for sensor in settings.sensors.values()]
    assert pins == [Pin(17), Pin(18), Pin(27), Pin(22), Pin(23)]


def test_every_mistake_is_told_at_once_with_its_line(load_agent: Load) -> None:
    found = problems(
        load_agent,
        """
        version: 1
        node: Pi 1
        pins: {factory: lgpoi}
        sensors:
          a: {kind: pir, pin: 28}
          b: {kind: pri, pin: 17}
          c: {kind: button, pin: BOARD1}
          d: {kind: thermometer, sensor: ds18b20, every: 100ms, low: 70, high: 60}
          e: {kind: laser-tripwire, wiring: mcp3008, pin: 5}
          f: {kind: digital, pin: seven}
          g: {kind: analog, channel: 8}
          h: {kind: pir, pin: 22, warm_up: 60}
          i: {kind: digital, pin: 2}
        outputs:
          siren: {kind: relay, pin: 24}
        """,
    )

    assert found == [
        "2: node: must be lower-case letters, digits and hyphens, at most 63, not starting with a hyphen, not 'Pi 1'",
        "3: pins.factory: must be one of auto, lgpio, rpigpio, pigpio, native, mock, not 'lgpoi'; did you mean lgpio?",
        "5: sensors.a.pin: there is no GPIO28; the header has GPIO0 to GPIO27",
        f"6: sensors.b.kind: must be one of {KINDS}, not 'pri'; did you mean pir?",
        "7: sensors.c.pin: place 1 of the header is no GPIO (power, ground or none)",
        "8: sensors.d.device: is missing; sensor: ds18b20 needs it",
        "8: sensors.d.every: must be at least 1s; a DS18B20 needs 750 ms for a reading",
        "8: sensors.d.high: is too close to low: 70 for a hysteresis of 1",
        "9: sensors.e.channel: is missing; wiring: mcp3008 needs it",
        "9: sensors.e.pin: does not belong to wiring: mcp3008",
        "10: sensors.f.pin: must be a pin such as 17, GPIO17 or BOARD11, not 'seven'",
        "11: sensors.g.channel: must be 0 to 7, not 8",
        "12: sensors.h.warm_up: needs a unit: write one such as 30s, not 60",
        "13: sensors.i.pull: GPIO2 has a pull-up resistor on the board: write pull: up, or use another pin",
        "15: outputs.siren.max_on: is missing",
    ]


def test_pins_channels_and_buses_are_not_used_twice(load_agent: Load) -> None:
    found = problems(
        load_agent,
        """
        version: 1
        node: pi-1
        sensors:
          hall: {kind: pir, pin: 17}
          stairs: {kind: pir, pin: BOARD11}
          soil: {kind: analog, channel: 3}
          lamp: {kind: analog, channel: 3, chip_select: 1}
          greenhouse: {kind: thermometer, sensor: tmp36, channel: 3}
          door: {kind: button, pin: 8}
          boiler: {kind: thermometer, sensor: ds18b20, device: 28-0316a2795cff}
          flow: {kind: thermometer, sensor: ds18b20, device: 28-0316a2795cfe}
          window: {kind: digital, pin: 4}
          tank: {kind: distance, trigger: 20, echo: 20}
        outputs:
          siren: {kind: buzzer, pin: 17}
          tank: {kind: led, pin: 25}
        """,
    )

    assert found == [
        "5: sensors.stairs.pin: GPIO17 is already used by sensors.hall.pin",
        "8: sensors.greenhouse.channel: channel 3 of the MCP3008 on CE0 is already used by sensors.soil.channel",
        "9: sensors.door.pin: GPIO8 belongs to the SPI bus, which sensors.soil uses",
        "12: sensors.window.pin: GPIO4 belongs to the 1-Wire bus, which sensors.boiler uses",
        "13: sensors.tank.echo: GPIO20 is already used by sensors.tank.trigger",
        "15: outputs.siren.pin: GPIO17 is already used by sensors.hall.pin",
        "16: outputs.tank: a sensor has this name already",
    ]


def test_a_bus_that_needs_a_pin_in_use_says_so(load_agent: Load) -> None:
    assert problems(
        load_agent,
        """
        version: 1
        node: pi-1
        pins: {one_wire: 5}
        sensors:
          door: {kind: button, pin: 5}
          boiler: {kind: thermometer, sensor: ds18b20, device: 28-0316a2795cff}
        """,
    ) == ["6: sensors.boiler.device: the 1-Wire bus needs GPIO5, which sensors.door.pin uses"]


def test_a_capacitor_wiring_is_refused_with_the_driver_that_cannot_read_it(load_agent: Load) -> None:
    text = """
        version: 1
        node: pi-1
        pins: {factory: lgpio}
        sensors:
          gate: {kind: laser-tripwire, wiring: rc, pin: 5}
        """
    (found,) = problems(load_agent, text)

    assert found.startswith("5: sensors.gate.wiring: wiring: rc does not work with the pin driver lgpio")
    assert "wiring: mcp3008" in found
    load_agent(text.replace("lgpio", "pigpio"))


@pytest.mark.parametrize(
    ("sensor", "message"),
    [
        ("{kind: analog, channel: 0, factor: 0.0}", "factor: must not be 0"),
        ("{kind: analog, channel: 0, minimum: 2, maximum: 1}", "minimum: is above maximum: 1"),
        ("{kind: analog, channel: 0, maximum_rate: 0}", "maximum_rate: must be above 0; leave it out for no limit"),
        (
            "{kind: analog, channel: 0, every: 1m, maximum_silence: 1s}",
            "maximum_silence: must not be shorter than minimum_interval and every",
        ),
        ("{kind: thermometer, sensor: cpu, channel: 2}", "channel: does not belong to sensor: cpu"),
        (
            "{kind: thermometer, sensor: ds18b20, device: 10-0316a2795cff}",
            "device: must be an address such as 28-0316a2795cff, not '10-0316a2795cff'",
        ),
        (
            "{kind: distance, trigger: 5, echo: 6, near: 399}",
            "near: it could never be clear again: near + hysteresis is beyond the reach of 400 cm",
        ),
        (
            "{kind: laser-tripwire, wiring: mcp3008, channel: 0, broken_below: 0.95}",
            "hysteresis: the beam could never be restored: 0.95 + 0.1 is above 1",
        ),
    ],
)
def test_keys_that_contradict_each_other_are_told(load_agent: Load, sensor: str, message: str) -> None:
    assert problems(load_agent, f"version: 1\nnode: pi-1\nsensors:\n  it: {sensor}\n") == [f"4: sensors.it.{message}"]


def test_a_revision_belongs_to_mock_pins(load_agent: Load) -> None:
    text = "version: 1\nnode: pi-1\npins: {{factory: {factory}, revision: {revision}}}\n"

    assert problems(load_agent, text.format(factory="lgpio", revision="d04170")) == [
        "3: pins.revision: is for factory: mock; a real board knows its own"
    ]
    assert problems(load_agent, text.format(factory="mock", revision="pi5")) == [
        "3: pins.revision: must be a revision code in hexadecimal such as d04170, not 'pi5'"
    ]


def test_alarms_survive_a_power_cut_by_default(load_agent: Load) -> None:
    settings = load_agent("""
        version: 1
        node: pi-1
        sensors:
          a: {kind: pir, pin: 5}
          b: {kind: pir, pin: 6, priority: alarm}
          c: {kind: pir, pin: 12, priority: alarm, durability: process}
        """)

    assert [sensor.committed_to for sensor in settings.sensors.values()] == ["process", "power", "process"]


def test_the_configuration_hash_changes_with_the_settings_and_hides_the_password(load_agent: Load) -> None:
    def hash_of(password: str, pin: int) -> str:
        mqtt = f"mqtt: {{username: pi, password: {password}}}"
        sensors = f"sensors: {{a: {{kind: pir, pin: {pin}}}}}"
        return load_agent(f"version: 1\nnode: pi-1\n{mqtt}\n{sensors}\n").configuration_hash()

    assert hash_of("one", 17) == hash_of("two", 17) != hash_of("one", 18)


def test_the_status_server_can_be_left_out(load_agent: Load) -> None:
    assert load_agent("version: 1\nnode: pi-1\nhttp: null\n").http is None


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    (tmp_path / "agent.yaml").write_text("version: 1\nnode: pi-1\nhttp: {port: 1}\n", encoding="utf-8")
    environ = {
        "GPIO_BRIDGE_NODE": "pi-9",
        "GPIO_BRIDGE_HTTP_PORT": "8099",
        "GPIO_BRIDGE_PINS_FACTORY": "mock",
        "GPIO_BRIDGE_PINS_ONE_WIRE": "GPIO5",
        "GPIO_BRIDGE_OUTBOX_MAX_AGE": "1d",
    }

    settings = load(tmp_path / "agent.yaml", AgentSettings, environ=environ)

    assert settings.http is not None
    assert (settings.node, settings.http.port, settings.pins.factory) == ("pi-9", 8099, "mock")
    assert (settings.pins.one_wire, settings.outbox.max_age_s) == (Pin(5), 86400)


def test_a_model_that_cannot_be_its_sensor_is_told_with_what_it_is_for(load_agent: Load) -> None:
    text = """version: 1
node: pi-1
sensors:
  hall: {kind: pir, pin: 17}
  cpu: {kind: thermometer, sensor: cpu}
  gate: {kind: laser-tripwire, wiring: rc, pin: 27}
virtual:
  hall: {model: hc-sr04}
  cpu: {model: mcp3008}
  attic: {model: hc-sr501}
  gate: {model: ldr, dark_lux: 2000}
  door: {model: mcp3008, noise: 17}
"""
    assert problems(load_agent, text) == [
        "8: virtual.hall.model: hc-sr04 is for kind: distance",
        "9: virtual.cpu.model: mcp3008 is for kind: analog, and what else is on a channel of the converter",
        "10: virtual.attic: there is no such sensor; there are hall, cpu, gate",
        "11: virtual.gate.dark_lux: must be below bright_lux: 1000",
        "12: virtual.door: there is no such sensor; there are hall, cpu, gate",
        "12: virtual.door.noise: must be 0 to 16, not 17",
    ]


def test_models_are_no_part_of_a_real_nodes_configuration(load_agent: Load) -> None:
    text = "version: 1\nnode: pi-1\nsensors: {hall: {kind: pir, pin: 17}}\n"
    plain, modelled = load_agent(text), load_agent(f"{text}virtual: {{hall: {{model: hc-sr501}}}}\n")
    assert modelled.virtual
    assert plain.configuration_hash() == modelled.configuration_hash()


def test_what_is_expected_of_a_sensor_is_its_settings_word_and_else_its_kind_s(load_agent: Load) -> None:
    settings = load_agent("""
        version: 1
        node: pi-1
        sensors:
          hall: {kind: pir, pin: 17}
          door: {kind: digital, pin: 18, expect: {silent: 2d, stuck: 8h, flapping: 10}}
          attic: {kind: thermometer, sensor: cpu, maximum_silence: 15m, expect: {flapping: 0}}
          cellar: {kind: pir, pin: 22, expect: {stuck: 0s}}
        """)

    assert {name: sensor.limits for name, sensor in settings.sensors.items()} == {
        "hall": Limits(silent_s=0, stuck_s=3600, flapping=60),
        "door": Limits(silent_s=172800, stuck_s=28800, flapping=10),
        "attic": Limits(silent_s=1800, stuck_s=0, flapping=0),
        "cellar": Limits(silent_s=0, stuck_s=0, flapping=60),
    }
