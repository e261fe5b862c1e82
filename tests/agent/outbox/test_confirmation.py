"""Confirming: what ends the responsibility for an event, and when it leaves the disk."""

from pathlib import Path

import orjson

from bridge.agent.outbox.confirmation import PURGE_S
from bridge.core.confirm import Confirmed, encode
from tests.agent.outbox.world import World, in_log, one, until


async def test_confirmations_of_other_epochs_and_sensors_and_of_the_future_are_harmless_rule_2(path: Path) -> None:
    async with World(path) as world:
        await world.connect()
        await world.outbox.accept([one("door")])
        await world.arrived(1)
        world.outbox.confirmed(encode({"door": Confirmed("other", 1), "window": Confirmed("epoch1", 1)}))
        world.outbox.confirmed(b"nonsense")
        world.outbox.confirmed(b"")
        assert world.outbox.backlog == 1
        world.outbox.confirmed(encode({"door": Confirmed("epoch1", 99)}))
        world.outbox.confirmed(encode({"door": Confirmed("epoch1", 99)}))
        assert world.outbox.backlog == 0
        await world.outbox.accept([one("door")])
        await world.arrived(2)
        assert world.dispatcher.events[1].sequence == 2


async def test_with_confirm_broker_an_acknowledged_event_is_done_rule_2(path: Path) -> None:
    async with World(path, confirm="broker", in_flight=3) as world:
        await world.connect()
        await world.outbox.accept([one("door", float(n)) for n in range(10)])
        await world.arrived(10)
        await until(lambda: world.outbox.backlog == 0)
        assert world.outbox.counters.confirmed == 10
        await world.restart()
        assert world.outbox.backlog == 0


async def test_confirmed_events_leave_the_disk_together_after_a_while(path: Path) -> None:
    async with World(path) as world:
        await world.connect()
        await world.outbox.accept([one("door", float(n)) for n in range(20)])
        await world.arrived(20)
        world.confirm()
        assert len(list(in_log(path))) == 20
        await world.clock.advance(PURGE_S + 1)
        assert list(in_log(path)) == []
        assert world.outbox.size_bytes == 0


async def test_confirmed_events_leave_the_database_together_after_a_while(path: Path) -> None:
    async with World(path) as world:
        await world.outbox.accept([one("door", float(n)) for n in range(20)])
        await world.restart()  # which folds the log
        await world.connect()
        await world.outbox.accept([one("door", 20.0)])
        await world.arrived(1)
        world.confirm()
        await world.arrived(21)
        count = "SELECT count(*) FROM events"
        world.confirm()
        assert await world.outbox.journal.read(lambda db: db.execute(count).fetchone()) == (20,)
        assert len(list(in_log(path))) == 1
        await world.clock.advance(PURGE_S + 1)
        await world.outbox.journal.flush()
        assert await world.outbox.journal.read(lambda db: db.execute(count).fetchone()) == (0,)
        assert list(in_log(path)) == []
        assert world.outbox.size_bytes == 0


def test_a_confirm_document_is_read_as_it_was_written() -> None:
    document = encode({"door": Confirmed("abc", 7)})
    assert orjson.loads(document) == {"version": 1, "confirmed": {"door": {"epoch": "abc", "sequence": 7}}}
