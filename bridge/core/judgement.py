"""What a plan is made of: invocations, judgements, failures; and which events end each other.

What may not live here: deciding (plan.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

from bridge.core.mapping_state import StateChange

OPPOSITES: Final[dict[str, frozenset[str]]] = {
    name: frozenset(opposites.split())
    for name, opposites in {
        "motion.detected": "motion.ended",
        "motion.ended": "motion.detected",
        "beam.broken": "beam.restored",
        "beam.restored": "beam.broken",
        "temperature.high": "temperature.normal temperature.low",
        "temperature.low": "temperature.normal temperature.high",
        "temperature.normal": "temperature.high temperature.low",
        "distance.near": "distance.clear",
        "distance.clear": "distance.near",
        "button.pressed": "button.released",
        "button.released": "button.pressed",
        "digital.on": "digital.off",
        "digital.off": "digital.on",
    }.items()
}
"""The events that name a state, and which end it (rule 15)."""

FAULT: Final = "sensor.fault"
HEALTH: Final = frozenset({FAULT, "sensor.recovered"})


@dataclass(slots=True)
class Planned:
    """One invocation to make; with `due_at`, not before then and not if it is cancelled."""

    id: str
    mapping: str
    function: str
    lane: str
    """ "<mapping>|<source or topic>", or empty for `order: none`."""
    due_at: datetime | None = None
    text: str | None = None
    """The payload that a template made."""
    cooldown_key: str | None = None
    """For `cooldown: {from: success}`: what to give `succeeded`."""
    latest: bool = False
    """It is backlog, of which only the latest of its lane is wanted (rule 14)."""


@dataclass(slots=True)
class Judgement:
    """What a mapping says to an event; for a no, the first clause that failed, what it wanted and what it found."""

    mapping: str
    result: Literal["fires", "waits", "cancels", "rejected", "failed"]
    clause: str | None
    wanted: str
    found: str
    text: str
    passed: tuple[str, ...] = ()
    """The clauses that said yes, in the order they were asked."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A condition or template that could not be evaluated: a dead letter with this text (rule 12)."""

    id: str
    mapping: str
    function: str
    text: str


@dataclass(slots=True)
class Plan:
    """Everything that follows from one event."""

    invocations: tuple[Planned, ...] = ()
    cancelled: tuple[str, ...] = ()
    """Timers that end without firing, by "<mapping>|<source>"."""
    changes: tuple[StateChange, ...] = ()
    judgements: tuple[Judgement, ...] = ()
    failures: tuple[Failure, ...] = ()
    forgotten: tuple[str, ...] = ()
    """Keys of mapping state that gave way to what the changes add, by "<kind>|<what>"; the changes say so, too."""


def told(judgement: Judgement) -> dict[str, Any]:
    """A judgement as JSON: what `explain` and the feed show."""
    return {
        "mapping": judgement.mapping,
        "result": judgement.result,
        "clause": judgement.clause,
        "wanted": judgement.wanted,
        "found": judgement.found,
        "text": judgement.text,
    }
