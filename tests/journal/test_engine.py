# ruff: noqa: ASYNC220, ASYNC221, ASYNC240 - a test owns its loop and may block it
import asyncio
import json
import os
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.errors import JournalError
from bridge.journal.engine import GROUP, Journal
from tests.small_disk import mounted

SCHEMA = ("CREATE TABLE facts (n INTEGER PRIMARY KEY, text TEXT NOT NULL)",)


def add(n: int, text: str = "x"):  # type: ignore[no-untyped-def] # the tests' shortest word; a Change[int]
    def change(db: sqlite3.Connection) -> int:
        db.execute("INSERT INTO facts VALUES (?, ?)", (n, text))
        return n

    return change


def numbers(db: sqlite3.Connection) -> list[int]:
    return [n for (n,) in db.execute("SELECT n FROM facts ORDER BY n")]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "test.db"


async def test_what_was_written_is_there_after_reopening(path: Path) -> None:
    async with Journal(path, SCHEMA) as journal:
        assert await journal.write(add(1)) == 1
        assert await journal.write(add(2), power=True) == 2
        assert await journal.read(numbers) == [1, 2]
    async with Journal(path, SCHEMA) as journal:
        assert await journal.read(numbers) == [1, 2]
        assert journal.quarantined is None


@pytest.mark.parametrize("page_bytes", [512, 4096])
async def test_the_log_grows_to_the_same_size_whatever_the_pages(path: Path, page_bytes: int) -> None:
    for _ in range(2):  # made, and opened again
        async with Journal(path, SCHEMA, page_bytes=page_bytes) as journal:
            pages = await journal.write(lambda db: db.execute("PRAGMA wal_autocheckpoint").fetchone()[0])
            size_bytes = await journal.write(lambda db: db.execute("PRAGMA page_size").fetchone()[0])
            assert size_bytes == page_bytes
            assert pages * size_bytes == 4 * 1024 * 1024
    async with Journal(path, SCHEMA, page_bytes=1024) as journal:
        assert await journal.write(lambda db: db.execute("PRAGMA page_size").fetchone()[0]) == page_bytes
        assert await journal.write(lambda db: db.execute("PRAGMA wal_autocheckpoint").fetchone()[0]) == pages


async def test_many_changes_share_a_commit_and_resolve_in_order(path: Path) -> None:
    async with Journal(path, SCHEMA) as journal:
        done: list[int] = []
        futures = [journal.write(add(n)) for n in range(500)]
        for n, future in enumerate(futures):
            future.add_done_callback(lambda _, n=n: done.append(n))  # type: ignore[misc] # mypy cannot infer a lambda's default
        assert journal.queued == 500
        await asyncio.gather(*futures)
        await asyncio.sleep(0)
        assert done == list(range(500))
        assert journal.counters.writes == 500
        assert journal.counters.commits < 100
        assert journal.queued == 0


async def test_a_bad_change_does_not_undo_its_neighbours(path: Path) -> None:
    entered, gate = threading.Event(), threading.Event()
    async with Journal(path, SCHEMA) as journal:

        def held(_: sqlite3.Connection) -> None:
            entered.set()
            gate.wait(60)

        journal.write(held)
        await asyncio.to_thread(entered.wait, 60)  # the next three wait together, so they share a commit
        before, bad, after = journal.write(add(1)), journal.write(add(1)), journal.write(add(2))
        gate.set()
        assert await before == 1
        with pytest.raises(sqlite3.IntegrityError):
            await bad
        assert await after == 2
        assert await journal.read(numbers) == [1, 2]
        assert journal.counters.redone == 1
        assert journal.problem is None


async def test_a_posted_change_that_fails_is_told(path: Path) -> None:
    told: list[BaseException] = []
    async with Journal(path, SCHEMA, on_error=told.append) as journal:
        journal.post(add(1))
        journal.post(add(1))
        await journal.flush()
        assert await journal.read(numbers) == [1]
    assert [type(error) for error in told] == [sqlite3.IntegrityError]


async def test_a_full_queue_refuses_instead_of_growing(path: Path) -> None:
    gate = threading.Event()
    async with Journal(path, SCHEMA, max_queued=3) as journal:
        futures = [journal.write(lambda _: gate.wait(60)), journal.write(add(1)), journal.write(add(2))]
        with pytest.raises(JournalError, match="3 changes wait already"):
            await journal.write(add(3))
        gate.set()
        await asyncio.gather(*futures)
        assert await journal.write(add(3)) == 3


async def test_leaving_commits_what_is_queued_and_refuses_what_comes_later(path: Path) -> None:
    journal = Journal(path, SCHEMA)
    async with journal:
        futures = [journal.write(add(n)) for n in range(100)]
    assert await asyncio.gather(*futures) == list(range(100))
    with pytest.raises(JournalError, match="closed"):
        await journal.write(add(1000))
    with pytest.raises(JournalError, match="closed"):
        await journal.read(numbers)
    assert not path.with_name("test.db-wal").exists()


async def test_a_cancelled_wait_does_not_stop_the_change(path: Path) -> None:
    async with Journal(path, SCHEMA) as journal:
        journal.write(add(1)).cancel()
        await journal.flush()
        assert await journal.read(numbers) == [1]


async def test_a_query_that_never_ends_is_interrupted(path: Path) -> None:
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n"
    async with Journal(path, SCHEMA) as journal:
        with pytest.raises(JournalError, match="no answer"):
            await journal.read(lambda db: db.execute(endless).fetchone(), timeout_s=0.05)
        assert await journal.read(numbers) == []


async def test_a_reader_cannot_write(path: Path) -> None:
    async with Journal(path, SCHEMA) as journal:
        with pytest.raises(JournalError, match="read-only"):
            await journal.read(add(1))


async def test_migrations_run_once_each_and_a_failing_one_changes_nothing(path: Path) -> None:
    async with Journal(path, SCHEMA) as journal:
        await journal.write(add(1))
    broken = (*SCHEMA, "ALTER TABLE facts ADD COLUMN more TEXT; INSERT INTO nowhere VALUES (1)")
    with pytest.raises(JournalError, match="no such table: nowhere"):
        await Journal(path, broken).__aenter__()
    async with Journal(path, (*SCHEMA, "ALTER TABLE facts ADD COLUMN more TEXT DEFAULT 'new'")) as journal:
        assert await journal.read(lambda db: db.execute("SELECT * FROM facts").fetchall()) == [(1, "x", "new")]


async def test_a_database_of_a_newer_version_is_refused(path: Path) -> None:
    async with Journal(path, (*SCHEMA, "CREATE TABLE later (n)")):
        pass
    with pytest.raises(JournalError, match=r"schema 2.*up to 1"):
        await Journal(path, SCHEMA).__aenter__()
    assert path.exists()


async def test_a_second_process_is_refused_and_told_who_has_the_file(path: Path) -> None:
    async with Journal(path, SCHEMA):
        with pytest.raises(JournalError, match=f"process {os.getpid()} has it open"):
            await Journal(path, SCHEMA).__aenter__()
    async with Journal(path, SCHEMA):
        pass


def _filled(path: Path, rows: int = 500) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    db = sqlite3.connect(path)
    db.executescript(SCHEMA[0])
    db.executemany("INSERT INTO facts VALUES (?, ?)", [(n, "x" * 300) for n in range(rows)])
    db.execute("PRAGMA user_version = 1")
    db.commit()
    db.close()


def _nonsense(path: Path) -> None:
    path.write_bytes(b"this is no database at all" * 400)


def _holed(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(4096 * 3)
        file.write(os.urandom(4096 * 4))


def _cut(path: Path) -> None:
    os.truncate(path, 4096 * 5)


def _emptied(path: Path) -> None:
    os.truncate(path, 0)


@pytest.mark.parametrize("damage", [_nonsense, _holed, _cut, _emptied])
async def test_a_damaged_file_is_set_aside_and_a_fresh_one_begun(
    path: Path, damage: object, caplog: pytest.LogCaptureFixture
) -> None:
    assert callable(damage)
    for number in (1, 2):
        path.unlink(missing_ok=True)
        _filled(path)
        damage(path)
        async with Journal(path, SCHEMA) as journal:
            assert journal.quarantined == path.with_name(f"test.db.corrupt-{number}")
            assert journal.quarantined.exists()
            assert await journal.read(numbers) == []
            assert await journal.write(add(1)) == 1
    assert "set aside" in caplog.text


@pytest.mark.parametrize("page_bytes", [512, 4096])
async def test_a_young_file_without_its_wal_is_no_new_journal_but_a_loss(
    path: Path, page_bytes: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    copied = tmp_path / "copied" / path.name
    copied.parent.mkdir()
    async with Journal(path, SCHEMA, page_bytes=page_bytes) as journal:
        await journal.write(add(1), power=True)
        shutil.copy(path, copied)  # as somebody would who does not know of -wal files
    async with Journal(copied, SCHEMA, page_bytes=page_bytes) as journal:
        assert journal.quarantined == copied.with_name("test.db.corrupt-1")
        await journal.write(add(2))
        assert await journal.read(numbers) == [2]
    assert [getattr(record, "why", "") for record in caplog.records] == [
        "nothing is in it; its -wal file, which held everything, is gone"
    ]
    async with Journal(copied, SCHEMA, page_bytes=page_bytes) as journal:
        assert journal.quarantined is None


async def test_with_however_few_files_that_may_be_opened_an_opening_ends_well_or_says_why(path: Path) -> None:
    opened = 0
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken = [os.dup(0) for _ in range(100)]  # so that there are no gaps between them
    for more in range(16):
        resource.setrlimit(resource.RLIMIT_NOFILE, (taken[-1] + 1 + more, hard))
        try:
            async with Journal(path, SCHEMA) as journal:
                opened += 1
                assert journal.quarantined is None
        except JournalError as error:
            assert "cannot open the journal" in str(error)  # noqa: PT017 - it need not be raised
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    for number in taken:
        os.close(number)
    assert 0 < opened < 16


async def test_damage_found_while_running_is_a_problem_until_the_restart_sets_the_file_aside(path: Path) -> None:
    _filled(path, 8000)  # more than the page cache holds
    async with Journal(path, SCHEMA) as journal:
        size = path.stat().st_size
        with path.open("r+b") as file:
            file.seek(4096)
            file.write(os.urandom(size - 4096))
        with pytest.raises(JournalError, match="damaged; restart"):
            await journal.write(lambda db: db.execute("UPDATE facts SET text = 'y'").rowcount)
        assert journal.corrupt
        assert journal.problem is not None
    async with Journal(path, SCHEMA) as journal:
        assert journal.quarantined is not None
        assert journal.problem is None


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    with mounted(folder, "400k"):
        yield folder


async def test_a_full_disk_fails_the_changes_and_works_again_when_there_is_room(small_disk: Path) -> None:
    async with Journal(small_disk / "test.db", SCHEMA) as journal:
        await journal.write(add(0))
        ballast = small_disk / "ballast"
        ballast.write_bytes(b"x" * (os.statvfs(small_disk).f_bavail * 4096))
        kept = [0]
        refusals = []
        for n in range(1, 100):
            try:
                kept.append(await journal.write(add(n, "x" * 4000)))
            except JournalError as error:
                refusals.append(str(error))
        assert refusals
        assert "the disk is full; free some space" in refusals[0]
        assert journal.problem == refusals[-1]
        ballast.unlink()
        assert await journal.write(add(1000)) == 1000
        assert journal.counters.failed == len(refusals)
        recovered: str | None = journal.problem
        assert recovered is None
        assert await journal.read(numbers) == [*kept, 1000]


async def test_a_read_only_disk_is_refused_at_open_in_words(small_disk: Path) -> None:
    async with Journal(small_disk / "test.db", SCHEMA):
        pass
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(JournalError, match=r"(?i)read-only file system.*check"):
        await Journal(small_disk / "test.db", SCHEMA).__aenter__()


async def test_a_folder_that_vanishes_is_told_and_nothing_empty_is_begun(path: Path) -> None:
    async with Journal(path, SCHEMA) as journal:
        await journal.write(add(1))
        hidden = path.parent.with_name("hidden")
        path.parent.rename(hidden)
        journal._reopen = True  # as an error of the disk would ask for
        with pytest.raises(JournalError, match="cannot be opened"):
            await journal.write(add(2))
        hidden.rename(path.parent)
        assert await journal.write(add(2)) == 2


async def test_a_limit_of_the_file_size_fails_the_changes_in_words(path: Path) -> None:
    script = (
        "import asyncio, pathlib, resource, signal, sys\n"
        "from bridge.errors import JournalError\n"
        "from bridge.journal.engine import Journal\n"
        "async def main():\n"
        "    async with Journal(pathlib.Path(sys.argv[1]), ['CREATE TABLE facts (n, text)']) as journal:\n"
        "        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, resource.RLIM_INFINITY))\n"
        "        insert = lambda db: db.execute('INSERT INTO facts VALUES (1, ?)', ('x' * 4000,)).rowcount\n"
        "        try:\n"
        "            for _ in range(200): await journal.write(insert)\n"
        "        except JournalError as error: print(error)\n"
        "        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))\n"
        "        await journal.write(insert)\n"
        "        print(journal.problem)\n"
        "asyncio.run(main())\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", script, str(path)], capture_output=True, text=True, timeout=60, check=False
    )
    assert ran.returncode == 0, ran.stderr
    refusal, problem = ran.stdout.splitlines()
    assert "the disk" in refusal
    assert problem == "None"


CHILD = """
import asyncio, pathlib, sys
from bridge.journal.engine import GROUP, Journal

def add(n):
    return lambda db: db.execute("INSERT INTO facts VALUES (?, ?)", (n, "x" * 200)).rowcount

async def main():
    async with Journal(pathlib.Path(sys.argv[1]), ["CREATE TABLE facts (n INTEGER PRIMARY KEY, text TEXT)"]) as journal:
        n = int(sys.argv[2])
        while True:
            group = [(n + i, journal.write(add(n + i), power=i == 7)) for i in range(20)]
            n += 20
            for number, future in group:
                await future
                sys.stdout.write(f"{number}\\n")
            sys.stdout.flush()

asyncio.run(main())
"""


async def test_a_kill_in_the_middle_of_commits_loses_nothing_that_was_promised(path: Path) -> None:
    start = 0
    promised: set[int] = set()
    for _ in range(4):
        child = subprocess.Popen(
            [sys.executable, "-c", CHILD, str(path), str(start)], stdout=subprocess.PIPE, text=True
        )
        assert child.stdout is not None
        for _ in range(37 + start % 100):
            promised.add(int(child.stdout.readline()))
        child.send_signal(signal.SIGKILL)
        promised |= {int(line) for line in child.stdout.read().split("\n")[:-1]}
        child.stdout.close()
        child.wait(60)
        async with Journal(path, SCHEMA) as journal:
            found = await journal.read(numbers)
            assert journal.quarantined is None
        assert promised <= set(found)
        start = max(found) + 1


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 15), st.booleans(), st.booleans()), max_size=60))
def test_each_change_succeeds_or_fails_by_itself_whatever_shares_its_commit(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[int, bool, bool]]
) -> None:
    async def run() -> None:
        path = tmp_path_factory.mktemp("journal") / "test.db"
        kept: dict[int, str] = {}
        async with Journal(path, SCHEMA) as journal:
            outcomes = []
            for i, (n, power, together) in enumerate(changes):
                outcomes.append(journal.write(add(n, json.dumps([i, n])), power=power))
                if not together:
                    await journal.flush()
            results = await asyncio.gather(*outcomes, return_exceptions=True)
            for i, ((n, _, _), result) in enumerate(zip(changes, results, strict=True)):
                if n in kept:
                    assert isinstance(result, sqlite3.IntegrityError)
                else:
                    assert result == n
                    kept[n] = json.dumps([i, n])
            assert dict(await journal.read(lambda db: db.execute("SELECT n, text FROM facts").fetchall())) == kept

    asyncio.run(run())


async def test_without_threads_the_loop_does_the_same_work_in_the_same_groups(path: Path) -> None:
    before = threading.active_count()
    async with Journal(path, SCHEMA, threads=False) as journal:
        good = [journal.write(add(n)) for n in range(3)]
        bad = journal.write(add(0))
        journal.post(add(3))
        await journal.flush()
        assert [future.result() for future in good] == [0, 1, 2]
        with pytest.raises(sqlite3.IntegrityError):
            bad.result()
        assert await journal.read(numbers) == [0, 1, 2, 3]
        assert (journal.counters.commits, journal.counters.redone, journal.queued) == (1, 1, 0)
        assert threading.active_count() == before
        late = journal.write(add(4), power=True)
    assert late.result() == 4
    async with Journal(path, SCHEMA) as journal:
        assert await journal.read(numbers) == [0, 1, 2, 3, 4]


async def test_without_threads_more_than_a_group_takes_several_turns_of_the_loop(path: Path) -> None:
    async with Journal(path, SCHEMA, threads=False) as journal:
        futures = [journal.write(add(n)) for n in range(GROUP + 1)]
        await asyncio.sleep(0)
        assert journal.counters.commits == 1
        await asyncio.gather(*futures)
        assert journal.counters.commits == 2


async def test_an_abandoned_journal_keeps_what_was_committed_and_nothing_that_was_queued(path: Path) -> None:
    journal = await Journal(path, SCHEMA, threads=False).__aenter__()
    await journal.write(add(1))
    lost = journal.write(add(2))
    journal.abandon()
    journal.abandon()
    await asyncio.sleep(0)
    assert not lost.done()
    with pytest.raises(JournalError, match="it is closed"):
        await journal.write(add(3))
    async with Journal(path, SCHEMA, threads=False) as again:
        assert await again.read(numbers) == [1]
