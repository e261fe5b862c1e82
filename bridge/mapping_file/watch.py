"""When the mapping file has changed, by the kernel's word and by a look now and then.

The kernel (inotify(7)) tells at once, but not everything: nothing of what happened before it was asked, of a folder
that another one took the place of, of what a link leads to elsewhere, of a disk that another machine writes to, and
nobody when its watches are used up. So the file is looked at every LOOK_ANYWAY_S too, which costs a stat(2).
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Final

from watchfiles import awatch
from watchfiles._rust_notify import WatchfilesRustInternalError

from bridge.clock import Clock
from bridge.config import Mark, mark_of

_log = logging.getLogger(__name__)

GATHER_MS: Final = 500
"""An editor's several writes within this time are one change."""
LOOK_MS: Final = 250
"""The watcher looks this often whether something was told: each look takes the interpreter's lock from the loop."""
LOOK_ANYWAY_S: Final = 2.0
_PATIENCE: Final = 8
"""A file that is another at each of so many looks is read all the same."""


async def changes(path: Path, seen: Callable[[], Mark | None], clock: Clock) -> AsyncGenerator[None, None]:
    """Yields whenever the file is another than the one that `seen` is the mark of, until it is closed.

    Who reads the file, or finds that it cannot be read, must have `seen` give the mark of what it found.
    """
    warned = False
    while True:
        if await _changed(path, seen, clock):
            yield
        folders = _folders(path)
        try:
            watching = awatch(
                *folders,
                step=LOOK_MS,
                debounce=GATHER_MS,
                rust_timeout=round(LOOK_ANYWAY_S * 1000),
                yield_on_timeout=True,
                recursive=False,
                watch_filter=None,  # the usual one is blind to some folders, such as .venv, wherever they stand
            )
            async with aclosing(watching):
                async for told in watching:
                    if mark_of(path) != seen() if told else await _changed(path, seen, clock):
                        yield
                    if _folders(path) != folders:
                        break
        except (OSError, WatchfilesRustInternalError) as error:
            if not warned:
                warned = True
                extra = {"op": "mappings.watch", "file": str(path), "why": str(error), "every_s": LOOK_ANYWAY_S}
                _log.warning("mapping file cannot be watched, it is looked at now and then", extra=extra)
            await clock.sleep(LOOK_ANYWAY_S)


async def _changed(path: Path, seen: Callable[[], Mark | None], clock: Clock) -> bool:
    """Whether the file is another, once nobody writes to it any more, or has gone on with it for long."""
    mark = mark_of(path)
    for _ in range(_PATIENCE):
        if mark == seen():
            return False
        await clock.sleep(LOOK_MS / 1000)
        before, mark = mark, mark_of(path)
        if before == mark:
            break
    return True


def _folders(path: Path) -> dict[Path, tuple[int, int] | None]:
    """The folders in which a change of the file is told, and which ones these are: a name may soon be another's."""
    found: dict[Path, tuple[int, int] | None] = {}
    for folder in (path.absolute().parent, path.resolve().parent):
        try:
            state = folder.stat()
        except OSError:
            found[folder] = None
        else:
            found[folder] = (state.st_dev, state.st_ino)
    return found
