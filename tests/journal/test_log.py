"""The log: in order, whole or not at all, and what it does when the disk is slow, full or failing."""

from __future__ import annotations

import asyncio
import errno
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.core.frames import HEAD_BYTES, End, frame, scan
from bridge.errors import JournalError
from bridge.journal import log as log_module
from bridge.journal.log import IDENTITY_BYTES, Log, LogFile, copy_aside, frames_of, pieces, set_log_aside

IDENTITY = b"i" * IDENTITY_BYTES
SIZE = 4096


class Disk(LogFile):
    """A log's file on a disk that can be told to fail, to be slow, and that notes who writes how."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, SIZE)
        self.error: int | None = None
        self.gate: threading.Event | None = None
        self.puts: list[tuple[threading.Thread, bool]] = []
        self.before: Callable[[], None] = lambda: None

    def put(self, offset: int, data: bytes, *, power: bool) -> None:
        self.before()
        self.puts.append((threading.current_thread(), power))
        if self.gate is not None:
            assert self.gate.wait(60)
        if self.error is not None:
            super().put(offset, data[: len(data) // 2], power=False)
            raise OSError(self.error, os.strerror(self.error))
        super().put(offset, data, power=power)


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    made = Disk(tmp_path / "some.log")
    made.make(IDENTITY)
    return made


def full() -> None:
    raise AssertionError("it is not full")


def there(disk: Disk, applied: int | None = None) -> tuple[bytes, ...]:
    found = scan(frames_of(disk.path), applied)
    assert found.whole
    return found.payloads


async def test_a_record_is_there_when_write_returns_and_later_ones_behind_it(disk: Disk) -> None:
    log = Log(disk, on_full=full)
    for n in range(3):
        assert log.write([b"%d" % n]).done()
        assert there(disk) == tuple(b"%d" % each for each in range(n + 1))
    assert {thread for thread, _ in disk.puts} == {threading.current_thread()}
    assert (log.counters.at_once, log.last, log.empty) == (3, 3, False)
    await log.close()
    assert LogFile(disk.path, SIZE).open() == (IDENTITY, frames_of(disk.path))


async def test_what_must_survive_a_power_cut_is_written_on_the_thread_and_what_waits_goes_together(disk: Disk) -> None:
    log = Log(disk, on_full=full)
    disk.gate = threading.Event()
    told: list[str] = []
    power = log.write([b"1"], power=True, then=lambda: told.append("power"))
    behind = [log.write([b"2"], then=lambda: told.append("behind")), log.write([b"3", b"4"])]
    assert not any(one.done() for one in (power, *behind))
    disk.gate.set()
    await log.flush()
    assert all(one.done() for one in (power, *behind))
    assert there(disk) == (b"1", b"2", b"3", b"4")
    assert [power for _, power in disk.puts] == [True, False]
    assert threading.current_thread() not in {thread for thread, _ in disk.puts}
    assert told == ["power", "behind"]
    assert (log.counters.power, log.counters.writes) == (1, 2)
    await log.close()


async def test_after_a_slow_write_the_loop_is_spared_for_a_while(disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(time, "perf_counter", lambda: now)

    def slow() -> None:
        nonlocal now
        now += 2 * log_module.SLOW_S

    log = Log(disk, on_full=full)
    disk.before = slow
    assert log.write([b"1"]).done()
    disk.before = lambda: None
    spared = log.write([b"2"])
    assert not spared.done()
    await spared
    now += log_module.SPARED_S
    assert log.write([b"3"]).done()
    assert there(disk) == (b"1", b"2", b"3")
    await log.close()


@pytest.mark.parametrize("power", [False, True])
async def test_a_write_that_fails_leaves_nothing_and_the_next_one_takes_its_place(disk: Disk, power: bool) -> None:
    log = Log(disk, on_full=full)
    await log.write([b"kept"])
    disk.error = errno.ENOSPC
    with pytest.raises(JournalError, match="No space left"):
        await log.write([b"a" * 50, b"b" * 50], power=power)
    assert log.problem is not None
    with pytest.raises(JournalError, match="No space left"):
        await log.flush()
    disk.error = None
    await log.write([b"short"], power=power)
    await log.flush()  # it works again
    assert (there(disk), log.counters.failed) == ((b"kept", b"short"), 1)
    await log.close()


async def test_a_full_log_asks_once_waits_and_goes_on_from_its_start(disk: Disk) -> None:
    asked: list[int] = []
    log = Log(disk, on_full=lambda: asked.append(log.last))
    while not asked:
        await asyncio.wait([asyncio.ensure_future(log.write([b"x" * 500]))], timeout=0)
    assert log.used > 0.8
    behind = log.write([b"behind"])
    assert asked == [7]
    log.pause(lambda: log.begin(8))
    log.resume()
    await behind
    assert there(disk, 7) == (b"x" * 500, b"behind")
    assert (log.last, asked) == (9, [7])
    await log.close()


async def test_when_a_full_log_cannot_be_emptied_what_waits_fails_and_is_welcome_again(disk: Disk) -> None:
    log = Log(disk, on_full=lambda: log.pause(lambda: log.resume(JournalError("the database is full"))))
    for _ in range(7):
        await log.write([b"x" * 500])
    for _ in range(2):
        with pytest.raises(JournalError, match="the database is full"):
            await log.write([b"x" * 500])
    assert log.write([b"small"]).done()
    await log.close()


async def test_a_pause_begins_between_two_writes_and_pauses_take_turns(disk: Disk) -> None:
    log = Log(disk, on_full=full)
    disk.gate = threading.Event()
    order: list[str] = []
    first = log.write([b"1"], power=True)
    first.add_done_callback(lambda _: order.append("written"))
    log.pause(lambda: order.append("quiet"))
    log.pause(lambda: order.append("quiet again"))
    behind = log.write([b"2"])
    assert order == []
    disk.gate.set()
    await first
    await asyncio.sleep(0)
    assert (order, behind.done()) == (["quiet", "written"], False)
    log.resume()
    assert (order, behind.done()) == (["quiet", "written", "quiet again"], False)
    log.resume()
    await behind
    assert there(disk) == (b"1", b"2")
    await log.close()


async def test_a_closed_log_takes_nothing_and_lets_what_is_under_way_end(disk: Disk) -> None:
    log = Log(disk, on_full=full)
    disk.gate = threading.Event()
    under_way, behind = log.write([b"1"], power=True), log.write([b"2"])
    closing = asyncio.ensure_future(log.close())
    await asyncio.sleep(0)
    disk.gate.set()
    await closing
    await under_way
    for refused in (behind, log.write([b"3"])):
        with pytest.raises(JournalError, match="closed"):
            await refused
    assert there(disk) == (b"1",)


async def test_without_threads_everything_is_written_before_write_returns(disk: Disk) -> None:
    log = Log(disk, on_full=full, threads=False)
    assert log.write([b"1"], power=True).done()
    log.abandon()
    assert there(disk) == (b"1",)
    assert disk.puts == [(threading.current_thread(), True)]


async def test_a_log_takes_only_a_part_of_its_size_at_once(disk: Disk) -> None:
    log = Log(disk, on_full=full)
    assert log.takes([b"x" * (SIZE // 2 - 4 * HEAD_BYTES)])
    assert not log.takes([b"x" * (SIZE // 2)])
    await log.close()


def test_a_file_has_its_size_from_the_start_and_keeps_it(disk: Disk) -> None:
    assert disk.path.stat().st_size == SIZE
    disk.put(SIZE // 2, b"x", power=True)
    disk.close()
    assert disk.path.stat().st_size == SIZE


def test_a_file_that_cannot_be_made_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", fails)
    with pytest.raises(OSError, match="No space"):
        LogFile(tmp_path / "some.log", SIZE).make(IDENTITY)
    assert list(tmp_path.iterdir()) == []


def test_files_that_are_set_aside_get_numbers(disk: Disk) -> None:
    copy = copy_aside(disk.path)
    moved = set_log_aside(disk.path)
    assert copy is not None
    assert (copy.name, moved.name) == ("some.log.corrupt-1", "some.log.corrupt-2")
    assert not disk.path.exists()
    assert copy_aside(disk.path) is None  # and says so: it is no reason not to go on


@settings(max_examples=300)
@given(
    before=st.lists(st.integers(1, 3000), max_size=6),
    more=st.lists(st.integers(1, 3000), min_size=1, max_size=8),
    begin=st.integers(0, 5000),
)
def test_a_kill_in_the_middle_of_a_write_leaves_the_log_as_it_was(
    before: list[int], more: list[int], begin: int
) -> None:
    """The kernel copies page by page, and looks in between whether the process is to be killed."""
    page_bytes = 4096
    old, end = frame([b"b" * size for size in before], End(1))
    new, _ = frame([b"m" * size for size in more], end)
    disk = bytearray(os.urandom(begin) + old.ljust(50_000, b"\0"))
    at = begin + end.offset
    steps: list[tuple[int, bytes]] = []
    for place, piece in pieces(at, new):
        cuts = [place, *range(-(-(place + 1) // page_bytes) * page_bytes, place + len(piece), page_bytes)]
        steps += [
            (low, piece[low - place : high - place])
            for low, high in zip(cuts, [*cuts[1:], place + len(piece)], strict=True)
        ]
    shared = at % page_bytes > page_bytes - HEAD_BYTES  # two pages have a part of the mark that is covered

    for done, (place, piece) in enumerate(steps, 1):
        disk[place : place + len(piece)] = piece
        found = scan(bytes(disk[begin:]), 0)
        if done == len(steps):
            assert (found.whole, len(found.payloads)) == (True, len(before) + len(more))
        elif not (shared and done == len(steps) - 1):
            assert (found.whole, len(found.payloads)) == (True, len(before))
