"""What a live site decided while it was recorded, and how a backtest of that recording differs from it.

Only events that both have judged are compared: of what came while nobody listened to the dispatcher, or before and
after the recording, only one side is known. A message of another device gets its id from whoever receives it, so those
two ids are brought together by topic, order and time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

from bridge.core.event import FOREIGN_TYPE, Event
from bridge.testing.backtest import Backtest
from bridge.testing.recording import DECISIONS, Decided

APART_S: Final = 5.0
"""So far apart the recorder and the dispatcher may have received, by their own clocks, the same foreign message."""


@dataclass(frozen=True, slots=True)
class Apart:
    """Something that fired only then, or only fires now; `reason` says what the other one did."""

    only: Literal["then", "now"]
    mapping: str
    function: str
    event: Event
    at: datetime
    reason: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """What fired then, held against what fires now."""

    events: int
    """How many events both have judged."""
    unknown: int
    """How many were recorded of which the dispatcher's decision was not."""
    missed: int
    """How many lines of the feed came too fast to be heard."""
    both: Counter[tuple[str, str]]
    """What fired then and now, by mapping and function."""
    apart: tuple[Apart, ...]
    """What fired on one side alone, in the order of time."""

    def only(self, side: Literal["then", "now"]) -> Counter[tuple[str, str]]:
        """What fired on one side alone, by mapping and function."""
        return Counter((one.mapping, one.function) for one in self.apart if one.only == side)


def worth_keeping(line: Mapping[str, Any]) -> dict[str, Any] | None:
    """What of a line of the feed belongs into a recording; None for what does not say what fired or why not."""
    kept = DECISIONS.get(str(line.get("type")))
    if kept is None or (line["type"] == "attempt" and line.get("attempt") != 1):
        return None
    return {name: line[name] for name in ("type", *kept, *_BESIDES) if line.get(name) is not None}


_BESIDES: Final = ("topic", "count")
"""What stands only where a message of another device was judged, or lines were missed."""


class Live:
    """Gathers what was decided then, and what was received; `compare` brings both together."""

    def __init__(self) -> None:
        self.told = False
        """Whether the recording tells anything of what was decided."""
        self._received: dict[str, Event] = {}
        self._arrived: dict[str, list[tuple[datetime, str]]] = {}
        self._judged: dict[str, None] = {}
        self._judged_at: dict[str, list[tuple[datetime, str]]] = {}
        self._said: dict[tuple[str, str], str] = {}
        self._fired: dict[tuple[str, str], tuple[str, datetime]] = {}
        self._missed = 0

    def receive(self, event: Event, received_at: datetime) -> None:
        """An event was recorded."""
        if event.id in self._received:
            return
        self._received[event.id] = _without_content(event)
        if event.type == FOREIGN_TYPE:
            self._arrived.setdefault(event.topic, []).append((received_at, event.id))

    def take(self, decided: Decided) -> None:
        """A decision was recorded."""
        self.told = True
        line = decided.line
        if decided.type == "missed":
            self._missed += int(line.get("count", 0))
        if "at" not in DECISIONS.get(decided.type, ()):
            return
        event_id, at, mapping = line["event_id"], datetime.fromisoformat(line["at"]), line.get("mapping", "")
        match decided.type:
            case "event":
                self._judged[event_id] = None
                if "topic" in line:
                    self._judged_at.setdefault(line["topic"], []).append((at, event_id))
            case "judgement":
                unseen = "; no attempt of that was recorded" if line["result"] == "fires" else ""
                self._said[event_id, mapping] = line["text"] + unseen
            case "attempt":
                self._fired.setdefault((event_id, mapping), (line["function"], at))
            case "cancelled":
                self._said[event_id, mapping] = f"{mapping} no longer waits: called off"
            case _:
                self._said[event_id, mapping] = f"{mapping} is dropped: {line['reason']}"

    def compare(self, test: Backtest) -> Comparison:
        """What fired then, held against what a backtest fires."""
        theirs = self._same_messages()
        ours = {their: our for our, their in theirs.items()}
        known = {event_id for event_id in self._received if theirs.get(event_id, event_id) in self._judged}
        then = {
            (ours.get(event_id, event_id), mapping, function): at
            for (event_id, mapping), (function, at) in self._fired.items()
            if ours.get(event_id, event_id) in known
        }
        now = {
            (one.event.id, one.mapping, one.function): one.at for one in test.fired.values() if one.event.id in known
        }
        found: list[Apart] = []
        for (event_id, mapping, function), at in then.items():
            if (event_id, mapping, function) not in now:
                event = self._received[event_id]
                found.append(Apart("then", mapping, function, event, at, self._why_not_now(test, mapping, event)))
        for (event_id, mapping, function), at in now.items():
            if (event_id, mapping, function) not in then:
                reason = self._why_not_then(theirs.get(event_id, event_id), mapping)
                found.append(Apart("now", mapping, function, self._received[event_id], at, reason))
        return Comparison(
            events=len(known),
            unknown=len(self._received) - len(known),
            missed=self._missed,
            both=Counter((mapping, function) for _, mapping, function in then.keys() & now.keys()),
            apart=tuple(sorted(found, key=lambda one: (one.at, one.event.id, one.mapping, one.only != "then"))),
        )

    def _same_messages(self) -> dict[str, str]:
        """Of each foreign message that both sides know: our id and theirs."""
        same: dict[str, str] = {}
        for topic, arrived in self._arrived.items():
            # A CloudEvent of somebody else has one id for all of us.
            judged = iter([one for one in self._judged_at.get(topic, ()) if one[1] not in self._received])
            theirs = next(judged, None)
            for at, our_id in arrived:
                while theirs is not None and (at - theirs[0]).total_seconds() > APART_S:
                    theirs = next(judged, None)
                if theirs is None:
                    break
                if (theirs[0] - at).total_seconds() <= APART_S:
                    same[our_id] = theirs[1]
                    theirs = next(judged, None)
        return same

    def _why_not_now(self, test: Backtest, mapping: str, event: Event) -> str:
        fired = test.fired.get(f"{event.key}:{mapping}")
        return test.why_not(mapping, event) if fired is None else f"{mapping} invokes {fired.function} now"

    def _why_not_then(self, event_id: str, mapping: str) -> str:
        fired = self._fired.get((event_id, mapping))
        if fired is not None:
            return f"{mapping} invoked {fired[0]} then"
        said = self._said.get((event_id, mapping))
        return said if said is not None else f"there was no mapping {mapping} then that selects it"


def _without_content(event: Event) -> Event:
    """Where an event is from and what it is called.

    `dataclasses.replace` would take more than twice as long, for each event of a recording.
    """
    return Event(
        id=event.id,
        source=event.source,
        type=event.type,
        time=event.time,
        data={},
        body=b"",
        topic=event.topic,
        subject=event.subject,
        epoch=event.epoch,
        sequence=event.sequence,
        timesynced=event.timesynced,
        site=event.site,
        node=event.node,
        sensor=event.sensor,
        kind=event.kind,
        name=event.name,
    )
