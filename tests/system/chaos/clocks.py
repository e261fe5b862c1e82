"""Wall clocks that jump under a running program, as `date -s` and NTP let them jump: libfaketime in the program.

Monotonic time is left alone, as the kernel leaves it. Whether the clock is set is said by the program's `clock_mark`,
as a time daemon would: libfaketime cannot make the kernel say that it is not.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

DAY_S = 86_400
_LIBRARY = "faketime/libfaketimeMT.so.1"


def library() -> Path | None:
    """Where Debian puts it, on any architecture."""
    return next(iter(sorted(Path("/usr/lib").glob(f"*/{_LIBRARY}"))), None)


def why_not() -> str | None:
    """Why no clock can jump here; None when it can."""
    return "libfaketime missing; install: sudo apt-get install libfaketime" if library() is None else None


class WallClock:
    """The wall clock of one program, in two files: how far it is off, and the mark that says that it is set."""

    def __init__(self, folder: Path, name: str) -> None:
        self._offset = folder / f"{name}.clock"
        self._mark = folder / f"{name}.clock-is-set"
        self.set_right()

    @property
    def settings(self) -> dict[str, Any]:
        """What the program's settings have to say."""
        return {"clock": "auto", "clock_mark": str(self._mark)}

    @property
    def variables(self) -> dict[str, str]:
        """What its environment has to say."""
        found = library()
        if found is None:
            return {}
        return {
            "LD_PRELOAD": str(found),
            "FAKETIME_TIMESTAMP_FILE": str(self._offset),
            "FAKETIME_NO_CACHE": "1",  # the file is read at each look at the clock
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "NO_FAKE_STAT": "1",  # the files' times are the kernel's
        }

    def jump(self, by_s: float) -> None:
        """Be so far off from the right time, and say nothing."""
        fresh = self._offset.with_suffix(".new")
        fresh.write_text(f"{by_s:+.0f}\n", encoding="ascii")
        fresh.replace(self._offset)

    def start_in_1970(self) -> None:
        """Be what a Pi without a battery is before it has heard of the time."""
        self._mark.unlink(missing_ok=True)
        self.jump(-time.time())

    def set_right(self) -> None:
        """Be right, and say so."""
        self.jump(0)
        self._mark.touch()
