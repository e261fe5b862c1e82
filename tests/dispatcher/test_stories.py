"""Stories out of trace files: what is known of a full file changes no answer, and spares reading it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import orjson
from hypothesis import given
from hypothesis import strategies as st

from bridge.core.story import OUTCOMES, Chosen
from bridge.dispatcher.feed import Row
from bridge.dispatcher.stories import KINDS, Page, Rows, Stories, Story

BEGUN = datetime(2026, 11, 22, 17, 30, tzinfo=UTC)
NODES, MAPPINGS = ("pi-1", "pi-2"), ("greet", "warn")
ENDS = ("invocation", "deadletter", "cancelled", "dropped")


def event(number: int, node: str = "pi-1", sensor: str = "door") -> Row:
    return ("event", BEGUN, f"e-{number}", node, sensor, "motion.detected", True, None, False, True, BEGUN, None, [])


def hop(number: int, kind: str, node: str = "pi-1", mapping: str = "greet") -> Row:
    at, id_ = BEGUN + timedelta(seconds=number), f"e-{number}"
    head = (kind, at, id_, node, "door", "motion.detected", f"{id_}:{mapping}", mapping, f"{mapping}-function")
    return (*head, 1, 200, 0.01, None) if kind in ("invocation", "deadletter") else (*head, 1)


def write(segment: Path, *rows: Row) -> None:
    segment.write_bytes(b"".join(orjson.dumps([row], option=orjson.OPT_APPEND_NEWLINE) for row in rows))


def listed(stories: Stories, segments: list[Path], chosen: Chosen, after: str | None = None) -> list[Story]:
    """As the dispatcher lists them."""
    later: Rows = {}
    page = Page(chosen, 1000, after)
    for segment in reversed(segments):
        later = stories.fill(page, segment, later, whole=segment != segments[-1])
    return page.found


CHOSEN = st.builds(
    Chosen,
    node=st.sampled_from([None, "pi-1", "pi-*", "pi-3"]),
    mapping=st.sampled_from([None, "greet", "w*"]),
    outcome=st.sampled_from([None, *OUTCOMES]),
)


@st.composite
def histories(draw: st.DrawFn) -> list[list[Row]]:
    """Rows of a few events in their order, cut into files anywhere."""
    rows: list[tuple[int, Row]] = []
    for number in range(draw(st.integers(1, 6))):
        node = draw(st.sampled_from(NODES))
        mine = [event(number, node)]
        for mapping in draw(st.lists(st.sampled_from(MAPPINGS), unique=True)):
            mine.append(hop(number, "attempt", node, mapping))
            if draw(st.booleans()):
                mine.append(hop(number, draw(st.sampled_from(ENDS)), node, mapping))
        place = number
        for row in mine:
            place += draw(st.integers(0, 4))
            rows.append((place, row))
    ordered = [row for _, row in sorted(rows, key=lambda one: one[0])]
    cuts = sorted(draw(st.lists(st.integers(0, len(ordered)), max_size=4)))
    return [ordered[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(ordered)], strict=True)]


@given(histories(), st.lists(st.tuples(CHOSEN, st.sampled_from([None, "e-0", "e-2"])), min_size=2, max_size=5))
def test_what_is_noted_of_files_changes_no_answer(history: list[list[Row]], queries: list[tuple[Chosen, str]]) -> None:
    with TemporaryDirectory() as folder:
        segments = [Path(folder, f"{number:08d}.jsonl") for number in range(len(history))]
        for segment, rows in zip(segments, history, strict=True):
            write(segment, *rows)
        known = Stories()
        listed(known, segments, Chosen())
        for chosen, after in queries:
            assert listed(known, segments, chosen, after) == listed(Stories(), segments, chosen, after)


def test_a_full_file_that_holds_nothing_wanted_is_read_once(tmp_path: Path) -> None:
    segments = [tmp_path / f"{number}.jsonl" for number in range(3)]
    write(segments[0], event(1), hop(1, "invocation"))
    write(segments[1], event(2), hop(2, "deadletter"))
    write(segments[2], event(3), hop(3, "invocation"))
    stories, dead = Stories(), Chosen(outcome="dead")
    assert [one["event_id"] for one in listed(stories, segments, dead)] == ["e-2"]
    for segment in segments:  # nothing does so: it shows which files are looked at
        write(segment, event(9), hop(9, "deadletter"))
    assert [one["event_id"] for one in listed(stories, segments, dead)] == ["e-9", "e-9"]
    stories.keep(segments[1:])
    assert [one["event_id"] for one in listed(stories, segments, dead)] == ["e-9", "e-9", "e-9"]


def test_a_file_with_too_many_kinds_of_stories_is_read_each_time(tmp_path: Path) -> None:
    segments = [tmp_path / "1.jsonl", tmp_path / "2.jsonl"]
    write(segments[0], *(event(number, sensor=f"s-{number}") for number in range(KINDS + 1)))
    write(segments[1])
    stories, rare = Stories(), Chosen(sensor="door")
    assert listed(stories, segments, rare) == []
    write(segments[0], event(9))
    assert [one["event_id"] for one in listed(stories, segments, rare)] == ["e-9"]
