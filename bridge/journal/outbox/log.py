"""The log of an outbox when it is opened: what the life before has left in it, and whether it can be believed.

Called on a thread; nothing here knows of the event loop. What is damaged is set aside or copied aside before it is
written over, and what is lost with it is counted.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from bridge.core.frames import Found, scan
from bridge.core.young import Young, read
from bridge.errors import JournalError
from bridge.journal.log import IDENTITY_BYTES, LogFile, copy_aside, set_log_aside
from bridge.journal.outbox import Inherited
from bridge.journal.salvage import Lost, lost_records

_log = logging.getLogger(__name__)

NOTHING: Final = Lost({})


@dataclass(frozen=True, slots=True)
class OpenedLog:
    """An open log and what was in it; `lost` and `aside` tell of what could not be believed."""

    file: LogFile
    inherited: Inherited
    lost: Lost = NOTHING
    aside: Path | None = None


def log_path(outbox: Path) -> Path:
    """Where the log of an outbox is."""
    return outbox.with_suffix(".log")


def open_log(path: Path, known: tuple[bytes, int] | None, size_bytes: int) -> OpenedLog:
    """Open the log that the database knows, by its identity and how far it was taken over, or make one.

    Raises JournalError when the disk refuses, and when a newer program has written it.
    """
    file = LogFile(path, size_bytes)
    try:
        return _open(file, known)
    except OSError as error:
        file.close()
        if isinstance(error, JournalError):
            raise
        raise JournalError(
            f"cannot open the log {path}: {error.strerror or error}; check who owns the folder, and that its disk is "
            "writable and not full"
        ) from error


def _open(file: LogFile, known: tuple[bytes, int] | None) -> OpenedLog:
    try:
        identity, frames = file.open()
    except FileNotFoundError:
        if known is None:
            return _make(file, secrets.token_bytes(IDENTITY_BYTES), 0)
        _log.error(
            "the outbox's log is gone: what was in it alone is lost", extra={"op": "log.open", "file": str(file.path)}
        )
        return _make(file, *known, lost=Lost({}, whole=False))
    if known is None or identity != known[0]:
        return _replace(file, known, scan(frames, None if known is None or identity else known[1]))
    found = scan(frames, known[1])
    young = _read(file.path, found.payloads)
    inherited = Inherited(identity, young, found.end.serial - 1, found.whole)
    if found.whole:
        return OpenedLog(file, inherited)
    if not found.behind and not found.missing:
        _log.warning("the outbox's log was cut", extra={"op": "log.open", "file": str(file.path)})
        return OpenedLog(file, inherited, Lost({}, whole=False))
    aside = copy_aside(file.path)
    lost = lost_records(replace(found, payloads=()))
    _log.error(
        "the outbox's log is damaged: it goes on behind what can be read without a gap",
        extra={"op": "log.open", "file": str(file.path), "aside": str(aside), "events": lost.count},
    )
    return OpenedLog(file, inherited, lost, aside)


def _make(file: LogFile, identity: bytes, applied: int, lost: Lost = NOTHING, aside: Path | None = None) -> OpenedLog:
    file.make(identity)
    return OpenedLog(file, Inherited(identity, Young(), applied, lost.whole and not lost.count), lost, aside)


def _replace(file: LogFile, known: tuple[bytes, int] | None, found: Found) -> OpenedLog:
    """Begin another log in the place of one that cannot be told to be ours."""
    file.close()
    identity, applied = known or (secrets.token_bytes(IDENTITY_BYTES), 0)
    if found.whole and not found.payloads:
        return _make(file, identity, applied)
    lost = lost_records(found)
    aside = set_log_aside(file.path)
    _log.error(
        "the outbox's log does not belong to its database, or its beginning is damaged: set aside",
        extra={"op": "log.open", "file": str(file.path), "aside": str(aside), "events": lost.count},
    )
    return _make(file, identity, applied, lost, aside)


def _read(path: Path, payloads: Iterable[bytes]) -> Young:
    try:
        return read(payloads)
    except ValueError as error:
        message = f"cannot open the log {path}: {error}; a newer version of gpio-bridge wrote it, start that one"
        raise JournalError(message) from error
