"""Young events: the same, noted one by one or read back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.core.outbox import Row
from bridge.core.young import (
    Entry,
    Young,
    confirmed_record,
    event_record,
    key_of,
    read,
    sealed_record,
    sequence_of,
    stream_of,
    stream_record,
)


def entry(stream: int, sequence: int, body: bytes = b"{}", *, at: float = 0.0, level: bool = True) -> Entry:
    return Entry(key_of(stream, sequence), body, 5.0 + at, at, alarm=stream == 2, open=sequence % 2, level=level)


def everything(young: Young) -> tuple[object, ...]:
    return (
        list(young), young.count, young.bytes, young.streams, young.through, young.levels, young.sealed, young.oldest(),
    )  # fmt: skip


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("event"), st.integers(1, 3), st.binary(max_size=20), st.booleans()),
            st.tuples(st.just("confirm"), st.integers(1, 3), st.integers(0, 12), st.none()),
            st.tuples(st.just("seal"), st.integers(1, 3), st.integers(1, 12), st.none()),
        ),
        max_size=40,
    )
)
def test_what_is_read_back_is_what_was_noted(steps: list[tuple[str, int, int | bytes, bool | None]]) -> None:
    young, last = Young(), {1: 0, 2: 0, 3: 0}
    records: list[bytes] = []
    for what, stream, value, level in steps:
        if isinstance(value, bytes):
            last[stream] += 1
            made = entry(stream, last[stream], value, at=float(len(records)), level=bool(level))
            young.add(made)
            records.append(event_record(made))
        elif what == "confirm":
            young.confirm(stream, value)
            records.append(confirmed_record(stream, value))
        else:
            young.seal(stream, Row(value, b"sealed"))
            records.append(sealed_record(stream, Row(value, b"sealed")))
    assert everything(read(records)) == everything(young)
    assert young.count == len(list(young))
    assert young.bytes == sum(len(one.body) for one in young)
    assert [one.key for one in young] == sorted(one.key for one in young)


def test_a_stream_is_read_back_with_its_sensor_and_epoch() -> None:
    assert read([stream_record(7, "front-door", "k3v9")]).streams == [(7, "front-door", "k3v9")]


def test_what_is_confirmed_goes_and_is_counted() -> None:
    young = read(event_record(entry(1, n, b"abc")) for n in (1, 2, 3))
    assert young.confirm(1, 2) == (2, 6)
    assert young.confirm(1, 1) == (0, 0)
    assert (young.through, young.count, young.bytes) == ({1: 2}, 1, 3)
    assert young.confirm(1, 3) == (1, 3)
    assert list(young) == []


def test_the_last_level_stays_known_after_its_event_has_gone_and_a_fault_is_none() -> None:
    young = read([event_record(entry(1, 1, b"on")), event_record(entry(1, 2, b"fault", level=False))])
    young.confirm(1, 2)
    assert young.levels == {1: b"on"}


def test_a_sealed_event_has_its_final_bytes_and_so_has_its_level() -> None:
    young = read([event_record(entry(1, 1, b"open")), event_record(entry(1, 3, b"too"))])
    assert young.page(1, 0, 9) == [Row(1, b"open", open=True), Row(3, b"too", open=True)]
    assert young.seal(1, Row(1, b"final!"))
    assert young.page(1, 0, 9) == [Row(1, b"final!"), Row(3, b"too", open=True)]
    assert young.levels == {1: b"too"}
    assert young.seal(1, Row(3, b"final"))
    assert (young.levels, young.bytes) == ({1: b"final"}, 11)
    assert not young.seal(1, Row(4, b"gone"))
    assert young.sealed == {key_of(1, 4): b"gone"}


def test_a_page_begins_behind_a_sequence_and_has_an_end() -> None:
    young = read(event_record(entry(1, n)) for n in range(1, 9))
    assert [row.sequence for row in young.page(1, 3, 2)] == [4, 5]
    assert young.page(2, 0, 2) == []
    assert (young.holds(1, 8), young.holds(1, 9), young.holds(2, 1)) == (True, False, False)


def test_the_oldest_is_that_of_the_stream_that_began_to_wait_first() -> None:
    young = read([event_record(entry(1, 1, at=9.0)), event_record(entry(2, 1, at=3.0))])
    oldest = young.oldest()
    assert oldest is not None
    assert (stream_of(oldest.key), sequence_of(oldest.key), oldest.alarm) == (2, 1, True)
    assert Young().oldest() is None


@pytest.mark.parametrize("record", [b"", b"\x09", b"\x02", b"\x01" + bytes(8) + b"\x02\x00\xff\xff"])
def test_what_is_no_record_is_refused(record: bytes) -> None:
    with pytest.raises(ValueError, match="record"):
        read([record])
