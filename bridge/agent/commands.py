"""A command to an output, as it comes on `.../outputs/<output>/set`.

    {"id": "01J...", "value": true, "for": "5s", "expires": "2026-11-22T17:31:00Z"}

`id` tells a repetition, `value` is true, false or (dimmable) 0 to 1; `for` switches off again by itself, `expires` ends
its validity. The plain words `on`, `off` and `toggle` are taken too, for hands and simple devices: without an id and an
expiry, so a word that the broker repeats or keeps for an agent that is away is carried out when it comes.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

import orjson

from bridge.config import seconds

MAX_BYTES = 4096
MAX_ID_LENGTH = 128

_WORDS: dict[bytes, Literal["toggle"] | float] = {b"on": 1.0, b"off": 0.0, b"toggle": "toggle"}


class BadCommand(ValueError):
    """A payload that is no command; the message says why."""


@dataclass(frozen=True, slots=True)
class Command:
    """What an output is asked for; `value` 0.0 is off, 1.0 is on."""

    value: float | Literal["toggle"]
    id: str | None = None
    for_s: float | None = None
    expires_at: datetime | None = None


def parse(payload: bytes) -> Command:
    """The command in a payload. Raises BadCommand. Keys it does not know are ignored (PROTOCOL.md, "Versions")."""
    if len(payload) > MAX_BYTES:
        raise BadCommand(f"has {len(payload)} bytes; the limit is {MAX_BYTES}")
    word = _WORDS.get(payload.strip().lower())
    if word is not None:
        return Command(word)
    try:
        document = orjson.loads(payload)
    except orjson.JSONDecodeError as error:
        raise BadCommand("is neither on, off, toggle nor JSON") from error
    if not isinstance(document, dict):
        raise BadCommand("is JSON, but no object")
    id_ = document.get("id")
    if not isinstance(id_, str) or not 0 < len(id_) <= MAX_ID_LENGTH:
        raise BadCommand("has no id (text); without one a repetition could not be told")
    for_s = _for(document.get("for"))
    return Command(_value(document.get("value")), id_, for_s, _expires(document.get("expires")))


def _value(value: object) -> float:
    if isinstance(value, bool):
        return float(value)
    if isinstance(value, (int, float)) and 0 <= value <= 1:
        return float(value)
    raise BadCommand(f"value is {value!r}, not true, false or a number from 0 to 1")


def _for(value: object) -> float | None:
    if value is None:
        return None
    if not isinstance(value, str):
        raise BadCommand(f"for is {value!r}, not a duration such as 5s")
    try:
        for_s = seconds(value)
    except ValueError as error:
        raise BadCommand(f"for: {error}") from error
    if for_s <= 0:
        raise BadCommand("for must be longer than 0s")
    return for_s


def _expires(value: object) -> datetime | None:
    if value is None:
        return None
    try:
        expires_at = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        expires_at = None
    if expires_at is None or expires_at.tzinfo is None:
        raise BadCommand(f"expires is {value!r}, not an RFC 3339 time with an offset")
    return expires_at.astimezone(UTC)
