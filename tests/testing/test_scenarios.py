"""Scenarios: what their files may say, what each mistake is told as, and what they show of a house."""

from __future__ import annotations

from pathlib import Path

import pytest

from bridge.agent.models import HcSr501, Ldr, ModelSettings
from bridge.agent.sensors import SensorSettings
from bridge.agent.settings import AgentSettings
from bridge.config import compose, decode
from bridge.errors import ConfigError
from bridge.testing import Files
from bridge.testing.functions import Function
from bridge.testing.scenarios.document import find_scenarios, read_scenarios
from bridge.testing.scenarios.run import Result, prepare, run
from bridge.testing.scenarios.steps import scheduled
from bridge.testing.scenarios.words import MEANINGS, PARTS, Drive, answer, drives, forms
from bridge.virtual.contact import Contact
from tests.testing import conftest as house
from tests.testing.conftest import NIGHT

AGENT = house.AGENT.replace(
    "outputs:",
    """  gate: {kind: laser-tripwire, pin: 27}
  adc-gate: {kind: laser-tripwire, wiring: mcp3008, channel: 3}
  cpu: {kind: thermometer, sensor: cpu, every: 10s}
  tank: {kind: distance, trigger: 20, echo: 21, every: 10s, near: 20}
  soil: {kind: analog, channel: 2, every: 10s}
outputs:""",
)
MAPPINGS = f"""{house.MAPPINGS}
  bell:
    select: {{event: button.pressed}}
    invoke: {{function: ring, timeout: 5s}}
    retry: {{attempts: 2, first: 1s, max: 10s}}
    on_failure: complain
  too-hot:
    select: {{event: temperature.high}}
    for: 5m
    invoke: cool
  lamp:
    select: {{topic: zigbee2mqtt/+}}
    when: "payload.state == 'ON'"
    invoke: {{function: light, payload: data}}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with an agent and mappings, and where we stand."""
    (tmp_path / "agent.yaml").write_text(AGENT, encoding="utf-8")
    (tmp_path / "mappings.yaml").write_text(MAPPINGS, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def written(*steps: str, head: str = f"name: it\nstarts: {NIGHT}") -> Path:
    """A scenario file with these steps; the first stands in line 5."""
    path = Path("it.scenario.yaml")
    lines = "\n".join(f"  - {step}" for step in steps)
    path.write_text(f"version: 1\n{head}\nsteps:\n{lines}\n", encoding="utf-8")
    return path


def ran(*steps: str, head: str = f"name: it\nstarts: {NIGHT}") -> Result:
    """What came of a scenario with these steps."""
    (scenario,) = read_scenarios(written(*steps, head=head))
    return run(prepare(scenario, Files(root=Path.cwd())))


def problems(*steps: str, head: str = f"name: it\nstarts: {NIGHT}") -> list[str]:
    """What is told of such a file."""
    with pytest.raises(ConfigError) as caught:
        ran(*steps, head=head)
    return [str(problem) for problem in caught.value.problems]


def sensors() -> dict[str, SensorSettings]:
    return dict(decode(compose(AGENT, "agent.yaml"), AgentSettings, base=Path()).sensors)


# Words


@pytest.mark.parametrize(
    ("sensor", "text", "series"),
    [
        ("front-door", "motion", [(0, "motion")]),
        ("front-door", "motion  for 20s", [(0, "motion"), (20, "still")]),
        ("front-door", "still", [(0, "still")]),
        ("gate", "break beam for 300ms", [(0, "break"), (0.3, "restore")]),
        ("gate", "restore beam", [(0, "restore")]),
        ("doorbell", "press for 1m30s", [(0, "press"), (90, "release")]),
        ("water", "on", [(0, "on")]),
        ("water", "off", [(0, "off")]),
        ("boiler", "temperature -3.5", [(0, "-3.5")]),
        ("boiler", "ramp 20 to 80 over 30s", [(0, "20"), (10, "40"), (20, "60"), (30, "80")]),
        ("boiler", "ramp 20 to 10 over 1s", [(0, "20"), (1, "10")]),
        ("boiler", "crc", [(0, "crc")]),
        ("tank", "distance 15", [(0, "15")]),
        ("tank", "unplugged", [(0, "unplugged")]),
        ("soil", "value 0.25", [(0, "0.25")]),
    ],
)
def test_words_of_a_sensor_become_drives(sensor: str, text: str, series: list[tuple[float, str]]) -> None:
    found = drives(sensors()[sensor], text, Contact(sensor))
    assert [drive.word for drive in found] == [word for _, word in series]
    assert [drive.after_s for drive in found] == pytest.approx([after_s for after_s, _ in series])


def test_bounces_begin_and_end_as_written_and_are_those_of_the_contact_as_it_stands() -> None:
    contact, settings = Contact("doorbell"), sensors()["doorbell"]
    made = drives(settings, "press bouncing for 5ms", contact)
    down, up, chattering = "press bouncing for 5ms", "release bouncing for 5ms", "bounce for 5ms"
    assert (made[0], made[-1]) == (Drive(0.0, "press", down), Drive(0.005, "press", down))
    edges = Contact("doorbell").bounces(0.005, active=True)
    assert [(drive.after_s, drive.word == "press") for drive in made] == [(edge.after_s, edge.active) for edge in edges]
    broken = drives(settings, up, contact)
    assert (broken[0], broken[-1]) == (Drive(0.0, "release", up), Drive(0.005, "release", up))
    chatter = drives(settings, chattering, contact)
    assert (chatter[0], chatter[-1]) == (Drive(0.0, "press", chattering), Drive(0.005, "release", chattering))
    assert contact.changes == len(made) + len(broken) + len(chatter)


def test_a_burst_of_a_beam_is_told_to_its_device_in_the_device_s_own_words() -> None:
    found = drives(sensors()["gate"], "break beam bouncing for 20ms", Contact("gate"))
    assert {drive.burst for drive in found} == {"break bouncing for 20ms"}


def test_a_long_ramp_has_a_hundred_steps_and_ends_where_it_says() -> None:
    found = drives(sensors()["boiler"], "ramp 0 to 50 over 1d", Contact("boiler"))
    assert (len(found), found[-1]) == (101, Drive(86400.0, "50"))


@pytest.mark.parametrize(
    ("sensor", "text"),
    [
        ("front-door", "press"),
        ("front-door", "motion for"),
        ("front-door", "motion for long"),
        ("front-door", "motion for 0s"),
        ("front-door", "still for 5s"),
        ("gate", "break"),
        ("boiler", "temperature warm"),
        ("boiler", "temperature"),
        ("boiler", "ramp 20 to 80"),
        ("boiler", "unplugged"),
        ("cpu", "crc"),
        ("tank", "temperature 3"),
        ("doorbell", "bounce"),
        ("doorbell", "bounce for 0s"),
        ("doorbell", "motion bouncing for 5ms"),
        ("doorbell", "bouncing for 5ms"),
        ("boiler", "bounce for 5ms"),
        ("doorbell", "click"),
    ],
)
def test_words_that_a_sensor_does_not_take_are_refused(sensor: str, text: str) -> None:
    with pytest.raises(ValueError, match=r"it takes: |is not a duration|no time at all"):
        drives(sensors()[sensor], text, Contact(sensor))


def test_every_form_has_a_meaning_and_every_sensor_takes_what_it_lists() -> None:
    examples = {"TIME": "10s", "NUMBER": "20"}
    listed = set()
    for name, settings in sensors().items():
        for model in (None, MODELS.get(name)):
            for form in forms(settings, model):
                listed.add(form)
                text = form.replace("[", "").replace("]", "")
                for word, example in examples.items():
                    text = text.replace(word, example)
                assert drives(settings, text, Contact("it"), model)
    assert listed == MEANINGS.keys() | {form for part in PARTS.values() for form in part}


MODELS: dict[str, ModelSettings] = {"front-door": HcSr501(), "adc-gate": Ldr()}


def test_light_is_told_to_a_resistor_and_power_to_what_warms_up() -> None:
    assert drives(sensors()["adc-gate"], "lux 12.5", Contact("it"), Ldr()) == (Drive(0.0, "12.5 lux"),)
    assert drives(sensors()["front-door"], "power-on", Contact("it"), HcSr501()) == (Drive(0.0, "power-on"),)


@pytest.mark.parametrize(
    ("sensor", "text", "model"),
    [
        ("front-door", "power-on", None),
        ("front-door", "bounce for 5ms", HcSr501()),
        ("front-door", "motion bouncing for 5ms", HcSr501()),
        ("adc-gate", "lux 20", None),
        ("adc-gate", "lux bright", Ldr()),
        ("adc-gate", "break beam bouncing for 5ms", None),
        ("gate", "lux 20", None),
    ],
)
def test_words_are_refused_that_the_part_behind_the_sensor_does_not_take(
    sensor: str, text: str, model: ModelSettings | None
) -> None:
    with pytest.raises(ValueError, match="it takes: ") as refused:
        drives(sensors()[sensor], text, Contact(sensor), model)
    assert ("lux NUMBER" in str(refused.value)) is isinstance(model, Ldr)
    assert ("bouncing for TIME" in str(refused.value).partition("takes: ")[2]) is (
        model is None and sensor != "adc-gate"
    )


@pytest.mark.parametrize(
    ("text", "tells"),
    [
        ("503", [503, 503, 503]),
        ("503 times 2", [503, 503, 200]),
        ("404 after 2s times 1", [404, 200, 200]),
        ("well again", [200, 200, 200]),
    ],
)
def test_a_function_is_told_how_to_answer(text: str, tells: list[int]) -> None:
    function = Function("ring", lambda *_: pytest.fail("it is not run"))
    answer(text)(function)
    assert [function.take().status for _ in range(3)] == tells


@pytest.mark.parametrize("text", ["hangs", "unreachable", "unknown"])
def test_a_function_is_told_not_to_answer_well_so_many_times(text: str) -> None:
    function = Function("ring", lambda *_: pytest.fail("it is not run"))
    answer(f"{text} times 1")(function)
    first, second = function.take().what, function.take().what
    assert (first, second) == ({"hangs": "hang"}.get(text, text), "answer")


@pytest.mark.parametrize(
    "text",
    ["99", "600", "100", "5033", "503 times 0", "503 times two", "hangs after 2s", "sulks", "503 after x", "well"],
)
def test_other_answers_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"no way to answer|no status|only a status|is not a duration"):
        answer(text)


# Files


def test_steps_begin_together_but_for_expectations_and_what_they_say(folder: Path) -> None:
    path = written(
        "{sensor: front-door, do: motion for 20s}",
        "{broker: stop}",
        "{broker: start, after: 5s}",
        "expect: none within 1m",
        "{sensor: doorbell, do: press}",
        "expect: {function: ring, within: 2s}",
        "{sensor: gate, do: break beam, at: 66s}",
        "expect: ring",
        "{clock: jump -1h, after: 1s}",
    )
    (scenario,) = read_scenarios(path)
    assert [begins_s for begins_s, _ in scheduled(scenario.steps)] == [0, 0, 5, 5, 65, 65, 66, 66, 77]


@pytest.mark.parametrize(
    ("step", "told"),
    [
        ("{}", ":5:5: steps[0]: must have one of sensor, topic, function, node, *, expect; it has none of them"),
        ("{broker: stop, clock: jump 1h}", "steps[0]: must have one of sensor, *; it has broker and clock"),
        ("{sensr: gate, do: motion}", "steps[0].sensr: unknown key; did you mean sensor?"),
        ("{sensor: gate}", "steps[0].sensor: needs do beside it"),
        ("{broker: stop, do: motion}", "steps[0].do: does not belong to broker, but to sensor or node"),
        ("{function: ring}", "steps[0].function: needs answers beside it"),
        ("{sensor: gate, do: still, answers: 503}", "steps[0].answers: does not belong to sensor, but to function"),
        ("{function: ring, answers: sulks}", "steps[0].answers: 'sulks' is no way to answer; write one of STATUS, *"),
        ("{function: ring, answers: [503]}", "steps[0].answers: must be text, not a list"),
        ("{broker: explode}", "steps[0].broker: must be one of stop, start, forget, not 'explode'"),
        ("{dispatcher: stop}", "steps[0].dispatcher: must be one of kill, restart, not 'stop'"),
        ("{node: pi-1, do: dance}", "steps[0].do: must be one of offline, online, kill, restart, not 'dance'"),
        ("{clock: back}", "steps[0].clock: must be a jump such as `jump -1h` or `jump 30m`"),
        ("{clock: jump soon}", "steps[0].clock: 'soon' is not a duration; *"),
        ("{broker: stop, at: 5}", "steps[0].at: needs a unit: *"),
        ("{broker: stop, at: 5s, after: 1s}", "steps[0].after: cannot be said beside at"),
        ("expect: ring ring", "steps[0].expect: must be a function's name, `none` or `dead letter`, *"),
        ("expect: none times 2", "steps[0].expect: must be a function's name, `none` or `dead letter`, *"),
        ("expect: ring within soon", "steps[0].expect: 'soon' is not a duration; *"),
        ("expect: ring within 0s", "steps[0].expect: within 0s is no time at all"),
        ("expect: {functoin: ring}", "steps[0].expect.functoin: unknown key; did you mean function?"),
        ("expect: {times: -1}", "steps[0].expect.times: must be 0 to 100000, not -1"),
        ("expect: {dead_letter: true, event: x}", "steps[0].expect.event: cannot be asked of a dead letter; *"),
        ("{topic: zigbee2mqtt/lamp}", "steps[0].topic: needs payload beside it"),
        ("{topic: zigbee2mqtt/+, payload: a}", "steps[0].topic: the topic 'zigbee2mqtt/+' holds a wildcard"),
        ("{topic: 5, payload: a}", "steps[0].topic: must be text, not a number"),
        ("{topic: a, payload: a, qos: 2}", "steps[0].qos: must be 0 to 1, not 2"),
        ("{sensor: gate, do: still, payload: a}", "steps[0].payload: does not belong to sensor, but to topic"),
        ("just text", "steps[0]: must be a map, not text"),
    ],
)  # fmt: skip
def test_each_mistake_in_a_step_is_told_with_its_place(folder: Path, step: str, told: str) -> None:
    (found,) = problems(step, "expect: none")
    assert found.startswith("it.scenario.yaml:5:")
    beginning, _, end = told.partition("*")
    assert beginning in found
    assert found.endswith(end)


@pytest.mark.parametrize(
    ("head", "told"),
    [
        ("nam: it", "nam: unknown key; did you mean name?"),
        ("name: ''", "name: must not be empty"),
        ("name: it\nstarts: tonight", "starts: must be a moment such as 2026-11-22T23:10:00+00:00: *"),
        ("name: it\nstarts: 2026-11-22T23:10:00", "starts: must be a moment *has no zone*"),
        ("name: it\nmappings: [a, b]", "mappings: must be a path, not a list"),
        ("name: it\nmappings: away.yaml", "3:11: mappings: there is no *away.yaml"),
        ("name: it\nagents: [agent.yaml, away-*.yaml]", "3:22: agents: there is no *away-*.yaml"),
    ],
)
def test_each_mistake_of_a_scenario_is_told(folder: Path, head: str, told: str) -> None:
    found = "\n".join(problems("expect: none", head=head))
    for part in told.split("*"):
        assert part in found


def test_a_scenario_that_cannot_fail_is_a_mistake(folder: Path) -> None:
    assert problems("{broker: stop}") == [
        "it.scenario.yaml:5:3: steps: expects nothing, and so cannot fail; add a step with expect"
    ]


def test_a_step_that_is_wrong_is_told_alone(folder: Path) -> None:
    """Not that the scenario expects nothing, because its only expectation is wrong."""
    assert problems("{expct: ring, at: 5s}", "expect: ring within 1y", "broker: explode") == [
        "it.scenario.yaml:5:6: steps[0].expct: unknown key; did you mean expect?",
        "it.scenario.yaml:6:13: steps[1].expect: '1y' is not a duration; write one such as 250ms, 30s, 5m, 1h30m or 2d",
        "it.scenario.yaml:7:13: steps[2].broker: must be one of stop, start, forget, not 'explode'",
    ]


def test_time_does_not_go_back_on_a_time_line(folder: Path) -> None:
    found = problems("{broker: stop, at: 10s}", "{broker: start, after: 5s}", "{broker: stop, at: 12s}", "expect: none")
    assert found == ["it.scenario.yaml:7:24: steps[2].at: is before the step above it, which begins at 15s"]


def test_the_version_is_required(folder: Path) -> None:
    Path("it.scenario.yaml").write_text("name: it\nsteps: [{expect: none}]\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="version: is missing"):
        read_scenarios(Path("it.scenario.yaml"))


SEVERAL = """
version: 1
starts: 2026-11-22T12:00:00+00:00
scenarios:
  - name: by day
    steps:
      - {sensor: front-door, do: motion}
      - expect: none within 1m
  - name: by night
    starts: 2026-11-22T23:10:00+00:00
    steps:
      - {sensor: front-door, do: motion}
      - expect: intruder-alert
"""


def test_several_scenarios_of_a_file_share_what_they_do_not_say_themselves(folder: Path) -> None:
    path = Path("both.scenario.yaml")
    path.write_text(SEVERAL, encoding="utf-8")
    results = [run(prepare(one, Files(root=folder))) for one in read_scenarios(path)]
    assert [(one.scenario.name, one.passed, one.scenario.place) for one in results] == [
        ("by day", True, "both.scenario.yaml:5"),
        ("by night", True, "both.scenario.yaml:9"),
    ]


def test_two_scenarios_of_a_file_with_one_name_are_a_mistake(folder: Path) -> None:
    path = Path("both.scenario.yaml")
    path.write_text(SEVERAL.replace("by night", "by day"), encoding="utf-8")
    with pytest.raises(ConfigError, match=r":9:11: scenarios\[1\].name: is already the name of the scenario in line 5"):
        read_scenarios(path)
    path.write_text("version: 1\nscenarios: []\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="holds no scenario"):
        read_scenarios(path)


def test_files_that_a_scenario_names_start_from_its_folder(folder: Path) -> None:
    inner = folder / "tests"
    inner.mkdir()
    (inner / "a.yaml").write_text(AGENT.replace("pi-1", "pi-9"), encoding="utf-8")
    (inner / "m.yaml").write_text(MAPPINGS.replace("intruder-alert", "siren"), encoding="utf-8")
    text = (
        "version: 1\nname: it\nagents: a.yaml\nmappings: m.yaml\nstarts: 2026-11-22T23:10:00+00:00\n"
        "steps:\n  - {sensor: pi-9/front-door, do: motion}\n  - expect: siren\n"
    )
    for agents in ("a.yaml", "'[ab].yaml'", "[a.yaml]"):
        (inner / "it.scenario.yaml").write_text(text.replace("a.yaml", agents, 1), encoding="utf-8")
        (scenario,) = read_scenarios(inner / "it.scenario.yaml")
        assert run(prepare(scenario, Files(root=folder))).passed


def test_scenario_files_are_found_below_a_folder(folder: Path) -> None:
    for name in ("b/one.scenario.yaml", "a.scenario.yml", ".venv/x.scenario.yaml", "b/mappings.yaml"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).touch()
    assert find_scenarios([Path()]) == [Path("a.scenario.yml"), Path("b/one.scenario.yaml")]
    assert find_scenarios([Path("b/mappings.yaml"), Path("b")]) == [
        Path("b/mappings.yaml"),
        Path("b/one.scenario.yaml"),
    ]
    (folder / "empty").mkdir()
    with pytest.raises(ConfigError, match=r"empty: holds no file whose name ends with \.scenario\.yaml"):
        find_scenarios([Path("empty"), Path("b")])


# In a house


@pytest.mark.parametrize(
    ("step", "told"),
    [
        ("{sensor: cellar, do: motion}", "sensor: there is no sensor cellar; there are pi-1/front-door, pi-1/doorbell"),
        ("{sensor: pi-2/gate, do: motion}", "sensor: there is no sensor pi-2/gate; there are pi-1/front-door, "),
        (
            "{sensor: gate, do: motion}",
            "do: 'motion' is nothing that a laser-tripwire does; it takes: break beam [for TIME], restore beam, bounce",
        ),
        ("{topic: zigbee/lamp, payload: a}", "topic: no mapping selects zigbee/lamp; they select zigbee2mqtt/+"),
        ("{node: pi-7, do: offline}", "node: there is no node pi-7; there are pi-1"),
        ("{function: wring, answers: 503}", "function: no mapping invokes wring; they invoke intruder-alert, ring, "),
        ("expect: wring", "expect: no mapping invokes wring; they invoke intruder-alert, ring, complain, cool"),
        ("expect: {sensor: cellar, times: 0}", "expect: there is no sensor cellar; there are pi-1/front-door, pi-1/"),
        ("expect: {sensor: pi-2/gate}", "expect: there is no sensor pi-2/gate; there are pi-1/front-door, "),
        ("expect: {event: beam.broke}", "no event is called beam.broke; did you mean beam.broken?"),
        ("expect: {mapping: x}", "expect: there is no mapping x; there are intruder, bell, too-hot"),
        ("{sensor: boiler, do: temperature 500}", ": boiler does not know '500'; it accepts °C from -55 to 125, "),
    ],
)
def test_each_step_that_does_not_fit_the_house_is_told(folder: Path, step: str, told: str) -> None:
    (found,) = problems(step, "expect: none")
    assert found.startswith("it.scenario.yaml:5:")
    assert told in found


def test_everything_that_does_not_fit_is_told_at_once(folder: Path) -> None:
    found = problems("{sensor: cellar, do: motion}", "{sensor: gate, do: press}", "expect: wring")
    assert [line.split(":")[1] for line in found] == ["5", "6", "7"]


def test_a_name_that_several_sensors_have_needs_its_node(folder: Path) -> None:
    (folder / "agent-2.yaml").write_text(AGENT.replace("pi-1", "pi-2"), encoding="utf-8")
    (folder / "agent.yaml").rename(folder / "agent-1.yaml")
    (found,) = problems("{sensor: gate, do: break beam}", "expect: none")
    assert found.endswith("gate is the name of several sensors; write one of pi-1/gate, pi-2/gate")
    assert ran("{sensor: pi-2/doorbell, do: press}", "expect: {function: ring, sensor: pi-2/doorbell}").passed


def test_a_sensor_is_told_one_thing_at_a_time(folder: Path) -> None:
    found = problems(
        "{sensor: front-door, do: motion for 20s}", "{sensor: pi-1/front-door, do: still, after: 20s}", "expect: none"
    )
    said = "front-door is still at what line 5 says, until 20s; begin later, with at or after"
    assert found == [f"it.scenario.yaml:6:5: sensor: {said}"]


def test_a_scenario_needs_a_mapping_file(folder: Path) -> None:
    (folder / "mappings.yaml").unlink()
    (found,) = problems("expect: none")
    assert found.startswith("it.scenario.yaml:2:7: mappings: there is no mapping file: put it at mappings.yaml or ")


def test_a_dispatcher_is_killed_once(folder: Path) -> None:
    assert problems("{dispatcher: kill}", "{dispatcher: kill, after: 1s}", "expect: none") == [
        "it.scenario.yaml:6:5: the dispatcher is not running"
    ]


def test_an_agent_is_killed_once_and_what_it_had_accepted_fires_when_it_is_started(folder: Path) -> None:
    assert problems("{node: pi-1, do: kill}", "{node: pi-1, do: kill, after: 1s}", "expect: none") == [
        "it.scenario.yaml:6:5: the agent of pi-1 is not running"
    ]
    result = ran(
        "{node: pi-1, do: offline}",
        "{sensor: front-door, do: motion for 10s}",
        "{node: pi-1, do: kill, after: 1s}",
        "{node: pi-1, do: online}",
        "expect: none within 1m",
        "{node: pi-1, do: restart}",
        "expect: intruder-alert times 1 within 10s",
    )
    assert result.failures == ()


def test_every_fault_does_in_a_scenario_what_it_says(folder: Path) -> None:
    result = ran(
        "broker: stop",
        "{sensor: front-door, do: motion for 10s}",
        "{dispatcher: kill, after: 10s}",
        "expect: none within 1m",
        "broker: start",
        "dispatcher: restart",
        "expect: intruder-alert times 1 within 10s",
        "{node: pi-1, do: offline}",
        "{sensor: front-door, do: motion for 10s}",
        "expect: none within 1m",
        "{node: pi-1, do: online}",
        "expect: intruder-alert times 1 within 10s",
        "broker: forget",
        "{node: pi-1, do: restart, after: 5s}",
        "{sensor: front-door, do: motion for 10s, after: 3m}",
        "expect: intruder-alert times 1 within 10s",
        "clock: jump -12h",
        "{sensor: front-door, do: motion for 10s, after: 1m}",
        "expect: none within 1m",
        "clock: jump 12h",
        "{sensor: front-door, do: motion for 10s, after: 1m}",
        "expect: intruder-alert times 1 within 10s",
    )
    assert result.failures == ()


def test_functions_answer_as_they_are_told(folder: Path) -> None:
    result = ran(
        "{function: ring, answers: 503 times 1}",
        "{sensor: doorbell, do: press for 1s}",
        "expect: {mapping: bell, event: button.pressed, value: true, times: 1, within: 10s}",
        "{function: ring, answers: hangs}",
        "{sensor: doorbell, do: press for 1s}",
        "expect: dead letter within 1m",
        "{function: ring, answers: well again}",
        "{sensor: doorbell, do: press for 1s}",
        "expect: {dead_letter: true, function: ring, times: 0, within: 1m}",
    )
    assert result.failures == ()
    assert result.passed_s == 130


def test_another_device_publishes_and_what_is_retained_fires_for_nobody_who_comes_later(folder: Path) -> None:
    result = ran(
        "{topic: zigbee2mqtt/lamp, payload: {state: ON, brightness: 40}}",
        "expect: {function: light, mapping: lamp, times: 1, within: 1s}",
        '{topic: zigbee2mqtt/lamp, payload: \'{"state": "ON"}\', qos: 0, retain: true}',
        "expect: light times 1 within 1s",
        "{topic: zigbee2mqtt/lamp, payload: {state: OFF}}",
        "{topic: gpio-bridge/v1/home/nodes/pi-1/sensors/gate/event, payload: nonsense}",
        "expect: dead letter times 1 within 1s",
        "{topic: zigbee2mqtt/lamp, payload: twelve}",
        "expect: {dead_letter: true, mapping: lamp, within: 1s}",
        "dispatcher: kill",
        "{topic: zigbee2mqtt/lamp, payload: {state: ON}, after: 1s}",
        "{topic: zigbee2mqtt/lamp, payload: {state: ON}, qos: 0, after: 1s}",
        "dispatcher: restart",
        "expect: light times 1 within 10s",
    )
    assert result.failures == ()


def test_a_failure_says_what_a_mapping_said_to_the_message_of_another_device(folder: Path) -> None:
    result = ran("{topic: zigbee2mqtt/lamp, payload: {state: OFF}}", "expect: light within 1s")
    (failure,) = result.failures
    assert "when wants payload.state == 'ON', found false" in failure


def test_nobody_can_publish_where_no_broker_is(folder: Path) -> None:
    (problem,) = problems("broker: stop", "{topic: zigbee2mqtt/lamp, payload: a}", "expect: none")
    assert problem.startswith("it.scenario.yaml:6:5: nothing can be published to zigbee2mqtt/lamp now")


def test_a_ramp_goes_on_while_later_steps_begin(folder: Path) -> None:
    result = ran(
        "{sensor: boiler, do: ramp 20 to 90 over 10m}",
        "expect: none within 10m",
        "{sensor: doorbell, do: press for 1s, at: 1m}",
        "expect: ring within 1s",
        "expect: {function: cool, event: temperature.high, times: 1, within: 5m, }",
        "{broker: stop, at: 700s}",
        "expect: cool within 3m",
    )
    assert [failure.splitlines()[0] for failure in result.failures] == [
        "it.scenario.yaml:9: expected 1 invocation of cool for temperature.high within 5m, and there was none",
        "it.scenario.yaml:6: expected no invocation within 10m, and there was 1:",
    ]


def test_an_expectation_sees_what_happens_while_it_lasts_and_nothing_else(folder: Path) -> None:
    result = ran(
        "{sensor: doorbell, do: press for 1s}",
        "expect: ring times 1 within 5s",
        "expect: none within 5s",
        "{sensor: doorbell, do: press for 1s}",
        "expect: none within 5s",
    )
    (failure,) = result.failures
    assert failure.splitlines() == [
        "it.scenario.yaml:9: expected no invocation within 5s, and there was 1:",
        "  23:10:10.000 ring by bell, for pi-1/doorbell button.pressed True: succeeded 200",
    ]


@pytest.mark.parametrize("start_s", [0.0, 0.1, 3.3, 1234.7])
def test_what_is_due_when_an_expectation_ends_is_seen_by_it(folder: Path, start_s: float) -> None:
    (folder / "mappings.yaml").write_text(MAPPINGS.replace("    hours:", "    for: 10s\n    hours:"), encoding="utf-8")
    result = ran(
        f"{{sensor: front-door, do: motion, at: {start_s}s}}",
        "expect: intruder-alert times 1 within 10s",
        "expect: none within 10s",
    )
    assert result.failures == ()


def test_an_expectation_that_is_over_before_does_not_see_it(folder: Path) -> None:
    (folder / "mappings.yaml").write_text(MAPPINGS.replace("    hours:", "    for: 10s\n    hours:"), encoding="utf-8")
    (failure,) = ran("{sensor: front-door, do: motion}", "expect: intruder-alert within 9999ms").failures
    assert failure.splitlines()[1:] == ["  intruder: waits until 2026-11-22T23:10:10.000000Z"]


def test_a_failure_says_what_came_instead_and_what_each_mapping_said(folder: Path) -> None:
    result = ran(
        "{sensor: front-door, do: motion}",
        "{sensor: doorbell, do: press}",
        "expect: {function: intruder-alert, within: 2s}",
        "expect: {mapping: too-hot, value: 3, times: 2}",
        head="name: it\nstarts: 2026-11-22T12:00:00+00:00",
    )
    first, second = result.failures
    assert first.splitlines() == [
        "it.scenario.yaml:7: expected an invocation of intruder-alert within 2s, and there was none",
        "  instead:",
        "    12:00:00.000 ring by bell, for pi-1/doorbell button.pressed True: succeeded 200",
        "  intruder: hours wants 22:00-06:00 (UTC), found Sun 12:00 UTC",
    ]
    assert second.splitlines()[0] == (
        "it.scenario.yaml:8: expected 2 invocations by too-hot for 3 within 10s, and there was none"
    )
    assert second.splitlines()[1].startswith("  too-hot: select.event wants temperature.high, found ")
    assert "12:00:00.000  pi-1/doorbell button.pressed" in result.story


def test_a_failure_says_when_nothing_came_in_or_nobody_was_there_to_decide(folder: Path) -> None:
    (quiet,) = ran("expect: ring").failures
    assert quiet.endswith("and there was none\n  no event came in")
    (dead,) = ran("dispatcher: kill", "{sensor: doorbell, do: press}", "expect: ring").failures
    assert dead.endswith("and there was none\n  the dispatcher is not running")


def test_true_is_not_1_in_an_expectation(folder: Path) -> None:
    result = ran("{sensor: doorbell, do: press}", "expect: {function: ring, value: 1}")
    assert result.failures[0].startswith("it.scenario.yaml:6: expected an invocation of ring for 1 within 10s")


def test_two_runs_of_a_scenario_are_the_same(folder: Path) -> None:
    steps = ("{function: ring, answers: 503 times 1}", "{sensor: doorbell, do: press}", "expect: none within 1m")
    assert ran(*steps).story == ran(*steps).story


def test_our_own_scenarios_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    root = Path(__file__).parents[2]
    monkeypatch.chdir(root)
    scenarios = read_scenarios(Path("config/house.scenario.yaml"))
    assert len(scenarios) == 4
    for scenario in scenarios:
        assert run(prepare(scenario, Files(root=root))).failures == (), scenario.name
