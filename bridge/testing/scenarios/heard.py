"""What the feed of a running dispatcher has told, put together for expectations."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from bridge.core.mapping import MappingSet
from bridge.testing.scenarios.expectations import Seen, dead_letter

_ENDS: Final = frozenset({"invocation", "deadletter", "dropped", "cancelled"})


@dataclass(frozen=True, slots=True)
class Told:
    """An invocation, or a dead letter, and when it began or was given up."""

    at: datetime
    key: str
    """Tells two of them apart."""
    seen: Seen


class Heard:
    """Takes the feed's lines, in order, and remembers them."""

    def __init__(self) -> None:
        self.lines: list[dict[str, Any]] = []
        self.missed = 0
        """How many lines came too fast to be heard."""
        self._values: dict[str, object] = {}
        self._begun: dict[str, dict[str, Any]] = {}  # the first attempt of each invocation
        self._newest: dict[str, dict[str, Any]] = {}  # and the newest line about it
        self._due: dict[tuple[str, str], dict[str, Any]] = {}  # what fired or waits, and was not tried yet
        self._fired: dict[str, datetime] = {}

    def take(self, line: dict[str, Any]) -> None:
        """Note a line."""
        if line["type"] == "missed":
            self.missed += line["count"]
            return
        self.lines.append(line)
        if line["type"] == "event":
            self._values[line["event_id"]] = line.get("value")
        elif line["type"] == "judgement" and line["result"] in ("fires", "waits"):
            self._due[line["event_id"], line["mapping"]] = line
            self._fired[line["mapping"]] = datetime.fromisoformat(line["at"])
        if "invocation" in line:
            self._due.pop((line["event_id"], line["mapping"]), None)
            self._newest[line["invocation"]] = line
            if line["type"] == "attempt":
                self._begun.setdefault(line["invocation"], line)
                self._fired[line["mapping"]] = datetime.fromisoformat(line["at"])

    def told(self, mappings: MappingSet) -> Iterator[Told]:
        """Every invocation, in the order of their first attempts, and then every dead letter."""
        for key, line in self._begun.items():
            yield Told(datetime.fromisoformat(line["at"]), key, self._invoked(line))
        for number, line in enumerate(self.lines):
            letter = dead_letter(line, mappings)
            if letter is not None:
                yield Told(datetime.fromisoformat(line["at"]), f"letter {number}", letter)

    def under_way(self) -> list[str]:
        """Invocations that are to end soon: their function is asked, or will be."""
        trying = [line for line in self._newest.values() if line["type"] not in _ENDS]
        due = [line for line in self._due.values() if line["result"] == "fires"]
        return [f"{line['mapping']} for {line['node']}/{line['sensor']}" for line in (*trying, *due)]

    def waiting(self) -> list[str]:
        """What waits for its `for`."""
        waiting = [line for line in self._due.values() if line["result"] == "waits"]
        return [f"{line['mapping']} for {line['node']}/{line['sensor']} until {line['found']}" for line in waiting]

    def cooling(self, mappings: MappingSet, now: datetime) -> dict[str, float]:
        """The mappings that fired less than their cooldown ago, and how many seconds of that are left."""
        left_s: dict[str, float] = {}
        for name, mapping in mappings.mappings.items():
            if mapping.cooldown is not None and name in self._fired:
                left_s[name] = mapping.cooldown.time_s - (now - self._fired[name]).total_seconds()
        return {name: left for name, left in left_s.items() if left > 0}

    def _invoked(self, line: dict[str, Any]) -> Seen:
        value = self._values.get(line["event_id"])
        newest = self._newest[line["invocation"]]
        where = f"{line['node']}/{line['sensor']} {line['event']} {value!r}" if line["node"] else str(line["event"])
        text = f"{line['at'][11:23]} {line['function']} by {line['mapping']}, for {where}: {_outcome(newest)}"
        return Seen(line["function"], line["mapping"], line["node"], line["sensor"], line["event"], value, text)


def _outcome(line: dict[str, Any]) -> str:
    said = {"attempt": "running", "invocation": "succeeded", "deadletter": "dead", "retry": "retrying"}
    status = "" if line.get("status") is None else f" {line['status']}"
    reason = f": {line['reason']}" if line.get("reason") else ""
    return f"{said.get(line['type'], line['type'])}{status}{reason}"
