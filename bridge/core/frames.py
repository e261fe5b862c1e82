"""The frames of a log: how records stand in a file one after the other, and what of them is left after an accident.

A frame carries its serial, which only rises, its own checksum, and that of the frame before it. So a record is
believed only behind all those that were written before it; what an earlier use of the file has left never fits on, and
what is missing can be counted. Behind the last frame stands an empty one, the **end mark**, which the next write
covers: a log without it was cut. What may not live here: files, and what records mean.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

_MAGIC: Final = b"\xa9gbl"
_FACTS: Final = struct.Struct("<4sIQI")  # the magic, the payload's length, the serial, the checksum of the frame before
_CHECKSUM: Final = struct.Struct("<I")
HEAD_BYTES: Final = _FACTS.size + _CHECKSUM.size
"""What a frame takes besides its payload; an end mark takes as much."""


class End(NamedTuple):
    """Where a log goes on: the serial of its next frame, the checksum of the last one, and where that ends."""

    serial: int
    checksum: int = 0
    offset: int = 0


def frame(payloads: Sequence[bytes], end: End) -> tuple[bytes, End]:
    """The bytes that continue a log at `end`, end mark included, and where it goes on then. No payload is empty."""
    serial, checksum, offset = end
    parts: list[bytes] = []
    for payload in payloads:
        size_bytes = len(payload)
        facts = _FACTS.pack(_MAGIC, size_bytes, serial, checksum)
        checksum = zlib.crc32(payload, zlib.crc32(facts))
        parts += (facts, _CHECKSUM.pack(checksum), payload)
        serial += 1
        offset += HEAD_BYTES + size_bytes
    facts = _FACTS.pack(_MAGIC, 0, serial, checksum)
    parts += (facts, _CHECKSUM.pack(zlib.crc32(facts)))
    return b"".join(parts), End(serial, checksum, offset)


def room_for(payloads: Sequence[bytes]) -> int:
    """The bytes that these payloads take, the end mark included."""
    return sum(map(len, payloads)) + HEAD_BYTES * (len(payloads) + 1)


@dataclass(frozen=True, slots=True)
class Found:
    """What stands in a log: `payloads` can be believed, and are all there is if the log is `whole`."""

    payloads: tuple[bytes, ...]
    end: End
    """Where it goes on."""
    whole: bool
    behind: tuple[bytes, ...] = ()
    """Frames behind the damage, each whole in itself."""
    missing: int = 0
    """At least so many frames can no longer be read."""


def scan(data: bytes, applied: int | None) -> Found:
    """What a log holds beyond the serial `applied`, up to which everything is known to be kept elsewhere; None: all.

    A log is used anew from its start once all of it was applied. So its first frame is the one after `applied`, or an
    older one, as long as nobody has written since.
    """
    payloads: list[bytes] = []
    first = _at(data, 0)
    if applied is None:
        applied = 0 if first is None else first.serial - 1
    end = End(applied + 1)
    if first is not None and first.serial <= applied + 1 and first.before == 0:
        end = End(first.serial)
        while (here := _at(data, end.offset)) is not None and (here.serial, here.before) == end[:2]:
            if not here.payload:
                return Found(tuple(payloads), End(max(end.serial, applied + 1), *end[1:]), whole=True)
            if here.serial > applied:
                payloads.append(here.payload)
            end = End(here.serial + 1, here.checksum, end.offset + HEAD_BYTES + len(here.payload))
    expected = max(end.serial, applied + 1)
    behind = {one.serial: one.payload for one in _search(data, end.offset) if one.serial >= expected}
    highest = max((serial if payload else serial - 1 for serial, payload in behind.items()), default=expected - 1)
    readable = tuple(payload for _, payload in sorted(behind.items()) if payload)
    missing = highest - expected + 1 - len(readable)
    return Found(tuple(payloads), End(highest + 1, *end[1:]), whole=False, behind=readable, missing=missing)


class _Frame(NamedTuple):
    serial: int
    before: int
    checksum: int
    payload: bytes


def _at(data: bytes, offset: int) -> _Frame | None:
    """The frame that begins here; None when there is none, or not all of it."""
    body = offset + HEAD_BYTES
    if body > len(data):
        return None
    magic, length, serial, before = _FACTS.unpack_from(data, offset)
    (checksum,) = _CHECKSUM.unpack_from(data, offset + _FACTS.size)
    payload = data[body : body + length]
    if magic != _MAGIC or len(payload) != length:
        return None
    if zlib.crc32(payload, zlib.crc32(data[offset : offset + _FACTS.size])) != checksum:
        return None
    return _Frame(serial, before, checksum, payload)


def _search(data: bytes, offset: int) -> Iterator[_Frame]:
    """All frames from here on that are whole in themselves."""
    at = data.find(_MAGIC, offset)
    while at >= 0:
        found = _at(data, at)
        if found is not None:
            yield found
        at = data.find(_MAGIC, at + (1 if found is None else HEAD_BYTES + len(found.payload)))
