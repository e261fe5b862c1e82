"""The event: its identity, and its CloudEvents 1.0 form (structured JSON).

What may not live here: reading a clock, minting an id, MQTT. The sender gives time and id, the receiver the topic.
Sources: CloudEvents 1.0 (core specification and JSON format), DESIGN.md "Public contract".
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, Final, NamedTuple, TypeAlias

import orjson

from bridge.core.topics import SensorEventTopic, Topic
from bridge.errors import EventError

TYPE_PREFIX: Final = "io.gpio-bridge."
FOREIGN_TYPE: Final = "io.gpio-bridge.mqtt.message"
SCHEMA: Final = "urn:gpio-bridge:event:1"
CONTENT_TYPE: Final = "application/cloudevents+json"
MAX_BYTES: Final = 64 * 1024
"""CloudEvents 1.0, "Size Limits": intermediaries must forward events of at least this size."""

MAX_DEPTH: Final = 64
"""Deeper JSON is refused: orjson reads 1024 levels but writes 254, and Python's own stack ends in between."""
MAX_SEQUENCE: Final = 2**63 - 1
SOURCES: Final = 10_000
"""So many sources are remembered with what they name; each event asks for its own, and topics can be made up."""
YEARS: Final = range(1970, 9900)
"""A clock that was never set says 1970; above it there is room for a century of `for` and `cooldown`."""

JSON: TypeAlias = "bool | int | float | str | list[JSON] | dict[str, JSON] | None"
Value: TypeAlias = bool | int | float | str | None


class Identity(NamedTuple):
    """What makes an event itself, for dedup and audit.

    For a sensor's event (source, epoch, sequence); where the sender counts nothing, the id stands in the epoch's place
    and the sequence is 0.
    """

    source: str
    epoch: str
    sequence: int


@dataclass(slots=True, kw_only=True)
class Event:
    """Something that happened, as mappings see it.

    A sensor's event has `site`, `node`, `sensor`, `kind` and `name`; a message of any other MQTT device has none of
    them, and `payload` holds what it sent. `time` is aware UTC. `sequence` counts per source from 1 within `epoch`
    (PROTOCOL.md, rule 1). `body` is the structured JSON as it came or goes, byte for byte.
    """

    id: str
    source: str
    type: str
    time: datetime
    data: dict[str, Any]
    body: bytes
    topic: str
    subject: str | None = None
    epoch: str | None = None
    sequence: int | None = None
    timesynced: bool = True
    site: str | None = None
    node: str | None = None
    sensor: str | None = None
    kind: str | None = None
    name: str | None = None

    @property
    def identity(self) -> Identity:
        if self.epoch is not None and self.sequence is not None:
            return Identity(self.source, self.epoch, self.sequence)
        return Identity(self.source, self.id, 0)

    @property
    def key(self) -> str:
        """The first half of its invocations' ids: the event's id when we made it, else a hash of (source, id)."""
        if self.epoch is not None or self.type == FOREIGN_TYPE:
            return self.id
        return hashlib.sha256(f"{self.source}\n{self.id}".encode()).hexdigest()[:32]

    @property
    def initial(self) -> bool:
        """Whether this tells a level that was found at start, not a change that was seen."""
        return self.data.get("initial") is True

    @property
    def payload(self) -> Any:
        """What conditions call `payload`: a foreign message's payload, else the data."""
        return self.data.get("payload", self.data.get("payload_base64")) if self.type == FOREIGN_TYPE else self.data


@dataclass(slots=True, kw_only=True)
class Observation:
    """What an agent knows of an event before it gets an id and a sequence."""

    kind: str
    name: str
    value: Value
    unit: str | None
    initial: bool
    time: datetime
    timesynced: bool


@lru_cache(SOURCES)
def source_of(site: str, node: str, sensor: str) -> str:
    """The CloudEvents source of a sensor, a URI reference."""
    return f"/sites/{site}/nodes/{node}/sensors/{sensor}"


_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND, _MINUTE = timedelta(microseconds=1), timedelta(minutes=1)
_SEQUENCE = re.compile(r"[0-9]{1,20}")
_SOURCE = re.compile(r"/sites/([^/]+)/nodes/([^/]+)/sensors/([^/]+)")


@lru_cache(SOURCES)
def parse_source(source: str) -> tuple[str, str, str] | None:
    """Site, node and sensor of a sensor's source; None for any other."""
    match = _SOURCE.fullmatch(source)
    return (match[1], match[2], match[3]) if match else None


def rfc3339(time: datetime) -> str:
    """A UTC time with microseconds and `Z` (RFC 3339, section 5.6)."""
    minute, rest = divmod((time - _EPOCH) // _MICROSECOND, 60_000_000)
    return f"{_minute(minute)}:{rest // 1_000_000:02d}.{rest % 1_000_000:06d}Z"


@lru_cache(maxsize=64)
def _minute(number: int) -> str:
    """A time to the minute, of which there are so many since 1970. Kept, because most of what is told is of now."""
    return (_EPOCH + number * _MINUTE).isoformat()[:16]


def encode(seen: Observation, *, at: SensorEventTopic, id: str, epoch: str, sequence: int) -> bytes:  # noqa: A002 - CloudEvents' own name
    """The structured JSON of a sensor's event."""
    return _form(at, epoch, seen.kind, seen.name, seen.unit).encode(seen, id=id, sequence=sequence)


class Form:
    """What all events of a sensor with one name have in common, encoded once."""

    def __init__(self, at: SensorEventTopic, epoch: str, kind: str, name: str, unit: str | None) -> None:
        sender = {"source": source_of(at.site, at.node, at.sensor), "type": TYPE_PREFIX + name, "subject": at.sensor}
        told = {"site": at.site, "node": at.node, "sensor": at.sensor, "kind": kind, "event": name}
        self._sender = _members(sender)
        self._content = _members({"datacontenttype": "application/json", "dataschema": SCHEMA, "epoch": epoch})
        self._told = _members(told)
        self._unit = _members({"unit": unit})

    def encode(self, seen: Observation, *, id: str, sequence: int) -> bytes:  # noqa: A002 - CloudEvents' own name
        """The structured JSON of the event."""
        value = seen.value
        text = "true" if value is True else "false" if value is False else orjson.dumps(value).decode()
        return (
            f'{{"specversion":"1.0","id":"{id if id.isalnum() else _members(id)}",{self._sender}'
            f',"time":"{rfc3339(seen.time)}",{self._content},"sequence":"{sequence:020d}"'
            f',"timesynced":{"true" if seen.timesynced else "false"},"data":{{{self._told}'
            f',"value":{text},{self._unit},"initial":{"true" if seen.initial else "false"}}}}}'
        ).encode()


@lru_cache(maxsize=256)
def _form(at: SensorEventTopic, epoch: str, kind: str, name: str, unit: str | None) -> Form:
    return Form(at, epoch, kind, name, unit)


def _members(value: dict[str, str | None] | dict[str, str] | str) -> str:
    """The members of an object, or the characters of a text, in JSON and without what stands around them."""
    return orjson.dumps(value).decode()[1:-1]


def restamp(event: Event, time: datetime) -> Event:
    """The event with a corrected time, once the sender's clock is synchronised (PROTOCOL.md, rule 4)."""
    document = orjson.loads(event.body)
    document["time"], document["timesynced"] = rfc3339(time), True
    return replace(event, time=time, timesynced=True, body=orjson.dumps(document))


def renumbered(body: bytes, epoch: str, sequence: int) -> bytes:
    """An event of ours with another number; only for one whose first number was another event's, too."""
    document: dict[str, Any] = orjson.loads(body)
    return orjson.dumps(document | {"epoch": epoch, "sequence": f"{sequence:020}"})


def parse(payload: bytes, at: SensorEventTopic) -> Event:
    """The event in a payload that came on a sensor's event topic.

    Raises EventError when it is no CloudEvent, or says another source than its topic (the broker's access list guards
    topics, not payloads).
    """
    document = _document(payload)
    return _as_ours_are(document, payload, at) or _looked_at_closely(document, payload, at)


def _as_ours_are(document: dict[str, Any], payload: bytes, at: SensorEventTopic) -> Event | None:
    """The event of a document that is in every way as our agents make them; None when it needs a closer look."""
    source = source_of(at.site, at.node, at.sensor)
    try:
        data, id_, type_, time = document["data"], document["id"], document["type"], document["time"]
        subject, epoch, sequence = document["subject"], document["epoch"], document["sequence"]
        timesynced = document["timesynced"]
        name, kind = data["event"], data["kind"]
        ours = (
            type(data) is dict
            and data["node"] == at.node and data["sensor"] == at.sensor and data["site"] == at.site
            and document["source"] == source
        )  # fmt: skip
    except (KeyError, TypeError):  # not there, or in no object
        return None
    usual = ours and (
        id_ and type(id_) is str
        and type(name) is str and type_ == TYPE_PREFIX + name
        and type(kind) is str
        and type(time) is str and time[-1:] == "Z"
        and epoch and type(epoch) is str
        and type(sequence) is str and len(sequence) == 20 and sequence.isdecimal() and sequence.isascii()
        and (subject is None or type(subject) is str)
    )  # fmt: skip
    if not usual:
        return None
    number = int(sequence)
    try:
        happened_at = datetime.fromisoformat(time)  # in UTC, as its Z says
    except ValueError:
        return None
    if not 1 <= number <= MAX_SEQUENCE or not YEARS[0] <= happened_at.year <= YEARS[-1]:
        return None
    return Event(
        id=id_, source=source, type=type_, time=happened_at, data=data, body=payload, topic=at.text,
        subject=subject, epoch=epoch, sequence=number, timesynced=timesynced is not False,
        site=at.site, node=at.node, sensor=at.sensor, kind=kind, name=name,
    )  # fmt: skip


def _looked_at_closely(document: dict[str, Any], payload: bytes, at: SensorEventTopic) -> Event:
    source, data = _text(document, "source"), document.get("data")
    expected = source_of(at.site, at.node, at.sensor)
    if source != expected:
        raise EventError(f"source is {_shown(source)}, but its topic belongs to {expected!r}")
    if not isinstance(data, dict):
        raise EventError("data is not an object")
    for field, wanted in (("site", at.site), ("node", at.node), ("sensor", at.sensor)):
        if data.get(field) != wanted:
            raise EventError(f"data.{field} is {_shown(data.get(field))}, but its topic says {wanted!r}")
    type_, name = _text(document, "type"), data.get("event")
    if not isinstance(name, str) or type_ != TYPE_PREFIX + name:
        raise EventError(f"type is {_shown(type_)}, but data.event is {_shown(name)}")
    kind = data.get("kind")
    if not isinstance(kind, str):
        raise EventError("data.kind is missing or not text")
    epoch, sequence = _numbering(document)
    subject, timesynced = document.get("subject"), document.get("timesynced", True)
    return Event(
        id=_text(document, "id"),
        source=source,
        type=type_,
        time=_time(document),
        data=data,
        body=payload,
        topic=at.text,
        subject=subject if isinstance(subject, str) else None,
        epoch=epoch,
        sequence=sequence,
        timesynced=timesynced is not False,
        site=at.site,
        node=at.node,
        sensor=at.sensor,
        kind=kind,
        name=name,
    )


def parse_foreign(payload: bytes, topic: str, *, id: str, received_at: datetime) -> Event:  # noqa: A002 - CloudEvents' own name
    """A message of any MQTT device as an event, with the id and time its receiver gives it (PROTOCOL.md, rule 16).

    A structured CloudEvent on such a topic keeps its own id, source, type, time and data. Everything else becomes
    `io.gpio-bridge.mqtt.message`: the payload as JSON where it parses (and is not nested too deep), else as text, else
    in base64. Raises EventError for a payload over the size limit, and for a CloudEvent whose time is none.
    """
    if len(payload) > MAX_BYTES:
        raise _too_large(payload)
    loaded, parsed = _json(payload)
    parsed = parsed and not (_may_be_deep(payload) and _deep(loaded))
    if parsed and _is_cloud_event(loaded):
        return _cloud_event(loaded, payload, topic, received_at)
    if parsed:
        data: dict[str, Any] = {"topic": topic, "payload": loaded}
    else:
        try:
            data = {"topic": topic, "payload": payload.decode()}
        except UnicodeDecodeError:
            import base64  # noqa: PLC0415 - rare

            data = {"topic": topic, "payload_base64": base64.b64encode(payload).decode("ascii")}
    source = f"/mqtt/{topic}"
    document = {
        "specversion": "1.0",
        "id": id,
        "source": source,
        "type": FOREIGN_TYPE,
        "time": rfc3339(received_at),
        "datacontenttype": "application/json",
        "data": data,
    }
    return Event(
        id=id,
        source=source,
        type=FOREIGN_TYPE,
        time=received_at,
        data=data,
        body=orjson.dumps(document),
        topic=topic,
    )


def parse_any(payload: bytes, topic: Topic | str, *, id: str, received_at: datetime) -> Event:  # noqa: A002 - CloudEvents' own name
    """The event in a message: of a sensor when the topic is a sensor's event topic, else a foreign one."""
    if isinstance(topic, SensorEventTopic):
        return parse(payload, topic)
    return parse_foreign(payload, topic if isinstance(topic, str) else topic.text, id=id, received_at=received_at)


def readable(payload: bytes) -> Any:
    """A payload for people: as JSON where it parses (and is not nested too deep), else as text."""
    loaded, parsed = _json(payload)
    return loaded if parsed and not (_may_be_deep(payload) and _deep(loaded)) else payload.decode("utf-8", "replace")


def _json(payload: bytes) -> tuple[Any, bool]:
    try:
        return orjson.loads(payload), True
    except orjson.JSONDecodeError:
        return None, False


def _document(payload: bytes) -> dict[str, Any]:
    if len(payload) > MAX_BYTES:
        raise _too_large(payload)
    document, _ = _json(payload)
    if type(document) is not dict:
        raise EventError("the payload is not a JSON object")
    if _may_be_deep(payload) and _deep(document):
        raise EventError(f"the payload is nested deeper than {MAX_DEPTH} levels")
    if document.get("specversion") != "1.0":
        raise EventError(f"specversion is {_shown(document.get('specversion'))}, not '1.0'")
    return document


def _too_large(payload: bytes) -> EventError:
    return EventError(f"the payload has {len(payload)} bytes; the limit is {MAX_BYTES}")


def _may_be_deep(payload: bytes) -> bool:
    """Whether there are brackets enough for it: most payloads need no closer look."""
    return payload.count(b"{") + payload.count(b"[") > MAX_DEPTH


def _deep(value: Any) -> bool:
    """Whether lists and objects are nested deeper than MAX_DEPTH."""
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [
            child
            for parent in level
            if isinstance(parent, (dict, list))
            for child in (parent.values() if isinstance(parent, dict) else parent)
        ]
        if not level:
            return False
    return any(isinstance(value, (dict, list)) for value in level)


def _shown(value: Any) -> str:
    """What a message shows of a value that somebody sent: its beginning."""
    if isinstance(value, (dict, list)):
        return "an object" if isinstance(value, dict) else "a list"
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:97]}..."


def _is_cloud_event(document: Any) -> bool:
    """Whether this is a CloudEvent with an identity of its own; our type for messages is given here, not taken."""
    required = ("id", "source", "type")
    return (
        isinstance(document, dict)
        and document.get("specversion") == "1.0"
        and all(isinstance(document.get(name), str) and document[name] for name in required)
        and document["type"] != FOREIGN_TYPE
    )


def _cloud_event(document: dict[str, Any], payload: bytes, topic: str, received_at: datetime) -> Event:
    data, subject = document.get("data"), document.get("subject")
    return Event(
        id=document["id"],
        source=document["source"],
        type=document["type"],
        time=_time(document) if "time" in document else received_at,
        data=data if isinstance(data, dict) else {"value": data},
        body=payload,
        topic=topic,
        subject=subject if isinstance(subject, str) else None,
    )


def _text(document: dict[str, Any], name: str) -> str:
    value = document.get(name)
    if not isinstance(value, str) or not value:
        raise EventError(f"{name} is missing or not text")
    return value


def _time(document: dict[str, Any]) -> datetime:
    text = _text(document, "time")
    try:
        time = datetime.fromisoformat(text)
    except ValueError as error:
        raise EventError(f"time is {_shown(text)}, not an RFC 3339 time") from error
    if time.tzinfo is None:
        raise EventError(f"time is {_shown(text)}, without an offset")
    if time.year not in YEARS:
        raise EventError(f"time is {_shown(text)}; its year must be from {YEARS[0]} to {YEARS[-1]}")
    return time.astimezone(UTC)


def _numbering(document: dict[str, Any]) -> tuple[str | None, int | None]:
    """Epoch and sequence, both or none (PROTOCOL.md, rule 1)."""
    epoch, sequence = document.get("epoch"), document.get("sequence")
    if epoch is None and sequence is None:
        return None, None
    if not isinstance(epoch, str) or not epoch:
        raise EventError("epoch is missing or not text")
    if not isinstance(sequence, str) or not _SEQUENCE.fullmatch(sequence) or not 1 <= int(sequence) <= MAX_SEQUENCE:
        raise EventError(f"sequence is {_shown(sequence)}, not a positive number of at most 20 digits in text")
    return epoch, int(sequence)
