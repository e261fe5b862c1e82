"""The folder of virtual boards inside a state folder: of one process at a time, and empty when it starts."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bridge.errors import BridgeError


@contextmanager
def held(lock: Path, taken: str) -> Iterator[None]:
    """Hold a lock for this process; it goes with the process, however that ends (flock(2)).

    Makes its folder. Raises BridgeError with `taken` where another process holds it.
    """
    try:
        lock.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        file = lock.open("a+b")
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise BridgeError(f"cannot write {lock}: {reason}; check who owns its folder") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BridgeError(taken) from error
        yield


def emptied(folder: Path) -> Path:
    """A folder, without what a program that was killed has left in it. Only who holds the lock may call this.

    Raises BridgeError when something else is in its place, or somebody else's.
    """
    try:
        if folder.exists():
            shutil.rmtree(folder)
        folder.mkdir()
    except OSError as error:
        reason = error.strerror or str(error)
        raise BridgeError(f"cannot empty the folder {folder}: {reason} ({error.filename}); move it away") from error
    return folder
