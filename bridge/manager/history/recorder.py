"""The recorder: hears every sensor's events and keeps them for charts, many in one commit.

It has a session of its own at the broker, so that what happens while the manager is away is heard afterwards, and a
slow disk holds up nothing else. An event is acknowledged once it is on the disk: a kill costs none.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final, Self

from bridge.clock import Clock, Timer
from bridge.core import tombstone
from bridge.core.event import Event, parse
from bridge.core.topics import SensorEventTopic, Topics, client_id
from bridge.errors import BridgeError, EventError, JournalError
from bridge.journal.engine import Journal
from bridge.manager.history.points import MIGRATION, Bounds, Kept, Point, keep, tidy, trim
from bridge.manager.settings import ManagerSettings
from bridge.mqtt.subscribing import Subscribing
from bridge.mqtt.transport import Connector, Delivery, Subscription
from bridge.service import first_ended

_log = logging.getLogger(__name__)

FILE: Final = "history.sqlite"
COMMIT_S: Final = 30.0
"""A commit waits so long for more: each writes a page for every sensor that told something, however little it was."""
FULL: Final = 500
"""So many deliveries do not wait: half of what the broker sends without an acknowledgement (MqttSettings)."""
SMALL: Final = 20
"""Neither do so many, when no more come: a broker may send no more than this (Mosquitto to a client of MQTT 3.1.1)."""
QUIET_S: Final = 1.0
TRIM_S: Final = 600.0
AGAIN_S: Final = 5.0
CLOSE_S: Final = 5.0
PENDING: Final = 20_000
"""So many points wait for a disk that takes none; what is more is dropped and counted."""
AHEAD: Final = timedelta(minutes=5)
"""A node's clock that is further ahead of ours is not believed."""
MAX_TEXT: Final = 128
"""Ids and names of events that are longer are not ours."""
PAGE_BYTES: Final = 1024
"""Small, as a commit changes a little in many places."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


class Recorder:
    """An async context manager, and a listener (bridge.mqtt.transport.Listener). The loop owns it.

    `dropped` is told how many events could not be kept.
    """

    def __init__(
        self, settings: ManagerSettings, clock: Clock, connect: Connector, dropped: Callable[[str, int], None]
    ) -> None:
        self.enabled = settings.sensor_history.enabled
        self.journal = Journal(settings.state_dir / FILE, (MIGRATION,), name="history", page_bytes=PAGE_BYTES)
        self.keep_s = settings.sensor_history.keep_s
        self._bounds = Bounds(
            round(self.keep_s * 1e6), settings.sensor_history.max_events, settings.sensor_history.max_size_bytes
        )
        self._clock = clock
        self._dropped = dropped
        self._topics = Topics(settings.root)
        self._site = settings.site
        self._filter = self._topics.event(settings.site, "+", "+")
        self._transport = connect(client_id(settings.site, "manager", "history"), self)
        self._subscribing = Subscribing(self._transport, clock, self._subscribe, _refused)
        self._points: dict[tuple[str, str, str], Point] = {}
        self._deliveries: list[Delivery] = []
        self._due = asyncio.Event()
        self._later: Timer | None = None
        self._quiet: Timer | None = None
        self._flushing = asyncio.Lock()
        self._trimmed_at = -TRIM_S

    async def __aenter__(self) -> Self:
        if self.enabled:
            await self.journal.__aenter__()
            self.journal.post(tidy)
        self._running = asyncio.create_task(self._run(), name="manager sensor history")
        self._listening = asyncio.create_task(self._subscribing.run(), name="manager hears sensors")
        await self._transport.__aenter__()
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Keep what waits, and acknowledge it, before the connection ends."""
        tasks = (self._running, self._listening)
        for timer in (self._later, self._quiet):
            if timer is not None:
                timer.cancel()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self.enabled:
            try:
                async with asyncio.timeout(CLOSE_S):
                    await self.flush()
            except (JournalError, TimeoutError) as error:
                # The broker has them still.
                _log.warning("sensor history not kept", extra={"op": "history.close", "why": str(error)})
        await self._transport.__aexit__(*exc)
        if self.enabled:
            await self.journal.__aexit__(*exc)

    async def failed(self) -> None:
        """Wait until the listening or the recording ends by an error, and raise it."""
        await first_ended(self._running, self._listening)

    @property
    def problem(self) -> str | None:
        """Why events are not kept, if so."""
        return self.journal.problem or self._subscribing.problem

    async def flush(self) -> None:
        """Have everything on the disk that was heard until now. Raises JournalError when the disk takes nothing."""
        async with self._flushing:
            points, self._points = self._points, {}
            deliveries, self._deliveries = self._deliveries, []
            self._disarm()
            now = micros(self._clock.now())
            try:
                if points:
                    self._told(await self.journal.write(keep([*points.values()], self._bounds, now)))
                if self._clock.monotonic() - self._trimmed_at >= TRIM_S:
                    await self.journal.write(trim(now - self._bounds.keep))
                    self._trimmed_at = self._clock.monotonic()
            except BaseException:
                self._points = {**points, **self._points}
                self._deliveries = deliveries + self._deliveries
                raise
            self._transport.acknowledge(deliveries)

    # --- the transport's listener ---

    def connected(self, generation: int, *, session_present: bool) -> None:
        self._subscribing.connected()

    def disconnected(self, generation: int, reason: str) -> None:
        # Nobody can acknowledge these any more; what is not kept yet comes once more.
        self._deliveries.clear()

    def received(self, batch: Sequence[Delivery]) -> None:
        lost = 0
        for delivery in batch:
            topic = self._topics.parse(delivery.message.topic)
            # What is retained is no news, whoever retained it (PROTOCOL.md, rule 5).
            if isinstance(topic, SensorEventTopic) and topic.site == self._site and not delivery.message.retain:
                lost += not self._take(topic, delivery.message.payload)
        if lost:
            self._dropped("history", lost)
        if not self.enabled:
            self._transport.acknowledge(batch)
            return
        self._deliveries.extend(batch)
        self._arm()

    def _take(self, topic: SensorEventTopic, payload: bytes) -> bool:
        """Have a point wait for the next commit; whether it could be."""
        try:
            event = parse(payload, topic)
            if event.name == tombstone.NAME:
                return True  # it says what was dropped, not what a sensor shows
            point = point_of(event, self._clock.now())
        except EventError as error:
            _log.debug("event not kept", extra={"op": "history.unreadable", "topic": topic.text, "why": str(error)})
            return False
        which = point.node, point.sensor, point.id
        before = self._points.get(which)
        if before is None and len(self._points) >= PENDING:
            return False
        if before is None or (before.received and not point.received):
            self._points[which] = point
        return True

    def _arm(self) -> None:
        """See to it that what waits is kept in time."""
        now = self._clock.monotonic()
        if self._later is None:
            self._later = self._clock.call_at(now + COMMIT_S, self._due.set)
        if self._quiet is not None:
            self._quiet.cancel()
            self._quiet = None
        if len(self._deliveries) >= FULL:
            self._due.set()
        elif len(self._deliveries) >= SMALL:
            self._quiet = self._clock.call_at(now + QUIET_S, self._due.set)

    def _disarm(self) -> None:
        for timer in (self._later, self._quiet):
            if timer is not None:
                timer.cancel()
        self._later = self._quiet = None
        self._due.clear()

    async def _subscribe(self) -> None:
        if self.enabled:
            await self._transport.subscribe([Subscription(self._filter, retained="never")])
        else:
            # The session may be of a time when it was: nothing is to be queued for it any more.
            await self._transport.unsubscribe([self._filter])

    async def _run(self) -> None:
        while True:
            await self._due.wait()
            try:
                await self.flush()
            except BridgeError:  # the journal tells it, in its log and to our health
                await self._clock.sleep(AGAIN_S)
                self._due.set()

    def _told(self, kept: Kept) -> None:
        lost = {"late": kept.late, "homeless": kept.homeless, "evicted": kept.evicted}
        count = sum(lost.values())
        if count:
            self._dropped("history", count)
            _log.warning(
                "sensor history dropped events: too old when they came, of too many sensors, or beyond its size",
                extra={"op": "history.dropped", **{name: number for name, number in lost.items() if number}},
            )


def _refused(why: str) -> None:
    _log.warning("cannot hear sensors", extra={"op": "history.subscribe", "why": why})


def point_of(event: Event, now: datetime) -> Point:
    """The point of a sensor's event; at the time of its receipt where its node did not know the time.

    Raises EventError for one that is not as ours are.
    """
    if event.node is None or event.sensor is None or event.name is None:
        raise EventError("it is no sensor's event")
    if max(len(event.id), len(event.name)) > MAX_TEXT:
        raise EventError(f"its id or name is longer than {MAX_TEXT} characters")
    value, unit = event.data.get("value"), event.data.get("unit")
    received = not event.timesynced or event.time > now + AHEAD
    return Point(
        node=event.node,
        sensor=event.sensor,
        at=micros(now if received else event.time),
        id=event.id,
        name=event.name,
        value=value if isinstance(value, bool | int | float | str) else None,
        unit=unit if isinstance(unit, str) and len(unit) <= MAX_TEXT else None,
        received=received,
        initial=event.initial,
    )


def micros(time: datetime) -> int:
    """Whole microseconds since 1970."""
    return (time - _EPOCH) // _MICROSECOND


def time_of(at: int) -> datetime:
    """The time of so many microseconds since 1970."""
    return _EPOCH + at * _MICROSECOND
