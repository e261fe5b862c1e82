# ruff: noqa: ASYNC220, ASYNC221, ASYNC240 - a test owns its loop and may block it
import asyncio
import itertools
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Self

import orjson
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from bridge.agent.outbox import Accept, Durability, Outbox, OutboxSettings, Priority
from bridge.agent.outbox.acceptance import WAITING
from bridge.agent.outbox.confirmation import PURGE_S
from bridge.clock import VirtualClock
from bridge.core.confirm import Confirmed, encode
from bridge.core.event import Event, Observation, parse
from bridge.core.sequences import Sequences
from bridge.core.tombstone import parse_tombstone
from bridge.core.topics import SensorEventTopic, Topics
from bridge.errors import EventError, JournalError
from bridge.mqtt.memory import MemoryBroker
from bridge.mqtt.transport import Delivery, Subscription

TOPICS = Topics()
EVENTS = "gpio-bridge/v1/home/nodes/pi-1/sensors/+/event"
CONFIRM = TOPICS.confirm("home", "pi-1")
START = datetime(2026, 1, 1, tzinfo=UTC)


async def until(condition: Callable[[], object], what: str = "") -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, f"waited too long {what}"
        await asyncio.sleep(0.0005)


def seen(
    value: bool | float | str = True, *, name: str = "motion.detected", at: datetime = START, synced: bool = True
) -> Observation:
    return Observation(kind="pir", name=name, value=value, unit=None, initial=False, time=at, timesynced=synced)


def one(
    sensor: str = "door",
    value: bool | float | str = True,
    durability: Durability = "process",
    priority: Priority = "normal",
    **more: object,
) -> Accept:
    return sensor, seen(value, **more), durability, priority  # type: ignore[arg-type] # the keywords of `seen`


class Dispatcher:
    """Receives events, keeps account of their sequences, and confirms when it is told to."""

    def __init__(self, broker: MemoryBroker) -> None:
        self.transport = broker.connect("dispatcher", self)
        self.events: list[Event] = []
        self.repeated = 0
        self.bodies: dict[tuple[str, str, int, bool], bytes] = {}
        self.known: dict[tuple[str, str], Sequences] = {}
        self.dropped: dict[tuple[str, str], Sequences] = {}
        self.latest: dict[str, str] = {}
        self.disordered = 0
        self._tasks: set[asyncio.Task[None]] = set()

    def connected(self, generation: int, *, session_present: bool) -> None:
        task = asyncio.get_running_loop().create_task(self.transport.subscribe([Subscription(EVENTS)]))
        self._tasks.add(task)
        task.add_done_callback(self._subscribed)

    def _subscribed(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # a connection that ends in between; the next one subscribes again

    def disconnected(self, generation: int, reason: str) -> None:
        pass

    def received(self, batch: Sequence[Delivery]) -> None:
        for delivery in batch:
            at = TOPICS.parse(delivery.message.topic)
            assert isinstance(at, SensorEventTopic)
            event = parse(delivery.message.payload, at)
            assert event.epoch is not None
            assert event.sequence is not None
            stone = parse_tombstone(event)
            source = (at.sensor, event.epoch)
            known = self.known.setdefault(source, Sequences())
            same = self.bodies.setdefault((*source, event.sequence, stone is None), event.body)
            assert same == event.body or stone is not None, "sent again, but not the same bytes"
            self.latest[at.sensor] = event.epoch
            if stone is not None:
                known.add(stone.first, stone.last)
                self.dropped.setdefault(source, Sequences()).add(stone.first, stone.last)
            elif event.sequence in known:
                self.repeated += 1
            else:
                self.disordered += known.runs != () and event.sequence < known.runs[-1][1]
                known.add(event.sequence)
                self.events.append(event)
        self.transport.acknowledge(batch)

    def confirmation(self) -> bytes:
        confirmed = {}
        for sensor, epoch in self.latest.items():
            runs = self.known[sensor, epoch].runs
            confirmed[sensor] = Confirmed(epoch, runs[0][1] if runs[0][0] == 1 else 0)
        return encode(confirmed)

    @property
    def values(self) -> list[object]:
        return [event.data["value"] for event in self.events]


class Link:
    """The agent's listener."""

    def __init__(self, outbox: Outbox) -> None:
        self.outbox = outbox

    remembered = True

    def connected(self, generation: int, *, session_present: bool) -> None:
        self.outbox.connected(generation, remembered=self.remembered)

    def disconnected(self, generation: int, reason: str) -> None:
        self.outbox.disconnected()

    def received(self, batch: Sequence[Delivery]) -> None:
        raise AssertionError("nothing is subscribed to")


class World:
    """A node, a broker in memory and a dispatcher on one virtual clock."""

    def __init__(self, path: Path, *, synchronized: bool = True, **limits: object) -> None:
        self.clock = VirtualClock(START, synchronized=synchronized)
        self.broker = MemoryBroker(self.clock)
        self.dispatcher = Dispatcher(self.broker)
        self.path = path
        self.settings = OutboxSettings(**limits)  # type: ignore[arg-type] # keywords of the settings
        self._ids = itertools.count(1)
        self._epochs = itertools.count(1)

    async def __aenter__(self) -> Self:
        await self.dispatcher.transport.__aenter__()
        await self.start()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.stop()
        await self.dispatcher.transport.__aexit__()

    async def start(self, boot: str = "boot-1", node: str = "pi-1") -> None:
        self.outbox = Outbox(
            self.path, TOPICS, "home", node, self.clock, self.settings,
            mint_id=lambda: f"id-{next(self._ids)}", epoch=f"epoch{next(self._epochs)}", boot=boot,
        )  # fmt: skip
        await self.outbox.__aenter__()
        self.link = Link(self.outbox)
        self.transport = self.broker.connect("agent", self.link)
        self.outbox.attach(self.transport)

    async def connect(self) -> None:
        await self.transport.__aenter__()
        await self.clock.settle()

    async def stop(self) -> None:
        await self.transport.__aexit__()
        await self.outbox.__aexit__()

    async def restart(self, boot: str = "boot-1") -> None:
        await self.stop()
        await self.start(boot)

    async def kill(self, boot: str = "boot-1") -> None:
        """Go on with the files as a kill would leave them now."""
        survivor = self.path.with_name(f"again-{next(self._epochs)}.db")
        await self.transport.__aexit__()
        for suffix in ("", "-wal"):
            if (part := self.path.with_name(self.path.name + suffix)).exists():
                shutil.copy(part, survivor.with_name(survivor.name + suffix))
        await self.outbox.__aexit__()
        self.path = survivor
        await self.start(boot)

    def confirm(self) -> None:
        self.outbox.confirmed(self.dispatcher.confirmation())

    async def arrived(self, count: int) -> None:
        await until(lambda: len(self.dispatcher.events) >= count, f"for {count}: {len(self.dispatcher.events)}")

    async def finish(self) -> None:
        """Confirm until nothing is left, letting time pass where nothing moves."""
        for _ in range(80):
            self.confirm()
            await self.clock.settle()
            await asyncio.sleep(0.001)
            if not self.outbox.backlog:
                return
            await self.clock.advance(5)
        raise AssertionError(
            f"never done: {list(self.outbox._stock.sender)}, {self.dispatcher.known}, {self.transport.status}"
        )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "outbox.db"


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
        world.link.remembered = False
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


async def test_what_nobody_heard_is_sent_again_as_soon_as_a_dispatcher_listens(path: Path) -> None:
    async with World(path) as world:
        await world.dispatcher.transport.__aexit__()
        world.broker.forget()
        world.link.remembered = False
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
                await asyncio.sleep(0.0005)
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
            await asyncio.sleep(0.002)
        assert 3 <= world.outbox.counters.refused <= 6
        assert world.dispatcher.events == []
        world.broker.allow("#")
        await world.finish()
        assert world.dispatcher.values == [1.0, 2.0]


async def test_with_confirm_broker_an_acknowledged_event_is_done_rule_2(path: Path) -> None:
    async with World(path, confirm="broker", in_flight=3) as world:
        await world.connect()
        await world.outbox.accept([one("door", float(n)) for n in range(10)])
        await world.arrived(10)
        await until(lambda: world.outbox.backlog == 0)
        assert world.outbox.counters.confirmed == 10
        await world.restart()
        assert world.outbox.backlog == 0


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
        for _ in range(10):  # a look-up that is still under way on the reader's thread skips a second
            await world.clock.advance(1)
            await asyncio.sleep(0.01)
        assert 41 <= world.outbox.oldest_age_s <= 50
        for _ in range(100):
            await world.clock.advance(0.25)
            await asyncio.sleep(0.005)
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


async def test_confirmed_events_leave_the_disk_together_after_a_while(path: Path) -> None:
    async with World(path) as world:
        await world.connect()
        await world.outbox.accept([one("door", float(n)) for n in range(20)])
        await world.arrived(20)
        count = "SELECT count(*) FROM events"
        world.confirm()
        await world.outbox.journal.flush()
        assert await world.outbox.journal.read(lambda db: db.execute(count).fetchone()) == (20,)
        await world.clock.advance(PURGE_S + 1)
        await world.outbox.journal.flush()
        assert await world.outbox.journal.read(lambda db: db.execute(count).fetchone()) == (0,)
        assert world.outbox.size_bytes == 0


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
                    mint_id=lambda: next(ids), boot="boot-1")
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
        child.wait(10)
    async with World(path, in_flight=60_000) as world:
        await world.connect()
        await world.finish()
        ids = [event.id for event in world.dispatcher.events]
        assert set(promised) <= set(ids)
        assert len(set(ids)) == len(ids)
        assert len(world.dispatcher.known) == 1
        assert next(iter(world.dispatcher.known.values())).runs == ((1, len(ids)),)


class OutboxMachine(RuleBasedStateMachine):
    """Whatever happens, every accepted event is delivered, in order and in the same bytes, or counted as dropped."""

    def __init__(self) -> None:
        super().__init__()
        import tempfile

        self.loop = asyncio.new_event_loop()
        self.folder = tempfile.TemporaryDirectory()
        self.world: World | None = None
        self.promised: dict[str, str] = {}
        self.boots = itertools.count(2)
        self.boot = "boot-1"
        self.open: list[tuple[tuple[str, ...], asyncio.Future[tuple[str, ...]]]] = []
        self.bounded = False

    def run(self, work: object) -> None:
        self.loop.run_until_complete(work)  # type: ignore[arg-type] # any coroutine
        for sensors, future in list(self.open):
            if future.done() and not future.cancelled() and future.exception() is None:
                self.promised.update(zip(future.result(), sensors, strict=True))
                self.open.remove((sensors, future))

    @precondition(lambda self: self.world is None)
    @rule(
        limit=st.sampled_from([1, 3, 50]),
        bound=st.sampled_from([3, 8, 1000]),
        policy=st.sampled_from(["oldest", "newest"]),
    )
    def begin(self, limit: int, bound: int, policy: str) -> None:
        self.world = World(Path(self.folder.name) / "outbox.db", in_flight=limit, max_events=bound, policy=policy)
        self.bounded = bound < 1000
        self.run(self.world.__aenter__())
        self.run(self.world.connect())

    @precondition(lambda self: self.world is not None)
    @rule(
        sensors=st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=6),
        priority=st.sampled_from(["normal", "normal", "alarm"]),
        wait=st.booleans(),
    )
    def accept(self, sensors: list[str], priority: Priority, wait: bool) -> None:
        world = self.world
        assert world is not None

        async def accept() -> None:
            future = world.outbox.accept([one(sensor, priority=priority) for sensor in sensors])
            self.open.append((tuple(sensors), future))
            if wait:
                await future
            await world.clock.settle()

        self.run(accept())

    @precondition(lambda self: self.world is not None)
    @rule()
    def confirm(self) -> None:
        world = self.world
        assert world is not None

        async def confirm() -> None:
            world.confirm()
            await world.clock.settle()

        self.run(confirm())

    @precondition(lambda self: self.world is not None)
    @rule(seconds=st.sampled_from([1, 7, 40]))
    def wait(self, seconds: int) -> None:
        world = self.world
        assert world is not None

        async def wait() -> None:
            await world.clock.advance(seconds)
            await world.outbox.journal.flush()
            await world.clock.settle()

        self.run(wait())

    @precondition(lambda self: self.world is not None)
    @rule(arrived=st.booleans())
    def disconnect(self, arrived: bool) -> None:
        world = self.world
        assert world is not None

        async def drop() -> None:
            world.broker.drop("agent", arrived=arrived)
            await world.clock.settle()

        self.run(drop())

    @precondition(lambda self: self.world is not None)
    @rule()
    def forget(self) -> None:
        world = self.world
        assert world is not None

        async def forget() -> None:
            world.broker.forget()
            await world.clock.settle()

        self.run(forget())

    @precondition(lambda self: self.world is not None)
    @rule(how=st.sampled_from(["restart", "kill"]), boot=st.booleans())
    def end(self, how: str, boot: bool) -> None:
        world = self.world
        assert world is not None
        if boot:
            self.boot = f"boot-{next(self.boots)}"
        if how == "kill":
            self.open.clear()  # what had not returned by now was not promised
        self.run(world.kill(self.boot) if how == "kill" else world.restart(self.boot))
        assert not self.open
        self.run(world.connect())

    @invariant()
    def nothing_is_out_of_order(self) -> None:
        if self.world is not None:
            assert self.bounded or self.world.dispatcher.disordered == 0

    def teardown(self) -> None:
        world = self.world
        if world is not None:
            try:
                self.run(world.finish())
                dispatcher = world.dispatcher
                for runs in dispatcher.known.values():
                    assert len(runs.runs) == 1
                    assert runs.runs[0][0] == 1
                delivered = {event.id for event in dispatcher.events}
                missing = len(self.promised.keys() - delivered)
                dropped = sum(last - first + 1 for runs in dispatcher.dropped.values() for first, last in runs)
                assert missing <= dropped
                assert self.bounded or not dropped
                assert dropped <= sum(world.outbox.counters.dropped.values())
            finally:
                self.run(world.__aexit__())
        self.loop.close()
        self.folder.cleanup()


OutboxMachine.TestCase.settings = settings(
    max_examples=40, stateful_step_count=20, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
TestEveryAcceptedEvent = OutboxMachine.TestCase


def test_a_confirm_document_is_read_as_it_was_written() -> None:
    document = encode({"door": Confirmed("abc", 7)})
    assert orjson.loads(document) == {"version": 1, "confirmed": {"door": {"epoch": "abc", "sequence": 7}}}
