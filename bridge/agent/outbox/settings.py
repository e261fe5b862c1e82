"""What can be set of an outbox, and how an event is kept in it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal, TypeAlias

from bridge.config import Bytes, Seconds, Within

Durability: TypeAlias = Literal["process", "power"]
Priority: TypeAlias = Literal["normal", "alarm"]


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxSettings:
    """How much is kept for bad times, and who ends the responsibility for an event."""

    max_events: Annotated[int, Within(1)] = 100_000
    max_bytes: Annotated[int, Bytes(4096)] = field(default=64 * 1024 * 1024, metadata={"key": "max_bytes"})
    """Of the events alone; the files take about a fifth more, and 2 MiB for the log."""
    max_age_s: Annotated[float, Seconds(1)] = 7 * 86400.0
    policy: Literal["oldest", "newest"] = "oldest"
    """What is dropped when a bound is reached; alarms only when nothing else is left."""
    confirm: Literal["dispatcher", "broker"] = "dispatcher"
    """`broker` is for people without a dispatcher: then the broker's acknowledgement suffices."""
    in_flight: Annotated[int, Within(1, 60_000)] = 1000
    """Events sent and not confirmed; also what a broker has to keep for a dispatcher that is away."""
    resend_s: Annotated[float, Seconds(1, 86400)] = 30.0
    """Send again after this long without any confirmation; doubled each time, up to sixteen times."""
