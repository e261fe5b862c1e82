"""Young events: those of an outbox that stand in its log alone, and the records of that log.

Most events are confirmed within seconds, and then nobody ever needs them again. So an event goes into the log first,
and only what is still needed when the log is full is folded into the database. `Young` is what the records of a log
come to: the same whether they were noted one by one while they were written, or read back after a kill.
What may not live here: files, the database, MQTT.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Final, NamedTuple

import orjson

from bridge.core.outbox import Row

_BITS: Final = 40
_MASK: Final = (1 << _BITS) - 1

_STREAM, _EVENT, _CONFIRMED, _SEALED = 1, 2, 3, 4
_OF_STREAM: Final = struct.Struct("<BqH")  # the kind, the stream's number, the length of the sensor's name
_OF_EVENT: Final = struct.Struct("<BqddB")  # the kind, the key, stored_at, monotonic, the flags
_OF_KEY: Final = struct.Struct("<Bq")  # the kind, the key
_ALARM, _OPEN, _LEVEL = 1, 2, 4


class Entry(NamedTuple):
    """An event as an outbox keeps it: a row of the table `events`, in the order of its columns."""

    key: int
    body: bytes
    stored_at: float
    """When it was seen: wall time, Unix seconds."""
    monotonic: float
    """The same by the clock of this boot, seconds."""
    alarm: bool
    open: int
    """0 stored by a good clock, 1 the time may still be corrected, 2 no more."""
    level: bool
    """Tells a level of the sensor, not a fault."""
    dropped: int = 0

    @property
    def sensor(self) -> str:
        """Who told it, by its body."""
        return str(orjson.loads(self.body)["data"]["sensor"])


def key_of(stream: int, sequence: int) -> int:
    """The key of a stream's event; a stream's keys are one run, in the order of its sequence."""
    return stream << _BITS | sequence


def stream_of(key: int) -> int:
    """The stream's number in a key."""
    return key >> _BITS


def sequence_of(key: int) -> int:
    """The sequence in a key."""
    return key & _MASK


def stream_record(number: int, sensor: str, epoch: str) -> bytes:
    """A stream begins."""
    name = sensor.encode()
    return _OF_STREAM.pack(_STREAM, number, len(name)) + name + epoch.encode()


def event_record(entry: Entry) -> bytes:
    """An event is accepted."""
    flags = entry.alarm * _ALARM | (entry.open == 1) * _OPEN | entry.level * _LEVEL
    return _OF_EVENT.pack(_EVENT, entry.key, entry.stored_at, entry.monotonic, flags) + entry.body


def confirmed_record(stream: int, sequence: int) -> bytes:
    """A stream is confirmed up to a sequence."""
    return _OF_KEY.pack(_CONFIRMED, key_of(stream, sequence))


def sealed_record(stream: int, row: Row) -> bytes:
    """An event has its final bytes (PROTOCOL.md, rule 4)."""
    return _OF_KEY.pack(_SEALED, key_of(stream, row.sequence)) + row.body


class Young:
    """The young events, and what else the log knows better than the database."""

    def __init__(self) -> None:
        self.count = 0
        self.bytes = 0
        self.streams: list[tuple[int, str, str]] = []
        """New ones: number, sensor, epoch."""
        self.through: dict[int, int] = {}
        """How far streams have been confirmed meanwhile."""
        self.levels: dict[int, bytes] = {}
        """Of streams, the body of the last event that told a level."""
        self.sealed: dict[int, bytes] = {}
        """By key, the final bytes of events that were no longer young by then."""
        self._entries: dict[int, dict[int, Entry]] = {}

    def add(self, entry: Entry) -> None:
        """An event has been accepted; its stream's last one."""
        stream = entry.key >> _BITS
        self._entries.setdefault(stream, {})[entry.key & _MASK] = entry
        self.count += 1
        self.bytes += len(entry.body)
        if entry.level:
            self.levels[stream] = entry.body

    def confirm(self, stream: int, sequence: int) -> tuple[int, int]:
        """A stream is confirmed up to there: (events, bytes) that nobody needs any more."""
        self.through[stream] = max(sequence, self.through.get(stream, 0))
        entries = self._entries.get(stream, {})
        events = size = 0
        while entries and (first := next(iter(entries))) <= sequence:
            size += len(entries.pop(first).body)
            events += 1
        if not entries:
            self._entries.pop(stream, None)
        self.count -= events
        self.bytes -= size
        return events, size

    def seal(self, stream: int, row: Row) -> bool:
        """An event has its final bytes; False when it is young no more, and the database has to know."""
        entry = self._entries.get(stream, {}).get(row.sequence)
        if entry is None:
            self.sealed[key_of(stream, row.sequence)] = row.body
            return False
        self._entries[stream][row.sequence] = entry._replace(body=row.body, open=2)
        self.bytes += len(row.body) - len(entry.body)
        if self.levels.get(stream) is entry.body:
            self.levels[stream] = row.body
        return True

    def holds(self, stream: int, sequence: int) -> bool:
        """Whether this event is young."""
        return sequence in self._entries.get(stream, ())

    def page(self, stream: int, after: int, limit: int) -> list[Row]:
        """The next rows of a stream behind a sequence, in order."""
        later = (item for item in self._entries.get(stream, {}).items() if item[0] > after)
        return [Row(sequence, entry.body, entry.open == 1, entry.monotonic) for sequence, entry in islice(later, limit)]

    def oldest(self) -> Entry | None:
        """The event that was accepted first, by the start of each stream."""
        return min(
            (next(iter(entries.values())) for entries in self._entries.values()),
            key=lambda entry: entry.monotonic,
            default=None,
        )

    def __iter__(self) -> Iterator[Entry]:
        """Every event, in the order of the keys."""
        return (entry for _, entries in sorted(self._entries.items()) for entry in entries.values())


def read(payloads: Iterable[bytes]) -> Young:
    """What the records of a log come to. Raises ValueError for what is no record of ours."""
    young = Young()
    for payload in payloads:
        try:
            _note(young, payload)
        except (struct.error, IndexError, UnicodeDecodeError) as error:
            raise ValueError(f"a record that cannot be read: {error}") from error
    return young


def _note(young: Young, payload: bytes) -> None:
    kind = payload[0]
    if kind == _EVENT:
        _, key, stored_at, monotonic, flags = _OF_EVENT.unpack_from(payload)
        alarm, still_open, level = bool(flags & _ALARM), int(bool(flags & _OPEN)), bool(flags & _LEVEL)
        young.add(Entry(key, payload[_OF_EVENT.size :], stored_at, monotonic, alarm, still_open, level))
    elif kind == _STREAM:
        _, number, length = _OF_STREAM.unpack_from(payload)
        name, epoch = payload[_OF_STREAM.size :][:length], payload[_OF_STREAM.size + length :]
        young.streams.append((number, name.decode(), epoch.decode()))
    elif kind == _CONFIRMED:
        _, key = _OF_KEY.unpack(payload)
        young.confirm(stream_of(key), sequence_of(key))
    elif kind == _SEALED:
        _, key = _OF_KEY.unpack_from(payload)
        young.seal(stream_of(key), Row(sequence_of(key), payload[_OF_KEY.size :]))
    else:
        raise ValueError(f"a record of the unknown kind {kind}")
