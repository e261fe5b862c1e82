"""The outbox: events are on the disk before they are sent, and stay there until they are confirmed.

    accept -> one commit for all that came meanwhile -> publish, in turns -> confirmed -> purged

It owns all sending and sending again of events (PROTOCOL.md, rules 1 to 5). Everything here runs on the loop's thread;
what goes next is decided in `core/outbox.py`, what is stored how stands in `journal/outbox.py`.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import string
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Annotated, Final, Literal, Self, TypeAlias

from bridge.clock import Clock, Timer
from bridge.config import Bytes, Seconds, Within
from bridge.core.confirm import parse as parse_confirm
from bridge.core.event import CONTENT_TYPE, MAX_BYTES, Observation, encode, restamp
from bridge.core.event import parse as parse_event
from bridge.core.outbox import Publish, Read, Row, Seal, Sender, Stream
from bridge.core.tombstone import Tombstone, encode_tombstone
from bridge.core.topics import SensorEventTopic, Topics
from bridge.errors import EventError, JournalError
from bridge.journal import outbox as store
from bridge.journal.engine import Journal
from bridge.journal.outbox import Level
from bridge.mqtt.transport import Message, Publication, Sent, Transport

_log = logging.getLogger(__name__)

Durability: TypeAlias = Literal["process", "power"]
Priority: TypeAlias = Literal["normal", "alarm"]
Accept: TypeAlias = tuple[str, Observation, Durability, Priority]
"""A sensor's name, what it saw, what its commit must survive, and whether it is dropped last."""

BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
TICK_S: Final = 1.0
PURGE_S: Final = 5.0
PURGE_EVENTS: Final = 500
"""Confirmed events are purged together, this often or at this many: a commit for each would wear the SD card."""
PAGE: Final = 128
WAITING: Final = 5000
"""At most this many events wait in memory for a commit; beyond it, `accept` fails."""
_GROUP: Final = 1000
_FLAW_S: Final = 60.0
"""How long after a drop or a loss health speaks of it."""
_UNSET_CLOCK: Final = timedelta(seconds=60)


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxSettings:
    """How much is kept for bad times, and who ends the responsibility for an event."""

    max_events: Annotated[int, Within(1)] = 100_000
    max_bytes: Annotated[int, Bytes(4096)] = field(default=64 * 1024 * 1024, metadata={"key": "max_bytes"})
    """Of the events alone; the file takes about a fifth more."""
    max_age_s: Annotated[float, Seconds(1)] = 7 * 86400.0
    policy: Literal["oldest", "newest"] = "oldest"
    """What is dropped when a bound is reached; alarms only when nothing else is left."""
    confirm: Literal["dispatcher", "broker"] = "dispatcher"
    """`broker` is for people without a dispatcher: then the broker's acknowledgement suffices."""
    in_flight: Annotated[int, Within(1, 60_000)] = 1000
    """Events sent and not confirmed; also what a broker has to keep for a dispatcher that is away."""
    resend_s: Annotated[float, Seconds(1, 86400)] = 30.0
    """Send again after this long without any confirmation; doubled each time, up to sixteen times."""


@dataclass(slots=True)
class OutboxCounters:
    """Since the start, but `dropped`, which counts since the outbox was made."""

    accepted: int = 0
    published: int = 0
    resent: int = 0
    """Those of the published that had been sent before."""
    refused: int = 0
    """Refusals by the broker; each is tried again."""
    confirmed: int = 0
    lost: int = 0
    """Events that `accept` refused: the disk failed for too long."""
    quarantined: int = 0
    """Damaged outbox files that were set aside at this start."""
    dropped: dict[str, int] = field(default_factory=dict)
    """By the bound that dropped them: events, bytes, age."""


@dataclass(slots=True)
class _Waiting:
    seen: Sequence[Accept]
    moment: float
    accepted: asyncio.Future[tuple[str, ...]]
    ids: tuple[str, ...] = ()


class Outbox:
    """One node's outbox: an async context manager; entering raises JournalError when its file cannot be used.

    `attach` a transport, then tell it of `connected`, `disconnected` and `confirmed`. `mint_id` makes ids of events.
    """

    def __init__(
        self,
        path: Path,
        topics: Topics,
        site: str,
        node: str,
        clock: Clock,
        settings: OutboxSettings,
        *,
        mint_id: Callable[[], str],
        epoch: str | None = None,
        boot: str | None = None,
    ) -> None:
        self.journal = Journal(path, store.MIGRATIONS, name="outbox")
        self.counters = OutboxCounters()
        self._site, self._node, self._topics = site, node, topics
        self._clock = clock
        self._settings = settings
        self._mint_id = mint_id
        self._new_epoch = epoch or "".join(secrets.choice(string.ascii_lowercase + string.digits) for _ in range(8))
        self._boot = boot or _boot_id()
        self._sender = Sender(
            limit=settings.in_flight, resend_s=settings.resend_s, until_broker=settings.confirm == "broker"
        )
        self._transport: Transport | None = None
        self._at: dict[str, SensorEventTopic] = {}
        self._levels: dict[str, Level] = {}
        self._by_number: dict[int, tuple[str, str]] = {}
        self._waiting: list[_Waiting] = []
        self._waiting_events = 0
        self._committing = False
        self._retry_s = 0.0
        self._unpurged: dict[int, tuple[str, int]] = {}
        self._unpurged_events = 0
        self._purge_at: float | None = None
        self._expire_at = 0.0
        self._oldest: tuple[float, float, str] | None = None
        self._flaw: tuple[float, str] | None = None
        self._pumping = False
        self._timer: Timer | None = None
        self._commit_timer: Timer | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        await self.journal.__aenter__()
        try:
            begin = store.begin(self._site, self._node, self._boot, self._new_epoch)
            found = await self.journal.write(begin, power=True)
        except BaseException:
            await self.journal.__aexit__()
            raise
        self.counters.quarantined = int(self.journal.quarantined is not None)
        self.counters.dropped = dict(found.drops)
        self.epoch = found.epoch
        self._levels = dict(found.levels)
        self._events, self._bytes = found.events, found.bytes
        self._next_stream = found.next_stream
        for each in found.streams:
            self._by_number[each.number] = (each.sensor, each.epoch)
            self._sender.add(
                Stream(
                    each.number, each.sensor, each.epoch, current=each.current, confirmed=each.confirmed, last=each.last
                )
            )
        self._tick()
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Stop sending, commit what waits, purge what is confirmed, close the file."""
        self._sender.disconnected()
        for timer in (self._timer, self._commit_timer):
            if timer is not None:
                timer.cancel()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        while self._waiting or self._committing:
            self._commit()
            try:
                await self.journal.flush()
            except JournalError:
                break
            await asyncio.sleep(0)
        self._fail_waiting(JournalError(f"the outbox {self.journal.path} is closed"))
        self._purge()
        await self.journal.__aexit__(*exc)

    # What the agent asks.

    @property
    def backlog(self) -> int:
        """Events that are not confirmed, those not yet on the disk included; 0 exactly when there are none."""
        if all(stream.confirmed >= stream.last for stream in self._sender):
            return self._waiting_events
        return max(1, self._events - self._unpurged_events) + self._waiting_events

    @property
    def size_bytes(self) -> int:
        """The bodies of the events on the disk."""
        return self._bytes

    @property
    def oldest_age_s(self) -> float:
        """How long the oldest event has been waiting for its confirmation; looked up once a second."""
        if self._oldest is None or not self.backlog:
            return 0.0
        wall, monotonic, epoch = self._oldest
        if epoch == self.epoch:
            return max(0.0, self._clock.monotonic() - monotonic)
        return max(0.0, self._clock.now().timestamp() - wall)

    @property
    def in_flight(self) -> int:
        """Events sent and not confirmed."""
        return self._sender.in_flight

    @property
    def problem(self) -> str | None:
        """For health: why events are, or just were, not kept; None when all is well."""
        if self.journal.problem is not None:
            return self.journal.problem
        if self._flaw is not None and self._clock.monotonic() < self._flaw[0]:
            return self._flaw[1]
        return None

    def level(self, sensor: str) -> Level | None:
        """The last level that the sensor told in a kept event, also in an earlier life of the agent."""
        return self._levels.get(sensor)

    def accept(self, seen: Sequence[Accept]) -> asyncio.Future[tuple[str, ...]]:
        """Take events in order; the future has their ids when they are on the disk, and they are promised.

        When the disk refuses, it is tried again; the future raises JournalError when too much waits already or the
        outbox closes, and EventError when one of them cannot be encoded; then none of its events is accepted.
        """
        accepted: asyncio.Future[tuple[str, ...]] = asyncio.get_running_loop().create_future()
        if self._waiting_events + len(seen) > WAITING:
            self.counters.lost += len(seen)
            why = self.journal.problem or "the disk is too slow for what happens"
            self._tell_flaw(f"{self.counters.lost} events could not be stored and are lost: {why}")
            accepted.set_exception(JournalError(f"the outbox {self.journal.path} takes no more events: {why}"))
            return accepted
        self._waiting.append(_Waiting(seen, self._clock.monotonic(), accepted))
        self._waiting_events += len(seen)
        if not self._retry_s:
            self._commit()
        return accepted

    # What the transport tells.

    def attach(self, transport: Transport) -> None:
        """Send through this transport from now on."""
        self._transport = transport

    def connected(self, generation: int, *, remembered: bool = True) -> None:
        """A connection stands: everything that is not confirmed is sent, from the start.

        `remembered` says that the broker still knew our session.
        """
        self._sender.connected(self._clock.monotonic(), remembered=remembered)
        self._pump()

    def heard(self) -> None:
        """A dispatcher has just begun to listen: do not let wait what it may have missed."""
        self._sender.heard(self._clock.monotonic())
        self._pump()

    def disconnected(self) -> None:
        """The connection is gone: send nothing until the next one."""
        self._sender.disconnected()

    def confirmed(self, message: bytes) -> None:
        """A confirm document came; one that cannot be read is logged and changes nothing."""
        try:
            document = parse_confirm(message)
        except EventError as error:
            _log.warning("confirm document not understood", extra={"op": "outbox.confirm", "why": str(error)})
            return
        if self._settings.confirm != "dispatcher":
            return
        now = self._clock.monotonic()
        for sensor, said in document.items():
            before = self._confirmed_of(sensor)
            news = self._sender.confirm(sensor, said, now)
            if news is not None:
                self._note_confirmed(news[0], news[1], before)
        self._pump()

    def _confirmed_of(self, sensor: str) -> int:
        return next((stream.confirmed for stream in self._sender if stream.sensor == sensor), 0)

    # Accepting.

    def _commit(self) -> None:
        """Write everything that waits in one change; one such write at a time keeps sequences without gaps."""
        self._commit_timer = None
        if self._committing or not self._waiting:
            return
        group: list[_Waiting] = []
        entries: list[store.Entry] = []
        streams: dict[str, Stream] = {}
        last: dict[str, int] = {}
        power = False
        now = self._clock.now()
        while self._waiting and len(entries) < _GROUP:
            waiting = self._waiting.pop(0)
            if waiting.accepted.cancelled():
                self._waiting_events -= len(waiting.seen)
                continue
            mark, marked = len(entries), dict(last)
            try:
                waiting.ids = tuple(
                    self._entry(seen, waiting.moment, now, streams, last, entries) for seen in waiting.seen
                )
            except (EventError, TypeError, ValueError) as error:
                del entries[mark:]
                last = marked
                self._waiting_events -= len(waiting.seen)
                waiting.accepted.set_exception(EventError(f"an event cannot be encoded: {error}"))
                continue
            group.append(waiting)
            power = power or any(durability == "power" for _, _, durability, _ in waiting.seen)
        if not group:
            return
        excess = self._excess(entries, now)
        if excess is not None:
            self._purge()  # first, so that what is confirmed is not counted as dropped
        new = {sensor: stream for sensor, stream in streams.items() if self._sender.current(sensor) is None}
        change = store.append(
            [(stream.number, sensor, stream.epoch) for sensor, stream in new.items()],
            entries,
            excess,
        )
        self._committing = True
        written = self.journal.write(change, power=power)
        written.add_done_callback(partial(self._written, group, entries, streams, list(new.values())))

    def _entry(
        self,
        seen: Accept,
        moment: float,
        now: datetime,
        streams: dict[str, Stream],
        last: dict[str, int],
        entries: list[store.Entry],
    ) -> str:
        sensor, observation, _, priority = seen
        stream = streams.get(sensor) or self._sender.current(sensor)
        if stream is None:
            stream = Stream(self._next_stream, sensor, self.epoch)
            self._by_number[stream.number] = (sensor, self.epoch)
            self._next_stream += 1
        streams[sensor] = stream
        sequence = last.get(sensor, stream.last) + 1
        identifier = self._mint_id()
        body = encode(observation, at=self._topic(sensor), id=identifier, epoch=self.epoch, sequence=sequence)
        if len(body) > MAX_BYTES:
            raise EventError(f"it has {len(body)} bytes, more than {MAX_BYTES}")
        last[sensor] = sequence
        # When it was seen, by the clock that never jumps: it was seen a little before it was handed in.
        late = now - timedelta(seconds=self._clock.monotonic() - moment) - observation.time
        seen_at = moment - late.total_seconds() if timedelta(0) <= late <= _UNSET_CLOCK else moment
        entries.append(
            store.Entry(
                store.key_of(stream.number, sequence),
                body,
                now.timestamp(),
                seen_at,
                alarm=priority == "alarm",
                open=not observation.timesynced,
                level=_is_level(observation),
            )
        )
        return identifier

    def _excess(self, entries: Sequence[store.Entry], now: datetime) -> store.Excess | None:
        # Confirmed events that are not purged yet take no part: they go with the next purge.
        events = self._events + len(entries) - self._unpurged_events - self._settings.max_events
        size = self._bytes + sum(len(entry.body) for entry in entries) - self._settings.max_bytes
        if events <= 0 and size <= 0:
            return None
        return store.Excess(max(0, events), max(0, size), self._settings.policy, self._burial(now))

    def _written(
        self,
        group: list[_Waiting],
        entries: list[store.Entry],
        streams: dict[str, Stream],
        new: list[Stream],
        written: asyncio.Future[store.Dropped],
    ) -> None:
        self._committing = False
        error = written.exception()
        if error is not None:
            self._put_back(group, error)
            return
        self._retry_s = 0.0
        for stream in new:
            self._sender.add(stream)
        rows = iter(entries)
        for waiting in group:
            for sensor, *_ in waiting.seen:
                stream, entry = streams[sensor], next(rows)
                self._sender.appended(stream, Row(stream.last + 1, entry.body, entry.open, entry.monotonic))
        count = len(entries)
        self._events += count
        self._bytes += sum(len(entry.body) for entry in entries)
        self._waiting_events -= sum(len(waiting.seen) for waiting in group)
        self.counters.accepted += count
        for waiting in group:
            for sensor, seen, _, _ in waiting.seen:
                if _is_level(seen):
                    self._levels[sensor] = Level(seen.name, seen.value, seen.time)
        self._note_dropped(written.result())
        self._pump()
        for waiting in group:
            if not waiting.accepted.done():
                waiting.accepted.set_result(waiting.ids)
        self._commit()

    def _put_back(self, group: list[_Waiting], error: BaseException) -> None:
        self._waiting[:0] = group
        self._retry_s = min(max(1.0, self._retry_s * 2), 15.0)
        _log.error(
            "events wait for the disk",
            extra={"op": "outbox.accept", "events": self._waiting_events, "why": str(error)},
            exc_info=None if isinstance(error, JournalError) else error,
        )
        self._commit_timer = self._clock.call_at(self._clock.monotonic() + self._retry_s, self._commit)

    def _fail_waiting(self, error: JournalError) -> None:
        for waiting in self._waiting:
            self.counters.lost += len(waiting.seen)
            self._waiting_events -= len(waiting.seen)
            if not waiting.accepted.done():
                waiting.accepted.set_exception(error)
        self._waiting.clear()

    # Dropping.

    def _burial(self, now: datetime) -> store.Bury:
        """Encodes tombstones on the writer's thread, so it holds copies of what changes here."""
        names, timesynced = dict(self._by_number), self._clock.synchronized()
        topics, site, node = self._topics, self._site, self._node

        def bury(stream: int, stone: Tombstone) -> bytes:
            sensor, epoch = names[stream]
            at = SensorEventTopic(topics.event(site, node, sensor), site, node, sensor)
            return encode_tombstone(stone, at=at, epoch=epoch, time=now, timesynced=timesynced)

        return bury

    def _note_dropped(self, dropped: store.Dropped) -> None:
        if not dropped.events:
            return
        self._events -= dropped.events
        self._bytes -= dropped.bytes
        by_number = {stream.number: stream for stream in self._sender}
        for number, first, last in dropped.runs:
            stream = by_number.get(number)
            if stream is not None:
                self._sender.dropped(stream, first)
                _log.warning(
                    "events dropped: the outbox is full or they are too old",
                    extra={"op": "outbox.drop", "sensor": stream.sensor, "first": first, "last": last},
                )
        for reason, events in dropped.reasons.items():
            self.counters.dropped[reason] = self.counters.dropped.get(reason, 0) + events
        self._tell_flaw(
            f"the outbox dropped {dropped.events} events ({', '.join(dropped.reasons)} over its bound); "
            "see that the broker and the dispatcher are reachable, or raise the bound"
        )

    def _tell_flaw(self, text: str) -> None:
        self._flaw = (self._clock.monotonic() + _FLAW_S, text)

    # Sending.

    def _pump(self) -> None:
        """Do what the sender says until it has nothing more; a `done` from within `publish` does not nest."""
        if self._pumping or self._transport is None:
            return
        self._pumping = True
        try:
            while (step := self._sender.next(self._clock.monotonic())) is not None:
                match step:
                    case Publish():
                        self._publish(self._transport, step)
                    case Read():
                        self._start(partial(self._read, step), step.stream)
                    case Seal():
                        self._start(partial(self._seal, step), step.stream)
        finally:
            self._pumping = False

    def _publish(self, transport: Transport, step: Publish) -> None:
        self.counters.published += 1
        self.counters.resent += step.again
        message = Message(self._topic(step.stream.sensor).text, step.row.body, content_type=CONTENT_TYPE)
        transport.publish(message, partial(self._answered, step.stream, step.row.sequence))

    def _answered(self, stream: Stream, sequence: int, answer: Publication) -> None:
        now = self._clock.monotonic()
        if answer.sent is Sent.ACCEPTED:
            before = stream.confirmed
            through = self._sender.acknowledged(stream, sequence, now)
            if through is not None:
                self._note_confirmed(stream, through, before)
                self._pump()
        elif answer.sent is Sent.REFUSED:
            wait_s = self._sender.refused(stream, sequence, now)
            if wait_s is None:
                return
            self.counters.refused += 1
            _log.warning(
                "broker refused an event; it is sent again",
                extra={
                    "op": "outbox.refused",
                    "sensor": stream.sensor,
                    "sequence": sequence,
                    "code": answer.code,
                    "why": answer.reason,
                    "again_in_s": wait_s,
                },
            )
            self._pump()
        # LOST: the next connection, or the time without a confirmation, sends it again.

    def _start(self, work: Callable[[], Coroutine[object, object, None]], stream: Stream | None = None) -> None:
        task = asyncio.get_running_loop().create_task(self._supervise(work, stream), name="outbox disk")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _supervise(self, work: Callable[[], Coroutine[object, object, None]], stream: Stream | None) -> None:
        try:
            await work()
        except Exception:  # noqa: BLE001 - the outermost door of a task; the stream is tried again later
            _log.exception("outbox disk work failed", extra={"op": "outbox.disk"})
            if stream is not None:
                self._sender.pause(stream, self._clock.monotonic() + 60 * TICK_S)

    async def _read(self, step: Read) -> None:
        try:
            rows = await self.journal.read(store.page(step.stream.number, step.after, PAGE))
        except JournalError as error:
            _log.error("backlog not read", extra={"op": "outbox.read", "sensor": step.stream.sensor, "why": str(error)})
            self._sender.pause(step.stream, self._clock.monotonic() + TICK_S)
            return
        if not self._sender.paged(step, rows):
            _log.error(
                "stored events vanished",
                extra={
                    "op": "outbox.read",
                    "sensor": step.stream.sensor,
                    "after": step.after,
                    "last": step.stream.last,
                },
            )
            self._sender.pause(step.stream, self._clock.monotonic() + 60 * TICK_S)
        self._pump()

    async def _seal(self, step: Seal) -> None:
        """Correct the times that can be, and fix the bytes, on the disk, before they are seen outside (rule 4)."""
        rows = step.rows
        if self._clock.synchronized() and step.stream.epoch == self.epoch:
            rows = tuple(self._restamped(row, step.stream.sensor) for row in rows)
        try:
            await self.journal.write(store.seal(step.stream.number, rows))
        except JournalError:
            self._sender.sealed(step, ())
            self._sender.pause(step.stream, self._clock.monotonic() + TICK_S)
            return
        self._bytes += sum(len(new.body) - len(old.body) for new, old in zip(rows, step.rows, strict=True))
        self._sender.sealed(step, rows)
        self._pump()

    def _restamped(self, row: Row, sensor: str) -> Row:
        seen_at = self._clock.now() - timedelta(seconds=self._clock.monotonic() - row.monotonic)
        return replace(row, body=restamp(parse_event(row.body, self._topic(sensor)), seen_at).body)

    # Confirming and purging.

    def _note_confirmed(self, stream: Stream, through: int, before: int) -> None:
        self.counters.confirmed += through - before
        self._unpurged[stream.number] = (stream.sensor, through)
        self._unpurged_events += through - before
        if self._purge_at is None:
            self._purge_at = self._clock.monotonic() + PURGE_S
        if self._unpurged_events >= PURGE_EVENTS:
            self._purge()

    def _purge(self) -> None:
        if not self._unpurged:
            return
        through, sequences = self._unpurged, self._unpurged_events
        self._unpurged, self._unpurged_events, self._purge_at = {}, 0, None
        change = store.purge([(number, sensor, sequence) for number, (sensor, sequence) in through.items()])

        def purged(done: asyncio.Future[tuple[int, int]]) -> None:
            if done.exception() is not None:
                self._unpurged = {**through, **self._unpurged}
                self._unpurged_events += sequences
                self._purge_at = self._clock.monotonic() + PURGE_S
                return
            events, size = done.result()
            self._events -= events
            self._bytes -= size

        self.journal.write(change).add_done_callback(purged)

    # Now and then.

    def _tick(self) -> None:
        now = self._clock.monotonic()
        self._timer = self._clock.call_at(now + TICK_S, self._tick)
        if self._purge_at is not None and now >= self._purge_at:
            self._purge()
        for stream in self._sender.wake(now):
            _log.warning(
                "no confirmation: sent again",
                extra={"op": "outbox.resend", "sensor": stream.sensor, "after": stream.confirmed},
            )
        if self._events and not self._tasks:
            self._start(self._look_after)
        self._pump()

    async def _look_after(self) -> None:
        """Drop what is too old, and see how old the oldest is."""
        now = self._clock.monotonic()
        try:
            if now >= self._expire_at:
                self._expire_at = now + min(60.0, max(1.0, self._settings.max_age_s / 10))
                synchronized = self._clock.synchronized()
                moment = self._clock.now()
                self._purge()
                expire = store.expire(
                    monotonic=now - self._settings.max_age_s,
                    wall=moment.timestamp() - self._settings.max_age_s if synchronized else None,
                    current_epoch=self.epoch,
                    bury=self._burial(moment),
                )
                self._note_dropped(await self.journal.write(expire))
            self._oldest = await self.journal.read(store.oldest)
        except JournalError as error:
            _log.warning("outbox not looked after", extra={"op": "outbox.age", "why": str(error)})
        self._pump()

    def _topic(self, sensor: str) -> SensorEventTopic:
        topic = self._at.get(sensor)
        if topic is None:
            text = self._topics.event(self._site, self._node, sensor)
            topic = self._at[sensor] = SensorEventTopic(text, self._site, self._node, sensor)
        return topic


def _is_level(seen: Observation) -> bool:
    """Faults and recoveries tell of the sensor itself, everything else of what it sees."""
    return not seen.name.startswith("sensor.")


def _boot_id() -> str:
    """What names this run of the machine; where the system does not say, each start counts as one."""
    try:
        return BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        return secrets.token_hex(16)
