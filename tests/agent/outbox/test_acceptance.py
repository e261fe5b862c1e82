"""Accepting: on the disk or refused, alone or together, whatever the disk does."""
# ruff: noqa: ASYNC221 - a test owns its loop and may block it

import asyncio
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bridge.agent.outbox.acceptance import WAITING
from bridge.errors import EventError, JournalError
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
