"""An outbox with everything around it: a broker in memory, a dispatcher, and time that stands still by itself."""

import asyncio
import itertools
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from bridge.agent.outbox import Accept, Durability, Outbox, OutboxSettings, Priority
from bridge.clock import VirtualClock
from bridge.core.confirm import Confirmed, encode
from bridge.core.event import Event, Observation, parse
from bridge.core.frames import scan
from bridge.core.sequences import Sequences
from bridge.core.tombstone import parse_tombstone
from bridge.core.topics import SensorEventTopic, Topics
from bridge.core.young import Entry, read
from bridge.journal.log import LOG_BYTES, frames_of
from bridge.journal.outbox.log import log_path
from bridge.mqtt.memory import MemoryBroker
from bridge.mqtt.transport import Delivery, Subscription

TOPICS = Topics()
EVENTS = "gpio-bridge/v1/home/nodes/pi-1/sensors/+/event"
CONFIRM = TOPICS.confirm("home", "pi-1")
START = datetime(2026, 1, 1, tzinfo=UTC)


async def until(condition: Callable[[], object], what: str = "") -> None:
    deadline = time.monotonic() + 60
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


def with_suffix(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def in_log(outbox: Path) -> Iterator[Entry]:
    """The events that an outbox's log says are young."""
    return iter(read(scan(frames_of(log_path(outbox)), None).payloads))


class Link:
    """The agent's listener."""

    def __init__(self, outbox: Outbox) -> None:
        self.outbox = outbox

    answered = True

    def connected(self, generation: int, *, session_present: bool) -> None:
        self.outbox.connected(generation)
        if self.answered:
            self.outbox.confirmed(encode({"another": Confirmed("epoch", 1)}))

    def disconnected(self, generation: int, reason: str) -> None:
        self.outbox.disconnected()

    def received(self, batch: Sequence[Delivery]) -> None:
        raise AssertionError("nothing is subscribed to")


class World:
    """A node, a broker in memory and a dispatcher on one virtual clock."""

    def __init__(self, path: Path, *, synchronized: bool = True, log_bytes: int = LOG_BYTES, **limits: object) -> None:
        self.clock = VirtualClock(START, synchronized=synchronized)
        self.broker = MemoryBroker(self.clock)
        self.dispatcher = Dispatcher(self.broker)
        self.path = path
        self.log_bytes = log_bytes
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
            mint_id=lambda _: f"id-{next(self._ids)}", epoch=f"epoch{next(self._epochs)}", boot=boot,
            log_bytes=self.log_bytes,
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

    async def stop_without_fold(self) -> None:
        """Leave the files as a kill would."""
        await self.transport.__aexit__()
        kept = [(part, part.read_bytes()) for part in (log_path(self.path), *self.path.parent.glob("outbox.db*"))]
        await self.outbox.__aexit__()
        for part in self.path.parent.glob("outbox.db*"):
            part.unlink()
        for part, content in kept:
            part.write_bytes(content)

    async def restart(self, boot: str = "boot-1") -> None:
        await self.stop()
        await self.start(boot)

    async def kill(self, boot: str = "boot-1") -> None:
        """Go on with the files as a kill would leave them now."""
        survivor = self.path.with_name(f"again-{next(self._epochs)}.db")
        await self.transport.__aexit__()
        # The log first: while they are copied, only what it has may go over into the database.
        for there, then in (
            (log_path(self.path), log_path(survivor)),
            *((with_suffix(self.path, suffix), with_suffix(survivor, suffix)) for suffix in ("", "-wal")),
        ):
            if there.exists():
                shutil.copy(there, then)
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
            await self.rest()
            if not self.outbox.backlog:
                return
            await self.clock.advance(5)
        raise AssertionError(
            f"never done: {list(self.outbox._stock.sender)}, {self.dispatcher.known}, {self.transport.status}"
        )

    async def rest(self) -> None:
        """Let happen what happens without time passing, and let what is being read from the disk be read."""
        await self.clock.settle()
        await asyncio.sleep(0.0005)
        await until(lambda: not any(stream.busy for stream in self.outbox._stock.sender), "for the disk to be read")
        await self.clock.settle()
