"""The account of changes: who did what, when, from where, and in which request; kept in the manager's journal."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Any, Final

from bridge.clock import Clock
from bridge.core.event import rfc3339
from bridge.journal.engine import Journal
from bridge.manager.access.tokens import Token

MIGRATION: Final = """
CREATE TABLE audit (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    at TEXT NOT NULL,
    who TEXT NOT NULL,
    what TEXT NOT NULL,
    target TEXT NOT NULL,
    status INTEGER NOT NULL,
    revision INTEGER,
    address TEXT NOT NULL,
    request_id TEXT NOT NULL
)
"""
KEPT: Final = 100_000
"""So many entries; the oldest make room for new ones."""
COMMAND: Final = "command"
"""Who made or revoked a token."""
_CREATED, _REVOKED = "token created", "token revoked"


class Audit:
    """Notes changes without holding anybody up; a disk that takes nothing is told by the journal's health."""

    def __init__(self, journal: Journal, clock: Clock) -> None:
        self._journal = journal
        self._clock = clock

    def note(
        self,
        who: str,
        what: str,
        target: str,
        *,
        status: int = 200,
        revision: int | None = None,
        address: str = "",
        request_id: str = "",
    ) -> None:
        """Write an entry down."""
        row = (rfc3339(self._clock.now()), who, what, target, status, revision, address, request_id)
        self._journal.post(lambda database: _insert(database, row))

    def note_tokens(self, tokens: tuple[Token, ...]) -> None:
        """Write down which tokens a command has made or revoked since the last time."""

        def change(database: sqlite3.Connection) -> None:
            known = {
                (str(what), str(target))
                for what, target in database.execute(
                    "SELECT what, target FROM audit WHERE what IN (?, ?)", (_CREATED, _REVOKED)
                )
            }
            for token in tokens:
                target = f"{token.name} ({token.id}, {token.role.value})"
                for what, at in ((_CREATED, token.created_at), (_REVOKED, token.revoked_at)):
                    if at is not None and (what, target) not in known:
                        _insert(database, (at, COMMAND, what, target, 200, None, "", ""))

        self._journal.post(change)

    async def entries(self, limit: int, offset: int) -> tuple[int, list[dict[str, Any]]]:
        """How many there are, and some of them, newest first; what was noted before is among them."""
        await self._journal.flush()
        return await self._journal.read(_listed(limit, offset))


def _insert(database: sqlite3.Connection, row: tuple[Any, ...]) -> None:
    cursor = database.execute(
        "INSERT INTO audit (at, who, what, target, status, revision, address, request_id)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        row,
    )
    database.execute("DELETE FROM audit WHERE number <= ?", (int(cursor.lastrowid or 0) - KEPT,))


def _listed(limit: int, offset: int) -> Callable[[sqlite3.Connection], tuple[int, list[dict[str, Any]]]]:
    names = ("number", "at", "who", "what", "target", "status", "revision", "address", "request_id")

    def query(database: sqlite3.Connection) -> tuple[int, list[dict[str, Any]]]:
        total = int(database.execute("SELECT COUNT(*) FROM audit").fetchone()[0])
        rows = database.execute(
            "SELECT number, at, who, what, target, status, revision, address, request_id FROM audit"
            " ORDER BY number DESC LIMIT ? OFFSET ?",
            (limit, offset),
        )
        return total, [dict(zip(names, row, strict=True)) for row in rows.fetchall()]

    return query
