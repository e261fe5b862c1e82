"""The mapping file on the disk: replaced as a whole or not at all, and its nodes, which take long to find, kept."""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
from functools import lru_cache
from pathlib import Path
from typing import Final

from bridge.config import Mark, Node, compose, marked
from bridge.errors import BridgeError

_log = logging.getLogger(__name__)

_NEW_MODE: Final = 0o640


class FileNotWritten(BridgeError, OSError):
    """The file could not be replaced; what was there is as it was."""


@lru_cache(maxsize=2)
def composed(text: str, name: str) -> Node:
    """A text's nodes, as bridge.config.compose gives them: those of a thousand mappings take a second (measured).

    Remembered are the file as it is and as it is to be. Raises ConfigError.
    """
    return compose(text, name)


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
                mark = marked(os.fstat(file.fileno()))
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
