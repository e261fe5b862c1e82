"""What a live site decided, held against a backtest of what was recorded of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from hypothesis import given, settings

from bridge.core.event import rfc3339
from bridge.testing import Files, House, find
from bridge.testing.backtest import Backtest, Course
from bridge.testing.live import Comparison, Live, worth_keeping
from bridge.testing.recording import Decided, Recorded, decode, encode
from tests.testing.test_backtest import HOUSE, NIGHT, START, lamp, mapping_set, motion, recordings, status


def decided_in_a_house(lines: Sequence[Recorded], mappings: str = NIGHT) -> list[Decided]:
    """What a real dispatcher decides that is told the same at the same times, as its feed tells it."""
    with House(find(Files(root=Path("/nowhere"), agents=(HOUSE,), mappings=mappings))) as house:
        house.time.set(START)
        house.settle()
        for line in lines:
            house.time.set(line.received_at)
            house.publish(line.topic, line.payload)
        kept = [worth_keeping(line) for line in house.decisions]
    written = [encode(Decided(line)) for line in kept if line is not None]
    read = [decode(text) for text in written]
    return [one for one in read if isinstance(one, Decided)]


def compared(lines: Iterable[Recorded], decided: Iterable[Decided], mappings: str = NIGHT) -> Comparison:
    live, course = Live(), Course("gpio-bridge", START)
    test = Backtest(mapping_set(mappings), course, explain=True)
    for line in lines:
        event = course.take(line)
        if event is not None:
            live.receive(event, line.received_at)
    for one in decided:
        live.take(one)
    assert live.told
    return live.compare(test)


def told(found: Comparison) -> list[tuple[str, str, str, str]]:
    return [(one.only, one.mapping, one.function, one.reason) for one in found.apart]


def said(kind: str, after_s: float, event_id: str, **more: Any) -> Decided:
    at = rfc3339(START + timedelta(seconds=after_s))
    return Decided({"type": kind, "at": at, "event_id": event_id, **more})


@settings(max_examples=12)
@given(recordings())
def test_the_same_mappings_fire_then_and_now_the_same(lines: list[Recorded]) -> None:
    decided = decided_in_a_house(lines)
    if not decided:
        return
    found = compared(lines, decided)
    assert (found.apart, found.unknown, found.missed) == ((), 0, 0)
    assert found.both.total() == len([one for one in decided if one.type == "attempt"])


def test_other_mappings_are_told_apart_with_what_the_other_side_said() -> None:
    lines = [motion(130, 1), motion(140, 2, detected=False), motion(175, 3), lamp(400), lamp(420), lamp(500, "attic")]
    decided = decided_in_a_house(lines)
    now = (
        NIGHT.replace("22:00-06:00", "00:00-06:00")
        .replace("for: 30s", "for: 40s")
        .replace("invoke: lamp", "invoke: light")
        .replace("time: 1m", "time: 1s")
        .replace("  once:", "  twice:")
    )
    found = compared(lines, decided, now)
    assert found.events == 6
    assert told(found)[:6] == [
        ("then", "intruder", "alarm", "intruder does not fire: hours wants 00:00-06:00 (UTC), found Sun 22:00 UTC"),
        ("then", "once", "count", "there is no mapping once"),
        ("now", "twice", "count", "there was no mapping twice then that selects it"),
        ("then", "quiet", "lights-off", "quiet no longer waits: called off by event-pi-9-3"),
        ("then", "once", "count", "there is no mapping once"),
        ("now", "twice", "count", "there was no mapping twice then that selects it"),
    ]
    again = found.apart[8]
    assert again.reason.startswith("lamp does not fire: cooldown wants 60 s apart per sensor, found 20 s apart from ")
    assert told(found)[6:] == [
        ("then", "lamp", "lamp", "lamp invokes light now"),
        ("now", "lamp", "light", "lamp invoked lamp then"),
        ("now", "lamp", "light", again.reason),
        ("then", "lamp", "lamp", "lamp invokes light now"),
        ("now", "lamp", "light", "lamp invoked lamp then"),
    ]
    assert found.only("now") == {("twice", "count"): 2, ("lamp", "light"): 3}


def test_what_waited_then_and_was_called_off_says_so() -> None:
    lines = [motion(0, 1, detected=False), motion(20, 2)]
    found = compared(lines, decided_in_a_house(lines), NIGHT.replace("for: 30s", "for: 10s"))
    assert told(found) == [("now", "quiet", "lights-off", "quiet no longer waits: called off")]


def test_of_a_backlog_what_was_dropped_says_so() -> None:
    lines = [status(1, "offline"), status(10, "online", backlog=2), motion(11, 1, late_s=8), motion(12, 2, late_s=8)]
    lines.append(status(20, "online"))
    found = compared(lines, decided_in_a_house(lines), NIGHT.replace(", backlog: latest", ""))
    assert told(found) == [("now", "once", "count", "once is dropped: backlog latest")]


def test_events_that_only_one_side_knows_are_not_compared() -> None:
    lines = [motion(0, 1), motion(60, 2)]
    decided = [
        said("event", 0, "event-pi-9-1"),
        said("attempt", 0, "event-pi-9-1", mapping="once", function="count"),
        said("event", 30, "never-recorded"),
        said("attempt", 30, "never-recorded", mapping="once", function="count"),
        Decided({"type": "missed", "count": 7}),
    ]
    found = compared(lines, decided)
    assert (found.events, found.unknown, found.missed, found.apart) == (1, 1, 7, ())
    assert found.both == {("once", "count"): 1}


def test_an_attempt_that_was_not_seen_is_told_as_that() -> None:
    decided = [
        said("event", 0, "event-pi-9-1"),
        said("judgement", 0, "event-pi-9-1", mapping="once", result="fires", text="once invokes count"),
    ]
    assert told(compared([motion(0, 1)], decided)) == [
        ("now", "once", "count", "once invokes count; no attempt of that was recorded")
    ]


def test_foreign_messages_are_the_same_by_topic_order_and_time() -> None:
    lines = [lamp(0), lamp(100), lamp(200), lamp(300)]
    decided = [
        said("event", -50, "before", topic="shelly/kitchen"),
        said("event", 0.4, "a", topic="shelly/kitchen"),
        said("attempt", 0.4, "a", mapping="lamp", function="lamp"),
        # of the second one nothing was heard
        said("event", 196, "c", topic="shelly/kitchen"),
        said("judgement", 196, "c", mapping="lamp", result="rejected", text="lamp is tired"),
        said("event", 300, "elsewhere", topic="shelly/attic"),
    ]
    found = compared(lines, decided)
    assert (found.events, found.unknown) == (2, 2)
    assert told(found) == [("now", "lamp", "lamp", "lamp is tired")]


def test_of_the_feed_only_what_says_what_fired_or_why_not_is_kept() -> None:
    line = {"type": "attempt", "at": "x", "event_id": "e", "mapping": "m", "function": "f", "attempt": 1, "node": "n"}
    assert worth_keeping(line) == {"type": "attempt", "at": "x", "event_id": "e", "mapping": "m", "function": "f"}
    assert worth_keeping({**line, "attempt": 2}) is None
    assert worth_keeping({**line, "type": "invocation"}) is None
    assert worth_keeping({"type": "missed", "count": 3}) == {"type": "missed", "count": 3}
    own = {"type": "event", "at": "x", "event_id": "e", "topic": None, "value": 3}
    assert worth_keeping(own) == {"type": "event", "at": "x", "event_id": "e"}


def test_times_are_read_with_their_zones() -> None:
    at = datetime.fromisoformat("2026-11-22T23:58:00+02:00")
    decided = [Decided({"type": "event", "at": at.isoformat(), "event_id": "a", "topic": "shelly/kitchen"})]
    assert compared([lamp(0)], decided).events == 1
