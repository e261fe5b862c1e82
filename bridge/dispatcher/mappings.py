"""Where the mapping set comes from: a YAML file that is read again when it changes; a bad one keeps the last good set.

The last good set is kept in the state folder, so that a restart with a broken file still serves what was served before.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path

from watchfiles import awatch

from bridge.config import compose
from bridge.core.mapping import MappingSet
from bridge.errors import ConfigError
from bridge.mapping_file import decode_mappings, load_mappings

_log = logging.getLogger(__name__)

GATHER_MS = 100
"""An editor's several writes within this time are one change."""


class MappingFile:
    """The mapping file and its last good version. The loop owns it."""

    def __init__(self, path: Path, state_dir: Path, *, timezone: str, root: str, threads: bool = True) -> None:
        self._path = path
        self._threads = threads
        self._kept = state_dir / "mappings.last-good.yaml"
        self._timezone = timezone
        self._root = root
        self.problem: ConfigError | None = None
        """Why the file as it stands is not in force; None when it is."""

    def first(self) -> MappingSet:
        """The set to start with: the file's, or the last good one when the file is bad.

        Raises ConfigError when there is neither.
        """
        try:
            return self._read()
        except ConfigError as error:
            if not self._kept.is_file():
                raise
            self._refuse(error)
            return decode_mappings(
                compose(self._kept.read_text(encoding="utf-8"), str(self._kept)),
                local_timezone=self._timezone,
                root=self._root,
            )

    async def watch(self, replaced: Callable[[MappingSet], None]) -> None:
        """Call `replaced` with each good new version, until cancelled."""
        folder, name = self._path.parent, self._path.name
        async for changes in awatch(folder, step=GATHER_MS // 2, debounce=GATHER_MS, recursive=False):
            if any(Path(changed).name == name for _, changed in changes):
                await self.reload(replaced)

    async def reload(self, replaced: Callable[[MappingSet], None]) -> None:
        """Read the file again now."""
        try:
            mappings = await asyncio.to_thread(self._read) if self._threads else self._read()
        except ConfigError as error:
            self._refuse(error)
            return
        replaced(mappings)
        _log.info(
            "mappings are in force",
            extra={"op": "mappings.reload", "version": mappings.version, "count": len(mappings.mappings)},
        )

    def _read(self) -> MappingSet:
        mappings = load_mappings(self._path, local_timezone=self._timezone, root=self._root)
        self._keep(self._path.read_text(encoding="utf-8-sig"))
        self.problem = None
        return mappings

    def _keep(self, text: str) -> None:
        """A disk that takes nothing is no reason to refuse a good set, or to end; whether it does, the journal says."""
        fresh = self._kept.with_suffix(".new")
        try:
            self._kept.parent.mkdir(parents=True, exist_ok=True)
            fresh.write_text(text, encoding="utf-8")
            fresh.replace(self._kept)
        except OSError as error:
            _log.warning(
                "mappings are in force, but cannot be kept for a restart with a bad file",
                extra={"op": "mappings.keep", "file": str(self._kept), "why": error.strerror or str(error)},
            )

    def _refuse(self, error: ConfigError) -> None:
        self.problem = error
        for problem in error.problems:
            _log.error(
                "mapping file refused, the last good one stays in force",
                extra={"op": "mappings.refused", "problem": str(problem)},
            )
