"""The history of the mapping file: every revision with who made it, when and why, and what it changed.

A revision is written down before the file is replaced, as `pending`, and settled after: so a manager that is killed in
between knows at its next start which of both has happened.
"""

from __future__ import annotations

import difflib
import sqlite3
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import orjson

from bridge.core.mapping import MappingSet
from bridge.core.mapping_document import mapping_document

MIGRATION: Final = """
CREATE TABLE revisions (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    at TEXT NOT NULL,
    who TEXT NOT NULL,
    what TEXT NOT NULL,
    why TEXT NOT NULL,
    version TEXT NOT NULL,
    changes TEXT NOT NULL,
    diff BLOB NOT NULL,
    text BLOB NOT NULL,
    pending INTEGER NOT NULL
)
"""
BY_HAND: Final = "by hand"
"""Who made a revision that was found in the file."""


_COUNTED: Final = """
SELECT COUNT(*) FROM revisions WHERE pending = 0 AND (:name IS NULL OR EXISTS (
    SELECT 1 FROM json_tree(changes) WHERE type = 'text' AND value = :name))
"""
_LISTED: Final = """
SELECT number, at, who, what, why, version, changes, diff FROM revisions
WHERE pending = 0 AND (:name IS NULL OR EXISTS (
    SELECT 1 FROM json_tree(changes) WHERE type = 'text' AND value = :name))
ORDER BY number DESC LIMIT :limit OFFSET :offset
"""


@dataclass(frozen=True, slots=True)
class Changes:
    """Which mappings differ between two sets, by name."""

    added: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()

    def document(self) -> dict[str, list[str]]:
        """As JSON."""
        return {"added": list(self.added), "changed": list(self.changed), "removed": list(self.removed)}


@dataclass(frozen=True, slots=True)
class Revision:
    """One state of the mapping file. `version` is that of its mapping set; `diff` is to the revision before."""

    number: int
    at: str
    who: str
    what: str
    why: str
    version: str
    changes: dict[str, Any]
    diff: str

    def document(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "number": self.number,
            "at": self.at,
            "who": self.who,
            "what": self.what,
            "why": self.why,
            "version": self.version,
            "changes": self.changes,
            "diff": self.diff,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What is written down of a revision."""

    at: str
    who: str
    what: str
    why: str
    version: str
    changes: Changes
    diff: str
    text: str
    pending: bool


def compared(before: MappingSet, after: MappingSet) -> Changes:
    """Which mappings are not the same, told by what they mean and not by how they are written."""
    old, new = before.mappings, after.mappings
    return Changes(
        added=tuple(name for name in new if name not in old),
        changed=tuple(
            name for name in new if name in old and mapping_document(new[name]) != mapping_document(old[name])
        ),
        removed=tuple(name for name in old if name not in new),
    )


def unified(before: str, after: str, name: str) -> str:
    """The difference of two texts as `diff -u` shows it."""
    lines = difflib.unified_diff(
        before.splitlines(keepends=True), after.splitlines(keepends=True), f"a/{name}", f"b/{name}"
    )
    return "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines)


def note(entry: Entry, keep: int) -> Callable[[sqlite3.Connection], int]:
    """The change that writes an entry down; its number. The oldest beyond `keep` are forgotten."""

    def change(database: sqlite3.Connection) -> int:
        row = (
            entry.at,
            entry.who,
            entry.what,
            entry.why,
            entry.version,
            orjson.dumps(entry.changes.document()).decode(),
            zlib.compress(entry.diff.encode()),
            zlib.compress(entry.text.encode()),
            entry.pending,
        )
        cursor = database.execute(
            "INSERT INTO revisions (at, who, what, why, version, changes, diff, text, pending)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            row,
        )
        number = int(cursor.lastrowid or 0)
        database.execute("DELETE FROM revisions WHERE number <= ?", (number - keep,))
        return number

    return change


def settle(number: int) -> Callable[[sqlite3.Connection], None]:
    """The change that says that the file has been replaced."""

    def change(database: sqlite3.Connection) -> None:
        database.execute("UPDATE revisions SET pending = 0 WHERE number = ?", (number,))

    return change


def forget(number: int) -> Callable[[sqlite3.Connection], None]:
    """The change that takes a revision back: the file has not been replaced."""

    def change(database: sqlite3.Connection) -> None:
        database.execute("DELETE FROM revisions WHERE number = ?", (number,))

    return change


def latest(*, pending: bool) -> Callable[[sqlite3.Connection], tuple[int, str] | None]:
    """The query for number and text of the last revision that is settled, or that is still pending."""

    def query(database: sqlite3.Connection) -> tuple[int, str] | None:
        row = database.execute(
            "SELECT number, text FROM revisions WHERE pending = ? ORDER BY number DESC LIMIT 1", (pending,)
        ).fetchone()
        return (int(row[0]), zlib.decompress(row[1]).decode()) if row is not None else None

    return query


def text_of(number: int) -> Callable[[sqlite3.Connection], str | None]:
    """The query for a revision's whole text."""

    def query(database: sqlite3.Connection) -> str | None:
        row = database.execute("SELECT text FROM revisions WHERE number = ? AND pending = 0", (number,)).fetchone()
        return zlib.decompress(row[0]).decode() if row is not None else None

    return query


def listed(limit: int, offset: int, name: str | None) -> Callable[[sqlite3.Connection], tuple[int, list[Revision]]]:
    """The query for revisions, newest first, and how many there are; `name` chooses those that touched a mapping."""

    def query(database: sqlite3.Connection) -> tuple[int, list[Revision]]:
        given = {"name": name, "limit": limit, "offset": offset}
        total = int(database.execute(_COUNTED, given).fetchone()[0])
        return total, [_revision(row) for row in database.execute(_LISTED, given).fetchall()]

    return query


def _revision(row: tuple[Any, ...]) -> Revision:
    number, at, who, what, why, version, changes, diff = row
    return Revision(number, at, who, what, why, version, orjson.loads(changes), zlib.decompress(diff).decode())
