"""A recording: what a dispatcher read, one JSON object a line, so that other mappings can be tried on it later.

    {"recording": 1, "root": "gpio-bridge", "site": "home", "timezone": "Europe/London", "filters": [...]}
    {"received_at": "2026-11-22T23:10:00.123456Z", "topic": "zigbee2mqtt/lamp", "payload": "on", "retained": true}
    {"decided": {"type": "attempt", "event_id": "01J...", "mapping": "night-intruder", "function": "alarm", ...}}

A head begins each run of `gpio-bridge record`; `retained` stands only where it is true, and `payload_base64` where the
payload is not UTF-8. What was decided stands there as the dispatcher's feed tells it, if anybody listened. What a kill
cut off in the middle of a line was never written.
"""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any, Final, Self, TypeAlias

import orjson

from bridge.core.event import rfc3339
from bridge.errors import BridgeError, ConfigError, Problem

VERSION: Final = 1
_OF_EVENT: Final = ("at", "event_id")
DECISIONS: Final[Mapping[str, tuple[str, ...]]] = {
    "event": _OF_EVENT,
    "judgement": (*_OF_EVENT, "mapping", "result", "text"),
    "attempt": (*_OF_EVENT, "mapping", "function"),
    "cancelled": (*_OF_EVENT, "mapping"),
    "dropped": (*_OF_EVENT, "mapping", "reason"),
    "missed": (),
}
"""The decisions that are recorded, each with what it must say in words."""


class NotRecorded(BridgeError, OSError):
    """A recording could not be begun or gone on with; what was there is as it was."""


@dataclass(frozen=True, slots=True)
class Head:
    """Where and how messages were recorded."""

    root: str
    site: str
    timezone: str
    """What hours mean there, where a mapping file names no zone."""
    filters: tuple[str, ...]
    """What was subscribed to."""


@dataclass(slots=True)
class Recorded:
    """One message."""

    received_at: datetime
    topic: str
    payload: bytes
    retained: bool = False


@dataclass(slots=True)
class Decided:
    """Something that the dispatcher decided meanwhile: a line of its feed."""

    line: dict[str, Any]

    @property
    def type(self) -> str:
        """What kind of decision it is."""
        return str(self.line["type"])


Line: TypeAlias = Head | Recorded | Decided


def encode(line: Line) -> bytes:
    """A line, with its end."""
    if isinstance(line, Head):
        return orjson.dumps({"recording": VERSION, **asdict(line)}, option=orjson.OPT_APPEND_NEWLINE)
    if isinstance(line, Decided):
        return orjson.dumps({"decided": line.line}, option=orjson.OPT_APPEND_NEWLINE)
    document: dict[str, Any] = {"received_at": rfc3339(line.received_at), "topic": line.topic}
    try:
        document["payload"] = line.payload.decode()
    except UnicodeDecodeError:
        document["payload_base64"] = base64.b64encode(line.payload).decode()
    if line.retained:
        document["retained"] = True
    return orjson.dumps(document, option=orjson.OPT_APPEND_NEWLINE)


def decode(text: bytes) -> Line:
    """What stands in a line. Raises ValueError that says what is wrong with it."""
    document = orjson.loads(text)
    if not isinstance(document, dict):
        raise ValueError("is no JSON object")  # noqa: TRY004 - it is about a value in a file
    if "recording" in document:
        return _head(document)
    if "decided" in document:
        return _decided(document["decided"])
    try:
        at = datetime.fromisoformat(document["received_at"])
        topic, retained = document["topic"], document.get("retained", False)
        if "payload_base64" in document:
            payload = base64.b64decode(document["payload_base64"], validate=True)
        else:
            payload = document["payload"].encode()
    except KeyError as error:
        raise ValueError(f"has no {error.args[0]}") from error
    except (AttributeError, TypeError, binascii.Error) as error:
        raise ValueError(f"is no recorded message: {error}") from error
    if at.tzinfo is None:
        raise ValueError("received_at has no zone")
    if not isinstance(topic, str) or not isinstance(retained, bool):
        raise ValueError("topic must be a text, and retained true or false")  # noqa: TRY004 - as above
    return Recorded(at.astimezone(UTC), topic, payload, retained)


def _decided(line: object) -> Decided:
    if not isinstance(line, dict) or not isinstance(line.get("type"), str):
        raise ValueError("is no decision: it has no type")  # noqa: TRY004 - it is about a value in a file
    for name in DECISIONS.get(line["type"], ()):
        if not isinstance(line.get(name), str):
            raise ValueError(f"is no decision: it has no {name}")  # noqa: TRY004 - as above
    if "at" in DECISIONS.get(line["type"], ()) and datetime.fromisoformat(line["at"]).tzinfo is None:
        raise ValueError("is no decision: at has no zone")
    return Decided(line)


def _head(document: dict[str, Any]) -> Head:
    if document["recording"] != VERSION:
        raise ValueError(f"is of version {document['recording']}; this program reads {VERSION}")
    root, site, timezone = (document.get(name) for name in ("root", "site", "timezone"))
    filters = document.get("filters")
    if not all(isinstance(text, str) for text in (root, site, timezone)) or not isinstance(filters, list):
        raise ValueError("is no head: root, site, timezone and filters must be there")
    return Head(str(root), str(site), str(timezone), tuple(map(str, filters)))


def _first(text: bytes) -> Head:
    line = decode(text)
    if not isinstance(line, Head):
        raise ValueError("is no head; is this a file that `gpio-bridge record` has written?")  # noqa: TRY004 - as above
    return line


def read(file: Path) -> Iterator[Line]:
    """The lines of a recording, which begins with a head. Raises ConfigError with the first line that is none."""
    number = 0
    try:
        with file.open("rb") as lines:
            for number, text in enumerate(lines, 1):
                try:
                    line = decode(text) if number > 1 else _first(text)
                except ValueError as error:
                    if number > 1 and not text.endswith(b"\n"):
                        return  # cut off by a kill
                    raise ConfigError([Problem(str(file), number, 1, "", str(error))]) from error
                yield line
    except OSError as error:
        raise ConfigError([Problem(str(file), 0, 0, "", f"cannot be read: {error.strerror}")]) from error
    if number == 0:
        raise ConfigError([Problem(str(file), 0, 0, "", "is empty")])


def _for_us_alone(path: str, flags: int) -> int:
    """It tells who was at home when."""
    return os.open(path, flags, 0o600)


class RecordingFile:
    """A recording that is being written; a context manager. Every line is with the system when `write` returns."""

    def __init__(self, path: Path, head: Head, *, append: bool = False) -> None:
        self._path = path
        self._head = head
        self._append = append
        self._file: IO[bytes]

    def __enter__(self) -> Self:
        """Begin with the head. Raises NotRecorded, for a file that is there already unless we may append to it."""
        if self._append and self._path.exists():
            self._check_same()
        try:
            self._file = open(self._path, "a+b" if self._append else "xb", buffering=0, opener=_for_us_alone)
        except FileExistsError as error:
            raise NotRecorded(f"{self._path} is there already; say --append to go on with it") from error
        except OSError as error:
            raise self._refused(error) from error
        try:
            if self._append:
                self._drop_torn_line()
            self.write(self._head)
        except BaseException:
            self._file.close()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        self._file.close()

    def write(self, line: Line) -> None:
        """Write one line. Raises NotRecorded, when the disk is full for example."""
        text = memoryview(encode(line))
        try:
            while text:
                text = text[self._file.write(text) :]
        except OSError as error:
            raise self._refused(error) from error

    def _refused(self, error: OSError) -> NotRecorded:
        return NotRecorded(f"{self._path} cannot be written: {error.strerror}")

    def _check_same(self) -> None:
        if self._path.stat().st_size == 0:
            return
        first = next(read(self._path))
        if isinstance(first, Head) and first.root != self._head.root:
            raise NotRecorded(f"{self._path} is of topics below {first.root}, and these are below {self._head.root}")

    def _drop_torn_line(self) -> None:
        size = self._file.seek(0, os.SEEK_END)
        end = size
        while end:
            begin = max(0, end - 65536)
            self._file.seek(begin)
            found = self._file.read(end - begin).rfind(b"\n")
            end = begin + found + 1 if found >= 0 else begin
            if found >= 0:
                break
        if end < size:
            self._file.truncate(end)
