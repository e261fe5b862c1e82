"""Service logs taken apart."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.errors import EngineError
from bridge.swarm.logs import Entry, FrameReader, read_entry

DETAILS = b"com.docker.swarm.node.id=n1,com.docker.swarm.service.id=s1,com.docker.swarm.task.id=t1"


def frame(payload: bytes, kind: int = 1) -> bytes:
    return bytes([kind, 0, 0, 0]) + len(payload).to_bytes(4, "big") + payload


def line(text: bytes, kind: int = 1) -> bytes:
    return frame(b"2026-11-27T05:12:28.414711222Z " + DETAILS + b" " + text, kind)


def test_a_line_has_its_task_and_time() -> None:
    (entry,) = FrameReader().feed(line(b"hello  world\n"))
    assert entry == Entry("t1", "n1", datetime(2026, 11, 27, 5, 12, 28, 414711, UTC), "hello  world")


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\n\r"))), st.data())
def test_entries_do_not_depend_on_how_the_bytes_arrived(texts: list[str], data: st.DataObject) -> None:
    whole = b"".join(line(text.encode() + b"\n", data.draw(st.sampled_from([1, 2]))) for text in texts)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=5)))
    reader = FrameReader()
    found = [
        entry
        for begin, end in zip([0, *cuts], [*cuts, len(whole)], strict=True)
        for entry in reader.feed(whole[begin:end])
    ]
    assert [entry.text for entry in found] == texts


def test_text_that_is_not_utf_8_and_lines_without_an_end_are_kept() -> None:
    reader = FrameReader()
    assert [entry.text for entry in reader.feed(line(b"\xff") + line(b"") + line(b"\r\n"))] == ["�", "", ""]


def test_a_frame_without_time_or_task_is_left_out() -> None:
    assert read_entry(b"hello") is None
    assert read_entry(b"yesterday " + DETAILS + b" x") is None
    assert read_entry(b"2026-11-27T05:12:28Z other=1 x") is None


def test_the_engines_own_words_in_a_log_are_an_error() -> None:
    with pytest.raises(EngineError, match="node n2 is not available"):
        list(FrameReader().feed(frame(b"incomplete log stream: node n2 is not available", kind=3)))


def test_a_stream_without_frames_is_an_error_and_no_gigabytes_are_waited_for() -> None:
    for raw in (b"hello from a terminal", bytes([1, 0, 0, 0, 255, 255, 255, 255])):
        with pytest.raises(EngineError, match="not made of frames"):
            list(FrameReader().feed(raw))
