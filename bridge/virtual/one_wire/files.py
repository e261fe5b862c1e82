"""Files that behave as the kernel's: text that is replaced whole, and text that its reader has to wait for."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

_LOOK_S = 0.01
"""How often a file that is waited for looks for a reader."""
_JOIN_S = 2.0


@dataclass(frozen=True, slots=True)
class Reading:
    """What a reader of a file gets, and how long after it has asked."""

    text: str
    took_s: float = 0.0


class Pipe:
    """A file that asks `answer` for each reader, and makes it wait: a pipe, served by a thread."""

    def __init__(self, path: Path, answer: Callable[[], Reading]) -> None:
        self._path = path
        self._answer = answer
        self._closed = threading.Event()
        self._fresh()
        self._thread = threading.Thread(target=self._serve, name=f"slow {path.name}", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Let go of readers; one that waits gets nothing."""
        self._closed.set()
        self._thread.join(_JOIN_S)

    def _fresh(self) -> None:
        """A new pipe in the place of the last one: whoever still reads that one finds its end."""
        waiting = self._path.with_name(f".{self._path.name}.pipe")
        waiting.unlink(missing_ok=True)
        os.mkfifo(waiting)
        waiting.replace(self._path)

    def _serve(self) -> None:
        while not self._closed.is_set():
            try:
                # Without O_NONBLOCK a writer that nobody reads could not be told to stop (fifo(7)).
                writer = os.open(self._path, os.O_WRONLY | os.O_NONBLOCK)
            except OSError as error:
                if error.errno != errno.ENXIO:
                    raise
                self._closed.wait(_LOOK_S)
                continue
            try:
                reading = self._answer()
                if self._closed.wait(reading.took_s):
                    return
                self._fresh()
                os.write(writer, reading.text.encode("ascii"))
            except BrokenPipeError:
                continue  # the reader gave up, as readers with a time-out do
            finally:
                os.close(writer)


def replace_text(path: Path, text: str) -> None:
    """Write so that a reader sees the old text or the new one, whole."""
    waiting = path.with_name(f".{path.name}.new")
    waiting.write_text(text, encoding="ascii")
    waiting.replace(path)


def written(path: Path) -> str | None:
    """What stands in a file; None when it is gone, or when somebody is just about to write it."""
    try:
        return path.read_text(encoding="ascii", errors="replace").strip() or None
    except FileNotFoundError:
        return None
