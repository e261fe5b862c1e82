"""Frames: whatever becomes of a log, what is believed is what was written, up to a moment, and the rest is noticed."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.core.frames import HEAD_BYTES, End, Found, frame, room_for, scan

ROOM = 600

payloads = st.binary(min_size=1, max_size=60)
writes = st.lists(payloads, max_size=4)


@dataclass
class Disk:
    """A log of a fixed size: written over from its start whenever it is full, and then all of it is kept elsewhere."""

    data: bytearray = field(default_factory=lambda: bytearray(frame((), End(1))[0].ljust(ROOM, b"\0")))
    end: End = field(default_factory=lambda: End(1))
    applied: int = 0
    written: list[bytes] = field(default_factory=list)
    """Since `applied`."""

    def write(self, more: list[bytes]) -> None:
        if self.end.offset + room_for(more) > ROOM:
            self.applied, self.written = self.end.serial - 1, []
            self.end = End(self.end.serial)
            self.put(*frame((), self.end))
        self.put(*frame(more, self.end))
        self.written += more

    def put(self, data: bytes, end: End) -> None:
        self.data[self.end.offset : self.end.offset + len(data)] = data
        self.end = end

    def scan(self) -> Found:
        return scan(bytes(self.data), self.applied)


@st.composite
def disks(draw: st.DrawFn) -> Disk:
    disk = Disk()
    for more in draw(st.lists(writes, max_size=12)):
        disk.write(more)
    return disk


def assert_accounted_for(found: Found, written: list[bytes]) -> None:
    """A prefix, and nothing else is believed; if it is not all, that is noticed; what is counted was there."""
    assert list(found.payloads) == written[: len(found.payloads)]
    assert not found.whole or len(found.payloads) == len(written)
    assert set(found.behind) <= set(written)
    assert len(found.payloads) + len(found.behind) + found.missing <= len(written)


@given(disks())
def test_everything_written_since_the_last_time_is_found_however_often_the_file_was_used(disk: Disk) -> None:
    found = disk.scan()
    assert (found.payloads, found.whole, found.end) == (tuple(disk.written), True, disk.end)
    assert (found.behind, found.missing) == ((), 0)


@given(disks())
def test_what_was_applied_is_not_found_again_even_if_nothing_has_been_written_since(disk: Disk) -> None:
    found = scan(bytes(disk.data), disk.end.serial - 1)
    assert (found.payloads, found.whole) == ((), True)
    assert found.end.serial == disk.end.serial


@given(disks(), st.integers(0, ROOM))
def test_a_file_cut_anywhere_holds_a_prefix_and_says_that_it_was_cut(disk: Disk, length: int) -> None:
    found = scan(bytes(disk.data[:length]), disk.applied)
    assert_accounted_for(found, disk.written)
    assert found.whole == (length >= disk.end.offset + HEAD_BYTES)


@given(disks(), st.integers(0, ROOM - 1), st.integers(0, 7))
def test_a_bit_that_fell_over_costs_what_follows_it_and_that_is_counted(disk: Disk, at: int, bit: int) -> None:
    disk.data[at] ^= 1 << bit
    found = disk.scan()
    assert_accounted_for(found, disk.written)
    if at < disk.end.offset:  # in a frame, and the end mark still says how many there were
        assert not found.whole
        assert len(found.payloads) + len(found.behind) + found.missing == len(disk.written)


@given(disks(), st.integers(0, ROOM - 1), st.binary(min_size=1, max_size=200))
def test_garbage_anywhere_is_never_believed(disk: Disk, at: int, garbage: bytes) -> None:
    before = bytes(disk.data)
    disk.data[at : at + len(garbage)] = garbage
    del disk.data[ROOM:]
    found = disk.scan()
    if disk.data[: disk.end.offset + HEAD_BYTES] == before[: disk.end.offset + HEAD_BYTES]:
        assert found.whole
    assert_accounted_for(found, disk.written)


@given(st.lists(writes, min_size=1, max_size=12), st.data())
@settings(max_examples=200)
def test_after_a_power_cut_that_took_some_of_the_last_writes_what_was_synced_is_there(
    made: list[list[bytes]], data: st.DataObject
) -> None:
    """A sector is on the disk as it was when it was synced, or as any write since has left it."""
    sector, disk = 64, Disk()
    synced = data.draw(st.integers(0, len(made)))
    for more in made[:synced]:
        disk.write(more)
    promised, applied = list(disk.written), disk.applied
    images = [bytes(disk.data)]
    for more in made[synced:]:
        disk.write(more)
        if disk.applied != applied:
            return  # what is applied is synced elsewhere, and then nothing here is needed
        images.append(bytes(disk.data))
    taken = [images[data.draw(st.integers(0, len(images) - 1))][at : at + sector] for at in range(0, ROOM, sector)]
    found = scan(b"".join(taken), applied)
    assert len(found.payloads) >= len(promised)
    assert list(found.payloads) == disk.written[: len(found.payloads)]
    assert set(found.behind) <= set(disk.written)


def test_a_log_that_was_used_beyond_what_is_known_of_it_is_not_believed() -> None:
    """As when an older copy of the database was put back."""
    data, _ = frame([b"a", b"b"], End(11))
    found = scan(data, 7)
    assert (found.payloads, found.whole, found.behind, found.missing) == ((), False, (b"a", b"b"), 3)
    assert found.end.serial == 13


def test_without_a_word_on_what_was_applied_everything_there_is_found() -> None:
    data, end = frame([b"a", b"b"], End(11))
    assert scan(data, None) == Found((b"a", b"b"), end, whole=True)
    assert scan(b"", None) == Found((), End(1), whole=False)


def test_of_frames_that_were_taken_over_already_only_the_later_ones_are_found() -> None:
    data, end = frame([b"a", b"b", b"c"], End(1))
    assert scan(data, 2) == Found((b"c",), end, whole=True)


@pytest.mark.parametrize("given", [[], [b"x"], [b"x", b"yy"]])
def test_the_room_that_frames_take_is_known_before(given: list[bytes]) -> None:
    data, end = frame(given, End(1))
    assert len(data) == room_for(given) == end.offset + HEAD_BYTES
