"""The invocation: one event times one mapping, what it needs to be attempted, and the dead letter it may become.

An invocation carries everything that its mapping said when it was planned, so that running work ends on the version
of the mapping that planned it (PROTOCOL.md, rule 13), also across a restart. What may not live here: HTTP, retry
decisions.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, Literal

import orjson

from bridge.core.event import CONTENT_TYPE, Event, readable, rfc3339
from bridge.core.retry import RetryPolicy

if TYPE_CHECKING:
    import hashlib


@dataclass(slots=True, kw_only=True)
class Invocation:
    """What is to be invoked for an event. `id` is `<event id>:<mapping>`: deterministic, hence idempotent."""

    id: str
    mapping: str
    function: str
    lane: str
    mode: Literal["sync", "async"] = "sync"
    payload: Literal["event", "data", "text"] = "event"
    text: str | None = None
    """What a template made of the event, for payload `text`."""
    timeout_s: float = 10.0
    headers: tuple[tuple[str, str], ...] = ()
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    on_failure: str | None = None
    max_age_s: float | None = None
    due_at: datetime | None = None
    """Not before this time of the event's clock, for a mapping with `for`."""
    cooldown_key: str | None = None
    """What starts to cool down when the invocation succeeds, for `cooldown: {from: success}`."""


@dataclass(slots=True)
class Call:
    """One attempt as HTTP: what is posted to the function."""

    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """An invocation that was given up, or something that could not become one; nothing is dropped without it."""

    id: str
    reason: str
    at: datetime
    event_id: str
    topic: str
    event: bytes
    """What arrived: the event's JSON, or the payload that could not be read."""
    mapping: str | None = None
    function: str | None = None
    status: int | None = None
    body: str = ""
    attempts: int = 0
    invocation: Invocation | None = None
    """What was given up, so that it can be replayed as it was planned."""
    of: Event | None = None
    """The event, where it could be read."""


def call(invocation: Invocation, event: Event, attempt: int) -> Call:
    """The headers and the body of an attempt (DESIGN.md, "Public contract"; CloudEvents HTTP binding, 3.1 and 3.2).

    `event` posts the CloudEvent as it came; `data` posts the data alone, with the attributes as `ce-*` headers.
    """
    event_id, key = event.id, invocation.id
    headers = {  # most ids need not be encoded
        "X-Event-Id": event_id if _PLAIN.fullmatch(event_id) else _header(event_id),
        "Idempotency-Key": key if _PLAIN.fullmatch(key) else _header(key),
        "traceparent": traceparent(key, attempt),
    }
    if invocation.payload == "event":
        headers["Content-Type"] = CONTENT_TYPE
        body = event.body
    else:
        headers["Content-Type"] = "application/json" if invocation.payload == "data" else "text/plain; charset=utf-8"
        headers |= _binary(event)
        body = orjson.dumps(event.data) if invocation.payload == "data" else (invocation.text or "").encode()
    if invocation.headers:
        names = {name.lower(): name for name in headers}
        for name, value in invocation.headers:
            headers[names.get(name.lower(), name)] = value
    return Call(headers, body)


def traceparent(invocation_id: str, attempt: int) -> str:
    """A W3C trace context: one trace for an invocation, by hash of its identity, and one span for each attempt."""
    digest = _blake2b()(invocation_id.encode(), digest_size=24).digest()
    span = (int.from_bytes(digest[16:], "big") + attempt) % 2**64 or 1  # all zeros is none (W3C Trace Context, 3.2.2.4)
    return f"00-{digest[:16].hex()}-{span:016x}-01"


@lru_cache(1)
def _blake2b() -> Callable[..., hashlib.blake2b]:
    import hashlib  # noqa: PLC0415 - the agent shares this package and never calls it

    return hashlib.blake2b


def letter_document(letter: DeadLetter) -> bytes:
    """A dead letter as JSON: what `on_failure` is invoked with and what the API shows."""
    shown = asdict(replace(letter, invocation=None, of=None))
    del shown["invocation"], shown["of"]
    shown["at"] = rfc3339(letter.at)
    shown["event"] = readable(letter.event)
    return orjson.dumps(shown)


def to_plain(invocation: Invocation) -> dict[str, Any]:
    """The invocation as the journal keeps it."""
    # Not dataclasses.asdict: it copies deeply, and was a seventh of the dispatcher's time.
    plain = {name: getattr(invocation, name) for name in _FIELDS}
    plain["retry"] = {name: getattr(invocation.retry, name) for name in _RETRY_FIELDS}
    plain["due_at"] = rfc3339(invocation.due_at) if invocation.due_at else None
    return plain


def from_plain(plain: dict[str, Any]) -> Invocation:
    """The invocation that `to_plain` wrote; fields it does not know are ignored (PROTOCOL.md, "Versions")."""
    known = {name: value for name, value in plain.items() if name in Invocation.__dataclass_fields__}
    policy = {name: value for name, value in plain["retry"].items() if name in RetryPolicy.__dataclass_fields__}
    known["retry"] = RetryPolicy(**policy)
    known["headers"] = tuple((name, value) for name, value in plain["headers"])
    known["due_at"] = datetime.fromisoformat(plain["due_at"]) if plain["due_at"] else None
    return Invocation(**known)


_PLAIN: Final = re.compile(r"[!#$&-~]*")
_FIELDS: Final = tuple(field.name for field in fields(Invocation))
_RETRY_FIELDS: Final = tuple(field.name for field in fields(RetryPolicy))


def _binary(event: Event) -> dict[str, str]:
    attributes = {"specversion": "1.0", "id": event.id, "source": event.source, "type": event.type}
    attributes["time"] = rfc3339(event.time)
    if event.subject is not None:
        attributes["subject"] = event.subject
    if event.epoch is not None and event.sequence is not None:
        attributes |= {"epoch": event.epoch, "sequence": f"{event.sequence:020d}"}
        attributes["timesynced"] = "true" if event.timesynced else "false"
    return {f"ce-{name}": _header(value) for name, value in attributes.items()}


def _header(value: str) -> str:
    """Percent-encoded as CloudEvents' HTTP binding asks (3.1.3.2): space, quote, percent and all outside of ASCII."""
    if _PLAIN.fullmatch(value):
        return value
    return "".join(
        character
        if "!" <= character <= "~" and character not in '"%'
        else "".join(f"%{byte:02X}" for byte in character.encode())
        for character in value
    )
