from __future__ import annotations

import re
from typing import Any

import pytest

from bridge.cli.story import tell

EVENT = {
    "at": "2026-11-22T17:30:00.123456Z",
    "event_id": "01J",
    "node": "pi-1",
    "sensor": "front-door",
    "event": "motion.detected",
}
INVOCATION = {"invocation": "01J:night-intruder", "mapping": "night-intruder", "function": "intruder-alert"}
CHAIN = "pi-1/front-door  motion.detected → night-intruder → intruder-alert"


@pytest.mark.parametrize(
    ("line", "style", "text"),
    [
        ({"type": "event", "value": True}, "event", "pi-1/front-door  motion.detected  true"),
        (
            {"type": "invocation", **INVOCATION, "status": 200, "duration_s": 0.0123, "attempts": 1},
            "good",
            f"{CHAIN}  200  12 ms",
        ),
        (
            {"type": "invocation", **INVOCATION, "status": 200, "duration_s": 0.01, "attempts": 3},
            "good",
            f"{CHAIN}  200  10 ms  after 3 attempts",
        ),
        (
            {"type": "retry", **INVOCATION, "status": 503, "reason": "starting", "parked": False, "delay_s": 1.25},
            "waiting",
            f"{CHAIN}  503 starting; again in 1.2 s",
        ),
        (
            {"type": "retry", **INVOCATION, "status": 404, "reason": "unknown", "parked": True, "delay_s": None},
            "waiting",
            f"{CHAIN}  404 unknown; waits for it",
        ),
        (
            {"type": "deadletter", **INVOCATION, "status": 400, "reason": "refused", "attempts": 1},
            "bad",
            f"{CHAIN}  given up: 400 refused",
        ),
        ({"type": "dropped", **INVOCATION, "reason": "max_age"}, "dim", f"{CHAIN}  dropped: max_age"),
        (
            {"type": "judgement", "result": "rejected", "clause": "hours", "text": "night-intruder does not fire: ..."},
            "dim",
            "pi-1/front-door  motion.detected → night-intruder does not fire: ...",
        ),
        (
            {"type": "judgement", "result": "failed", "clause": "when", "text": "night-intruder: when could not ..."},
            "bad",
            "pi-1/front-door  motion.detected → night-intruder: when could not ...",
        ),
        (
            {"type": "judgement", "result": "waits", "clause": None, "text": "night-intruder waits 5s ..."},
            "waiting",
            "pi-1/front-door  motion.detected → night-intruder waits 5s ...",
        ),
        ({"type": "cancelled", **INVOCATION, "by": "01K"}, "dim", f"{CHAIN}  no longer so"),
    ],
)
def test_a_line_of_the_feed_becomes_a_line_for_people(line: dict[str, Any], style: str, text: str) -> None:
    told = tell(EVENT | line)
    assert told is not None
    assert (told.style, told.text[14:]) == (style, text)
    assert re.fullmatch(r"\d\d:30:00\.123  ", told.text[:14])


def test_a_dead_letter_without_a_mapping_names_its_topic() -> None:
    told = tell({"type": "deadletter", "at": EVENT["at"], "topic": "a/b", "reason": "no JSON", "id": "x"})
    assert told is not None
    assert told.text.endswith("a/b  given up: no JSON")


@pytest.mark.parametrize(
    "line",
    [
        {"type": "attempt"},
        {"type": "repeated"},
        {"type": "something-new"},
        {"type": "judgement", "result": "fires", "clause": None, "text": "..."},
        {"type": "judgement", "result": "rejected", "clause": "enabled", "text": "..."},
        {},
    ],
)
def test_what_is_only_noise_is_not_told(line: dict[str, Any]) -> None:
    assert tell(EVENT | line) is None


def test_lines_that_were_lost_on_the_way_are_told() -> None:
    told = tell({"type": "missed", "count": 7})
    assert told is not None
    assert "7 lines" in told.text
