"""Verdicts on a running house, from the lines of a feed: what counts, what comes late, and what is told."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from bridge.testing import Files
from bridge.testing.scenarios.document import read_scenarios
from bridge.testing.scenarios.heard import Heard
from bridge.testing.scenarios.run import Prepared, prepare
from bridge.testing.scenarios.running import There, refused
from bridge.testing.scenarios.timeline import Expectation
from bridge.testing.scenarios.verdicts import Awaited, Verdicts
from bridge.testing.story import Story

AGENT = """
version: 1
node: pi-1
sensors:
  front-door: {kind: pir, pin: 17}
  window: {kind: laser-tripwire, pin: 27}
"""
MAPPINGS = """
version: 1
mappings:
  intruder: {select: {event: motion.detected}, invoke: alarm, cooldown: 1m}
  counted: {select: {event: beam.broken}, for: 5s, invoke: count}
"""
BEGAN = datetime(2026, 11, 27, 12, 0, tzinfo=UTC)


def prepared(tmp_path: Path, *steps: str, head: str = "") -> Prepared:
    """A scenario of these steps; the first stands in line 5, or 4 without a head."""
    lines = "\n".join(f"  - {step}" for step in steps)
    file = tmp_path / "it.scenario.yaml"
    file.write_text(f"version: 1\nname: it\n{head}steps:\n{lines}\n", encoding="utf-8")
    (scenario,) = read_scenarios(file)
    return prepare(scenario, Files(root=tmp_path, agents=[AGENT], mappings=MAPPINGS))


def line(kind: str, at_s: float, event: str = "e1", **more: Any) -> dict[str, Any]:
    at = (BEGAN + timedelta(seconds=at_s)).isoformat()
    which = {"node": "pi-1", "sensor": "front-door", "event": "motion.detected", "event_id": event}
    return {"type": kind, "at": at, **which, **more}


def attempt(at_s: float, event: str = "e1", function: str = "alarm", number: int = 1) -> dict[str, Any]:
    mapping = {"alarm": "intruder", "count": "counted"}[function]
    of = {"mapping": mapping, "function": function, "invocation": f"{event}:{mapping}"}
    return line("attempt", at_s, event, attempt=number, **of)


def failures(tmp_path: Path, heard: list[dict[str, Any]], *expectations: tuple[float, str]) -> list[str]:
    """What is said of expectations that begin at these seconds, given these lines."""
    scenario = prepared(tmp_path, *(f"{{at: {at_s}s, expect: {text}}}" for at_s, text in expectations))
    took, story = Heard(), Story(lambda _: None)
    for one in heard:
        took.take(one)
    story.lines.extend(took.lines)
    awaited = [
        Awaited(moment.what, BEGAN + timedelta(seconds=moment.at_s))
        for moment in scenario.moments
        if isinstance(moment.what, Expectation) and not moment.ends
    ]
    found = Verdicts(scenario, list(took.told(scenario.mappings)), story).failures(awaited)
    return [failure.replace(f"{tmp_path}/", "") for failure in found]


@pytest.mark.parametrize(
    ("at_s", "expected", "met"),
    [
        (0.5, "alarm within 1s", True),
        (1.2, "alarm within 1s", True),
        (1.3, "alarm within 1s", False),
        (-0.1, "alarm within 1s", False),
        (0.5, "none within 1s", False),
        (1.1, "none within 1s", True),
        (0.5, "count within 1s", False),
        (0.5, "{event: motion.detected, value: true, within: 1s}", True),
        (0.5, "{event: motion.detected, value: 1, within: 1s}", False),
        (0.5, "{sensor: pi-1/front-door, times: 1, within: 1s}", True),
        (0.5, "{sensor: window, within: 1s}", False),
        (0.5, "dead letter within 1s", False),
    ],
)
def test_an_invocation_counts_when_it_begins_in_time_and_a_little_later_where_it_is_missing(
    tmp_path: Path, at_s: float, expected: str, met: bool
) -> None:
    heard = [line("event", at_s, value=True), attempt(at_s)]
    assert (failures(tmp_path, heard, (0, expected)) == []) is met


def test_what_came_late_for_one_expectation_is_not_held_against_the_next(tmp_path: Path) -> None:
    heard = [attempt(1.1)]
    assert failures(tmp_path, heard, (0, "alarm within 1s"), (1, "none within 1s")) == []
    assert len(failures(tmp_path, heard, (1, "none within 1s"))) == 1


def test_a_second_invocation_that_comes_late_does_not_make_too_many(tmp_path: Path) -> None:
    heard = [attempt(0.5), attempt(1.1, "e2")]
    assert failures(tmp_path, heard, (0, "alarm times 1 within 1s"), (1, "alarm times 1 within 1s")) == []


def test_attempts_that_follow_are_no_further_invocations(tmp_path: Path) -> None:
    heard = [attempt(0.1), line("retry", 0.2, invocation="e1:intruder", mapping="intruder"), attempt(0.3, number=2)]
    assert failures(tmp_path, heard, (0, "alarm times 1 within 1s")) == []


def test_a_dead_letter_is_one_by_when_it_was_given_up(tmp_path: Path) -> None:
    letter = line("deadletter", 2, function="alarm", mapping="intruder", invocation="e1:intruder", reason="no")
    heard = [attempt(0.1), letter]
    assert failures(tmp_path, heard, (1, "dead letter within 2s")) == []
    assert len(failures(tmp_path, heard, (0, "dead letter within 1s"))) == 1


def test_a_failure_says_what_there_was_instead_and_what_each_mapping_said(tmp_path: Path) -> None:
    no = {"mapping": "counted", "result": "rejected", "text": "", "clause": "when", "wanted": "x", "found": "y"}
    answered = line("invocation", 0.3, invocation="e1:intruder", mapping="intruder", status=200)
    heard = [line("event", 0.1, value=True), line("judgement", 0.1, **no), attempt(0.2), answered]
    (instead,) = failures(tmp_path, heard, (0, "count within 1s"))
    assert instead == (
        "it.scenario.yaml:4: expected an invocation of count within 1s, and there was none\n"
        "  instead:\n"
        "    12:00:00.200 alarm by intruder, for pi-1/front-door motion.detected True: succeeded 200\n"
        "  counted: when wants x, found y"
    )
    (alone,) = failures(tmp_path, [], (0, "alarm within 1s"))
    assert alone.endswith("and there was none\n  no event came in")


def test_what_is_under_way_waits_or_cools_is_known() -> None:
    heard = Heard()
    fires: dict[str, Any] = {
        "mapping": "intruder",
        "result": "fires",
        "text": "",
        "clause": None,
        "wanted": "",
        "found": "",
    }
    heard.take(line("judgement", 0, **fires))
    assert heard.under_way() == ["intruder for pi-1/front-door"]
    heard.take(attempt(0.1))
    assert heard.under_way() == ["intruder for pi-1/front-door"]
    heard.take(line("invocation", 0.2, invocation="e1:intruder", mapping="intruder"))
    assert heard.under_way() == []
    heard.take(line("judgement", 1, "e2", **{**fires, "mapping": "counted", "result": "waits", "found": "12:00:06"}))
    assert (heard.under_way(), heard.waiting()) == ([], ["counted for pi-1/front-door until 12:00:06"])
    heard.take(line("cancelled", 2, "e2", invocation="e2:counted", mapping="counted", by="e3"))
    assert heard.waiting() == []
    heard.take({"type": "missed", "count": 3})
    assert heard.missed == 3


def test_a_cooldown_is_left_of_mappings_that_fired(tmp_path: Path) -> None:
    mappings, heard = prepared(tmp_path, "expect: none").mappings, Heard()
    heard.take(attempt(0))
    heard.take(attempt(0, "e2", "count"))
    assert heard.cooling(mappings, BEGAN + timedelta(seconds=20)) == {"intruder": 40}
    assert heard.cooling(mappings, BEGAN + timedelta(seconds=60)) == {}


SENSORS = [
    {"name": "front-door", "accepts": ["motion", "still", "bounce for TIME"]},
    {"name": "window", "accepts": ["break", "restore"]},
]
POSTS = frozenset({"/v1/simulate", "/v1/broker", "/v1/functions", "/v1/publish", "/v1/restart"})
FUNCTIONS = {"intruder": "alarm", "counted": "count"}
THERE = There({"pi-1": {"sensors": SENSORS}}, POSTS, FUNCTIONS)


@pytest.mark.parametrize(
    ("step", "why"),
    [
        ("{sensor: front-door, do: motion}", None),
        ("{sensor: front-door, do: bounce for 1s}", None),
        ("{sensor: front-door, do: bounce for 2s}", "in a running house a contact bounces for at most 1s"),
        ("{sensor: window, do: bounce for 2ms}", "in a running house pi-1/window is no contact that bounces"),
        ("{topic: gpio-bridge/x, payload: {on: true}, qos: 0}", None),
        (
            "{topic: gpio-bridge/x, payload: a, retain: true}",
            "a retained message would stay at the broker of a running ",
        ),
        ("{broker: forget}", None),
        ("{function: alarm, answers: hangs times 2}", None),
        ("{node: pi-1, do: restart}", None),
        ("{node: pi-1, do: offline}", "the cable of a running virtual Pi cannot be pulled; "),
        ("{node: pi-1, do: online}", "the cable of a running virtual Pi cannot be pulled; "),
        ("{node: pi-1, do: kill}", "an agent of a running house shares its process with everything else, and cannot "),
        ("{dispatcher: kill}", "the dispatcher of a running house stays: "),
        ("{dispatcher: restart}", "the dispatcher of a running house stays: "),
        ("{clock: jump 1h}", "the clock of a running house cannot jump"),
    ],
)
def test_what_cannot_be_had_of_a_running_house_is_refused_with_its_line(
    tmp_path: Path, step: str, why: str | None
) -> None:
    found = [str(problem) for problem in refused(prepared(tmp_path, step, "expect: none"), THERE)]
    if why is None:
        assert found == []
    else:
        (problem,) = found
        assert problem.startswith(f"{tmp_path}/it.scenario.yaml:4:5: {why}")


def test_a_house_that_is_another_one_is_refused(tmp_path: Path) -> None:
    wanted = prepared(tmp_path, "{sensor: window, do: break beam}", "{broker: stop}", "expect: none")
    there = There({"pi-1": {"sensors": SENSORS[:1]}}, frozenset({"/v1/simulate"}), {"intruder": "alarm"})
    assert [str(problem).partition("yaml:")[2] for problem in refused(wanted, there)] == [
        "2:7: mappings: the running dispatcher has no such mapping as counted of mappings of the test; it has intruder",
        "4:5: the running house has no pi-1/window; it has pi-1/front-door",
        "5:5: what runs the virtual Pis is no `gpio-bridge up`, and takes no /v1/broker",
    ]


def test_a_moment_to_begin_at_is_refused(tmp_path: Path) -> None:
    wanted = prepared(tmp_path, "expect: none", head="starts: 2026-11-22T12:00:00Z\n")
    (problem,) = refused(wanted, THERE)
    assert (problem.line, problem.key) == (3, "starts")
