"""Notices when the files of handlers change."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncGenerator, Callable
from pathlib import Path

from watchfiles import DefaultFilter, awatch
from watchfiles._rust_notify import WatchfilesRustInternalError

from bridge.clock import Clock

_log = logging.getLogger(__name__)

_IGNORED = frozenset({"__pycache__", "node_modules", "venv"})
_MAX_FILES = 10_000
_STEP_MS = 100
_POLL_MS = 1000
_AGAIN_S = 1.0
LOOK_ANYWAY_MS = 10_000
"""Somebody looks this often although nothing was told: of what was changed just before the watching began, and of a
folder in whose place there is another one, the kernel tells nothing."""

Stamp = frozenset[tuple[str, int, int]]
"""Which files a folder holds: path, time of change in ns, size."""


def stamp(folder: Path) -> Stamp:
    """The state of a folder's files, hidden ones and caches left out."""
    found: set[tuple[str, int, int]] = set()
    for where, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".") and name not in _IGNORED]
        for name in files:
            if name.startswith(".") or name.endswith((".pyc", "~")):
                continue
            path = os.path.join(where, name)  # noqa: PTH118 - many files; a Path for each costs more than the rest
            try:
                state = os.stat(path)  # noqa: PTH116 - the same
            except OSError:
                continue
            found.add((path, state.st_mtime_ns, state.st_size))
            if len(found) >= _MAX_FILES:
                return frozenset(found)
    return frozenset(found)


class FolderWatch:
    """Yields whenever something may have happened in one of the folders; which ones these are may change any time."""

    def __init__(self, folders: Callable[[], frozenset[Path]], clock: Clock) -> None:
        self._folders = folders
        self._clock = clock
        self._again = asyncio.Event()

    def refresh(self) -> None:
        """The set of folders has changed."""
        self._again.set()

    async def changes(self) -> AsyncGenerator[None, None]:
        """Also yields once after each change of the set, since nothing was watched in between."""
        polling = False
        while True:
            self._again.clear()
            folders = frozenset(folder for folder in self._folders() if folder.is_dir())
            yield
            if not folders:
                await self._again.wait()
                continue
            watching = awatch(
                *folders,
                watch_filter=DefaultFilter(),
                stop_event=self._again,
                step=_STEP_MS,
                rust_timeout=LOOK_ANYWAY_MS,
                yield_on_timeout=True,
                force_polling=polling,
                poll_delay_ms=_POLL_MS,
            )
            try:
                async for _ in watching:
                    yield
            except (OSError, WatchfilesRustInternalError) as error:
                # A folder went away just now, or the system has no more watches to give (inotify(7)).
                _log.warning(
                    "Cannot watch handlers; looking now and then", extra={"op": "reload", "reason": str(error)}
                )
                polling = True
                await self._clock.sleep(_AGAIN_S)
