"""The mapping file on the disk: read as it is, and replaced as a whole or not at all."""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final, TypeAlias

from bridge.config import MAX_BYTES, Node, compose
from bridge.errors import BridgeError, ConfigError, Problem

_log = logging.getLogger(__name__)

Mark: TypeAlias = tuple[int, int, int]
"""Tells one state of a file from another: inode, size and the time of its change in nanoseconds."""
_NEW_MODE: Final = 0o640


class FileNotWritten(BridgeError, OSError):
    """The file could not be replaced; what was there is as it was."""


@dataclass(frozen=True, slots=True)
class Found:
    """A file's text and the mark by which a later change of it is seen."""

    text: str
    mark: Mark


def read_text(path: Path) -> Found:
    """What stands in the file. Raises ConfigError when it cannot be read, is too large or no UTF-8."""
    try:
        with path.open("rb") as file:
            mark = _mark(os.fstat(file.fileno()))
            raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError([Problem(str(path), 0, 0, "", f"cannot be read: {error.strerror or error}")]) from error
    if len(raw) > MAX_BYTES:
        raise ConfigError([Problem(str(path), 0, 0, "", f"is larger than {MAX_BYTES} bytes")])
    try:
        return Found(raw.decode("utf-8-sig"), mark)
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise ConfigError([Problem(str(path), line, 1, "", "is not UTF-8 text")]) from error


@lru_cache(maxsize=2)
def composed(text: str, name: str) -> Node:
    """A text's nodes, as bridge.config.compose gives them: those of a thousand mappings take a second (measured).

    Remembered are the file as it is and as it is to be. Raises ConfigError.
    """
    return compose(text, name)


def mark_of(path: Path) -> Mark | None:
    """The file's mark now, None where it is not."""
    try:
        return _mark(path.stat())
    except OSError:
        return None


def replace_text(path: Path, text: str) -> Mark:
    """Put a text into the file: on the disk before its name points to it, with the mode and owner of the old one.

    A link stays a link: what it points to is replaced. Raises FileNotWritten.
    """
    target = path.resolve()
    fresh = target.with_name(f".{target.name}.{secrets.token_hex(4)}.new")
    try:
        before = target.stat() if target.exists() else None
        try:
            descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(text.encode())
                file.flush()
                if before is not None:
                    _keep_owner(file.fileno(), before, target)
                os.fchmod(file.fileno(), before.st_mode & 0o7777 if before is not None else _NEW_MODE)
                os.fsync(file.fileno())
                mark = _mark(os.fstat(file.fileno()))
            fresh.replace(target)
        except OSError:
            with contextlib.suppress(OSError):
                fresh.unlink()
            raise
        _sync_folder(target.parent)
    except OSError as error:
        raise FileNotWritten(
            f"cannot write {target}: {error.strerror or error}; the manager needs the right to replace files in"
            f" {target.parent}"
        ) from error
    return mark


def _mark(found: os.stat_result) -> Mark:
    return found.st_ino, found.st_size, found.st_mtime_ns


def _keep_owner(descriptor: int, before: os.stat_result, path: Path) -> None:
    """Only root may give a file away; the group can be kept by its members."""
    now = os.fstat(descriptor)
    if (now.st_uid, now.st_gid) == (before.st_uid, before.st_gid):
        return
    for uid, gid in ((before.st_uid, before.st_gid), (-1, before.st_gid)):
        try:
            os.fchown(descriptor, uid, gid)
        except PermissionError:
            continue
        return
    _log.warning("the file's owner cannot be kept", extra={"op": "mappings.write", "file": str(path)})


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
