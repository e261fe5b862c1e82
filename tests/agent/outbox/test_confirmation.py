"""Confirming: what ends the responsibility for an event, and when it leaves the disk."""

from pathlib import Path

import orjson
import pytest

from bridge.agent.outbox.confirmation import PURGE_S
from bridge.core.confirm import Confirmed, encode
from tests.agent.outbox.world import World, in_log, one, until


async def test_confirmations_of_other_epochs_and_sensors_are_harmless_rule_2(path: Path) -> None:
    async with World(path) as world:
        await world.connect()
        await world.outbox.accept([one("door")])
        await world.arrived(1)
        world.outbox.confirmed(encode({"door": Confirmed("other", 1), "window": Confirmed("other", 1)}))
        world.outbox.confirmed(b"nonsense")
        world.outbox.confirmed(b"")
        assert world.outbox.backlog == 1
        world.outbox.confirmed(encode({"door": Confirmed("epoch1", 1)}))
        world.outbox.confirmed(encode({"door": Confirmed("epoch1", 1)}))
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


def copied(path: Path) -> dict[Path, bytes]:
    return {part: part.read_bytes() for part in path.parent.iterdir() if part.is_file()}


def is_set_back(world: World) -> bool:
    return world.outbox.set_back


def put_back(path: Path, copy: dict[Path, bytes]) -> None:
    for part in path.parent.iterdir():
        if part.is_file():
            part.unlink()
    for part, content in copy.items():
        part.write_bytes(content)


@pytest.mark.parametrize("boot", ["boot-1", "boot-2"])
async def test_no_event_is_lost_when_an_old_copy_of_the_files_is_put_back_and_numbers_are_given_twice(
    path: Path, boot: str
) -> None:
    async with World(path) as world:
        await world.connect()
        await world.outbox.accept([one("door", 1.0), one("gate", 1.0)])
        await world.arrived(2)
        await world.finish()
        await world.stop()
        copy = copied(path)
        await world.start()
        await world.connect()
        await world.outbox.accept([one("door", 2.0), one("door", 3.0), one("window", 1.0), one("window", 2.0)])
        await world.finish()
        await world.stop()
        put_back(path, copy)

        await world.start()
        await world.connect()
        ids = await world.outbox.accept([one("door", 4.0), one("window", 3.0), one("gate", 2.0)])
        await world.rest()
        world.confirm()
        assert is_set_back(world)
        assert world.outbox.backlog == 3, "what was never received is not done"
        await world.outbox.accept([one("door", 5.0)])
        world.confirm()
        await world.restart(boot)
        assert not is_set_back(world)
        assert world.outbox.backlog == 4
        await world.connect()
        await world.finish()

        told = {(event.sensor, event.data["value"]): event.id for event in world.dispatcher.events}
        assert set(told) == {
            *(("door", value) for value in (1.0, 2.0, 3.0, 4.0, 5.0)),
            *(("window", value) for value in (1.0, 2.0, 3.0)),
            *(("gate", value) for value in (1.0, 2.0)),
        }
        assert (told["door", 4.0], told["window", 3.0]) == ids[:2]
        assert [event.data["value"] for event in world.dispatcher.events if event.sensor == "door"][-2:] == [4.0, 5.0]


async def test_what_an_earlier_life_has_sent_may_be_confirmed_and_is_no_sign_of_an_old_copy(path: Path) -> None:
    async with World(path) as world:
        await world.connect()
        await world.outbox.accept([one("door", float(n)) for n in range(5)])
        world.outbox.confirmed(encode({"door": Confirmed("epoch1", 1)}))
        await world.arrived(5)
        await world.restart()
        await world.outbox.accept([one("door", 5.0)])
        world.confirm()
        assert not world.outbox.set_back
        assert world.outbox.backlog == 1
        await world.connect()
        await world.finish()
        assert world.dispatcher.values == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]
