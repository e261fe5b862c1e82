"""The story of an event as lines of the feed tell it: what each hop took, and all of it in one summary.

What may not live here: where the lines come from.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

ENDS: Final = {"invocation": "succeeded", "deadletter": "dead", "cancelled": "cancelled", "dropped": "dropped"}
"""What became of an invocation, by the type of the line that says so."""
OPENED: Final = "open"
NONE: Final = "none"
"""The outcome of an event that nothing was invoked for."""
OUTCOMES: Final = (OPENED, *ENDS.values(), NONE)
"""What can become of an event: of each of its invocations, or that there is none."""
_HEAD: Final = ("event_id", "at", "time", "node", "sensor", "event", "value", "unit", "topic")


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """Which events somebody means: globs, and what is not given chooses nothing out."""

    node: str | None = None
    sensor: str | None = None
    event: str | None = None
    mapping: str | None = None
    function: str | None = None
    outcome: str | None = None
    """One of OUTCOMES."""

    def includes(self, found: Mapping[str, Any]) -> bool:
        """Whether a summary is meant: mapping, function and outcome are those of one and the same invocation."""
        if not all(_fits(glob, found[name]) for name, glob in _globs(self, "node", "sensor", "event")):
            return False
        if self.outcome == NONE:
            return not found["invocations"] and self.mapping is None and self.function is None
        if (self.mapping, self.function, self.outcome) == (None, None, None):
            return True
        return any(
            self.outcome in (None, hop["result"])
            and all(_fits(glob, hop[name]) for name, glob in _globs(self, "mapping", "function"))
            for hop in found["invocations"]
        )


def summary(story: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """What an event was and what became of it; None for lines that do not begin with it."""
    head = next((line for line in story if line["type"] == "event"), None)
    if head is None:
        return None
    return {**{name: head.get(name) for name in _HEAD}, "invocations": latency(story)["invocations"]}


def latency(story: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """What each hop took, in seconds; None for what is not known, such as the way here of an unset clock's event.

    Below zero means that the clocks of two machines differ.
    """
    received: datetime | None = None
    to_dispatcher_s = None
    hops: dict[str, dict[str, Any]] = {}
    for line in story:
        at = datetime.fromisoformat(str(line["at"]))
        if line["type"] == "event" and received is None:
            received = at
            if line.get("node") is not None and line.get("timesynced"):
                to_dispatcher_s = _apart(datetime.fromisoformat(str(line["time"])), at)
        name = line.get("invocation")
        if name is None:
            continue
        hop = hops.setdefault(
            name,
            {
                "mapping": line["mapping"], "function": line["function"], "result": OPENED, "attempts": 0,
                "to_start_s": None, "attempt_s": None, "to_end_s": None,
            },
        )  # fmt: skip
        if line["type"] == "attempt":
            hop["result"], hop["to_end_s"] = OPENED, None  # also when a dead letter is tried again
            if hop["to_start_s"] is None:
                hop["to_start_s"] = _apart(received, at)
        hop["attempts"] = line.get("attempt") or line.get("attempts") or hop["attempts"]
        if line.get("duration_s") is not None:
            hop["attempt_s"] = line["duration_s"]
        if line["type"] in ENDS:
            hop["result"], hop["to_end_s"] = ENDS[line["type"]], _apart(received, at)
    return {"to_dispatcher_s": to_dispatcher_s, "invocations": list(hops.values())}


def _apart(since: datetime | None, until: datetime) -> float | None:
    return None if since is None else round((until - since).total_seconds(), 6)


def _globs(chosen: Chosen, *names: str) -> list[tuple[str, str | None]]:
    return [(name, getattr(chosen, name)) for name in names]


def _fits(glob: str | None, value: object) -> bool:
    return glob is None or (isinstance(value, str) and fnmatch.fnmatchcase(value, glob))
