"""The dispatcher's feed as lines for people: what happened, what it invoked, and what did not fire and why."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

Style = Literal["event", "good", "waiting", "bad", "dim"]


@dataclass(frozen=True, slots=True)
class Line:
    """One line, and how much it wants to be seen."""

    style: Style
    text: str


def time_of_day(at: datetime) -> str:
    """`17:30:00.123`, as the clock on the wall has it."""
    return at.astimezone().strftime("%H:%M:%S.%f")[:-3]


def tell(line: Mapping[str, Any]) -> Line | None:
    """One line of the feed for people; None for what would only be noise. Kinds that are not known are noise."""
    match line.get("type"):
        case "event":
            return Line("event", f"{_at(line)}  {_source(line)}  {json.dumps(line.get('value'))}")
        case "judgement":
            return _judgement(line)
        case "invocation":
            duration = line.get("duration_s")
            took = "" if duration is None else f"  {duration * 1000:.0f} ms"
            return Line("good", f"{_at(line)}  {_chain(line)}  {line.get('status') or ''}{took}{_attempts(line)}")
        case "retry":
            when = "waits for it" if line.get("parked") else f"again in {line.get('delay_s') or 0:.1f} s"
            return Line("waiting", f"{_at(line)}  {_chain(line)}  {_why(line)}; {when}")
        case "deadletter":
            who = _chain(line) if line.get("mapping") else str(line.get("topic"))
            return Line("bad", f"{_at(line)}  {who}  given up: {_why(line)}{_attempts(line)}")
        case "cancelled" | "dropped":
            reason = "no longer so" if line["type"] == "cancelled" else f"dropped: {line.get('reason')}"
            return Line("dim", f"{_at(line)}  {_chain(line)}  {reason}")
        case "missed":
            return Line("waiting", f"{line.get('count')} lines were too fast to be shown")
        case _:
            return None


def _judgement(line: Mapping[str, Any]) -> Line | None:
    """What a mapping says that selects this sensor's event, but does not simply fire: that tells itself."""
    result = line.get("result")
    if result == "fires" or line.get("clause") == "enabled":
        return None
    style: Style = "bad" if result == "failed" else "waiting" if result == "waits" else "dim"
    return Line(style, f"{_at(line)}  {_source(line)} → {line.get('text')}")


def _at(line: Mapping[str, Any]) -> str:
    at = line.get("at")
    if not isinstance(at, str):
        return " " * 12
    return time_of_day(datetime.fromisoformat(at))


def _source(line: Mapping[str, Any]) -> str:
    if line.get("node") is None:
        return f"{line.get('topic') or line.get('event')}"
    return f"{line['node']}/{line.get('sensor')}  {line.get('event')}"


def _chain(line: Mapping[str, Any]) -> str:
    return f"{_source(line)} → {line.get('mapping')} → {line.get('function')}"


def _why(line: Mapping[str, Any]) -> str:
    status, reason = line.get("status"), line.get("reason")
    return " ".join(str(part) for part in (status, reason) if part)


def _attempts(line: Mapping[str, Any]) -> str:
    attempts = line.get("attempts") or 1
    return f"  after {attempts} attempts" if attempts > 1 else ""
