"""Sending: in turns, in order, the same bytes again, and never more than the limit."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bridge.core.confirm import Confirmed, encode
from tests.agent.outbox.world import START, Dispatcher, World, one, until


async def test_no_more_than_the_limit_is_in_flight_rule_2(path: Path) -> None:
    async with World(path, in_flight=5) as world:
        await world.connect()
        await world.outbox.accept([one("door", float(n)) for n in range(12)])
        await world.arrived(4)
        await world.clock.settle()
        assert world.outbox.in_flight == len(world.dispatcher.events) == 4  # and one is free for other sensors
        await world.outbox.accept([one("window", -1.0), one("window", -2.0)])
        await world.clock.settle()
        assert world.outbox.in_flight == len(world.dispatcher.events) == 5
        assert world.dispatcher.values[-1] == -1.0
        world.dispatcher.events.pop()
        await world.finish()
        assert [value for value in world.dispatcher.values if value != -2.0] == [float(n) for n in range(12)]


async def test_sensors_take_turns_and_live_events_queue_behind_their_own_backlog_rule_3(path: Path) -> None:
    async with World(path, in_flight=8) as world:
        await world.outbox.accept([one("door", float(n)) for n in range(300)])
        await world.outbox.accept([one("window", -1.0), one("window", -2.0)])
        await world.restart()  # nothing is in memory now
        await world.connect()
        await world.outbox.accept([one("door", 300.0), one("window", -3.0)])
        await world.arrived(2)
        world.confirm()
        await world.arrived(6)
        await world.clock.settle()
        assert world.dispatcher.values.count(-1.0) == 1
        world.confirm()
        await world.arrived(10)
        await world.clock.settle()
        assert {-2.0, -3.0} <= set(world.dispatcher.values)
        assert len(world.dispatcher.values) < 20
        await world.finish()
        assert [value for value in world.dispatcher.values if value >= 0] == [float(n) for n in range(301)]  # type: ignore[operator] # the values here are floats


async def test_a_reconnect_sends_from_what_is_confirmed_with_the_same_bytes_rule_2(path: Path) -> None:
    async with World(path) as world:
        await world.connect()
        await world.outbox.accept([one("door", float(n)) for n in range(4)])
        await world.arrived(4)
        world.outbox.confirmed(encode({"door": Confirmed("epoch1", 2)}))
        world.broker.forget()
        await world.clock.advance(3)
        await until(lambda: world.dispatcher.repeated == 1)  # the next one waits until somebody says that this one came
        world.outbox.confirmed(encode({"door": Confirmed("epoch1", 3)}))
        await until(lambda: world.dispatcher.repeated == 2)
        assert world.outbox.counters.resent == 2
        await world.finish()


async def test_a_broker_that_forgets_loses_nothing_rule_2(path: Path) -> None:
    async with World(path) as world:
        await world.dispatcher.transport.__aexit__()
        await world.connect()
        await world.outbox.accept([one("door", float(n)) for n in range(50)])
        await world.clock.settle()
        assert world.outbox.in_flight == 50
        world.broker.forget()
        world.dispatcher = Dispatcher(world.broker)
        await world.dispatcher.transport.__aenter__()
        await world.clock.advance(3)
        await world.finish()
        assert world.dispatcher.values == [float(n) for n in range(50)]


@pytest.mark.parametrize("restarted", [False, True])
async def test_what_nobody_heard_is_not_overtaken_by_what_comes_after_it(path: Path, restarted: bool) -> None:
    """Guarantee 2: a broker that does not know the dispatcher either acknowledges what it drops."""
    async with World(path) as world:
        await world.dispatcher.transport.__aexit__()
        world.broker.forget()
        world.link.answered = False
        await world.connect()
        await world.outbox.accept([one("door", 0.0)])
        await world.clock.settle()
        if restarted:  # by now the broker knows the agent again, but still no dispatcher
            await world.restart()
            await world.connect()
        world.dispatcher = Dispatcher(world.broker)
        await world.dispatcher.transport.__aenter__()
        await world.outbox.accept([one("door", 1.0), one("door", 2.0)])
        await world.finish()
        assert world.dispatcher.values == [0.0, 1.0, 2.0]


async def test_after_a_reconnect_a_sensor_that_was_confirmed_before_is_not_overtaken_either(path: Path) -> None:
    """A broker that still knows us may not serve the dispatcher yet (Mosquitto 2.0 with an access list)."""
    async with World(path) as world:
        await world.connect()
        await world.outbox.accept([one("door", 0.0)])
        await world.finish()
        await world.dispatcher.transport.__aexit__()
        world.link.answered = False
        world.broker.forget()
        await world.clock.advance(3)
        await world.outbox.accept([one("door", 1.0), one("door", 2.0), one("gate", 1.0), one("gate", 2.0)])
        await world.clock.settle()
        before, world.dispatcher = world.dispatcher, Dispatcher(world.broker)
        world.dispatcher.known, world.dispatcher.latest = before.known, before.latest
        await world.dispatcher.transport.__aenter__()
        await world.clock.settle()
        await world.outbox.accept([one("door", 3.0), one("gate", 3.0)])
        await world.finish()
        for sensor in ("door", "gate"):
            assert [event.data["value"] for event in world.dispatcher.events if event.sensor == sensor] == [
                1.0,
                2.0,
                3.0,
            ]


async def test_what_nobody_heard_is_sent_again_as_soon_as_a_dispatcher_listens(path: Path) -> None:
    async with World(path) as world:
        await world.dispatcher.transport.__aexit__()
        world.broker.forget()
        world.link.answered = False
        await world.connect()
        await world.outbox.accept([one("door", 0.0), one("door", 1.0)])
        await world.clock.settle()
        world.dispatcher = Dispatcher(world.broker)
        await world.dispatcher.transport.__aenter__()
        await world.clock.settle()
        assert world.dispatcher.values == []
        world.outbox.heard()
        await world.arrived(1)
        world.confirm()
        await world.arrived(2)
        world.confirm()
        world.outbox.heard()  # says nothing new to whoever has been answered
        await world.clock.settle()
        assert (world.dispatcher.values, world.dispatcher.repeated) == ([0.0, 1.0], 0)


async def test_without_any_confirmation_one_event_is_sent_again_later_and_later_rule_2(path: Path) -> None:
    async with World(path, resend_s=30.0) as world:
        await world.connect()
        await world.outbox.accept([one("door", float(n)) for n in range(20)])
        await world.arrived(20)
        await world.clock.advance(29)
        assert world.outbox.counters.resent == 0
        counts = []
        for _ in range(8):
            for _ in range(30):
                await world.clock.advance(1)
                await world.rest()
            counts.append(world.outbox.counters.resent)
        assert counts == [1, 1, 2, 2, 2, 2, 3, 3]
        world.confirm()
        assert world.outbox.backlog == 0


async def test_a_refused_event_is_counted_and_sent_again_until_the_broker_takes_it_rule_2(path: Path) -> None:
    async with World(path) as world:
        world.broker.refuse("#")
        await world.connect()
        await world.outbox.accept([one("door", 1.0), one("door", 2.0)])
        for _ in range(10):
            await world.clock.advance(1)
            await world.rest()
        assert 3 <= world.outbox.counters.refused <= 6
        assert world.dispatcher.events == []
        assert world.outbox.problem is not None
        assert world.outbox.problem.startswith("the broker refuses events of door: ")
        world.broker.allow("#")
        await world.finish()
        assert world.dispatcher.values == [1.0, 2.0]


async def test_times_are_corrected_before_the_first_publication_and_never_after_rule_4(path: Path) -> None:
    async with World(path, synchronized=False) as world:
        await world.connect()
        await world.outbox.accept([one("door", 1.0, at=START, synced=False)])
        await world.arrived(1)
        await world.transport.__aexit__()
        await world.clock.advance(10)
        await world.outbox.accept([one("door", 2.0, at=world.clock.now(), synced=False)])
        await world.clock.advance(100)
        world.clock.set(datetime(2026, 6, 1, 12, tzinfo=UTC))
        await world.clock.advance(1)
        await world.outbox.accept([one("door", 3.0, at=world.clock.now())])
        await world.kill()
        await world.connect()
        await world.finish()
        assert [(event.data["value"], event.timesynced, event.time) for event in world.dispatcher.events] == [
            (1.0, False, START),
            (2.0, True, datetime(2026, 6, 1, 12, tzinfo=UTC) - timedelta(seconds=100)),
            (3.0, True, datetime(2026, 6, 1, 12, 0, 1, tzinfo=UTC)),
        ]


async def test_an_event_of_an_earlier_boot_that_was_never_synchronised_stays_so_rule_4(path: Path) -> None:
    async with World(path, synchronized=False) as world:
        await world.outbox.accept([one("door", 1.0, synced=False)])
        await world.restart(boot="boot-2")
        world.clock.set(datetime(2026, 6, 1, tzinfo=UTC))
        await world.connect()
        await world.arrived(1)
        assert not world.dispatcher.events[0].timesynced
        assert world.dispatcher.events[0].time == START
