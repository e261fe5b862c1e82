"""Opens a journal's SQLite file: one process at a time, checked, migrated, and set aside when it is damaged.

Called from the engine's threads; nothing here knows of the event loop.
"""

from __future__ import annotations

import fcntl
import logging
import os
import sqlite3
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bridge.errors import JournalError

_log = logging.getLogger(__name__)

BUSY_S: Final = 5.0
"""How long to wait for somebody else's lock on the file, such as a `sqlite3` shell's."""

_WAL_BYTES: Final = 4 * 1024 * 1024
"""Checkpoint about this often: seldom enough that a page that is written again and again reaches its place once."""

_WRITER: Final = (
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = NORMAL",
    # After a checkpoint the log is written over from its start; it is cut only when it had grown beyond this.
    f"PRAGMA journal_size_limit = {8 * 1024 * 1024}",
    "PRAGMA cache_size = -512",
    # Debian's SQLite overwrites what is deleted with zeros: on an SD card that only costs life.
    "PRAGMA secure_delete = OFF",
    "PRAGMA temp_store = MEMORY",
    "PRAGMA cell_size_check = ON",
    "PRAGMA foreign_keys = ON",
)
_READER: Final = ("PRAGMA query_only = ON", "PRAGMA cache_size = -256", "PRAGMA temp_store = MEMORY")

_DAMAGED: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_STORAGE: Final = {
    sqlite3.SQLITE_FULL: "the disk is full; free some space on it, the program then goes on by itself",
    sqlite3.SQLITE_READONLY: (
        "it is read-only; check who owns the folder, and with `mount` whether the kernel made the disk read-only"
    ),
    sqlite3.SQLITE_IOERR: "the disk reports an error; look at `dmesg`, the card or its power supply may be failing",
    sqlite3.SQLITE_CORRUPT: "the file is damaged; restart the program, which sets it aside and begins a new one",
    sqlite3.SQLITE_NOTADB: "the file is damaged; restart the program, which sets it aside and begins a new one",
    sqlite3.SQLITE_CANTOPEN: "the file or its folder cannot be opened; check that they exist and who owns them",
    sqlite3.SQLITE_PERM: "access is denied; check who owns the file and its folder",
    sqlite3.SQLITE_BUSY: "another program holds it locked; close it (a `sqlite3` shell?)",
    sqlite3.SQLITE_LOCKED: "another program holds it locked; close it (a `sqlite3` shell?)",
    sqlite3.SQLITE_PROTOCOL: "another program holds it locked; close it (a `sqlite3` shell?)",
    sqlite3.SQLITE_NOMEM: "the machine is out of memory",
    sqlite3.SQLITE_NOLFS: "the file has grown beyond what this disk can hold",
}


def storage_error(error: BaseException, path: Path, what: str) -> JournalError | None:
    """The JournalError for an error of the disk or of the file; None when `error` is the caller's own mistake."""
    if not isinstance(error, sqlite3.Error):
        return None
    reason = _STORAGE.get(_code(error))
    if reason is None:
        return None
    return JournalError(f"cannot {what} the journal {path}: {reason} ({error})")


def damaged(error: BaseException) -> bool:
    """Whether SQLite says that the file itself is damaged."""
    return isinstance(error, sqlite3.Error) and _code(error) in _DAMAGED


def _code(error: sqlite3.Error) -> int:
    """SQLite's primary result code; 0 where Python raised the error by itself."""
    return int(getattr(error, "sqlite_errorcode", None) or 0) & 0xFF


class Lock:
    """Keeps other processes out of a journal: an flock on `<path>.lock`, which the kernel drops with its process."""

    def __init__(self, path: Path) -> None:
        self.path = path.with_name(path.name + ".lock")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise JournalError(
                f"cannot open the journal {path}: {error.strerror or error} ({error.filename}); "
                "check that the folder exists, who owns it, and that the disk is writable"
            ) from error
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.read(self._fd, 64).decode("ascii", "replace").split("\n")[0] or "unknown"
            os.close(self._fd)
            raise JournalError(
                f"cannot open the journal {path}: process {holder} has it open; "
                "stop that process, or give this program a state folder of its own"
            ) from error
        self.suspect = b"suspect" in os.read(self._fd, 64)
        self._write("")

    def mark_suspect(self) -> None:
        """Note for the next start that SQLite found damage, so that it looks at every page and index."""
        self._write("suspect\n")
        self.suspect = True

    def clear_suspect(self) -> None:
        """The file has been looked at, or set aside."""
        self._write("")
        self.suspect = False

    def release(self) -> None:
        os.close(self._fd)

    def _write(self, note: str) -> None:
        """Who holds the lock; on a disk too full to say so, the lock holds all the same."""
        try:
            os.ftruncate(self._fd, 0)
            os.pwrite(self._fd, f"{os.getpid()}\n{note}".encode("ascii"), 0)
        except OSError as error:
            _log.warning(
                "lock file not written", extra={"op": "journal.lock", "file": str(self.path), "why": str(error)}
            )


@dataclass(frozen=True, slots=True)
class Opened:
    """An open journal file; `quarantined` is where a damaged one before it was put."""

    connection: sqlite3.Connection
    quarantined: Path | None


def open_database(path: Path, migrations: Sequence[str], lock: Lock, *, page_bytes: int) -> Opened:
    """Open for writing: check, set aside what is damaged, bring to the newest schema.

    Raises JournalError when the disk refuses, or when a newer program has written the file.
    """
    quarantined = None
    for _ in range(2):
        connection: sqlite3.Connection | None = None
        fresh = not path.exists()
        try:
            if path.exists() and path.stat().st_size == 0:
                raise _Damage("the file is empty")  # noqa: TRY301 - one way out for all that is damaged
            alone = path.exists() and not path.with_name(path.name + "-wal").exists()
            connection = connect(path, create=True, page_bytes=page_bytes)
            _check(connection, thorough=lock.suspect, alone=alone)
            _migrate(connection, migrations, path)
        except (sqlite3.Error, OSError, _Damage) as error:
            if connection is not None:
                connection.close()
            if (damaged(error) or isinstance(error, _Damage)) and quarantined is None:
                quarantined = _quarantine(path, str(error))
                lock.clear_suspect()
                continue
            if fresh:
                _unmake(path)
            if isinstance(error, JournalError):
                raise
            explained = storage_error(error, path, "open")
            raise explained or JournalError(f"cannot open the journal {path}: {error}") from error
        if lock.suspect:
            lock.clear_suspect()
        return Opened(connection, quarantined)
    raise JournalError(f"cannot open the journal {path}: a newly made file is damaged too; the disk is failing")


def connect(path: Path, *, create: bool = False, page_bytes: int = 4096) -> sqlite3.Connection:
    """A writing connection; without `create` a missing file is an error, not a new, empty journal."""
    mode = "rwc" if create else "rw"
    connection = _connect(path, mode)
    try:
        connection.execute(f"PRAGMA page_size = {page_bytes}")
        for pragma in _WRITER:
            connection.execute(pragma)
        (size_bytes,) = connection.execute("PRAGMA page_size").fetchone()  # of an older file it may be another
        connection.execute(f"PRAGMA wal_autocheckpoint = {_WAL_BYTES // size_bytes}")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def connect_reader(path: Path) -> sqlite3.Connection:
    """A connection that only reads; it sees what is committed."""
    connection = _connect(path, "rw")  # SQLite's own read-only mode cannot take part in the log's shared index
    try:
        for pragma in _READER:
            connection.execute(pragma)
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    uri = f"{path.absolute().as_uri()}?mode={mode}"
    # One thread at a time uses each connection, but opening, use and closing may be on different ones.
    return sqlite3.connect(uri, uri=True, timeout=BUSY_S, isolation_level=None, check_same_thread=False)


class _Damage(Exception):
    """What the check of a file found."""


def _check(connection: sqlite3.Connection, *, thorough: bool, alone: bool) -> None:
    """`alone`: the file was there, and no -wal file beside it.

    A young journal stands in its -wal file whole. Without that nothing is left but a header: as good a new journal as
    any for SQLite, and an outbox or a ledger that has forgotten everything for us.
    """
    if alone and connection.execute("SELECT count(*) FROM sqlite_schema").fetchone() == (0,):
        raise _Damage("nothing is in it; its -wal file, which held everything, is gone")
    findings = connection.execute("PRAGMA integrity_check(1)" if thorough else "PRAGMA quick_check(1)").fetchall()
    if findings != [("ok",)]:
        raise _Damage(str(findings[0][0]))


def _migrate(connection: sqlite3.Connection, migrations: Sequence[str], path: Path) -> None:
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > len(migrations):
        raise JournalError(
            f"cannot open the journal {path}: it has schema {version}, and this program knows schemas up to "
            f"{len(migrations)}; a newer version of gpio-bridge wrote it, start that one"
        )
    for number, script in enumerate(migrations[version:], version + 1):
        # One transaction each: a kill leaves the schema before or after, never between.
        try:
            connection.executescript(f"BEGIN IMMEDIATE;\n{script}\n;PRAGMA user_version = {number};\nCOMMIT;")
        except sqlite3.Error:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise


def _unmake(path: Path) -> None:
    """Take away what a failed attempt to make a journal has left: the next one would take it for a damaged journal."""
    for suffix in ("-wal", "-shm", ""):
        with suppress(OSError):
            path.with_name(path.name + suffix).unlink(missing_ok=True)


def _quarantine(path: Path, why: str) -> Path:
    """Rename the damaged file and its log, so that they can still be opened together by somebody who looks."""
    number = 1
    while (aside := path.with_name(f"{path.name}.corrupt-{number}")).exists():
        number += 1
    try:
        for suffix in ("-wal", "-shm", ""):
            part = path.with_name(path.name + suffix)
            if part.exists():
                part.rename(aside.with_name(aside.name + suffix))
    except OSError as error:
        raise JournalError(
            f"the journal {path} is damaged ({why}) and cannot be set aside: {error.strerror or error}; "
            "move it away by hand and start again"
        ) from error
    _log.error(
        "journal damaged: set aside and begun anew; what it held and nobody has confirmed is lost",
        extra={"op": "journal.quarantine", "file": str(path), "aside": str(aside), "why": why},
    )
    return aside
