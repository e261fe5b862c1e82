"""The audit: a number that is missing is a fault once it has had time to arrive, and nothing else is."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from bridge.core.audit import GRACE_S, Audit, Drop, dropped_by_outboxes
from bridge.core.dedup import EPOCHS_PER_SOURCE, Dedup, SourceRow
from bridge.core.event import Identity, Observation, encode, parse
from bridge.core.steps import Connected, Input, Instant, Received
from bridge.core.tombstone import Tombstone, encode_tombstone
from bridge.core.topics import SensorEventTopic, Topics

START = datetime(2026, 11, 22, 17, 30, tzinfo=UTC)
TOPICS = Topics()
_at = TOPICS.parse(TOPICS.event("home", "pi-1", "front-door"))
assert isinstance(_at, SensorEventTopic)
DOOR = _at
SOURCE = "/sites/home/nodes/pi-1/sensors/front-door"


def after(seconds: float) -> Instant:
    return Instant(START + timedelta(seconds=seconds), seconds)


def row(*runs: tuple[int, int], epoch: str = "abcd", source: str = SOURCE) -> SourceRow:
    return SourceRow(source, epoch, runs)


def event(sequence: int, epoch: str = "abcd") -> Received:
    seen = Observation(
        kind="pir", name="motion.detected", value=True, unit=None, initial=False, time=START, timesynced=True
    )
    return Received(parse(encode(seen, at=DOOR, id=f"e-{sequence}", epoch=epoch, sequence=sequence), DOOR), None)


def tombstone(first: int, last: int, reason: str = "age", epoch: str = "abcd") -> Received:
    body = encode_tombstone(Tombstone(first, last, reason), at=DOOR, epoch=epoch, time=START, timesynced=True)
    return Received(parse(body, DOOR), None, covers_from=first)


def fresh(inputs: list[Input], *rows: SourceRow) -> list[Drop]:
    return list(dropped_by_outboxes(inputs, rows, START))


def test_one_run_from_the_beginning_is_complete() -> None:
    audit = Audit()
    audit.observe([row((1, 40))], after(0))
    report = audit.report(after(3600))
    assert (report.missing, report.gaps, report.late) == (0, (), ())
    (known,) = report.known
    assert (known.source, known.first, known.last, known.count, known.begun_before) == (SOURCE, 1, 40, 40, False)


def test_rule_17_what_the_other_dispatcher_of_a_pair_has_confirmed_is_not_missing() -> None:
    audit = Audit(paired=True)
    audit.restore([row((1, 4), (8, 11))], after(0))
    audit.observe([row((1, 4), (8, 11), (25, 26))], after(1))
    report = audit.report(after(3600))
    assert (audit.missing(after(3600)), report.gaps, report.late) == (0, (), ())
    assert [(gap.first, gap.last) for gap in report.elsewhere] == [(5, 7), (12, 24)]


def test_of_a_dispatcher_alone_a_gap_of_an_earlier_life_is_missing_still() -> None:
    audit = Audit()
    audit.restore([row((1, 4), (8, 11))], after(0))
    audit.observe([row((1, 4), (8, 11), (25, 26))], after(1))
    report = audit.report(after(3600))
    assert ([(gap.first, gap.last) for gap in report.gaps], report.elsewhere) == ([(5, 7), (12, 24)], ())


def test_rule_17_of_a_pair_what_is_missing_while_this_dispatcher_is_at_work_is_missing() -> None:
    audit = Audit(paired=True)
    audit.restore([row((1, 4))], after(0))
    audit.observe([row((1, 4), (8, 9), (11, 11))], after(1))
    audit.observe([row((3, 4), (6, 7), epoch="new")], after(1))
    report = audit.report(after(3600))
    assert [(gap.epoch, gap.first, gap.last) for gap in report.gaps] == [("abcd", 10, 10), ("new", 5, 5)]
    assert [(gap.epoch, gap.first, gap.last) for gap in report.elsewhere] == [("abcd", 5, 7), ("new", 1, 2)]
    audit.observe([row((1, 11))], after(3601))
    assert [gap.epoch for gap in audit.report(after(3602)).elsewhere] == ["new"]


def test_a_gap_is_late_at_first_and_missing_when_its_time_is_over() -> None:
    audit = Audit()
    audit.observe([row((1, 4), (8, 9))], after(0))
    report = audit.report(after(GRACE_S - 1))
    assert report.missing == audit.missing(after(GRACE_S - 1)) == 0
    assert [(gap.first, gap.last, gap.count) for gap in report.late] == [(5, 7, 3)]
    report = audit.report(after(GRACE_S))
    assert report.missing == audit.missing(after(GRACE_S)) == 3
    assert [(gap.source, gap.epoch, gap.first, gap.last) for gap in report.gaps] == [(SOURCE, "abcd", 5, 7)]
    assert report.late == ()


def test_a_gap_that_closes_is_forgotten() -> None:
    audit = Audit()
    audit.observe([row((1, 4), (8, 9))], after(0))
    audit.observe([row((1, 9))], after(120))
    assert audit.report(after(1000)).missing == 0


def test_what_is_left_of_a_gap_is_as_old_as_the_gap() -> None:
    audit = Audit()
    audit.observe([row((1, 1), (9, 9))], after(0))
    audit.observe([row((1, 1), (5, 5), (9, 9), (20, 20))], after(50))
    report = audit.report(after(61))
    assert [(gap.first, gap.last) for gap in report.gaps] == [(2, 4), (6, 8)]
    assert [(gap.first, gap.last) for gap in report.late] == [(10, 19)]


def test_of_the_first_epoch_that_is_known_nothing_is_said_about_its_beginning() -> None:
    audit = Audit()
    audit.observe([row((500, 510))], after(0))
    report = audit.report(after(3600))
    assert report.missing == 0
    assert report.known[0].begun_before


def test_of_an_epoch_that_began_later_the_beginning_is_missing_too() -> None:
    audit = Audit()
    audit.observe([row((500, 510)), row((3, 4), epoch="efgh")], after(0))
    report = audit.report(after(3600))
    assert [(gap.epoch, gap.first, gap.last) for gap in report.gaps] == [("efgh", 1, 2)]
    audit.observe([row((1, 4), epoch="efgh")], after(3601))
    assert audit.missing(after(9999)) == 0


def test_sources_are_apart() -> None:
    audit = Audit()
    other = SOURCE.replace("pi-1", "pi-2")
    audit.observe([row((1, 2), (4, 4)), row((1, 9), source=other)], after(0))
    assert [gap.source for gap in audit.report(after(100)).gaps] == [SOURCE]
    assert [known.source for known in audit.report(after(100)).known] == [SOURCE, other]


def test_epochs_are_forgotten_as_dedup_forgets_them() -> None:
    audit = Audit()
    audit.observe([row((1, 1), (3, 3), epoch="e-0")], after(0))
    for number in range(1, EPOCHS_PER_SOURCE + 1):
        audit.observe([row((1, 1), epoch=f"e-{number}")], after(0))
    report = audit.report(after(100))
    assert report.missing == 0
    assert [known.epoch for known in report.known] == ["e-1", "e-2", "e-3", "e-4"]


@given(st.lists(st.integers(1, 60), min_size=1, max_size=80))
def test_missing_is_what_stands_between_the_numbers_that_arrived(numbers: list[int]) -> None:
    audit, dedup = Audit(), Dedup()
    for second, number in enumerate(numbers):
        dedup.add(Identity(SOURCE, "abcd", number))
        audit.observe(dedup.take(), after(second))
    report = audit.report(after(10_000))
    named = {number for gap in report.gaps for number in range(gap.first, gap.last + 1)}
    assert named == set(range(min(numbers), max(numbers) + 1)) - set(numbers)
    assert report.missing == len(named)
    assert report.known[0].count == len(set(numbers))


def test_a_tombstone_counts_what_it_stands_for() -> None:
    (drop,) = fresh([tombstone(3, 7)], row((1, 2)))
    assert (drop.source, drop.reason, drop.count, drop.at) == (SOURCE, "age", 5, START)
    assert drop.which == "3-7 of epoch abcd"


def test_what_had_arrived_before_its_outbox_dropped_it_is_no_drop() -> None:
    assert [drop.count for drop in fresh([tombstone(3, 7)], row((1, 5)))] == [2]
    assert fresh([tombstone(3, 7)], row((1, 9))) == []
    assert [drop.count for drop in fresh([event(4), tombstone(3, 7)], row((1, 2)))] == [4]


def test_tombstones_that_were_joined_are_counted_once() -> None:
    assert [drop.count for drop in fresh([tombstone(3, 5), tombstone(3, 9)])] == [3, 4]


def test_an_epoch_of_its_own_has_drops_of_its_own() -> None:
    drops = fresh([tombstone(1, 2, epoch="efgh"), event(3), Connected(1)], row((1, 9)))
    assert [(drop.count, drop.which) for drop in drops] == [(2, "1-2 of epoch efgh")]
