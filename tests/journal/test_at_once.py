# ruff: noqa: ASYNC240 - a test owns its loop and may block it
"""What the loop's thread commits by itself, and what it leaves to the writer."""

import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from bridge.journal.at_once import IN_A_ROW, SLOW_S, SPARED_S, AtOnce
from bridge.journal.engine import Change, Journal

SCHEMA = ("CREATE TABLE facts (n INTEGER PRIMARY KEY, text TEXT NOT NULL)",)


def add(n: int, text: str = "x") -> Change[int]:
    def change(db: sqlite3.Connection) -> int:
        db.execute("INSERT INTO facts VALUES (?, ?)", (n, text))
        return n

    return change


def numbers(db: sqlite3.Connection) -> list[int]:
    return [n for (n,) in db.execute("SELECT n FROM facts ORDER BY n")]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "test.db"


async def warmed_up(journal: Journal) -> None:
    """The writer's first commit starts the log, its second has not."""
    for _ in range(2):
        await journal.flush()


async def test_a_change_alone_is_committed_before_write_returns(path: Path) -> None:
    async with Journal(path, SCHEMA) as journal:
        await warmed_up(journal)
        written = journal.write(add(1), at_once=True)
        assert written.done()
        assert written.result() == 1
        with sqlite3.connect(path) as other:
            assert numbers(other) == [1]
        other.close()
        assert (journal.counters.at_once, journal.queued) == (1, 0)


async def test_a_change_behind_others_waits_for_its_turn(path: Path) -> None:
    gate = threading.Event()
    async with Journal(path, SCHEMA) as journal:
        await warmed_up(journal)
        journal.write(lambda _: gate.wait(10))
        first, second = journal.write(add(1)), journal.write(add(2), at_once=True)
        assert not second.done()
        gate.set()
        assert [await first, await second] == [1, 2]
        assert journal.counters.at_once == 0


async def test_what_must_survive_a_power_cut_is_the_writers(path: Path) -> None:
    async with Journal(path, SCHEMA) as journal:
        await warmed_up(journal)
        written = journal.write(add(1), power=True, at_once=True)
        assert not written.done()
        await written
        assert (journal.counters.power_commits, journal.counters.at_once) == (1, 0)


async def test_a_change_that_fails_at_once_fails_in_the_words_of_the_writer_and_changes_nothing(path: Path) -> None:
    async with Journal(path, SCHEMA) as journal:
        await warmed_up(journal)
        await journal.write(add(1), at_once=True)
        with pytest.raises(sqlite3.IntegrityError):
            await journal.write(add(1), at_once=True)
        assert await journal.read(numbers) == [1]
        assert journal.counters.failed == 1


async def test_another_programs_lock_is_waited_for_by_the_writer_alone(path: Path) -> None:
    async with Journal(path, SCHEMA) as journal:
        await warmed_up(journal)
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        began = time.monotonic()
        written = journal.write(add(1), at_once=True)
        assert time.monotonic() - began < 1.0
        assert not written.done()
        other.execute("COMMIT")
        other.close()
        assert await written == 1


async def test_a_slow_commit_on_the_loop_is_the_last_one_for_a_while(path: Path) -> None:
    def slow(db: sqlite3.Connection) -> int:
        time.sleep(2 * SLOW_S)
        return add(1)(db)

    async with Journal(path, SCHEMA) as journal:
        await warmed_up(journal)
        assert journal.write(slow, at_once=True).done()
        for n in (2, 3, 4):
            written = journal.write(add(n), at_once=True)
            assert not written.done()
            await written
        assert journal.counters.at_once == 1


async def test_the_log_is_written_back_and_started_over_by_the_writer_alone(path: Path) -> None:
    """Enough for several checkpoints, each commit offered to the loop's thread."""
    here = threading.current_thread()
    checkpoints = by_loop = 0
    async with Journal(path, SCHEMA, page_bytes=512) as journal:
        await warmed_up(journal)
        file_before, salt_before = path.stat().st_mtime_ns, log_salt(path)
        for n in range(700):
            thread: list[threading.Thread] = []
            await journal.write(noting(add(n, "x" * 12_000), thread), at_once=True)
            file_after, salt_after = path.stat().st_mtime_ns, log_salt(path)
            on_loop = thread[-1] is here
            checkpoints += file_after != file_before
            by_loop += on_loop
            if on_loop:
                assert (file_after, salt_after) == (file_before, salt_before)
            file_before, salt_before = file_after, salt_after
    assert checkpoints >= 1
    assert by_loop >= 1  # more, unless this machine's disk is slow today


def noting(change: Change[int], thread: list[threading.Thread]) -> Change[int]:
    def noted(db: sqlite3.Connection) -> int:
        thread.append(threading.current_thread())
        return change(db)

    return noted


def log_salt(path: Path) -> bytes:
    """What SQLite changes in the log's head when it starts the log over (its file format, section 4.1)."""
    with path.with_name(path.name + "-wal").open("rb") as log:
        return log.read(24)[12:]


def test_after_many_in_a_row_one_is_the_writers(path: Path) -> None:
    path.touch()
    at_once = watched(path)
    for _ in range(IN_A_ROW):
        assert at_once.allowed(0.0)
        at_once.made(0.0001, 0.0)
    assert not at_once.allowed(0.0)
    at_once.writer_committed()
    assert at_once.allowed(0.0)


def test_a_slow_disk_is_spared_for_a_while(path: Path) -> None:
    path.touch()
    at_once = watched(path)
    at_once.made(SLOW_S + 0.001, 10.0)
    at_once.writer_committed()
    assert not at_once.allowed(10.0 + SPARED_S - 0.1)
    assert at_once.allowed(10.0 + SPARED_S)


@pytest.mark.parametrize("spoil", [AtOnce.refused, lambda _: None])
def test_a_commit_that_failed_and_a_file_that_is_gone_are_for_the_writer(
    path: Path, spoil: Callable[[AtOnce], None]
) -> None:
    path.touch()
    at_once = watched(path)
    spoil(at_once)
    path.unlink()
    at_once.writer_committed()
    assert not at_once.allowed(0.0)


def watched(path: Path) -> AtOnce:
    at_once = AtOnce(path)
    for _ in range(2):
        at_once.writer_committed()
    return at_once
