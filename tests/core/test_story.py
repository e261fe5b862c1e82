"""Stories: what an event was, what became of it, and who means it."""

from __future__ import annotations

from typing import Any

import pytest

from bridge.core.story import Chosen, latency, summary


def line(kind: str, at: str, *, mapping: str = "greet", **fields: object) -> dict[str, object]:
    which = {"invocation": f"e:{mapping}", "mapping": mapping, "function": f"fn-{mapping}"} if kind != "event" else {}
    return {"type": kind, "at": f"2026-11-22T17:30:{at}Z", "node": "pi-1", "event_id": "e", **which, **fields}


EVENT = line(
    "event", "00.5", sensor="door", event="motion.detected", value=True, time="2026-11-22T17:30:00Z", timesynced=True
)
STORY = [
    EVENT,
    line("attempt", "00.6", attempt=1),
    line("retry", "01.6", attempt=1, duration_s=1.0),
    line("attempt", "03", attempt=2),
    line("invocation", "03.25", attempts=2, duration_s=0.25),
    line("attempt", "04", mapping="shout", attempt=1),
    line("deadletter", "05", mapping="shout", attempts=1),
]


def test_the_latency_is_told_hop_by_hop() -> None:
    found = latency(STORY)
    assert found["to_dispatcher_s"] == 0.5
    assert found["invocations"][0] == {
        "mapping": "greet",
        "function": "fn-greet",
        "result": "succeeded",
        "attempts": 2,
        "to_start_s": 0.1,
        "attempt_s": 0.25,
        "to_end_s": 2.75,
    }
    assert [hop["result"] for hop in found["invocations"]] == ["succeeded", "dead"]


def test_what_is_not_known_of_the_latency_is_none() -> None:
    unset = latency([{**EVENT, "timesynced": False}, EVENT])
    assert unset == {"to_dispatcher_s": None, "invocations": []}
    (hop,) = latency([line("attempt", "03", attempt=2), line("retry", "04", attempt=2)])["invocations"]
    assert (hop["result"], hop["to_start_s"], hop["to_end_s"]) == ("open", None, None)


def test_a_summary_is_the_event_and_what_became_of_it() -> None:
    found = summary(STORY)
    assert found is not None
    assert (found["event_id"], found["value"], found["topic"]) == ("e", True, None)
    assert found["invocations"] == latency(STORY)["invocations"]
    assert summary(STORY[1:]) is None


@pytest.mark.parametrize(
    ("chosen", "meant"),
    [
        ({}, True),
        ({"node": "pi-*", "sensor": "door", "event": "motion.*"}, True),
        ({"node": "pi-2"}, False),
        ({"mapping": "gr*", "outcome": "succeeded"}, True),
        ({"mapping": "greet", "outcome": "dead"}, False),
        ({"function": "fn-shout", "outcome": "dead"}, True),
        ({"function": "other"}, False),
        ({"outcome": "open"}, False),
        ({"outcome": "none"}, False),
    ],
)
def test_mapping_function_and_outcome_are_those_of_one_invocation(chosen: dict[str, Any], *, meant: bool) -> None:
    found = summary(STORY)
    assert found is not None
    assert Chosen(**chosen).includes(found) is meant


def test_an_event_without_invocations_has_the_outcome_none() -> None:
    found = summary([EVENT])
    assert found is not None
    assert Chosen(outcome="none").includes(found)
    assert not Chosen(outcome="none", mapping="greet").includes(found)
    assert not Chosen(node="pi-1", mapping="greet").includes({**found, "node": None})
