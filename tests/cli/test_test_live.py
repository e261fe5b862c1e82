"""`gpio-bridge test --live`, against a real `gpio-bridge up`: scenarios in real time."""

from __future__ import annotations

import signal
import subprocess
import time
from pathlib import Path
from xml.etree import ElementTree as ET

import httpx
import pytest

from bridge.cli import exit_codes, whereabouts
from tests.cli.conftest import COMMAND, Command, Start

AGENT = """version: 1
node: pi-1
sensors:
  front-door: {kind: pir, pin: 17, warm_up: 0s}
  doorbell: {kind: button, pin: 22}
  hall: {kind: pir, pin: 27, warm_up: 0s}
  gate: {kind: laser-tripwire, wiring: mcp3008, channel: 0}
virtual:
  hall: {model: hc-sr501, warm_up: 3s, hold: 100ms, blind: 0s}
  gate: {model: ldr}
"""
MAPPINGS = """version: 1
mappings:
  intruder:
    select: {sensor: front-door, event: motion.detected}
    retry: {attempts: 3, first: 50ms}
    invoke: alarm
  bell:
    select: {event: button.pressed}
    cooldown: 1h
    invoke: ring
  seen:
    select: {sensor: hall, event: motion.detected}
    invoke: alarm
  dark:
    select: {event: beam.broken}
    invoke: alarm
  lamp:
    select: {topic: zigbee2mqtt/+}
    when: payload.on
    invoke: alarm
"""
SCENARIOS = """version: 1
scenarios:
  - name: an alarm that fails twice is raised all the same
    steps:
      - {function: alarm, answers: 503 times 2}
      - {function: alarm, answers: 200 after 100ms}
      - {sensor: front-door, do: motion}
      - expect: {function: alarm, event: motion.detected, value: true, times: 1, within: 2s}
  - name: the bell rings once
    steps:
      - {function: ring, answers: 200}
      - {sensor: doorbell, do: press bouncing for 5ms}
      - expect: ring times 1 within 2s
      - {sensor: doorbell, do: release}
      - {sensor: doorbell, do: press, after: 200ms}
      - expect: none within 300ms
  - name: it rings again
    steps:
      - {sensor: doorbell, do: press}
      - expect: ring within 1s
  - name: little light breaks the beam, and a power cut makes a PIR blind
    steps:
      - {sensor: hall, do: power-on}
      - {sensor: gate, do: lux 5}
      - expect: {mapping: dark, times: 1, within: 500ms}
      - {topic: zigbee2mqtt/lamp, payload: {on: true}}
      - expect: {mapping: lamp, times: 1, within: 1s}
  - name: when it has warmed up it sees
    steps:
      - {sensor: hall, do: motion}
      - expect: {mapping: seen, times: 1, within: 500ms}
"""
FUNCTIONS = """version: 1.0
provider: {name: openfaas}
functions:
  alarm: {lang: python3-http, handler: ./alarm, image: alarm}
"""
HANDLER = """def handle(event, context):
    return {"statusCode": 200, "body": ""}
"""
IMPOSSIBLE = """version: 1
name: tomorrow
starts: 2026-11-28T12:00:00Z
steps:
  - expect: none
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project, and where we stand."""
    project = tmp_path / "project"
    project.mkdir()
    (project / "functions" / "alarm").mkdir(parents=True)
    for name, text in {
        "agent.yaml": AGENT,
        "mappings.yaml": MAPPINGS,
        "a.scenario.yaml": SCENARIOS,
        "functions/stack.yml": FUNCTIONS,
        "functions/alarm/handler.py": HANDLER,
    }.items():
        (project / name).write_text(text, encoding="utf-8")
    monkeypatch.chdir(project)
    return project


def test_scenarios_run_in_the_running_house_and_what_was_not_at_rest_is_told(
    folder: Path, start: Start, command: Command
) -> None:
    up = start("up", "--ports", "auto", "--state", str(folder / "state"), cwd=folder)
    up.wait_for("Ctrl-C stops everything", 60)
    result = command("test", "--live", "--junit", "results.xml")
    assert result.returncode == exit_codes.FAILED, result
    told = result.stdout.splitlines()
    assert [text[:6].strip() for text in told if " live)" in text] == ["ok", "ok", "FAILED", "ok", "ok"]
    assert "        a.scenario.yaml:20: expected an invocation of ring within 1s, and there was none" in told
    assert any("bell: cooldown wants 3600 s apart" in text for text in told)
    assert any("note: bell fired before, and 59m" in text for text in told)
    assert told[-1] == "4 passed, 1 failed"
    (suite,) = ET.parse("results.xml").getroot()
    assert (suite.get("tests"), suite.get("failures")) == ("5", "1")
    assert [(case.get("line"), case.find("failure") is not None) for case in suite] == [
        ("3", False), ("9", False), ("17", True), ("21", False), ("28", False),
    ]  # fmt: skip
    (folder / "b.scenario.yaml").write_text(IMPOSSIBLE, encoding="utf-8")
    refused = command("test", "--live")
    assert (refused.returncode, refused.stdout) == (exit_codes.CONFIG, "")
    assert refused.stderr.startswith("b.scenario.yaml:3:9: starts: a running house has the clock of the world")
    before = up.output.count("motion.detected  true")
    waiting = subprocess.Popen(
        [*COMMAND, "test", "--live", "--only", "an alarm that fails twice is raised all the same"],
        stdout=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 60
    while up.output.count("motion.detected  true") == before:
        assert time.monotonic() < deadline, up.output
        time.sleep(0.02)
    waiting.send_signal(signal.SIGINT)
    assert waiting.wait(30) == exit_codes.INTERRUPTED
    here = whereabouts.find()
    assert here is not None
    nodes = httpx.get(f"{here.control}/v1/nodes", trust_env=False, timeout=60).json()["nodes"]
    assert [sensor["seen"] for sensor in nodes[0]["sensors"]] == [
        "still", "release", "still", "restore",
    ]  # fmt: skip # it was put back
    assert up.stop(signal.SIGINT) == exit_codes.OK


def test_where_nothing_runs_is_told_with_what_to_do(folder: Path, command: Command) -> None:
    result = command("test", "--live")
    assert (result.returncode, result.stdout) == (exit_codes.UNAVAILABLE, "")
    assert "start them with `gpio-bridge up`, or say --control" in result.stderr
    elsewhere = ("--control", "http://127.0.0.1:9", "--dispatcher", "http://127.0.0.1:9")
    result = command("test", "--live", *elsewhere)
    assert result.returncode == exit_codes.UNAVAILABLE
    assert "no virtual Pi answers at http://127.0.0.1:9/v1/nodes" in result.stderr


def test_options_that_belong_to_live_and_files_that_do_not_are_told(folder: Path, command: Command) -> None:
    result = command("test", "--control", "http://127.0.0.1:8091")
    assert result.returncode == exit_codes.USAGE
    result = command("test", "--live", "mappings.yaml")
    assert result.returncode == exit_codes.USAGE
    assert "examples of mappings need no running house" in " ".join(result.stderr.split())
