"""The outbox as a whole: what it keeps through restarts, kills and boots."""
# ruff: noqa: ASYNC220, ASYNC240 - a test owns its loop and may block it

import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from bridge.agent.outbox.confirmation import PURGE_S
from bridge.errors import JournalError
from bridge.journal.engine import Journal
from bridge.journal.outbox import MIGRATIONS
from tests.agent.outbox.world import START, World, one
from tests.damage import damage


async def test_an_accepted_event_is_published_and_kept_until_it_is_confirmed_rule_2(path: Path) -> None:
    async with World(path) as world:
        await world.connect()
        assert await world.outbox.accept([one("door", 1.0), one("door", 2.0)]) == ("id-1", "id-2")
        await world.arrived(2)
        assert [event.sequence for event in world.dispatcher.events] == [1, 2]
        assert world.dispatcher.events[0].epoch == world.outbox.epoch == "epoch1"
        assert world.outbox.backlog == 2
        world.confirm()
        assert world.outbox.backlog == 0
        await world.restart()
        await world.connect()
        assert world.outbox.backlog == 0
        assert world.outbox.counters.published == 0


async def test_sequences_go_on_after_a_restart_and_after_a_kill_rule_1(path: Path) -> None:
    async with World(path) as world:
        await world.connect()
        await world.outbox.accept([one()])
        await world.arrived(1)
        world.confirm()
        await world.restart()
        await world.connect()
        await world.outbox.accept([one()])
        await world.kill()
        await world.connect()
        await world.outbox.accept([one()])
        await world.arrived(2)
        world.confirm()
        await world.arrived(3)
        assert [(event.epoch, event.sequence) for event in world.dispatcher.events] == [
            ("epoch1", n) for n in (1, 2, 3)
        ]


async def test_a_new_boot_begins_a_new_epoch_after_the_old_one_is_confirmed_rule_1(path: Path) -> None:
    async with World(path) as world:
        await world.outbox.accept([one("door", float(n)) for n in range(3)])
        await world.restart(boot="boot-2")
        await world.outbox.accept([one("door", 3.0)])
        assert world.outbox.backlog == 4
        await world.connect()
        await world.arrived(1)
        world.confirm()
        await world.arrived(3)
        await world.clock.settle()
        assert world.dispatcher.values == [0.0, 1.0, 2.0]
        world.confirm()
        await world.arrived(4)
        assert [(event.epoch, event.sequence) for event in world.dispatcher.events][2:] == [
            ("epoch1", 3),
            ("epoch2", 1),
        ]
        world.confirm()
        assert world.outbox.backlog == 0


async def test_the_last_level_of_a_sensor_outlives_its_events_and_faults_are_none(path: Path) -> None:
    async with World(path) as world:
        await world.connect()
        await world.outbox.accept([one("door", True), one("door", False, name="motion.ended", at=START + timedelta(1))])
        await world.outbox.accept([one("door", True, name="sensor.fault")])
        await world.outbox.accept([one("window", 21.5, name="temperature.changed")])
        await world.restart()
        level = world.outbox.level("door")
        assert level is not None
        assert (level.name, level.value, level.time) == ("motion.ended", False, START + timedelta(1))
        await world.connect()
        await world.finish()
        await world.clock.advance(PURGE_S + 1)
        await world.kill(boot="boot-2")
        assert world.outbox.level("door") == level
        window = world.outbox.level("window")
        assert window is not None
        assert window.value == 21.5
        assert world.outbox.level("cellar") is None


async def test_the_outbox_of_another_node_is_refused_while_it_holds_events(path: Path) -> None:
    async with World(path) as world:
        await world.outbox.accept([one("door")])
        await world.outbox.__aexit__()
        with pytest.raises(JournalError, match="belongs to node 'pi-1' of site 'home' and holds 1 events"):
            await world.start(node="pi-2")
        await world.start()
        await world.connect()
        await world.finish()
        await world.stop()
        await world.start(node="pi-2")
        assert world.outbox.level("door") is None


async def test_a_damaged_outbox_is_set_aside_counted_and_begins_a_new_epoch(path: Path) -> None:
    async with World(path) as world:
        await world.outbox.accept([one("door")])
        await world.stop()
        path.write_bytes(b"damaged" * 4096)
        await world.start()
        assert world.outbox.counters.quarantined == 1
        assert world.outbox.epoch == "epoch2"
        assert world.outbox.problem is not None
        assert "0 unconfirmed events are lost, and what could not be read" in world.outbox.problem


async def test_what_a_damaged_outbox_held_unconfirmed_is_counted_as_lost(path: Path) -> None:
    async with World(path) as world:
        await world.connect()
        await world.outbox.accept([one("door")])
        await world.finish()
        await world.restart()  # without a connection: nothing is confirmed any more
        await world.outbox.accept([one("door"), one("gate")])
        await world.stop()
        damage(path, "levels")
        await world.start()

        assert (world.outbox.counters.quarantined, world.outbox.counters.lost) == (1, 2)
        assert world.outbox.problem is not None
        assert world.outbox.problem.endswith("2 unconfirmed events are lost")


async def test_a_new_file_has_small_pages_and_one_of_an_older_version_keeps_its_own(path: Path) -> None:
    page_size = "PRAGMA page_size"
    async with World(path) as world:
        assert await world.outbox.journal.read(lambda db: db.execute(page_size).fetchone()) == (512,)
    older = path.with_name("older.db")
    async with Journal(older, MIGRATIONS, page_bytes=4096):
        pass
    async with World(older) as world:
        await world.connect()
        await world.outbox.accept([one("door", float(n)) for n in range(300)])
        await world.restart()
        assert await world.outbox.journal.read(lambda db: db.execute(page_size).fetchone()) == (4096,)
        await world.connect()
        await world.finish()
        assert len(world.dispatcher.events) == 300


CHILD = """
import asyncio, itertools, pathlib, sys
from datetime import UTC, datetime
from bridge.agent.outbox import Outbox, OutboxSettings
from bridge.clock import RealClock
from bridge.core.event import Observation
from bridge.core.topics import Topics

async def main():
    ids = (f"{sys.argv[2]}-{n}" for n in itertools.count())
    outbox = Outbox(pathlib.Path(sys.argv[1]), Topics(), "home", "pi-1", RealClock("always"), OutboxSettings(),
                    mint_id=lambda _: next(ids), boot="boot-1")
    async with outbox:
        while True:
            now = datetime.now(UTC)
            seen = Observation(kind="pir", name="motion.detected", value=True, unit=None, initial=False, time=now,
                               timesynced=True)
            for id in await outbox.accept([("door", seen, "process", "normal")] * 3):
                print(id, flush=True)

asyncio.run(main())
"""


async def test_a_killed_agent_finds_every_event_it_had_accepted(path: Path) -> None:
    promised: list[str] = []
    for life in range(3):
        child = subprocess.Popen([sys.executable, "-c", CHILD, str(path), str(life)], stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None
        promised += [child.stdout.readline().strip() for _ in range(50)]
        child.kill()
        promised += [line for line in child.stdout.read().split("\n")[:-1] if line]
        child.stdout.close()
        child.wait(60)
    async with World(path, in_flight=60_000) as world:
        await world.connect()
        await world.finish()
        ids = [event.id for event in world.dispatcher.events]
        assert set(promised) <= set(ids)
        assert len(set(ids)) == len(ids)
        assert len(world.dispatcher.known) == 1
        assert next(iter(world.dispatcher.known.values())).runs == ((1, len(ids)),)
