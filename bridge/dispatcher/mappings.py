"""The mapping set of a YAML file that is read again when it changes; a bad one keeps the last good set.

The last good set is kept in the state folder, so that a restart with a broken file still serves what was served before.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Final, Self

from bridge.clock import Clock
from bridge.config import Mark, compose, mark_of, text_of, understood
from bridge.core.mapping import MappingSet
from bridge.errors import ConfigError
from bridge.mapping_file import decode_mappings
from bridge.mapping_file.watch import changes

_log = logging.getLogger(__name__)


class Kept:
    """The last good set in the state folder."""

    def __init__(self, state_dir: Path) -> None:
        self._path = state_dir / "mappings.last-good.yaml"

    def read(self, timezone: str, root: str) -> MappingSet | None:
        """What was kept, if anything good was.

        What an earlier version of the program has taken may be a mistake to this one, and a power cut may leave
        anything. Nobody has written this file who could mend it, so that is told in the log alone.
        """
        if not self._path.is_file():
            return None
        try:
            node = compose(text_of(self._path).text, str(self._path))
            return decode_mappings(node, local_timezone=timezone, root=root)
        except ConfigError as error:
            _log.warning("the kept mappings are no good", extra={"op": "mappings.kept", "why": str(error)})
            return None

    def keep(self, text: str) -> None:
        """A disk that takes nothing is no reason to refuse a good set, or to end; whether it does, the journal says."""
        fresh = self._path.with_suffix(".new")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            fresh.write_text(text, encoding="utf-8")
            fresh.replace(self._path)
        except OSError as error:
            _log.warning(
                "mappings are in force, but cannot be kept for a restart with a bad file",
                extra={"op": "mappings.keep", "file": str(self._path), "why": error.strerror or str(error)},
            )


class MappingFile:
    """The mapping file and its last good version. The loop owns it."""

    source: Final = "file"
    subscription_problem: Final = None

    def __init__(
        self,
        path: Path,
        state_dir: Path,
        clock: Clock,
        *,
        timezone: str,
        root: str,
        threads: bool = True,
        told: Callable[[], None] = lambda: None,
    ) -> None:
        self._path = path
        self._clock = clock
        self._threads = threads
        self._kept = Kept(state_dir)
        self.version = ""
        self._timezone = timezone
        self._root = root
        self._told = told
        self._mark: Mark | None = None
        """Of the file as it was read last; None when it could not be read."""
        self.problem: ConfigError | None = None
        """Why the file as it stands is not in force; None when it is."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        pass

    async def first(self) -> MappingSet:
        """The set to start with: the file's, or the last good one when the file is bad.

        Raises ConfigError when there is neither.
        """
        try:
            mappings = self._read()
        except ConfigError as error:
            kept = self._kept.read(self._timezone, self._root)
            if kept is None:
                raise
            self._refuse(error)
            mappings = kept
        self.version = mappings.version
        return mappings

    async def watch(self, replaced: Callable[[MappingSet], None]) -> None:
        """Call `replaced` with each good new version, until cancelled."""
        async for _ in changes(self._path, lambda: self._mark, self._clock):
            await self.reload(replaced)

    async def reload(self, replaced: Callable[[MappingSet], None]) -> None:
        """Read the file again now."""
        try:
            mappings = await asyncio.to_thread(self._read) if self._threads else self._read()
        except ConfigError as error:
            self._refuse(error)
            return
        self.version = mappings.version
        replaced(mappings)
        _log.info(
            "mappings are in force",
            extra={"op": "mappings.reload", "version": mappings.version, "count": len(mappings.mappings)},
        )

    def _read(self) -> MappingSet:
        self._mark = mark_of(self._path)  # of what cannot be read too, so that it is not read again and again
        found = text_of(self._path)
        self._mark = found.mark
        mappings = understood(
            lambda: compose(found.text, str(self._path)),
            lambda node: decode_mappings(node, local_timezone=self._timezone, root=self._root),
        )
        self._kept.keep(found.text)
        self.problem = None
        return mappings

    def _refuse(self, error: ConfigError) -> None:
        self.problem = error
        self._told()
        for problem in error.problems:
            _log.error(
                "mapping file refused, the last good one stays in force",
                extra={"op": "mappings.refused", "problem": str(problem)},
            )
