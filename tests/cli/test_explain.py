from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Command

MAPPINGS = """
version: 1
mappings:
  night:
    select: {sensor: front-door, event: motion.detected}
    hours: {from: "22:00", to: "06:00"}
    invoke: intruder-alert
  gate:
    select: {kind: laser-tripwire}
    invoke: intruder-alert
"""


@pytest.fixture
def mappings(tmp_path: Path) -> str:
    file = tmp_path / "mappings.yaml"
    file.write_text(MAPPINGS, encoding="utf-8")
    return str(file)


def test_a_mapping_file_says_without_a_dispatcher_which_clause_says_no(command: Command, mappings: str) -> None:
    asked = ("explain", "--sensor", "front-door", "--event", "motion.detected", "--mappings", mappings)
    night = command(*asked, "--at", "23:30").stdout.splitlines()
    noon = command(*asked, "--at", "12:00").stdout.splitlines()
    assert night[0] == "fires     night invokes intruder-alert"
    assert noon[0].startswith("rejected  night does not fire: hours wants 22:00-06:00")
    assert noon[1].startswith("rejected  gate does not fire: select.kind wants laser-tripwire, found pir")


def test_judgements_can_be_read_as_json(command: Command, mappings: str) -> None:
    asked = ("explain", "--sensor", "gate", "--event", "beam.broken", "--mappings", mappings, "--json")
    judgements = json.loads(command(*asked).stdout)
    assert [(judgement["mapping"], judgement["result"]) for judgement in judgements] == [
        ("night", "rejected"),
        ("gate", "fires"),
    ]


def test_an_event_may_come_on_standard_input(command: Command, mappings: str) -> None:
    message = json.dumps({"topic": "zigbee2mqtt/door", "payload": {"contact": False}})
    result = command("explain", "-", "--mappings", mappings, stdin=message)
    assert (result.returncode, result.stdout.count("rejected")) == (0, 2)


def test_what_is_no_event_is_refused(command: Command, mappings: str) -> None:
    result = command("explain", "-", "--mappings", mappings, stdin="{}")
    assert result.returncode == 1
    assert "give a CloudEvent" in result.stderr
