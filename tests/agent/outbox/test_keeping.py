"""Keeping: what is young, what is folded, and what an accident leaves of both."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bridge.agent.outbox.keeping import READY
from bridge.core.confirm import Confirmed, encode
from bridge.errors import JournalError
from bridge.journal import log as log_module
from bridge.journal.log import LOG_BYTES, frames_of
from bridge.journal.outbox import MIGRATIONS, fold
from bridge.journal.outbox.log import log_path
from tests.agent.outbox.world import START, World, in_log, one, until

LONG = "x" * 20_000


def stored(path: Path) -> int:
    with closing(sqlite3.connect(path)) as database:
        count: int = database.execute("SELECT count(*) FROM events").fetchone()[0]
        return count


async def test_an_event_that_is_confirmed_soon_never_reaches_the_database(path: Path) -> None:
    async with World(path) as world:
        await world.connect()
        for n in range(20):
            await world.outbox.accept([one("door", float(n))])
            await world.arrived(n + 1)
            world.confirm()
            await world.clock.advance(3)
        commits = world.outbox.journal.counters.commits
        assert commits == 1  # that of the start
        assert stored(path) == 0


async def test_a_full_log_is_folded_and_only_what_is_still_needed_goes_into_the_database(path: Path) -> None:
    async with World(path) as world:
        await world.connect()
        await world.outbox.accept([one("gate", "first")])
        sent = 0
        while not stored(path):
            world.outbox.accept([one("door", LONG)])
            sent += 1
            await world.arrived(sent + 1)
            world.outbox.confirmed(encode({"door": Confirmed("epoch1", sent - 1)}))
            await world.outbox.journal.flush()
        assert 20 * sent > 0.9 * LOG_BYTES / 1000
        assert stored(path) <= 2  # the gate's first, and what the door had not confirmed
        await world.kill()
        await world.connect()
        await world.finish()
        assert len(world.dispatcher.events) == sent + 1


async def test_a_log_is_folded_in_a_quiet_moment_before_an_event_has_to_wait_for_it(path: Path) -> None:
    async with World(path) as world:
        while world.outbox.log.used < READY:
            await world.outbox.accept([one("door", LONG)])
        await world.clock.advance(0.5)
        assert world.outbox.log.used >= READY
        await world.clock.advance(1.5)
        await until(lambda: world.outbox.log.empty)
        assert stored(path) == world.outbox.backlog
        assert list(in_log(path)) == []


async def test_events_wait_in_order_while_the_log_is_folded(path: Path) -> None:
    async with World(path) as world:
        await world.connect()
        waiting = [world.outbox.accept([one("door", float(n)), one("door", LONG)]) for n in range(150)]
        await asyncio.gather(*waiting)
        assert stored(path) > 0
        await world.arrived(300)
        assert world.dispatcher.known["door", "epoch1"].runs == ((1, 300),)
        assert world.dispatcher.disordered == 0
        await world.kill()
        assert world.outbox.backlog == 300


async def test_a_group_too_large_for_the_log_goes_into_the_database_and_the_log_does_not_get_ahead_of_it(
    path: Path,
) -> None:
    async with World(path) as world:
        await world.outbox.accept([one("door", LONG) for _ in range(60)])
        assert (stored(path), list(in_log(path))) == (60, [])
        power = world.outbox.journal.counters.power_commits
        # A power cut may take those 60: before the log has a later one, they have to be on the disk.
        await world.outbox.accept([one("door", "later")])
        assert (stored(path), list(in_log(path))) == (61, [])
        assert world.outbox.journal.counters.power_commits == power + 1
        await world.outbox.accept([one("door", "and on")])
        assert len(list(in_log(path))) == 1
        await world.connect()
        await world.finish()
        assert len(world.dispatcher.events) == 62


async def test_what_is_read_for_sending_is_whole_while_it_is_folded(path: Path) -> None:
    async with World(path, in_flight=60_000) as world:
        await world.outbox.accept([one("door", float(n)) for n in range(300)])
        await world.restart()  # those are in the database now
        await world.outbox.accept([one("door", float(n)) for n in range(300, 1700)])
        await world.connect()
        folding = asyncio.ensure_future(world.outbox._keeping.fold())
        await world.outbox.accept([one("door", float(n)) for n in range(1700, 1800)])
        await folding
        await world.finish()
        assert world.dispatcher.values == [float(n) for n in range(1800)]


async def test_what_a_log_holds_is_sealed_in_it_and_stays_sealed_after_a_kill_rule_4(path: Path) -> None:
    async with World(path, synchronized=False) as world:
        await world.outbox.accept([one("door", 1.0, at=START, synced=False)])
        await world.clock.advance(100)
        world.clock.set(datetime(2026, 6, 1, 12, tzinfo=UTC))
        await world.connect()
        await world.arrived(1)
        assert world.dispatcher.events[0].timesynced
        assert [entry.open for entry in in_log(path)] == [2]
        world.clock.set(datetime(2026, 7, 1, 12, tzinfo=UTC))
        await world.kill()
        await world.connect()
        await until(lambda: world.dispatcher.repeated == 1)  # and it is the same, byte for byte


async def test_what_is_sealed_while_it_is_folded_is_sealed_in_the_database_rule_4(path: Path) -> None:
    async with World(path, synchronized=False) as world:
        await world.outbox.accept([one("door", 1.0, at=START, synced=False)])
        world.clock.set(datetime(2026, 6, 1, 12, tzinfo=UTC))
        folding = asyncio.ensure_future(world.outbox._keeping.fold())
        await asyncio.sleep(0)  # it has begun: the event's old bytes are on their way
        await world.connect()
        await folding
        await world.arrived(1)
        with closing(sqlite3.connect(path)) as database:
            assert database.execute("SELECT open, body FROM events").fetchone() == (2, world.dispatcher.events[0].body)


async def test_a_fold_whose_commit_only_seemed_to_fail_is_made_again_without_harm(path: Path) -> None:
    async with World(path) as world:
        await world.outbox.accept([one("door", 1.0), one("door", 2.0)])
        young, last = world.outbox._keeping.young, world.outbox.log.last
        await world.outbox.journal.write(fold(young, {}, last))
        await world.outbox.accept([one("door", 3.0)])
        await world.outbox._keeping.fold()
        assert stored(path) == 3
        await world.connect()
        await world.finish()
        assert world.dispatcher.values == [1.0, 2.0, 3.0]


# What an accident leaves.


async def test_a_kill_in_the_midst_of_a_fold_takes_nothing_and_doubles_nothing(path: Path) -> None:
    """The database has everything, and the log does not know it yet."""
    async with World(path) as world:
        await world.outbox.accept([one("door", float(n)) for n in range(5)])
        before = path.with_name("before.log")
        shutil.copy(log_path(path), before)
        await world.outbox._keeping.fold()
        before.replace(log_path(path))
        await world.kill()
        assert (world.outbox.backlog, world.outbox.epoch) == (5, "epoch1")
        await world.connect()
        await world.finish()
        assert world.dispatcher.values == [float(n) for n in range(5)]


async def test_a_power_cut_loses_only_what_was_not_to_survive_it_and_begins_an_epoch(path: Path) -> None:
    async with World(path) as world:
        await world.outbox.accept([one("door", 1.0, "power")])
        synced = log_path(path).read_bytes()
        await world.outbox.accept([one("door", 2.0)])
        await world.stop_without_fold()
        log_path(path).write_bytes(synced)
        await world.start(boot="boot-2")
        assert (world.outbox.backlog, world.outbox.counters.lost) == (1, 0)
        await world.outbox.accept([one("door", 3.0)])
        await world.connect()
        await world.finish()
        assert [(event.epoch, event.data["value"]) for event in world.dispatcher.events] == [
            ("epoch1", 1.0),
            (world.outbox.epoch, 3.0),
        ]


async def test_a_log_cut_in_a_record_goes_on_in_a_new_epoch_and_says_so(path: Path) -> None:
    async with World(path) as world:
        await world.outbox.accept([one("door", float(n)) for n in range(3)])
        await world.stop_without_fold()
        content = log_path(path).read_bytes()
        last = content.rindex(b'"value":2.0')
        log_path(path).write_bytes(content[:last].ljust(LOG_BYTES, b"\0"))
        await world.start()
        assert (world.outbox.backlog, world.outbox.counters.quarantined) == (2, 0)
        assert world.outbox.epoch != "epoch1"  # what is lost may be known outside under its number
        assert "0 unconfirmed events are lost, and what could not be read" in str(world.outbox.problem)
        await world.connect()
        await world.finish()
        assert world.dispatcher.values == [0.0, 1.0]


async def test_a_log_damaged_in_its_midst_is_copied_aside_and_what_is_lost_is_counted(path: Path) -> None:
    async with World(path) as world:
        await world.outbox.accept([one("door", float(n)) for n in range(5)])
        await world.stop_without_fold()
        content = log_path(path).read_bytes()
        log_path(path).write_bytes(content.replace(b'"value":2.0', b'"value":7.0'))
        await world.start()
        assert (world.outbox.backlog, world.outbox.counters.lost, world.outbox.counters.quarantined) == (2, 3, 1)
        assert log_path(path).with_name("outbox.log.corrupt-1").stat().st_size == LOG_BYTES
        assert "3 unconfirmed events are lost" in str(world.outbox.problem)
        await world.outbox.accept([one("door", 9.0)])
        await world.connect()
        await world.finish()
        assert world.dispatcher.values == [0.0, 1.0, 9.0]


async def test_a_log_that_is_gone_is_told_and_another_one_begun(path: Path) -> None:
    async with World(path) as world:
        await world.outbox.accept([one("door", 1.0)])
        await world.stop_without_fold()
        log_path(path).unlink()
        await world.start()
        assert "the outbox's log was gone or cut" in str(world.outbox.problem)
        assert world.outbox.epoch != "epoch1"
        await world.outbox.accept([one("door", 2.0)])
        await world.kill()
        assert world.outbox.backlog == 1


@pytest.mark.parametrize("spoil", [b"nonsense", b"gpio-bridge log\nanother identity"])
async def test_a_log_of_another_outbox_is_set_aside_with_a_count(path: Path, spoil: bytes) -> None:
    async with World(path) as world:
        await world.outbox.accept([one("door", float(n)) for n in range(4)])
        await world.stop_without_fold()
        with log_path(path).open("r+b") as file:
            file.write(spoil)
        await world.start()
        assert (world.outbox.counters.lost, world.outbox.counters.quarantined, world.outbox.backlog) == (4, 1, 0)
        assert frames_of(log_path(path).with_name("outbox.log.corrupt-1")).startswith(b"\xa9gbl")


async def test_the_log_of_a_database_that_was_removed_is_set_aside(path: Path) -> None:
    async with World(path) as world:
        await world.outbox.accept([one("door", 1.0)])
        await world.stop_without_fold()
        for part in path.parent.glob("outbox.db*"):
            part.unlink()
        await world.start()
        assert (world.outbox.counters.lost, world.outbox.counters.quarantined, world.outbox.backlog) == (1, 1, 0)


async def test_an_outbox_of_the_version_before_opens_as_it_is(path: Path) -> None:
    async with World(path) as world:
        await world.outbox.accept([one("door", 1.0)])
        await world.stop()
        with closing(sqlite3.connect(path, isolation_level=None)) as database:
            database.execute("DROP TABLE log")
            database.execute(f"PRAGMA user_version = {len(MIGRATIONS) - 1}")
        log_path(path).unlink()
        await world.start()
        assert (world.outbox.epoch, world.outbox.backlog, world.outbox.problem) == ("epoch1", 1, None)
        await world.connect()
        await world.outbox.accept([one("door", 2.0)])
        await world.finish()
        assert [(event.epoch, event.sequence) for event in world.dispatcher.events] == [("epoch1", 1), ("epoch1", 2)]


async def test_events_that_do_not_follow_on_the_database_are_counted_as_lost_and_hold_nobody_up(path: Path) -> None:
    """As when the disk has lied about what is on it: without them, those behind could never be confirmed."""
    async with World(path) as world:
        await world.outbox.accept([one("door", 1.0)])
        await world.outbox._keeping.fold()
        await world.outbox.accept([one("door", 2.0), one("gate", 1.0)])
        await world.stop_without_fold()
        with closing(sqlite3.connect(path, isolation_level=None)) as database:
            database.execute("DELETE FROM events")
        await world.start()
        assert (world.outbox.counters.lost, world.outbox.backlog) == (1, 1)
        await world.outbox.accept([one("door", 3.0)])
        await world.connect()
        await world.finish()
        assert sorted(map(str, world.dispatcher.values)) == ["1.0", "3.0"]


async def test_a_folder_without_room_for_a_log_is_an_error_that_says_so(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(log_module, "_write", fails)
    world = World(path)
    with pytest.raises(JournalError, match=r"cannot open the log .*outbox.log: No space left on device; check"):
        await world.start()
    monkeypatch.undo()
    async with world:
        assert world.outbox.log.empty
