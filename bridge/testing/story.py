"""What a house's dispatcher decided since the test began, and why something was not invoked."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any, Final

from bridge.core.event import Event
from bridge.core.plan import Judgement
from bridge.dispatcher.feed import Row, lines
from bridge.testing.invocations import Outcome, RecordedInvocation, told

_SHOWN: Final = 10
"""So many mappings are explained in one message."""
_NO: Final = frozenset({"rejected", "failed", "cancels", "waits"})


class Story:
    """The lines of the dispatcher's feed. `known` finds the invocation that a line is about."""

    def __init__(self, known: Callable[[str], RecordedInvocation | None]) -> None:
        self.lines: list[dict[str, Any]] = []
        self._known = known

    def keep(self, row: Row) -> None:
        """Note one decision."""
        for line in lines(row):
            self.lines.append(line)
            invocation = self._known(line["invocation"]) if "invocation" in line else None
            if invocation is not None:
                _note(invocation, line)

    def cut_off(self, recorded: Iterable[RecordedInvocation]) -> None:
        """The dispatcher was killed: what it had under way has no outcome."""
        for one in recorded:
            if one.outcome == "running":
                one.outcome = "cut off"

    def reasons(self, mapping: str) -> list[str]:
        """Why a mapping did not fire, newest first; that it waits is no reason any more once it has fired."""
        found, fired = [], False
        about = [line for line in self.lines if line.get("mapping") == mapping]
        judged = {line["event_id"] for line in about if line.get("result") == "cancels"}
        for line in reversed(about):
            if line["type"] == "cancelled" and line["by"] in judged:
                continue  # the judgement has said it
            fired = fired or line["type"] == "attempt"
            if _is_no(line) and not (fired and line.get("result") == "waits"):
                found.append(_reason(line))
        return found

    def happened(self) -> Iterator[str]:
        """What arrived and what was decided about it, in order, for people."""
        for line in self.lines:
            at = datetime.fromisoformat(line["at"])
            said = _said(line)
            if said is not None:
                yield f"{at:%Y-%m-%d %H:%M:%S.%f}"[:-3] + f"  {said}"


def why_not(
    story: Story, events: Sequence[Event], mappings: Iterable[str], judge: Callable[[Event], Sequence[Judgement]]
) -> str:
    """What to say below "nothing was invoked": of each mapping the clause that said no, or what it did not select."""
    if not events:
        return "; no event came in"
    nearest: dict[str, str] = {}
    for event in events[-_SHOWN:]:
        for judgement in judge(event):
            if judgement.clause is not None and judgement.clause.startswith("select"):
                nearest[judgement.mapping] = f"{_clause(judgement.clause, judgement.wanted, judgement.found)}"
    said = []
    for mapping in mappings:
        reasons = story.reasons(mapping)
        reason = reasons[0] if reasons else nearest.get(mapping)
        if reason is not None:
            said.append(f"{mapping}: {reason}")
    if len(said) == 1:
        return f"; {said[0]}"
    more = f"\n  ... and {len(said) - _SHOWN} more mappings" if len(said) > _SHOWN else ""
    came = "".join(f"\n  {event.time:%H:%M:%S} {told(event)}" for event in events[-3:])
    return "".join(f"\n  {one}" for one in said[:_SHOWN]) + more + f"\nthe last events:{came}"


def _note(invocation: RecordedInvocation, line: dict[str, Any]) -> None:
    outcomes: dict[str, Outcome] = {"invocation": "succeeded", "deadletter": "dead", "retry": "retrying"}
    outcome = outcomes.get(line["type"])
    if outcome is None:
        return
    invocation.outcome = "parked" if outcome == "retrying" and line["parked"] else outcome
    invocation.reason = line.get("reason") or ""


def _is_no(line: dict[str, Any]) -> bool:
    return (line["type"] == "judgement" and line["result"] in _NO) or line["type"] in ("dropped", "cancelled")


def _reason(line: dict[str, Any]) -> str:
    if line["type"] == "dropped":
        return f"dropped by {line['reason']}"
    if line["type"] == "cancelled":
        return f"no longer waits, called off by {line['by']}"
    if line["result"] == "failed":
        return f"{line['clause']} could not be evaluated: {line['found']}"
    if line["result"] == "waits":
        return f"waits until {line['found']}"
    begun = "no longer waits, " if line["result"] == "cancels" else ""
    return begun + _clause(line["clause"], line["wanted"], line["found"])


def _clause(clause: str, wanted: str, found: str) -> str:
    return f"{clause} wants {wanted}, found {found}"


def _said(line: dict[str, Any]) -> str | None:
    where = f"{line['node']}/{line['sensor']} {line['event']}" if line.get("node") else str(line.get("event"))
    match line["type"]:
        case "event":
            return where
        case "judgement":
            return f"    {line['text']}"
        case "attempt":
            return f"    {line['mapping']} → {line['function']}, attempt {line['attempt']}"
        case "retry":
            return f"    {line['function']}: {line['reason']}"
        case "invocation":
            return f"    {line['function']}: done"
        case "deadletter":
            return f"    dead letter: {line['reason']}"
        case "cancelled" | "dropped":
            return f"    {line['mapping']}: {_reason(line)}"
        case kind:
            return f"{where} {kind}"
