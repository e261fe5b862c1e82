"""The newest stories, out of the trace files: one file after the other, and past those that hold none that is wanted.

A file that is full changes no more. What stories begin in it is noted when it has been read, so that who looks for what
is rare reads all of the files once, and then those that hold some of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeAlias

from bridge.core.story import ENDS, OPENED, Chosen, summary
from bridge.dispatcher.feed import FIELDS, Row, lines
from bridge.journal.traces import everything, search

Rows: TypeAlias = Mapping[str, list[Row]]
"""The rows of events, by the event's id."""
Story: TypeAlias = dict[str, Any]
Kind: TypeAlias = tuple[str | None, str | None, str, frozenset[tuple[str, str, str]]]
"""What stories have in common: node, sensor, event, and of each invocation mapping, function and result."""

KINDS: Final = 2000
OPEN: Final = 1000
"""A file with more kinds of stories, or with rows of more earlier events, is read each time."""
_SHORTEST: Final = len(FIELDS["repeated"])


@dataclass(slots=True)
class Page:
    """A page of stories while it is filled: those that are chosen, newest first, behind that of the event `after`."""

    chosen: Chosen
    limit: int
    after: str | None = None
    """The event that has yet to be met; None once it was."""
    found: list[Story] = field(default_factory=list)

    @property
    def full(self) -> bool:
        """Whether nothing more is wanted."""
        return len(self.found) >= self.limit


@dataclass(frozen=True, slots=True)
class _Noted:
    """What a file holds: of each kind of story that begins in it one, and the rows of events that began before."""

    kinds: tuple[Kind, ...]
    open: Rows


class Stories:
    """Reads the files on the traces' thread, and knows of full ones what they hold."""

    def __init__(self) -> None:
        self._noted: dict[Path, _Noted] = {}

    def keep(self, segments: Iterable[Path]) -> None:
        """Forget files that are gone."""
        self._noted = {segment: self._noted[segment] for segment in segments if segment in self._noted}

    def fill(self, page: Page, segment: Path, later: Rows, *, whole: bool) -> Rows:
        """Fill a page from one file; the rows of events that began before it.

        `later` has the rows of the files after it, of events that did not begin there. `whole` says that the file
        changes no more. Raises OSError.
        """
        noted = self._noted.get(segment)
        if (
            noted is not None
            and not _may_hold(noted, later, page.chosen)
            and (page.after is None or not search(segment, page.after))
        ):
            return _joined(noted.open, later)
        begun, open_ = _sorted(segment)
        if whole:
            self._note(segment, begun, open_)
        for event_id, mine in reversed(list(begun.items())):
            if page.full:
                break
            if page.after is not None:
                page.after = None if event_id == page.after else page.after
                continue
            rows = mine + later.get(event_id, [])
            if page.chosen.includes(_shown(_kind(rows))):
                told = summary([line for row in rows for line in lines(row) if line["type"] != "judgement"])
                assert told is not None, "it begins here"
                page.found.append(told)
        left = {event_id: rows for event_id, rows in later.items() if event_id not in begun}
        return _joined(open_, left)

    def _note(self, segment: Path, begun: Rows, open_: Rows) -> None:
        kinds: set[Kind] = set()
        for mine in begun.values():
            kinds.add(_kind(mine))
            if len(kinds) > KINDS:
                return
        if len(open_) <= OPEN:
            self._noted[segment] = _Noted(tuple(kinds), open_)


def _sorted(segment: Path) -> tuple[Rows, Rows]:
    """The rows of one file: of the events that begin in it, in order, and of those that began before."""
    rows: dict[str, list[Row]] = {}
    for row in rows_of(everything(segment)):
        if isinstance(row[2], str):
            rows.setdefault(row[2], []).append(row)
    begun = {event_id: mine for event_id, mine in rows.items() if any(row[0] == "event" for row in mine)}
    return begun, {event_id: mine for event_id, mine in rows.items() if event_id not in begun}


def rows_of(kept: Iterable[list[Any]]) -> Iterator[Row]:
    """The rows in lines of the disk; what somebody else wrote is none."""
    for line in kept:
        yield from (tuple(row) for row in line if isinstance(row, list) and len(row) >= _SHORTEST)


def _joined(earlier: Rows, later: Rows) -> Rows:
    return {**later, **{event_id: mine + later.get(event_id, []) for event_id, mine in earlier.items()}}


def _kind(rows: list[Row]) -> Kind:
    """What `Chosen` looks at, at a fraction of a summary's cost: most stories are looked at and not told."""
    head = next((row for row in rows if row[0] == "event"), rows[0])
    hops: dict[str, tuple[str, str, str]] = {}
    for row in rows:
        if row[0] in _OF_INVOCATIONS and len(row) >= _HOP:
            _, mapping, function = row[_HOP - 3 : _HOP]
            before = hops.get(row[_HOP - 3], (mapping, function, OPENED))
            result = OPENED if row[0] == "attempt" else ENDS.get(row[0], before[2])
            hops[row[_HOP - 3]] = (*before[:2], result)
    return head[3], head[4], head[5], frozenset(hops.values())


def _shown(kind: Kind) -> Story:
    """A kind as `Chosen` reads it."""
    node, sensor, event, hops = kind
    invocations = [{"mapping": hop[0], "function": hop[1], "result": hop[2]} for hop in hops]
    return {"node": node, "sensor": sensor, "event": event, "invocations": invocations}


def _may_hold(noted: _Noted, later: Rows, chosen: Chosen) -> bool:
    """Whether a story that is chosen may begin in a file: by itself, or by what became of it in later files."""
    if any(chosen.includes(_shown(kind)) for kind in noted.kinds):
        return True
    return any(chosen.includes(_shown(_kind(rows))) for rows in later.values())


_OF_INVOCATIONS: Final = frozenset(kind for kind, fields in FIELDS.items() if "invocation" in fields)
_HOP: Final = FIELDS["attempt"].index("function") + 1
"""A row with so many places names an invocation, its mapping and its function, in the last three of them."""
