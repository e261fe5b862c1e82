"""Bounds: what is dropped, in which order, and how it is told."""

from pathlib import Path

import pytest

from tests.agent.outbox.world import World, one, until


@pytest.mark.parametrize(("policy", "kept"), [("oldest", range(7, 10)), ("newest", range(3))])
async def test_what_a_bound_drops_is_counted_told_and_reported_as_one_tombstone(
    path: Path, policy: str, kept: range
) -> None:
    async with World(path, max_events=3, policy=policy) as world:
        for n in range(10):
            await world.outbox.accept([one("door", float(n))])
        assert world.outbox.backlog == 3
        assert world.outbox.counters.dropped == {"events": 7}
        assert world.outbox.problem is not None
        assert "dropped" in world.outbox.problem
        await world.restart()
        assert world.outbox.counters.dropped == {"events": 7}
        await world.connect()
        await world.finish()
        assert world.dispatcher.values == [float(n) for n in kept]
        first = 1 if policy == "oldest" else 4
        assert world.dispatcher.dropped["door", "epoch1"].runs == ((first, first + 6),)
        assert world.dispatcher.known["door", "epoch1"].runs == ((1, 10),)


async def test_alarms_are_dropped_last(path: Path) -> None:
    async with World(path, max_events=3) as world:
        for n in range(4):
            await world.outbox.accept([one("laser", float(n), priority="alarm"), one("door", float(n))])
        await world.connect()
        await world.finish()
        assert [event.data["value"] for event in world.dispatcher.events if event.sensor == "laser"] == [1.0, 2.0, 3.0]
        assert world.dispatcher.dropped["door", "epoch1"].runs == ((1, 4),)
        assert world.dispatcher.dropped["laser", "epoch1"].runs == ((1, 1),)


async def test_bytes_are_bounded_too(path: Path) -> None:
    async with World(path, max_bytes=4096) as world:
        await world.outbox.accept([one("door", "x" * 500) for _ in range(10)])
        assert world.outbox.size_bytes <= 4096
        assert world.outbox.counters.dropped["bytes"] == 10 - world.outbox.backlog


async def test_what_is_too_old_is_dropped(path: Path) -> None:
    async with World(path, max_age_s=60.0) as world:
        await world.outbox.accept([one("door", 1.0)])
        await world.clock.advance(40)
        now = world.clock.now()
        await world.outbox.accept([one("door", 2.0, priority="alarm", at=now), one("window", 3.0, at=now)])

        async def pass_s(seconds: int) -> None:
            for _ in range(seconds):
                await world.clock.advance(1)
                # A look-up that is still under way on the reader's thread would skip the next second.
                await until(lambda: not world.outbox._sending.busy, "for the disk to be looked through")

        await pass_s(10)
        assert 49 <= world.outbox.oldest_age_s <= 50
        await pass_s(25)
        assert world.outbox.counters.dropped == {"age": 1}
        await world.connect()
        await world.finish()
        assert sorted(map(str, world.dispatcher.values)) == ["2.0", "3.0"]


async def test_in_flight_events_that_are_dropped_are_still_accounted_for(path: Path) -> None:
    async with World(path, max_events=4) as world:
        await world.connect()
        await world.outbox.accept([one("door", float(n)) for n in range(4)])
        await world.arrived(4)
        await world.outbox.accept([one("door", float(n)) for n in range(4, 6)])
        await world.finish()
        assert world.dispatcher.known["door", "epoch1"].runs == ((1, 6),)
        assert world.dispatcher.values == [float(n) for n in range(6)]
