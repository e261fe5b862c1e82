"""At once: whether the loop's thread may commit a change by itself, instead of handing it to the writer and back.

A commit that survives a kill is a copy into the kernel's memory, quicker than the two hand-overs between threads around
it. What waits for the disk itself stays the writer's: a commit that must survive a power cut, a checkpoint, and the
first commit after one, which SQLite syncs (it starts the log over). The kernel makes also a copy wait while a slow disk
is busy: it is noticed by the first that takes long, and from then on the loop keeps away for a while.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

IN_A_ROW: Final = 256
"""After so many commits at once, one is the writer's, which alone writes the log back into the file."""
SLOW_S: Final = 0.05
"""A commit at once that takes longer than this met a busy disk..."""
SPARED_S: Final = 30.0
"""...and for so long there is no other one."""


class AtOnce:
    """Watches one journal file's commits. `now` is of `time.perf_counter`, in seconds: what it measures is the disk."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._in_a_row = 0
        self._written_ns: int | None = None
        self._starts_log = True
        self._spared_until = 0.0

    def allowed(self, now: float) -> bool:
        """Whether the next commit may be made at once, if the writer rests."""
        return not self._starts_log and self._in_a_row < IN_A_ROW and now >= self._spared_until

    def made(self, took_s: float, now: float) -> None:
        """A commit was made at once."""
        self._in_a_row += 1
        if took_s > SLOW_S:
            self._spared_until = now + SPARED_S

    def refused(self) -> None:
        """A commit at once has failed; the next one is the writer's."""
        self._starts_log = True

    def writer_committed(self) -> None:
        """The writer has made a commit.

        Besides the log, only a checkpoint writes into the file itself; the commit after it may start the log over.
        """
        try:
            written_ns = self._path.stat().st_mtime_ns
        except OSError:  # the file is gone from its place: whatever is wrong, the writer will meet it
            written_ns = None
        self._starts_log = written_ns is None or written_ns != self._written_ns
        self._written_ns = written_ns
        self._in_a_row = 0
