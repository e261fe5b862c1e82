"""The mapping store: the set in force, the file that it comes from, and every way in which both change.

The file is the truth. Before each change it is looked at again, so that what somebody has just written by hand is taken
in and not written over; a file with mistakes is refused, and the set that is in force stays.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, TypeAlias

from bridge.clock import Clock
from bridge.config import MAX_BYTES, Mark, mark_of, text_of, understood
from bridge.core.event import rfc3339
from bridge.core.mapping import MappingSet
from bridge.errors import BridgeError, ConfigError, JournalError, Problem
from bridge.journal.engine import Journal
from bridge.manager.mappings import history
from bridge.manager.mappings.file import composed, replace_text
from bridge.manager.mappings.history import BY_HAND, Entry, compared, unified
from bridge.mapping_file import decode_mappings
from bridge.mapping_file.watch import changes

_log = logging.getLogger(__name__)

Plain: TypeAlias = Any
"""What a JSON parser gives."""
_TRIES: Final = 3
"""How often a change begins anew because the file changed under it."""


class FileRefused(BridgeError, ValueError):
    """Somebody made mistakes in the mapping file by hand: single mappings cannot be changed before it is mended."""

    def __init__(self, error: ConfigError) -> None:
        super().__init__("the mapping file has mistakes; mend it first, or replace it as a whole")
        self.problems = error.problems


class FileBusy(BridgeError, RuntimeError):
    """Somebody else goes on changing the file."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A mapping file that was read and is good."""

    text: str
    document: dict[str, Plain]
    """The file as JSON would have it."""
    mappings: MappingSet
    name: str
    """What messages call it: the file's path."""
    number: int = 0
    """Of its revision; 0 where none could be written down."""
    etag: str = field(init=False)
    """Of the text: changes with each of its bytes."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "etag", etag_of(self.text.encode()))

    @property
    def entries(self) -> dict[str, Plain]:
        """The mappings as they stand in the file."""
        found: dict[str, Plain] = self.document.get("mappings") or {}
        return found


@dataclass(frozen=True, slots=True)
class Author:
    """Who makes a change, and why."""

    who: str
    why: str = ""


Make = Callable[[Loaded], str]
"""From the file as it is to its new text; raises what refuses the change, which is told to who asked."""


def etag_of(body: bytes) -> str:
    """A strong entity tag (RFC 9110, 8.8.3)."""
    return f'"{hashlib.sha256(body).hexdigest()[:24]}"'


class MappingStore:
    """The mapping file and the set in force. The loop owns it; disks are used on threads."""

    def __init__(self, path: Path, journal: Journal, clock: Clock, *, timezone: str, root: str, keep: int) -> None:
        self.path = path
        self.problem: ConfigError | None = None
        """Why the file as it stands is not in force; None when it is."""
        self.changed: list[Callable[[Loaded], None]] = []
        """Called with each set that comes into force."""
        self._journal = journal
        self._clock = clock
        self._timezone = timezone
        self._root = root
        self._keep = keep
        self._lock = asyncio.Lock()
        self._mark: Mark | None = None
        self._loaded: Loaded | None = None

    @property
    def loaded(self) -> Loaded:
        """The set in force and the text that it comes from."""
        assert self._loaded is not None, "the store has not been opened"
        return self._loaded

    async def open(self) -> None:
        """Read the file, or with a bad one the last good revision. Raises ConfigError when there is neither."""
        pending = await self._journal.read(history.latest(pending=True))
        found = mark_of(self.path)
        if pending is not None:
            written = found is not None and await self._text_is(pending[1])
            await self._journal.write((history.settle if written else history.forget)(pending[0]), power=True)
        last = await self._journal.read(history.latest(pending=False))
        if last is not None:
            try:
                self._loaded = await asyncio.to_thread(self.understand, last[1], f"revision {last[0]}", last[0])
            except ConfigError as error:
                # What an earlier version of the program took may be a mistake to this one.
                _log.warning("last revision is no good", extra={"op": "mappings.open", "why": str(error)})
        await self.look()
        if self._loaded is None:
            assert self.problem is not None
            raise self.problem

    async def watch(self) -> None:
        """Take in what is written into the file by hand, until cancelled."""
        async for _ in changes(self.path, lambda: self._mark, self._clock):
            await self.look()

    async def look(self) -> None:
        """Read the file again now, if it has changed."""
        async with self._lock:
            await self._look()

    async def change(self, make: Make, author: Author, what: str, *, mend: bool = False) -> Loaded:
        """Change the file; the set in force afterwards. The same text again changes nothing.

        `mend` says that the new text replaces the whole file, so that one with mistakes may be changed too.
        Raises what `make` raises, ConfigError for a new text with mistakes, FileRefused, FileBusy, FileNotWritten,
        JournalError.
        """
        async with self._lock:
            for _ in range(_TRIES):
                await self._look()
                if self.problem is not None and not mend:
                    raise FileRefused(self.problem)
                changed = await self._try(make, author, what)
                if changed is not None:
                    return changed
        raise FileBusy(f"{self.path} is being changed by somebody else; try again")

    def understand(self, text: str, name: str, number: int = 0) -> Loaded:
        """A text as a mapping file. Any thread. Raises ConfigError."""
        loaded = understood(
            lambda: composed(text, name),
            lambda node: (node.plain(), decode_mappings(node, local_timezone=self._timezone, root=self._root)),
        )
        document, mappings = loaded
        assert isinstance(document, dict), "a mapping file is a map"
        return Loaded(text, document, mappings, name, number)

    async def _try(self, make: Make, author: Author, what: str) -> Loaded | None:
        """One attempt; None when somebody changed the file meanwhile."""
        before = self.loaded
        text = await asyncio.to_thread(make, before)
        if text == before.text and self.problem is None:
            return before
        if len(text.encode()) > MAX_BYTES:
            raise ConfigError([Problem(str(self.path), 0, 0, "", f"would be larger than {MAX_BYTES} bytes")])
        after = await asyncio.to_thread(self.understand, text, str(self.path))
        number = await self._journal.write(self._entry(before, after, author, what, pending=True), power=True)
        try:
            if mark_of(self.path) != self._mark:
                await self._journal.write(history.forget(number))
                return None
            self._mark = await asyncio.to_thread(replace_text, self.path, text)
        except BridgeError:
            await self._journal.write(history.forget(number))
            raise
        try:
            await self._journal.write(history.settle(number))
        except JournalError as error:  # the file is replaced; the next start settles it
            _log.warning("revision is not settled", extra={"op": "mappings.history", "why": str(error)})
        self._take(replace(after, number=number))
        return self.loaded

    async def _look(self) -> None:
        mark = mark_of(self.path)
        if mark is not None and mark == self._mark:
            return
        try:
            found = await asyncio.to_thread(text_of, self.path)
            self._mark = found.mark
            if self._loaded is not None and found.text == self._loaded.text:
                self._mend()
                return
            loaded = await asyncio.to_thread(self.understand, found.text, str(self.path))
        except ConfigError as error:
            self._mark = mark
            self._refuse(error)
            return
        self._mend()
        self._take(replace(loaded, number=await self._note_found(loaded)))

    async def _note_found(self, loaded: Loaded) -> int:
        """Write down what somebody wrote by hand; a disk that takes nothing is no reason to refuse it."""
        what = "found" if self._loaded is None else "edited"
        try:
            entry = self._entry(self._loaded, loaded, Author(BY_HAND), what, pending=False)
            return await self._journal.write(entry, power=True)
        except JournalError as error:
            extra = {"op": "mappings.history", "why": str(error)}
            _log.warning("mappings are in force, but their history has a gap", extra=extra)
            return 0

    def _entry(
        self, before: Loaded | None, after: Loaded, author: Author, what: str, *, pending: bool
    ) -> Callable[[Any], int]:
        entry = Entry(
            at=rfc3339(self._clock.now()),
            who=author.who,
            what=what,
            why=author.why,
            version=after.mappings.version,
            changes=compared(before.mappings if before else MappingSet(allow_empty=True), after.mappings),
            diff=unified(before.text if before else "", after.text, self.path.name),
            text=after.text,
            pending=pending,
        )
        return history.note(entry, self._keep)

    def _take(self, loaded: Loaded) -> None:
        self._loaded = loaded
        self._mend()
        _log.info(
            "mappings are in force",
            extra={
                "op": "mappings.load",
                "version": loaded.mappings.version,
                "revision": loaded.number,
                "count": len(loaded.mappings.mappings),
            },
        )
        for told in self.changed:
            told(loaded)

    def _mend(self) -> None:
        if self.problem is not None:
            _log.info("mapping file is good again", extra={"op": "mappings.load", "file": str(self.path)})
        self.problem = None

    def _refuse(self, error: ConfigError) -> None:
        if self.problem is not None and self.problem.problems == error.problems:
            return
        self.problem = error
        if self._loaded is None:
            return  # whoever opens the store is told
        for problem in error.problems:
            _log.error(
                "mapping file refused, the last good one stays in force",
                extra={"op": "mappings.refused", "problem": str(problem)},
            )

    async def _text_is(self, text: str) -> bool:
        try:
            return (await asyncio.to_thread(text_of, self.path)).text == text
        except ConfigError:
            return False


def with_entries(loaded: Loaded, entries: dict[str, Plain]) -> str:
    """The file's text with other mappings in it. Raises NotEdited."""
    from bridge.manager.mappings.edit import edited  # noqa: PLC0415 - ruamel.yaml, which no start has to wait for

    return edited(loaded.text, {**loaded.document, "mappings": entries}, loaded.name)
