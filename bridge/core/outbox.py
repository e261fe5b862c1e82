"""Whose event goes next: turns between sensors, the bound on what is in flight, and going back to send again.

The outbox's decisions (PROTOCOL.md, rules 1 to 3) without its disk and its broker. A **stream** is one sensor in one
epoch; a sensor's streams are sent one after the other, so that a confirmation of a later epoch never comes before an
earlier one is done. What may not live here: SQLite, MQTT, timers; `now` is monotonic time in seconds.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, TypeAlias

from bridge.core.confirm import Confirmed

WINDOW: Final = 1000
"""At most about this many events are held in memory ahead of their turn, over all streams; the rest waits on disk."""
REFUSED_FIRST_S: Final = 1.0
REFUSED_MAX_S: Final = 60.0
_PATIENCE: Final = 16
_SHARE: Final = 3
"""A stream has at most this many times in flight what is still free: a flood of one sensor leaves room for the others
(the dynamic thresholds of Choudhury and Hahne, 1998)."""


# Not frozen, though nobody changes one, nor a `Publish`: frozen dataclasses are made three times slower.
@dataclass(slots=True)
class Row:
    """A stored event, or a tombstone, ready to be sent.

    `open` is one whose time may still be corrected: it is sealed (written with its final bytes) before it is sent.
    """

    sequence: int
    body: bytes
    open: bool = False
    monotonic: float = 0.0


@dataclass(slots=True, eq=False)
class Stream:
    """What is known of one sensor in one epoch. `confirmed <= sent <= covered <= last`."""

    number: int
    sensor: str
    epoch: str
    current: bool = True
    """Whether the epoch still grows; an earlier boot's does not."""
    first: bool = False
    """Whether it is its sensor's first that is not done: the only one that is sent."""
    confirmed: int = 0
    last: int = 0
    sent: int = 0
    """Up to here handed to this connection."""
    covered: int = 0
    """Up to here handed out or in `window`."""
    highest: int = 0
    """The highest ever handed to a connection: below it a sending is a repetition."""
    inherited: int = 0
    """The last one when this life of the agent began: up to here an earlier life may have sent it."""
    window: deque[Row] = field(default_factory=deque)
    in_flight: dict[int, bool] = field(default_factory=dict)
    """Sent and not confirmed, in ascending order; True when the broker has acknowledged it."""
    version: int = 0
    """Rises when the window is thrown away: what was read for an older one is not used."""
    busy: bool = False
    """Somebody reads or seals rows for it; it waits for `paged` or `sealed`."""
    queued: bool = False
    probing: bool = False
    """One event at a time, until it is confirmed: what is behind it must not arrive first, and nobody may be there."""
    silent_since: float = 0.0
    patience: int = 1
    refusals: int = 0
    paused_until: float = 0.0


@dataclass(slots=True)
class Publish:
    """Send this one now."""

    stream: Stream
    row: Row
    again: bool


@dataclass(frozen=True, slots=True)
class Read:
    """Read rows after `after` from the disk and answer with `paged`."""

    stream: Stream
    after: int
    version: int


@dataclass(frozen=True, slots=True)
class Seal:
    """Give these rows their final bytes, on the disk too, and answer with `sealed`."""

    stream: Stream
    rows: tuple[Row, ...]
    version: int


Step: TypeAlias = Publish | Read | Seal


class Sender:
    """Decides what to send next.

    `limit` bounds what is in flight, over all sensors. With `until_broker` the broker's acknowledgement confirms (for
    people without a dispatcher), else only `confirm` does.
    """

    def __init__(self, *, limit: int, resend_s: float, until_broker: bool = False) -> None:
        self._limit = limit
        self._resend_s = resend_s
        self._until_broker = until_broker
        self._streams: dict[str, deque[Stream]] = {}
        self._turns: deque[Stream] = deque()
        self._in_flight = 0
        self._ahead = 0
        self._connected = False
        self._answered = False

    @property
    def in_flight(self) -> int:
        """Events sent and not confirmed."""
        return self._in_flight

    def __iter__(self) -> Iterator[Stream]:
        """All streams that are not done; a sensor's in the order they are sent."""
        return (stream for streams in self._streams.values() for stream in streams)

    def add(self, stream: Stream) -> None:
        """Take a stream, behind the sensor's earlier ones; a past epoch's that is done is not kept."""
        stream.sent = stream.covered = stream.confirmed
        stream.probing = not self._answered
        if stream.current or stream.confirmed < stream.last:
            streams = self._streams.setdefault(stream.sensor, deque())
            streams.append(stream)
            stream.first = streams[0] is stream
            self._offer(stream)

    def current(self, sensor: str) -> Stream | None:
        """The sensor's growing stream, if it has one."""
        streams = self._streams.get(sensor)
        return streams[-1] if streams and streams[-1].current else None

    def appended(self, stream: Stream, row: Row) -> None:
        """The event is on the disk, as the stream's last."""
        behind = stream.last
        stream.last = row.sequence
        if stream.first and stream.covered == behind and not stream.busy and self._ahead < WINDOW:
            stream.window.append(row)
            stream.covered = row.sequence
            self._ahead += 1
        self._offer(stream)

    def dropped(self, stream: Stream, first: int) -> None:
        """On the disk a tombstone now stands for `first` and what follows: it is to be sent, even if they were."""
        self._go_back(stream, max(stream.confirmed, min(stream.sent, first - 1)))
        self._offer(stream)

    def connected(self, now: float) -> None:
        """A new connection: start again from what is confirmed.

        Between two connections the broker may have been another one, and not know the dispatcher any more; it drops
        without a word what it then acknowledges. That it still knows us proves nothing: Mosquitto 2.0 with an access
        list, started again, gives nothing to a subscriber that it only knows from its store and that is not back yet.
        So a stream's next events wait for the confirmation of its first, or a later one could arrive before it.
        """
        self._connected, self._answered = True, False
        self._turns.clear()
        for stream in self:
            stream.queued = False
            self._go_back(stream, stream.confirmed)
            stream.probing = True
            stream.patience, stream.paused_until = 1, min(stream.paused_until, now)
            self._offer(stream)

    def disconnected(self) -> None:
        self._connected = False

    def heard(self, now: float) -> None:
        """A dispatcher has just begun to listen: what it may have missed, one event of a stream, is sent again now."""
        for stream in self:
            if self._connected and stream.probing and stream.in_flight:
                self._go_back(stream, stream.confirmed)
                stream.silent_since, stream.patience = now, 1
                self._offer(stream)

    def next(self, now: float) -> Step | None:
        """What to do now; call again until it says None."""
        for _ in range(len(self._turns) if self._connected else 0):
            free = self._limit - self._in_flight
            if free <= 0:
                break
            stream = self._turns.popleft()
            if len(stream.in_flight) > _SHARE * free:
                self._turns.append(stream)
                continue
            stream.queued = False
            if not self._may_send(stream) or now < stream.paused_until:
                continue
            if not stream.window:
                stream.busy = True
                return Read(stream, stream.sent, stream.version)
            row = stream.window[0]
            if row.open:
                stream.busy = True
                return Seal(stream, tuple(row for row in stream.window if row.open), stream.version)
            stream.window.popleft()
            self._ahead -= 1
            if not stream.in_flight:
                stream.silent_since = now
            stream.sent = row.sequence
            stream.in_flight[row.sequence] = False
            self._in_flight += 1
            again, stream.highest = row.sequence <= stream.highest, max(stream.highest, row.sequence)
            self._offer(stream)
            return Publish(stream, row, again)
        return None

    def paged(self, read: Read, rows: Sequence[Row]) -> bool:
        """The rows after `read.after`. False when there were none although there must be: they have vanished."""
        stream = read.stream
        stream.busy = False
        found = True
        if read.version == stream.version:
            fresh = [row for row in rows if row.sequence > stream.sent]
            stream.window.extend(fresh)
            self._ahead += len(fresh)
            if fresh:
                stream.covered = fresh[-1].sequence
            elif stream.sent == read.after and stream.sent < stream.last:
                found = False
        self._offer(stream)
        return found

    def sealed(self, seal: Seal, rows: Iterable[Row]) -> None:
        """These rows have their final bytes on the disk now; none when that failed."""
        stream = seal.stream
        stream.busy = False
        if seal.version == stream.version:
            final = {row.sequence: replace(row, open=False) for row in rows}
            stream.window = deque(final.get(row.sequence, row) for row in stream.window)
        self._offer(stream)

    def pause(self, stream: Stream, until: float) -> None:
        """The disk did not answer: leave the stream alone for a while."""
        stream.busy = False
        stream.paused_until = until

    def acknowledged(self, stream: Stream, sequence: int, now: float) -> int | None:
        """The broker has it. What that confirms, if it does."""
        stream.refusals = 0
        if not self._until_broker or sequence not in stream.in_flight:
            return None
        stream.in_flight[sequence] = True
        through = 0
        for sent, acknowledged in stream.in_flight.items():
            if not acknowledged:
                break
            through = sent
        return self._advance(stream, through, now) if through else None

    def refused(self, stream: Stream, sequence: int, now: float) -> float | None:
        """The broker refused it: try again from what is confirmed, after the returned seconds; None for an old news."""
        if sequence not in stream.in_flight:
            return None
        wait_s = min(REFUSED_MAX_S, REFUSED_FIRST_S * 2.0 ** min(stream.refusals, 10))
        stream.refusals += 1
        self._go_back(stream, stream.confirmed)
        stream.probing = True
        stream.paused_until = now + wait_s
        return wait_s

    def confirm(self, sensor: str, said: Confirmed, now: float) -> tuple[Stream, int] | None:
        """What the dispatcher has of a sensor: the stream and how far it is confirmed, if that is news.

        Other epochs and unknown sensors are ignored, and so is what was never assigned.
        """
        self._answered = True
        streams = self._streams.get(sensor)
        if not streams or streams[0].epoch != said.epoch:
            return None
        stream = streams[0]
        through = self._advance(stream, min(said.through(stream.confirmed), stream.last), now)
        return None if through is None else (stream, through)

    def set_back(self, sensor: str, said: Confirmed, epoch: str) -> bool:
        """Whether more is confirmed, in this `epoch`, than anybody can have sent as far as the outbox knows.

        Then its files were put back to what they had been before: it gives numbers a second time, and an event with a
        known number is taken for a repetition, which nobody invokes.
        """
        if said.epoch != epoch:
            return False
        stream = self.current(sensor)
        return stream is None or said.highest > max(stream.inherited, stream.highest)

    def wake(self, now: float) -> tuple[Stream, ...]:
        """Call now and then: pauses end, and streams that nobody has confirmed for too long go back (returned)."""
        silent = []
        for stream in self:
            waited = now - stream.silent_since
            if self._connected and stream.in_flight and waited >= self._resend_s * stream.patience:
                self._go_back(stream, stream.confirmed)
                stream.probing = True
                stream.patience = min(stream.patience * 2, _PATIENCE)
                silent.append(stream)
            self._offer(stream)
        return tuple(silent)

    def _advance(self, stream: Stream, through: int, now: float) -> int | None:
        if through <= stream.confirmed:
            return None
        stream.confirmed = through
        while stream.in_flight and next(iter(stream.in_flight)) <= through:
            del stream.in_flight[next(iter(stream.in_flight))]
            self._in_flight -= 1
        while stream.window and stream.window[0].sequence <= through:
            stream.window.popleft()
            self._ahead -= 1
        stream.sent, stream.covered = max(stream.sent, through), max(stream.covered, through)
        stream.silent_since, stream.patience = now, 1
        stream.probing = False
        streams = self._streams[stream.sensor]
        if through >= stream.last and not stream.current and streams[0] is stream:
            streams.popleft()
            stream.first = False
            if streams:
                streams[0].first = True
                self._offer(streams[0])
            else:
                del self._streams[stream.sensor]
        self._offer(stream)
        return through

    def _go_back(self, stream: Stream, to: int) -> None:
        self._in_flight -= len(stream.in_flight)
        stream.in_flight = {sequence: known for sequence, known in stream.in_flight.items() if sequence <= to}
        self._in_flight += len(stream.in_flight)
        self._ahead -= len(stream.window)
        stream.window.clear()
        stream.sent = stream.covered = to
        stream.version += 1

    def _may_send(self, stream: Stream) -> bool:
        return (
            stream.first and stream.sent < stream.last and not stream.busy and not (stream.probing and stream.in_flight)
        )

    def _offer(self, stream: Stream) -> None:
        """Let the stream stand for its turn, if it has anything to send."""
        if not stream.queued and self._may_send(stream):
            stream.queued = True
            self._turns.append(stream)
