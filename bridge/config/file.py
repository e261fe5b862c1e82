"""A text on the disk, and the mark by which a later change of it is seen."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from bridge.config.yaml12 import MAX_BYTES
from bridge.errors import ConfigError, Problem

Mark: TypeAlias = tuple[int, int, int, int]
"""Tells one state of a file from another: device, inode, size in bytes, and the time of its change in nanoseconds."""


@dataclass(frozen=True, slots=True)
class Text:
    """What stood in a file when it had this mark."""

    text: str
    mark: Mark


def text_of(path: Path) -> Text:
    """What stands in the file. Raises ConfigError when it cannot be read, is not UTF-8, or too large."""
    name = str(path)
    try:
        with path.open("rb") as file:
            mark = marked(os.fstat(file.fileno()))
            raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError([Problem(name, 0, 0, "", f"cannot be read: {error.strerror or error}")]) from error
    if len(raw) > MAX_BYTES:
        raise ConfigError([Problem(name, 0, 0, "", f"is larger than {MAX_BYTES} bytes")])
    try:
        return Text(raw.decode("utf-8-sig"), mark)
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise ConfigError([Problem(name, line, 1, "", "is not UTF-8 text")]) from error


def mark_of(path: Path) -> Mark | None:
    """The file's mark now, None where there is none to be seen."""
    try:
        return marked(path.stat())
    except OSError:
        return None


def marked(found: os.stat_result) -> Mark:
    """The mark of a file of which this is known."""
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
