"""Accepting: on the disk or refused, alone or together, whatever the disk does."""
# ruff: noqa: ASYNC221 - a test owns its loop and may block it

import asyncio
import math
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from bridge.agent.outbox.acceptance import WAITING
from bridge.errors import EventError, JournalError
from bridge.journal import at_once
from tests.agent.outbox.world import World, one, until


async def test_an_event_that_cannot_be_encoded_fails_alone_and_takes_no_sequence(path: Path) -> None:
    async with World(path) as world:
        await world.connect()
        good = world.outbox.accept([one("door", 1.0)])
        bad = world.outbox.accept([one("door", 2.0), one("door", "x" * 70_000)])
        after = world.outbox.accept([one("door", 3.0)])
        await good
        with pytest.raises(EventError, match="cannot be encoded"):
            await bad
        await after
        await world.arrived(2)
        assert world.dispatcher.known["door", "epoch1"].runs == ((1, 2),)
        assert world.outbox.backlog == 2


async def test_an_event_that_comes_alone_is_on_the_disk_when_accept_returns(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(at_once, "SLOW_S", math.inf)  # of this machine's disk nothing is known
    async with World(path) as world:
        await world.connect()
        for n in (1, 2):  # the log has begun
            await world.outbox.accept([one("door", float(n))])
        last = 2
        while True:
            await world.clock.advance(1.0)
            last += 1
            alone = world.outbox.accept([one("door", float(last))])
            if alone.done():
                break
            # The writer has told of its last commit, but not begun to rest: it depends on this machine for how long.
            assert last < 100
            await alone
        with closing(sqlite3.connect(path)) as other:
            assert other.execute("SELECT max(key) & 0xFFFFFFFFFF FROM events").fetchone() == (last,)
        behind = [world.outbox.accept([one("door", float(last + n))]) for n in (1, 2)]
        assert not any(each.done() for each in behind)
        await asyncio.gather(*behind)
        await world.arrived(last + 2)
        assert world.dispatcher.known["door", "epoch1"].runs == ((1, last + 2),)
        assert world.dispatcher.disordered == 0
        assert world.outbox.journal.counters.at_once == 1


async def test_an_alarm_that_comes_alone_waits_for_the_disk_itself(path: Path) -> None:
    async with World(path) as world:
        await world.connect()
        for n in (1, 2):
            await world.outbox.accept([one("door", float(n))])
        await world.clock.advance(1.0)
        before = world.outbox.journal.counters.power_commits
        alarm = world.outbox.accept([one("door", 3.0, "power", "alarm")])
        assert not alarm.done()
        await alarm
        assert world.outbox.journal.counters.power_commits == before + 1


@contextmanager
def full(folder: Path) -> Iterator[None]:
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"x" * 4096)
        except OSError:
            pass
    yield
    ballast.unlink()


async def test_events_wait_while_the_disk_is_full_and_none_is_lost_when_it_recovers(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=600k", "tmpfs", str(disk)]
    if subprocess.run(mount, check=False, capture_output=True).returncode != 0:
        pytest.skip("mounting a small disk needs root: run the tests with sudo to include this one")
    try:
        async with World(disk / "outbox.db") as world:
            await world.connect()
            await world.outbox.accept([one("door", 0.0)])
            with full(disk):
                futures = [world.outbox.accept([one("door", float(n))]) for n in range(1, 600)]
                await until(lambda: world.outbox.problem is not None)
                assert "disk is full" in str(world.outbox.problem)
                assert world.outbox.backlog == 600
                refused = world.outbox.accept([one("door")] * WAITING)
                with pytest.raises(JournalError, match="disk is full"):
                    await refused
                assert world.outbox.counters.lost == WAITING
            await world.clock.advance(20)
            await asyncio.gather(*futures)
            await world.finish()
            assert world.dispatcher.values == [float(n) for n in range(600)]
    finally:
        subprocess.run(["umount", str(disk)], check=True)
