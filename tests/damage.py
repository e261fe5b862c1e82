"""Damages a journal file as a failing card does: some of its pages are garbage, the others still stand.

What is damaged is what SQLite's check at start finds and what holds none of the rows that are to be counted afterwards;
`everything` leaves nothing that can be read.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

_GARBAGE = b"\xa5 no page of SQLite "


def damage(path: Path, table: str) -> None:
    """Overwrite the first page of a table of a journal that nobody has open."""
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        (page_bytes,) = database.execute("PRAGMA page_size").fetchone()
        (page,) = database.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (table,)).fetchone()
    with path.open("r+b") as file:
        file.seek((page - 1) * page_bytes)
        file.write((_GARBAGE * page_bytes)[:page_bytes])


def everything(path: Path) -> None:
    """Leave nothing of it; its log would bring some of it back, and goes too."""
    path.write_bytes(b"nothing that SQLite knows" * 400)
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def set_aside(path: Path) -> list[Path]:
    """Where the program has put damaged files."""
    return sorted(one for one in path.parent.glob(f"{path.name}.corrupt-*") if not one.name.endswith(("-wal", "-shm")))
