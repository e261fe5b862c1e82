"""Agent, dispatcher and gateway as separate processes on a real Mosquitto: what people see of them."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from tests.system.processes import COMMAND, environment, run, until
from tests.system.programs import BASE, Call, Site, sequences

pytestmark = pytest.mark.real("mosquitto", "mosquitto-clients")

STATUS = f"{BASE}/pi-1/status"
GATE = f"{BASE}/pi-9/sensors/gate/event"
STOPS_WITHIN_S = 8.0


def cloud_event(**changes: Any) -> dict[str, Any]:
    """A gate's event as a device that is no agent of ours would write it."""
    event = {
        "specversion": "1.0",
        "id": "made-by-hand",
        "source": "/sites/home/nodes/pi-9/sensors/gate",
        "type": "io.gpio-bridge.digital.on",
        "time": "2026-11-22T17:30:00.5Z",
        "data": {
            "site": "home",
            "node": "pi-9",
            "sensor": "gate",
            "kind": "digital",
            "event": "digital.on",
            "value": True,
        },
    }
    return event | changes


def call_for(site: Site, event_id: str, function: str = "seen") -> Call:
    """Wait for the call that this event made."""

    def found() -> list[Call]:
        return [call for call in site.calls(function) if call.event_id == event_id]

    until(found, f"{function} is called for {event_id}", told=site.told)
    return found()[0]


def letter_for(site: Site, event_id: str) -> dict[str, Any]:
    """Wait for the dead letter of an event, or of the message on a topic."""

    def found() -> list[dict[str, Any]]:
        letters = site.dispatcher.dead_letters()
        return [one for one in letters if event_id in (one["event_id"], one["topic"])]

    until(found, f"a dead letter for {event_id}", told=site.told)
    return found()[0]


def test_an_edge_at_a_pin_invokes_its_function(shared: Site) -> None:
    before = len(shared.calls("seen"))
    shared.agent.toggle("gate")

    call = shared.wait_for_calls(before + 1, "seen")[-1]

    assert call.body["source"] == "/sites/home/nodes/pi-1/sensors/gate"
    assert call.event_id == call.body["id"]
    assert call.key == f"{call.event_id}:gate-seen"


def test_a_cloud_event_from_any_publisher_on_a_sensors_topic_invokes_the_function(shared: Site) -> None:
    shared.publish(GATE, json.dumps(cloud_event(id="from-mosquitto-pub")))

    assert call_for(shared, "from-mosquitto-pub").body["data"]["value"] is True


def test_the_message_of_another_device_invokes_the_function_its_topic_is_mapped_to(shared: Site) -> None:
    shared.publish("zigbee2mqtt/window", '{"contact": false, "battery": 97}')
    shared.publish("zigbee2mqtt/window", '{"contact": true}')

    [call] = shared.wait_for_calls(1, "other")

    assert call.body["type"] == "io.gpio-bridge.mqtt.message"
    assert call.body["data"] == {"topic": "zigbee2mqtt/window", "payload": {"contact": False, "battery": 97}}


def test_what_cannot_be_read_is_a_dead_letter_that_says_why_and_the_next_event_is_served(shared: Site) -> None:
    place = f"{BASE}/pi-9/sensors"
    shared.publish(f"{place}/oversized/event", b"[" + b" " * 70_000 + b"]")
    shared.publish(f"{place}/no-json/event", "motion!")
    shared.publish(f"{place}/binary/event", b"\x00\xff\xfe")
    shared.publish(f"{place}/no-event/event", '{"specversion": "1.0"}')
    shared.publish(f"{place}/elsewhere/event", json.dumps(cloud_event(id="of-somebody-else")))
    shared.publish("zigbee2mqtt/no-contact", '{"battery": 97}')

    assert "70002 bytes; the limit is 65536" in letter_for(shared, f"{place}/oversized/event")["reason"]
    assert "JSON" in letter_for(shared, f"{place}/no-json/event")["reason"]
    assert "JSON" in letter_for(shared, f"{place}/binary/event")["reason"]
    assert "source" in letter_for(shared, f"{place}/no-event/event")["reason"]
    elsewhere = letter_for(shared, f"{place}/elsewhere/event")["reason"]
    assert "/sensors/gate" in elsewhere
    assert "/sensors/elsewhere" in elsewhere
    unasked = letter_for(shared, "zigbee2mqtt/no-contact")
    assert (unasked["mapping"], "contact" in unasked["reason"]) == ("zigbee", True)
    shared.publish(GATE, json.dumps(cloud_event(id="after-all-that")))
    call_for(shared, "after-all-that")
    assert all(program.running for program in shared.programs)


def test_an_event_from_1970_is_an_event_like_any_other(shared: Site) -> None:
    shared.publish(GATE, json.dumps(cloud_event(id="from-1970", time="1970-01-01T00:00:00Z")))

    assert call_for(shared, "from-1970").body["time"] == "1970-01-01T00:00:00Z"


def test_a_retained_message_fires_nothing(shared: Site) -> None:
    shared.publish(GATE, json.dumps(cloud_event(id="retained-and-old")), "-r")
    call_for(shared, "retained-and-old")  # it was live when it was published
    assert shared.dispatcher.stop() == 0
    shared.dispatcher.start()
    shared.dispatcher.ready()
    shared.publish(GATE, json.dumps(cloud_event(id="after-the-restart")))
    call_for(shared, "after-the-restart")

    assert [call.event_id for call in shared.calls()].count("retained-and-old") == 1
    shared.publish(GATE, "", "-r")


def test_the_commands_work_against_the_running_programs(shared: Site) -> None:
    agent, dispatcher, gateway = shared.agent, shared.dispatcher, shared.gateway

    simulated = shared.command("simulate", "--url", agent.control_url, "door", "motion")
    assert (simulated.returncode, simulated.stdout) == (0, "pi-1/door: motion\n"), simulated.stderr

    asked = ("--sensor", "door", "--event", "motion.detected", "--url", dispatcher.url)
    explained = shared.command("explain", *asked)
    assert explained.returncode == 0, explained.stderr
    assert "fires     door-seen invokes seen" in explained.stdout
    explained = shared.command("explain", *asked, "--value", "false")
    assert "rejected  door-seen" in explained.stdout

    listed = shared.command("functions", "list", "--gateway", gateway.url)
    assert listed.returncode == 0, listed.stderr
    assert [line.split()[:2] for line in listed.stdout.splitlines()[1:]] == [["other", "1/1"], ["seen", "1/1"]]

    invoked = shared.command("functions", "invoke", "seen", "--data", "by hand", "--gateway", gateway.url)
    assert (invoked.returncode, invoked.stdout) == (0, "noted"), invoked.stderr
    assert shared.calls("seen")[-1].body == "by hand"

    logs = shared.command("functions", "logs", "seen", "--gateway", gateway.url)
    assert logs.returncode == 0, logs.stderr


def test_events_prints_what_the_sensors_say(shared: Site) -> None:
    command = [*COMMAND, "events", "--count", "1", "--port", str(shared.broker.port), "--timeout", "60"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(shared.folder)
    ) as events:
        deadline = time.monotonic() + 90
        try:
            while events.poll() is None:  # it takes a moment until it has subscribed
                assert time.monotonic() < deadline, "nothing was printed"
                shared.agent.toggle("gate")
                time.sleep(0.1)
            out, err = events.communicate(timeout=5)
        finally:
            events.kill()

    assert events.returncode == 0, err
    assert "pi-1/gate  digital.o" in out


@pytest.mark.parametrize("program", ["agent", "dispatcher", "gateway"])
def test_a_program_that_does_not_answer_is_told_with_what_to_do(shared: Site, program: str) -> None:
    arguments = {
        "agent": ("simulate", "--url", "http://127.0.0.1:9", "gate", "on"),
        "dispatcher": ("explain", "--url", "http://127.0.0.1:9", "--sensor", "gate", "--event", "digital.on"),
        "gateway": ("functions", "list", "--gateway", "http://127.0.0.1:9"),
    }[program]

    done = shared.command(*arguments)

    assert done.returncode == 69
    assert "http://127.0.0.1:9" in done.stderr
    assert "gpio-bridge up" in done.stderr


def test_a_mapping_file_that_changes_is_in_force_at_once_and_a_broken_one_changes_nothing(site: Site) -> None:
    dispatcher = site.dispatcher
    text = '{"version": 1, "mappings": {"renamed": {"select": {"sensor": "gate"}, "invoke": "other"}}}'
    dispatcher.write_mappings(text)
    until(lambda: _in_force(site) == ["renamed"], "the new mappings are in force", told=site.told)
    site.agent.toggle("gate")
    assert site.wait_for_calls(1, "other")[-1].mapping == "renamed"

    dispatcher.write_mappings(text.replace('"invoke"', '"invoek"'))
    until(lambda: dispatcher.ask("/v1/mappings")[1]["problems"], "the mistake is told", told=site.told)
    assert _in_force(site) == ["renamed"]
    assert dispatcher.said("mapping file refused, the last good one stays in force")
    status, readiness = dispatcher.ask("/readyz")
    assert status == 503
    assert "invoek" in readiness["reasons"]["mappings"]
    assert dispatcher.stop() == 0
    dispatcher.start()
    until(lambda: _in_force(site) == ["renamed"], "the last good mappings are in force after a restart", told=site.told)
    site.agent.toggle("gate")
    site.wait_for_calls(2, "other")
    dispatcher.write_mappings(text.replace("renamed", "mended"))
    until(lambda: _in_force(site) == ["mended"], "the mended mappings are in force", told=site.told)
    dispatcher.ready()


def _in_force(site: Site) -> list[str]:
    status, document = site.dispatcher.ask("/v1/mappings")
    return [mapping["name"] for mapping in document["mappings"]] if status == 200 else []


def test_each_program_stops_within_seconds_of_a_sigterm_and_says_so(site: Site) -> None:
    site.agent.toggle("gate")
    site.wait_for_calls(2)  # what the pin was found at, and the edge
    site.quiet()
    for program, said in (
        (site.agent, "The agent has stopped"),
        (site.dispatcher, "dispatcher stopped"),
        (site.gateway, "Stopping"),
    ):
        began = time.monotonic()
        assert program.stop() == 0, program.last_words()
        assert time.monotonic() - began < STOPS_WITHIN_S
        assert said in [line["message"] for line in program.lines()]
        assert "Traceback" not in program.log.read_text()
    offline = site.retained(STATUS)[STATUS]
    assert (offline["state"], offline["backlog"]) == ("offline", 0)
    assert offline["time"] is not None  # it said so itself


def test_the_retained_topics_tell_the_node_and_its_last_will_tells_its_death(shared: Site) -> None:
    shared.agent.drive("gate", "on")
    shared.quiet()
    before = shared.retained("gpio-bridge/v1/home/nodes/pi-1/#")

    status, info = before[STATUS], before[f"{BASE}/pi-1/info"]
    assert (status["version"], status["state"]) == (1, "online")
    assert info["session"] == status["session"]
    assert info["sensors"].keys() == {"gate", "door"}
    assert before[f"{BASE}/pi-1/sensors/gate/state"]["value"] is True
    assert before[f"{BASE}/pi-1/sensors/gate/state"]["health"] == "ok"
    assert f"{BASE}/pi-1/outputs/light/state" in before
    assert not [topic for topic in before if topic.endswith("/event")]

    shared.agent.kill()
    until(lambda: shared.retained(STATUS)[STATUS]["state"] == "offline", "the last will is told")
    will = shared.retained(STATUS)[STATUS]
    assert will["session"] == status["session"]
    assert will["time"] is None  # nobody knows when it died

    shared.agent.start()
    shared.agent.ready()
    until(lambda: shared.retained(STATUS)[STATUS]["state"] == "online", "it is online again")
    assert shared.retained(STATUS)[STATUS]["session"] != status["session"]


def test_the_sequence_goes_on_after_the_agent_was_killed(shared: Site) -> None:
    shared.agent.drive("gate", "on")
    shared.quiet()
    before = len(_of_the_agent(shared))
    shared.agent.kill()
    shared.agent.start()  # its pins are off again: the found level differs, which is an event
    shared.agent.ready()
    shared.agent.toggle("gate")
    until(lambda: len(_of_the_agent(shared)) >= before + 2, "both events", told=shared.told)
    shared.quiet()

    calls = _of_the_agent(shared)
    assert sequences(calls) == list(range(1, before + 3))
    assert len({call.body["epoch"] for call in calls}) == 1
    assert [(call.body["type"][-3:], call.body["data"]["initial"]) for call in calls[before:]] == [
        ("off", True),
        (".on", False),
    ]


def _of_the_agent(site: Site) -> list[Call]:
    """The calls for the gate of the agent; others write to the topics of gates as well."""
    return [call for call in site.calls("seen") if call.mapping == "gate-seen" and "epoch" in call.body]


def test_an_event_waits_for_the_gateway_and_for_the_function(shared: Site) -> None:
    shared.quiet()
    before = len(shared.calls("seen"))
    shared.gateway.order("500", "seen")
    shared.agent.toggle("gate")
    shared.wait_for_calls(before + 1, "seen")
    shared.gateway.kill()
    shared.gateway.order("ok")
    shared.gateway.start()
    shared.quiet()

    calls = shared.calls("seen")[before:]
    assert len({call.event_id for call in calls}) == 1
    assert len({call.key for call in calls}) == 1
    assert [call.answer for call in calls][-1] == "ok"
    assert not [letter for letter in shared.dispatcher.dead_letters() if letter["mapping"] == "gate-seen"]


BAD_AGENT = {
    "broken-yaml": ("version: 1\nnode: [pi-1\n", "agent.yaml:3:1:"),
    "unknown-kind": (
        "version: 1\nnode: pi-1\nsensors:\n  gate:\n    kind: radar\n    pin: 4\n",
        "agent.yaml:5:11: sensors.gate.kind:",
    ),
    "duplicate-pin": (
        "version: 1\nnode: pi-1\nsensors:\n  gate: {kind: digital, pin: 17}\n  door: {kind: pir, pin: GPIO17}\n",
        "agent.yaml:5:26: sensors.door.pin:",
    ),
}


@pytest.mark.parametrize("mistake", BAD_AGENT)
def test_an_agents_file_with_a_mistake_ends_it_with_78_and_names_the_place(tmp_path: Path, mistake: str) -> None:
    text, place = BAD_AGENT[mistake]
    file = tmp_path / "agent.yaml"
    file.write_text(text, encoding="utf-8")

    done = run(tmp_path, ("agent", "--config", str(file)))

    assert done.returncode == 78
    assert place in done.stderr, done.stderr
    assert "Traceback" not in done.stderr


def test_a_condition_that_is_no_cel_ends_the_dispatcher_with_78_and_names_the_place(tmp_path: Path) -> None:
    (tmp_path / "dispatcher.yaml").write_text(
        "version: 1\nstate_dir: state\nmappings: mappings.yaml\n", encoding="utf-8"
    )
    (tmp_path / "mappings.yaml").write_text(
        "version: 1\nmappings:\n  m:\n    select: {sensor: gate}\n    when: data.value ==\n    invoke: seen\n",
        encoding="utf-8",
    )

    done = run(tmp_path, ("dispatcher", "--config", "dispatcher.yaml"))

    assert done.returncode == 78
    assert "mappings.yaml:5:11: mappings.m.when:" in done.stderr, done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("broker", ["mosquitto", "iotcore"])
def test_the_demo_passes_with_each_embedded_broker(tmp_path: Path, broker: str) -> None:
    if broker == "iotcore":
        pytest.importorskip("iotcore")
    config = Path(__file__).parents[2] / "config"

    done = run(tmp_path, ("demo", "--config", str(config), "--broker", broker), within_s=90)

    assert done.returncode == 0, done.stdout + done.stderr
    assert "sensors invoked their functions" in done.stdout
