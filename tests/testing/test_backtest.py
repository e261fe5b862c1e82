"""A backtest fires what a dispatcher fires, and says how two mapping files differ."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.config import compose
from bridge.core.event import Observation, encode
from bridge.core.mapping import MappingSet
from bridge.core.topics import SensorEventTopic, Topics
from bridge.mapping_file import decode_mappings
from bridge.testing import Files, House, find
from bridge.testing.backtest import Backtest, Course, compare
from bridge.testing.recording import Recorded

START = datetime(2026, 11, 22, 21, 58, tzinfo=UTC)

NIGHT = """
version: 1
timezone: UTC
mappings:
  intruder: {select: {sensor: door, event: motion.detected}, hours: "22:00-06:00", cooldown: 2m, invoke: alarm}
  quiet: {select: {sensor: door, event: motion.ended}, for: 30s, invoke: lights-off}
  lamp: {select: {topic: "shelly/+"}, cooldown: {time: 1m, from: success}, invoke: lamp}
  once: {select: {event: "motion.*"}, when: "data.value == true", backlog: latest, invoke: count}
"""
HOUSE = "version: 1\nnode: pi-1\nsensors: {bell: {kind: button, pin: 22}}\n"


def mapping_set(text: str) -> MappingSet:
    return decode_mappings(compose(text, "mappings.yaml"))


def motion(after_s: float, sequence: int, *, detected: bool = True, late_s: float = 0.0) -> Recorded:
    """A door's event of the node pi-9, which was received so late."""
    received_at = START + timedelta(seconds=after_s)
    at, node = received_at - timedelta(seconds=late_s), "pi-9"
    topics = Topics()
    topic = topics.event("home", node, "door")
    where = topics.parse(topic)
    assert isinstance(where, SensorEventTopic)
    name = "motion.detected" if detected else "motion.ended"
    seen = Observation(kind="pir", name=name, value=detected, unit=None, initial=False, time=at, timesynced=True)
    return Recorded(
        received_at, topic, encode(seen, at=where, id=f"event-{node}-{sequence}", epoch="e", sequence=sequence)
    )


def status(after_s: float, state: str, *, backlog: int = 0, retained: bool = False) -> Recorded:
    text = f'{{"state": "{state}", "session": "s", "backlog": {backlog}}}'
    topic = Topics().status("home", "pi-9")
    return Recorded(START + timedelta(seconds=after_s), topic, text.encode(), retained)


def lamp(after_s: float, name: str = "kitchen") -> Recorded:
    return Recorded(START + timedelta(seconds=after_s), f"shelly/{name}", b'{"on": true}')


def ran(mappings: str, lines: Iterable[Recorded], *, explain: bool = True) -> Backtest:
    course = Course("gpio-bridge", START)
    test = Backtest(mapping_set(mappings), course, explain=explain)
    for line in lines:
        course.take(line)
    return test


def fired(test: Backtest) -> list[tuple[str, float]]:
    return [(one.mapping, round((one.at - START).total_seconds(), 3)) for one in test.fired.values()]


@st.composite
def recordings(draw: st.DrawFn) -> list[Recorded]:
    """Half an hour of a door, a lamp and a node that comes and goes; some events come twice."""
    lines: list[Recorded] = []
    at = 0.0
    for sequence in range(1, draw(st.integers(1, 25))):
        at += draw(st.sampled_from([0.5, 7.0, 29.0, 31.0, 61.0, 121.0]))
        kind = draw(
            st.sampled_from(["detected", "ended", "late", "again", "lamp", "offline", "online", "behind", "bad"])
        )
        match kind:
            case "detected" | "ended":
                lines.append(motion(at, sequence, detected=kind == "detected"))
            case "late":
                lines.append(motion(at, sequence, late_s=draw(st.sampled_from([1.0, 40.0, 400.0]))))
            case "again" if lines:
                earlier = draw(st.sampled_from(lines))
                lines.append(Recorded(START + timedelta(seconds=at), earlier.topic, earlier.payload, earlier.retained))
            case "offline" | "online":
                lines.append(status(at, kind))
            case "behind":
                lines.append(status(at, "online", backlog=3))
            case "bad":
                lines.append(Recorded(START + timedelta(seconds=at), Topics().event("home", "pi-9", "door"), b"{"))
            case _:
                lines.append(lamp(at, draw(st.sampled_from(["kitchen", "attic"]))))
    return lines


def in_a_house(lines: Sequence[Recorded]) -> list[tuple[str, str, float]]:
    """What a real dispatcher invokes that is told the same at the same times."""
    with House(find(Files(root=Path("/nowhere"), agents=(HOUSE,), mappings=NIGHT))) as house:
        house.time.set(START)
        house.settle()
        for line in lines:
            house.time.set(line.received_at)
            house.publish(line.topic, line.payload)
        return [(one.mapping, one.event.topic, round((one.at - START).total_seconds(), 3)) for one in house.invocations]


@settings(max_examples=30)
@given(recordings())
def test_a_backtest_fires_what_a_dispatcher_fires_and_when_it_does(lines: list[Recorded]) -> None:
    test = ran(NIGHT, lines)
    ours = [(one.mapping, one.event.topic, round((one.at - START).total_seconds(), 3)) for one in test.fired.values()]
    assert sorted(ours) == sorted(in_a_house(lines))


def test_hours_are_judged_at_the_time_of_the_event_and_a_cooldown_between_events() -> None:
    test = ran(NIGHT, [motion(0, 1), motion(130, 2), motion(140, 3), motion(300, 4)])
    assert [at for name, at in fired(test) if name == "intruder"] == [130, 300]
    assert test.counts() == {"intruder": 2, "quiet": 0, "lamp": 0, "once": 4}


def test_a_for_fires_when_it_has_passed_between_two_messages_and_waits_at_the_end() -> None:
    test = ran(NIGHT, [motion(0, 1, detected=False), motion(300, 2), motion(310, 3, detected=False)])
    assert [at for name, at in fired(test) if name == "quiet"] == [30]
    assert test.waiting == 1


def test_what_came_again_what_is_retained_and_what_cannot_be_read_fires_nothing() -> None:
    again = motion(200, 1)
    retained = Recorded(again.received_at, again.topic, motion(200, 2).payload, retained=True)
    bad = Recorded(again.received_at, again.topic, b"{")
    test = ran(NIGHT, [motion(130, 1), again, retained, bad])
    assert fired(test) == [("intruder", 130), ("once", 130)]
    assert (test.events, test.repeated, len(test.unreadable)) == (2, 1, 1)


def test_a_clock_that_was_put_back_brings_nothing_back() -> None:
    test = ran(NIGHT, [motion(300, 1), motion(200, 2, detected=False), lamp(100)])
    assert fired(test) == [("intruder", 300), ("once", 300), ("lamp", 100)]


@settings(max_examples=20)
@given(recordings())
def test_two_mapping_sets_in_one_course_fire_what_each_fires_alone(lines: list[Recorded]) -> None:
    texts = (NIGHT, NIGHT.replace("2m", "5m").replace("30s", "1m").replace("latest", "all"))
    course = Course("gpio-bridge", START)
    together = [Backtest(mapping_set(text), course) for text in texts]
    for line in lines:
        course.take(line)
    for test, text in zip(together, texts, strict=True):
        alone = ran(text, lines)
        assert [(one.id, one.at) for one in test.fired.values()] == [(one.id, one.at) for one in alone.fired.values()]
        assert (test.events, test.repeated, test.waiting) == (alone.events, alone.repeated, alone.waiting)


def test_a_week_of_events_leaves_nothing_behind_in_the_ledger() -> None:
    test = ran(NIGHT, [motion(60 * number, number) for number in range(1, 2000)])
    assert test.counts()["once"] == 1999
    assert test._ledger.open_events < 256


def test_the_difference_of_two_mapping_files_says_why_the_other_one_did_not_fire() -> None:
    changed = (
        NIGHT.replace("22:00-06:00", "00:00-06:00")
        .replace("for: 30s", "for: 40s")
        .replace("invoke: lamp", "invoke: light")
        .replace("  once:", "  twice:")
    )
    lines = [motion(130, 1), motion(140, 2, detected=False), motion(175, 3), lamp(400)]
    found = list(compare(ran(changed, lines), ran(NIGHT, lines)))
    assert [(one.only, one.fired.mapping, one.reason) for one in found] == [
        ("old", "intruder", "intruder does not fire: hours wants 00:00-06:00 (UTC), found Sun 22:00 UTC"),
        ("old", "once", "there is no mapping once"),
        ("new", "twice", "there is no mapping twice"),
        ("old", "quiet", "quiet no longer waits: called off by event-pi-9-3"),
        ("old", "once", "there is no mapping once"),
        ("new", "twice", "there is no mapping twice"),
        ("both", "lamp", "at the same time, and lamp was invoked before"),
    ]


def test_a_select_and_a_for_that_changed_are_told_too() -> None:
    old = """
version: 1
mappings:
  it: {select: {node: pi-8}, invoke: f}
  other: {select: {event: "*"}, for: 5s, invoke: f}
"""
    new = old.replace("pi-8", "pi-9").replace("5s", "8s")
    lines = [motion(0, 1), lamp(60)]
    assert [(one.only, one.reason) for one in compare(ran(new, lines), ran(old, lines))] == [
        ("new", "it does not fire: select.node wants pi-8, found pi-9"),
        ("both", "3 s later"),
    ]


def test_a_shadow_fires_nothing_and_is_told_with_all_that_it_would_have_fired() -> None:
    shadowed = NIGHT.replace("for: 30s,", "for: 30s, shadow: true,").replace(
        "cooldown: 2m,", "cooldown: 2m, shadow: true,"
    )
    lines = [
        motion(130, 1),
        motion(140, 2, detected=False),
        motion(175, 3),
        motion(200, 4),
        motion(210, 5, detected=False),
        lamp(400),
    ]
    test, awake = ran(shadowed, lines), ran(NIGHT, lines)
    assert {"intruder", "quiet"}.isdisjoint(one.mapping for one in test.fired.values())
    assert test.fired.keys() | test.would_fire.keys() == awake.fired.keys()
    assert {one.id: one.at for one in test.would_fire.values()} == {
        one.id: one.at for one in awake.fired.values() if one.mapping in ("intruder", "quiet")
    }
    assert test.would_count() == {"intruder": 1, "quiet": 2}
    assert test.counts()["intruder"] == 0
    found = [one.reason for one in compare(awake, test) if one.fired.mapping == "quiet"]
    assert found == ["quiet is a shadow: it would have invoked lights-off"] * 2


def test_of_a_backlog_only_the_latest_counts_and_it_fires_when_the_backlog_has_ended() -> None:
    offline, behind, over = status(1, "offline"), status(10, "online", backlog=2), status(20, "online")
    late = [motion(11, 1, late_s=8), motion(12, 2, late_s=8)]
    test = ran(NIGHT, [offline, behind, *late, over, motion(30, 3)])
    assert [at for name, at in fired(test) if name == "once"] == [20, 30]
    said = list(compare(ran(NIGHT.replace(", backlog: latest", ""), [behind, *late]), ran(NIGHT, [behind, *late])))
    assert said[0].reason == "once is dropped: backlog latest"


def test_two_runs_give_the_same_ids_to_what_has_none_of_its_own() -> None:
    lines = [lamp(0), lamp(100)]
    assert list(compare(ran(NIGHT, lines), ran(NIGHT, lines, explain=False))) == []
    assert len(ran(NIGHT, lines).fired) == 2
