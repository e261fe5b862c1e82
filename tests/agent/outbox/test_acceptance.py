"""Accepting: on the disk or refused, alone or together, whatever the disk does."""

import asyncio
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bridge.agent.outbox.acceptance import TOGETHER, WAITING
from bridge.core.young import sequence_of
from bridge.errors import EventError, JournalError
from bridge.journal import log
from tests.agent.outbox.world import World, in_log, one, until
from tests.small_disk import mounted


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


async def test_an_event_is_in_the_log_when_accept_returns_rule_accepted(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log, "SLOW_S", math.inf)  # of this machine's disk nothing is known
    async with World(path) as world:
        await world.connect()
        for n in (1, 2, 3):
            await world.clock.advance(1)
            assert world.outbox.accept([one("door", float(n))]).done()
            assert [sequence_of(entry.key) for entry in in_log(path)] == [*range(1, n + 1)]
        await world.arrived(3)
        assert world.dispatcher.known["door", "epoch1"].runs == ((1, 3),)
        assert world.dispatcher.disordered == 0


async def test_a_burst_in_one_turn_of_the_loop_waits_in_hundreds_and_none_of_it_is_refused(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log, "SLOW_S", math.inf)  # of this machine's disk nothing is known
    async with World(path, max_events=3 * WAITING) as world:
        await world.connect()
        futures = [world.outbox.accept([one("door", float(n))]) for n in range(WAITING // 2)]
        assert sum(future.done() for future in futures) > len(futures) - TOGETHER
        assert world.outbox.log.counters.writes <= 2 + len(futures) // TOGETHER
        more = [world.outbox.accept([one("door", -1.0)]) for n in range(WAITING)]
        await asyncio.gather(*futures, *more)
        assert world.outbox.counters.lost == 0


async def test_events_of_a_burst_are_written_together_in_the_next_turn(path: Path) -> None:
    async with World(path) as world:
        await world.connect()
        await world.clock.advance(1)
        futures = [world.outbox.accept([one("door", float(n))]) for n in range(50)]
        assert [future.done() for future in futures[:2]] == [True, False]
        await asyncio.gather(*futures)
        assert world.outbox.log.counters.writes == 2
        await world.arrived(50)
        assert world.dispatcher.values == [float(n) for n in range(50)]


async def test_an_alarm_waits_for_the_disk_itself_and_those_behind_it_keep_their_order(path: Path) -> None:
    async with World(path) as world:
        await world.connect()
        alarm = world.outbox.accept([one("door", 1.0, "power", "alarm")])
        behind = [world.outbox.accept([one("door", 2.0)]), world.outbox.accept([one("door", 3.0)])]
        assert not any(each.done() for each in (alarm, *behind))
        await asyncio.gather(alarm, *behind)
        assert world.outbox.log.counters.power == 1
        await world.arrived(3)
        assert world.dispatcher.values == [1.0, 2.0, 3.0]


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


async def test_events_wait_while_the_disk_is_full_and_none_is_lost_when_it_recovers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log, "SLOW_S", math.inf)  # however busy this machine is
    disk = tmp_path / "disk"
    disk.mkdir()
    with mounted(disk, "8m"):
        async with World(disk / "outbox.db") as world:
            await world.connect()
            await world.outbox.accept([one("door", 0.0)])
            with full(disk):
                futures = [world.outbox.accept([one("door", float(n))]) for n in range(1, 4500)]
                await asyncio.sleep(0)
                assert sum(future.done() for future in futures) > 1000  # the log has its room already
                await until(lambda: world.outbox.problem is not None)
                assert "disk is full" in str(world.outbox.problem)
                assert world.outbox.backlog == 4500
                refused = world.outbox.accept([one("door")] * WAITING)
                with pytest.raises(JournalError, match="disk is full"):
                    await refused
                assert world.outbox.counters.lost == WAITING
            await world.clock.advance(20)
            await asyncio.gather(*futures)
            await world.finish()
            assert world.dispatcher.values == [float(n) for n in range(4500)]
