"""A house from pins to functions, on its virtual clock: what passes, what waits, what dies and comes back."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from bridge.core.event import rfc3339
from bridge.errors import BridgeError, BrokenDecision, ConfigError
from bridge.testing import House
from tests.testing.conftest import AGENT, MAPPINGS, NIGHT, NOON, Build

START = datetime(2026, 11, 22, 23, 10, tzinfo=UTC)


def mappings(*lines: str) -> str:
    """A mapping file with one mapping, which has these keys besides."""
    keys = ("select: {sensor: front-door, event: motion.detected}", "invoke: hello", *lines)
    return "\n    ".join(("version: 1\nmappings:\n  it:", *keys)) + "\n"


def test_an_event_of_a_pin_invokes_the_function_that_its_mapping_names(build: Build) -> None:
    house = build()

    house.pi("pi-1").sensor("front-door").motion()

    invocation = house.invocations.only()
    assert (invocation.function, invocation.mapping, invocation.status) == ("intruder-alert", "intruder", 200)
    assert invocation.at == START
    assert invocation.event.name == "motion.detected"
    assert invocation.payload["data"]["value"] is True
    assert invocation.headers["Idempotency-Key"] == invocation.id == f"{invocation.event.id}:intruder"
    assert [attempt.number for attempt in invocation.attempts] == [1]
    assert invocation.outcome == "succeeded"


def test_what_was_found_at_the_start_belongs_to_nobodys_test(build: Build) -> None:
    house = build('version: 1\nmappings:\n  all: {select: {event: "*"}, cooldown: 1h, invoke: seen}\n')
    house.settle()
    house.invocations.none()
    assert house.events == []

    house.pi("pi-1").sensor("doorbell").press()

    assert house.invocations.only().event.sequence == 2


def test_time_stands_still_but_for_what_a_test_says(build: Build) -> None:
    house = build()
    house.settle()
    assert house.time.now() == START
    house.advance("10m")
    house.advance(1.5)
    house.advance(timedelta(minutes=1))
    assert house.time.now() == START + timedelta(minutes=11, seconds=1.5)


def test_a_killed_agent_loses_nothing_that_it_had_accepted_and_sees_nothing_until_it_is_started(build: Build) -> None:
    house = build('version: 1\nmappings:\n  all: {select: {event: "button.*"}, initial: always, invoke: seen}\n')
    pi, bell = house.pi("pi-1"), house.pi("pi-1").sensor("doorbell")
    pi.offline()
    for _ in range(3):
        bell.press()
        house.advance("1s")
        bell.release()
        house.advance("1s")
    waiting = pi.backlog
    assert waiting == 6
    house.invocations.none()

    pi.kill()
    bell.press()
    house.advance("1s")
    bell.release()
    with pytest.raises(BridgeError, match="the agent of pi-1 is not running"):
        house.agent("pi-1")
    pi.online()
    house.advance("1m")
    house.invocations.none()

    pi.restart()
    house.advance("1m")
    sequences = [one.event.sequence or 0 for one in house.invocations]
    assert sequences == list(range(sequences[0], sequences[0] + waiting))
    assert pi.backlog == 0
    bell.press()
    assert house.invocations[-1].event.sequence == sequences[-1] + 1


def test_what_a_killed_agent_had_not_committed_is_lost_and_found_again_at_its_start(build: Build) -> None:
    house = build('version: 1\nmappings:\n  all: {select: {event: "button.pressed"}, initial: always, invoke: seen}\n')
    house.settle()

    async def press_and_die() -> None:
        house.board("pi-1").drive_now("doorbell", "press")  # the edge is on its way to the loop, and no further
        house._programs.kill_agent("pi-1")

    house._complete(press_and_die())
    house.advance("1m")
    house.invocations.none()
    house.pi("pi-1").restart()
    house.advance("1m")
    assert house.invocations.only().event.initial is True


def test_what_a_killed_agent_had_just_committed_is_told_by_its_next_life(build: Build) -> None:
    house = build('version: 1\nmappings:\n  all: {select: {event: "button.pressed"}, initial: always, invoke: seen}\n')
    house.settle()
    agent = house.agent("pi-1")

    async def press_and_die() -> None:
        house.board("pi-1").drive_now("doorbell", "press")
        while agent.backlog == 0:  # noqa: ASYNC110 - the very turn of the loop is meant, in which it is accepted
            await asyncio.sleep(0)
        house._programs.kill_agent("pi-1")

    house._complete(press_and_die())
    house.pi("pi-1").restart()
    house.advance("1m")
    assert house.invocations.only().event.initial is False


def test_a_killed_agent_is_offline_for_its_mappings(build: Build) -> None:
    house = build(mappings("for: 10s"))
    house.pi("pi-1").sensor("front-door").motion()
    house.pi("pi-1").kill()
    house.advance("1m")
    house.invocations.none()
    assert "went offline" in house.happened()


def test_a_day_passes_in_seconds(build: Build) -> None:
    agent = "version: 1\nnode: pi-1\nsensors: {front-door: {kind: pir, pin: 17}}\n"
    house = build(MAPPINGS, agent)
    house.settle()
    began = time.process_time()
    house.time.set("2026-11-23T23:10:00+00:00")
    assert time.process_time() - began < 20
    assert house.time.now() == START + timedelta(days=1)


def test_for_is_waited_and_called_off_in_virtual_time(build: Build) -> None:
    house = build(mappings("for: 10m"))
    door = house.pi("pi-1").sensor("front-door")
    door.motion(for_="9m")
    house.advance("1h")
    house.invocations.none()
    assert "for wants motion.detected, found motion.ended" in house.why("it")

    began = house.time.now()
    door.motion()
    assert house.why("it").startswith("waits until 2026-11-23T00:29")
    house.advance("11m")

    assert house.invocations.only().at == began + timedelta(minutes=10)
    assert house.why("it") == "no longer waits, for wants motion.detected, found motion.ended"


def test_a_cooldown_is_over_when_its_time_is(build: Build) -> None:
    house = build(mappings("cooldown: 10m"))
    door = house.pi("pi-1").sensor("front-door")
    for _ in range(3):
        door.motion(for_="1s")
    assert len(house.invocations) == 1
    assert "cooldown wants 600 s apart" in house.why("it")
    house.advance("10m")
    door.motion()
    assert len(house.invocations) == 2


def test_the_filters_of_the_agent_are_those_of_production(build: Build) -> None:
    agent = """
version: 1
node: pi-1
sensors:
  front-door: {kind: pir, pin: 17, hold: 5s}
  water: {kind: digital, pin: 5, delayed_on: 2s}
"""
    house = build('version: 1\nmappings: {all: {select: {event: "*"}, invoke: seen}}\n', agent)
    pi = house.pi("pi-1")
    pi.sensor("water").on(for_="1s")
    house.invocations.none()
    pi.sensor("water").on(for_="3s")
    assert [event.name for event in pi.events] == ["digital.on", "digital.off"]
    for _ in range(3):
        pi.sensor("front-door").motion(for_="1s")
        house.advance("2s")
    house.advance("5s")
    assert [event.name for event in pi.sensor("front-door").events] == ["motion.detected", "motion.ended"]


def test_every_kind_of_sensor_sees_what_its_verb_does(build: Build) -> None:
    agent = """
version: 1
node: pi-2
sensors:
  gate: {kind: laser-tripwire, pin: 27}
  window: {kind: laser-tripwire, wiring: mcp3008, channel: 1}
  cellar: {kind: laser-tripwire, wiring: rc, pin: 6}
  greenhouse: {kind: thermometer, sensor: tmp36, channel: 0, every: 2s, high: 35, median: 3}
  cpu: {kind: thermometer, sensor: cpu, every: 2s, high: 80}
  boiler: {kind: thermometer, sensor: ds18b20, device: 28-0316a2795cff, every: 2s, high: 70}
  tank: {kind: distance, trigger: 20, echo: 21, every: 2s, near: 20}
  soil: {kind: analog, channel: 2, every: 2s}
  bell: {kind: button, pin: 22}
  contact: {kind: digital, pin: 5}
  hall: {kind: pir, pin: 17, warm_up: 0s}
"""
    house = build(None, agent)
    pi = house.pi("pi-2")
    for name in ("gate", "window", "cellar"):
        pi.sensor(name).break_beam().restore()
    pi.sensor("greenhouse").temperature(40)
    pi.sensor("cpu").temperature(85.5)
    pi.sensor("boiler").temperature(75)
    pi.sensor("tank").distance(10)
    pi.sensor("soil").value(0.5)
    pi.sensor("bell").press().release()
    pi.sensor("contact").on().off()
    pi.sensor("hall").motion().still()

    said = {name: [(event.name, event.data["value"]) for event in sensor.events] for name, sensor in pi.sensors.items()}
    for name in ("gate", "window", "cellar"):
        assert said[name] == [("beam.broken", True), ("beam.restored", False)]
    assert [name for name, _ in said["greenhouse"]] == ["temperature.changed", "temperature.high"]
    assert said["greenhouse"][1][1] == pytest.approx(40, abs=0.5)
    assert said["cpu"] == [("temperature.changed", 85.5), ("temperature.high", 85.5)]
    assert said["boiler"] == [("temperature.changed", 75.0), ("temperature.high", 75.0)]
    assert said["tank"] == [("distance.changed", 10.0), ("distance.near", 10.0)]
    assert said["soil"] == [("analog.changed", pytest.approx(0.5, abs=0.01))]
    assert said["bell"] == [("button.pressed", True), ("button.released", False)]
    assert said["contact"] == [("digital.on", True), ("digital.off", False)]
    assert said["hall"] == [("motion.detected", True), ("motion.ended", False)]
    assert pi.last_event is not None
    assert pi.last_event.sensor == "hall"


def test_a_ramp_tells_numbers_on_its_way_and_crosses_a_threshold_once(build: Build) -> None:
    house = build(None)
    boiler = house.pi("pi-1").sensor("boiler").ramp(20, 80, over="10m")
    names = [event.name for event in boiler.events]
    assert names.count("temperature.high") == 1
    numbers = [event.data["value"] for event in boiler.events if event.name == "temperature.changed"]
    assert numbers == sorted(numbers)
    assert len(numbers) > 30
    assert boiler.last_event is not None
    assert boiler.last_event.data["value"] == 80


def test_faults_of_a_device_are_told_as_in_the_world(build: Build) -> None:
    house = build(None)
    boiler = house.pi("pi-1").sensor("boiler")
    boiler.drive("missing")
    assert [event.name for event in boiler.events] == ["sensor.fault"]
    boiler.drive("21.5")
    house.advance("2m")
    assert [event.name for event in boiler.events][1] == "sensor.recovered"


def test_a_verb_of_another_kind_is_refused_with_those_there_are(build: Build) -> None:
    house = build()
    with pytest.raises(
        TypeError, match=r"front-door is a pir and has no press\(\); it has motion, still, power_on, bounce, "
    ):
        house.pi("pi-1").sensor("front-door").press()
    with pytest.raises(TypeError, match=r"doorbell is a button and has no ramp\(\)"):
        house.pi("pi-1").sensor("doorbell").ramp(1, 2, over="1s")
    with pytest.raises(TypeError, match=r"boiler is a thermometer and has no distance\(\)"):
        house.pi("pi-1").sensor("boiler").distance(3)
    with pytest.raises(LookupError, match="pi-1 has no sensor garage; it has front-door, doorbell, water, boiler"):
        house.pi("pi-1").sensor("garage")
    with pytest.raises(LookupError, match="there is no node pi-7; there are pi-1"):
        house.pi("pi-7")


def test_wall_time_jumps_without_a_timer_noticing(build: Build) -> None:
    house = build(mappings("retry: {attempts: 5, first: 1m, max: 1m}"))
    house.function("hello").answers(503, times=1)
    house.pi("pi-1").sensor("front-door").motion()
    house.time.jump("2027-06-01T00:00:00Z")
    assert len(house.invocations.only().attempts) == 1
    house.advance("1m")
    assert len(house.invocations.only().attempts) == 2
    with pytest.raises(ValueError, match="time does not go back"):
        house.time.set(NIGHT)
    with pytest.raises(ValueError, match="time does not go back"):
        house.time.advance(-1)
    with pytest.raises(ValueError, match=r"has no zone; write for example 2026-11-22T23:10:00\+00:00"):
        house.time.set("2026-11-22T23:10:00")


def test_what_happens_before_the_clock_is_set_is_corrected_afterwards(build: Build) -> None:
    house = build(mappings())
    house.time.jump("1970-01-01T00:00:40Z", synchronized=False)
    house.pi("pi-1").offline()
    house.pi("pi-1").sensor("front-door").motion()
    house.advance("5s")
    assert not house.time.synchronized
    house.time.jump(NIGHT)
    house.pi("pi-1").online()

    event = house.invocations.only().event
    assert event.timesynced
    assert abs(event.time - (START - timedelta(seconds=5))) < timedelta(seconds=0.2)


def test_a_node_without_its_cable_keeps_what_it_sees(build: Build) -> None:
    house = build(mappings())
    pi = house.pi("pi-1")
    pi.offline()
    for _ in range(3):
        pi.sensor("front-door").motion(for_="5s")
        house.advance("5s")
    house.invocations.none()
    assert pi.backlog == 6
    pi.online()
    assert house.invocations.functions() == ["hello"] * 3
    house.advance("3s")
    assert pi.backlog == 0


def test_a_node_that_goes_offline_calls_off_what_waits_for_it(build: Build) -> None:
    house = build(mappings("for: 1m"))
    house.pi("pi-1").sensor("front-door").motion()
    house.pi("pi-1").offline()
    house.advance("5m")
    house.invocations.none()
    assert "the node pi-1 went offline" in house.why("it")


def test_a_restarted_agent_tells_a_level_that_changed_meanwhile(build: Build) -> None:
    house = build("version: 1\nmappings: {all: {select: {sensor: doorbell}, invoke: seen}}\n")
    pi = house.pi("pi-1")
    pi.restart()
    house.advance("1m")
    house.invocations.none()

    pi.board.drive_now("doorbell", "press")  # while nobody has looked yet
    pi.restart()
    house.advance("1s")

    assert [event.initial for event in pi.sensor("doorbell").events] == [False]
    assert house.invocations.only().event.name == "button.pressed"


def test_a_broker_that_is_away_or_forgets_loses_nothing(build: Build) -> None:
    house = build(mappings())
    door = house.pi("pi-1").sensor("front-door")
    house.broker.stop()
    assert not house.broker.running
    door.motion(for_="1s")
    with pytest.raises(ConnectionError, match="nothing can be published to zigbee2mqtt/door now"):
        house.publish("zigbee2mqtt/door", "x")
    house.broker.start()
    assert len(house.invocations) == 1

    house.broker.forget()
    door.motion(for_="1s")
    house.advance("1m")
    assert len(house.invocations) == 2


def test_a_killed_dispatcher_comes_back_and_repeats_an_attempt_under_the_same_key(
    build: Build, caplog: pytest.LogCaptureFixture
) -> None:
    house = build(mappings())
    house.function("hello").hangs(times=1)
    house.pi("pi-1").sensor("front-door").motion()
    house.kill_dispatcher()
    assert house.invocations.only().outcome == "cut off"
    with pytest.raises(BridgeError, match="the dispatcher is not running"):
        house.why("it")
    house.pi("pi-1").sensor("front-door").still().motion()
    assert len(house.invocations) == 1

    house.advance("10s")
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []
    house.restart_dispatcher()

    first, second = house.invocations
    assert [attempt.status for attempt in first.attempts] == [None, 200]
    assert (first.outcome, second.outcome) == ("succeeded", "succeeded")
    house.advance("1m")
    assert [len(one.attempts) for one in house.invocations] == [2, 1]


def test_a_restarted_dispatcher_repeats_nothing_and_keeps_its_cooldowns(build: Build) -> None:
    house = build(mappings("cooldown: 1h"))
    house.pi("pi-1").sensor("front-door").motion(for_="1s")
    house.restart_dispatcher()
    house.pi("pi-1").sensor("front-door").motion()
    house.advance("1m")
    assert len(house.invocations.only().attempts) == 1
    assert "cooldown" in house.why("it")


def test_any_other_device_can_be_heard(build: Build) -> None:
    text = """
version: 1
mappings:
  contact:
    select: {topic: zigbee2mqtt/+}
    when: has(payload.contact) && payload.contact == false
    invoke: {function: seen, payload: data}
"""
    house = build(text)
    house.publish("zigbee2mqtt/door", {"contact": True})
    house.invocations.none()
    house.publish("zigbee2mqtt/door", '{"contact": false}')
    house.publish("zigbee2mqtt/door", b'{"contact": false}', retain=True)
    assert [one.payload["topic"] for one in house.invocations] == ["zigbee2mqtt/door"] * 2


def test_commands_move_outputs_down_to_their_pins(build: Build) -> None:
    house = build(None)
    siren = house.pi("pi-1").outputs["siren"]
    seen = [(siren.is_on, siren.pin_is_high)]
    siren.turn_on(for_="5s")
    seen.append((siren.is_on, siren.pin_is_high))
    house.advance("5s")
    seen.append((siren.is_on, siren.pin_is_high))
    siren.turn_on()
    siren.turn_off()
    seen.append((siren.is_on, siren.pin_is_high))
    siren.turn_on()
    house.advance("31s")
    seen.append((siren.is_on, siren.pin_is_high))
    assert seen == [(False, False), (True, True), (False, False), (False, False), (False, False)]


def test_another_mapping_file_is_in_force_at_once_and_a_bad_one_is_refused(build: Build) -> None:
    house = build()
    house.replace_mappings(mappings())
    house.pi("pi-1").sensor("front-door").motion(for_="1s")
    assert house.invocations.functions() == ["hello"]
    with pytest.raises(ConfigError, match=r"invoke: is missing"):
        house.replace_mappings("version: 1\nmappings:\n  it: {select: {event: x}}\n")
    house.pi("pi-1").sensor("front-door").motion()
    assert house.invocations.functions() == ["hello", "hello"]


def test_what_cannot_be_read_or_evaluated_is_a_dead_letter(build: Build) -> None:
    house = build(mappings("when: payload.nothing == 1"))
    house.pi("pi-1").sensor("front-door").motion()
    house.publish("gpio-bridge/v1/home/nodes/pi-1/sensors/front-door/event", "no event")
    house.advance("1s")
    first, second = house.dead_letters
    assert first["mapping"] == "it"
    assert "could not be evaluated" in first["reason"]
    assert second["mapping"] is None
    assert "could not be evaluated" in house.why("it")


def story(house: House) -> list[object]:
    """Everything that can differ between two runs."""
    door = house.pi("pi-1").sensor("front-door")
    house.function("hello").answers(503, times=2)
    for _ in range(5):
        door.motion(for_="1s")
    house.broker.stop()
    door.motion(for_="1s")
    house.broker.start()
    house.kill_dispatcher()
    door.motion(for_="1s")
    house.restart_dispatcher()
    house.advance("2m")
    return [
        (one.id, one.headers, one.body, [(made.number, rfc3339(made.at)) for made in one.attempts])
        for one in house.invocations
    ] + [house.happened(), [event.body for event in house.events]]


def test_two_runs_are_the_same_to_the_last_byte_and_another_seed_is_another_run(build: Build) -> None:
    first, second = story(build(mappings())), story(build(mappings()))
    assert first == second
    assert len(first) == 9
    assert story(build(mappings(), seed=1)) != first


@pytest.mark.parametrize("hash_seed", ["1", "2"])
def test_the_run_is_the_same_in_another_process(build: Build, tmp_path: Path, hash_seed: str) -> None:
    script = (
        "import sys; from pathlib import Path\n"
        "from bridge.testing import Files, House, find\n"
        "from tests.testing.conftest import AGENT, NIGHT\n"
        "from tests.testing.test_house import mappings, story\n"
        "house = House(find(Files(root=Path(sys.argv[1]), agents=(AGENT,), mappings=mappings())))\n"
        "house.time.set(NIGHT)\n"
        "print(repr(story(house))); house.close()"
    )
    ran = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)],
        env={**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        timeout=100,
        check=True,
    )
    assert ran.stdout.strip() == repr(story(build(mappings())))


def test_nothing_of_a_house_is_left_when_it_is_closed(build: Build) -> None:
    before = threading.active_count()
    house = build()
    house.pi("pi-1").sensor("front-door").motion()
    state = house._state
    assert threading.active_count() == before
    house.close()
    house.close()
    assert not state.exists()
    with pytest.raises(BridgeError, match="this house is closed"):
        house.advance(1)
    with pytest.raises(BridgeError, match="this house is closed"):
        house.dead_letters  # noqa: B018 - the question is what is tried


async def test_an_asynchronous_test_drives_it_with_the_same_calls(build: Build) -> None:
    house = build()
    house.pi("pi-1").sensor("front-door").motion()
    assert house.invocations.only().function == "intruder-alert"
    house.close()


def test_a_house_without_mappings_hears_its_nodes_and_invokes_nothing(build: Build) -> None:
    house = build(None)
    house.pi("pi-1").sensor("doorbell").press()
    house.advance("3s")
    assert [event.name for event in house.events] == ["button.pressed"]
    assert house.pi("pi-1").backlog == 0
    house.invocations.none()


def test_two_nodes_share_one_house(build: Build) -> None:
    house = build(mappings().replace("sensor: front-door", 'node: "*"'), AGENT, AGENT.replace("pi-1", "pi-2"), at=NOON)
    house.pi("pi-2").sensor("front-door").motion()
    house.pi("pi-1").sensor("front-door").motion()
    assert [one.event.node for one in house.invocations] == ["pi-2", "pi-1"]


def test_an_error_inside_a_program_fails_the_test_that_drove_it(build: Build) -> None:
    house = build()
    house.settle()

    def broken() -> Any:
        raise ZeroDivisionError("inside")

    with pytest.raises(BrokenDecision):
        house._do(lambda: house.dispatcher.step(broken() for _ in range(1)))
    house._clock.call_at(house._clock.monotonic() + 1, broken)
    with pytest.raises(ZeroDivisionError, match="inside"):
        house.advance(2)
    assert house._loop is not None
    house._loop.call_soon(broken)
    with pytest.raises(ZeroDivisionError, match="inside"):
        house.settle()
