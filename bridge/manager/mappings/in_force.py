"""The mapping set that goes out to dispatchers: the mapping file's, and behind it what functions' annotations mean."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from bridge.core.mapping import Mapping, MappingSet
from bridge.manager.mappings.store import MappingStore


class Annotated(Protocol):
    """Where mappings come from that stand in no file."""

    changed: list[Callable[[], None]]
    mappings: tuple[Mapping, ...]
    """They, in a steady order: the same object as long as nothing changes."""


class InForce:
    """Both together. A mapping of the file wins over one of the same name that stands in none."""

    def __init__(self, store: MappingStore, annotated: Annotated) -> None:
        self.changed: list[Callable[[], None]] = []
        """Called whenever another set is in force."""
        self._store = store
        self._annotated = annotated
        self._made: tuple[MappingSet, tuple[Mapping, ...], MappingSet] | None = None
        store.changed.append(lambda _: self._tell())
        annotated.changed.append(self._tell)

    @property
    def revision(self) -> int:
        """Of the mapping file."""
        return self._store.loaded.number

    @property
    def mappings(self) -> MappingSet:
        """The set; remembered, since it is asked for often and the version of a thousand mappings takes its time."""
        ours, annotated = self._store.loaded.mappings, self._annotated.mappings
        if self._made is None or self._made[0] is not ours or self._made[1] is not annotated:
            self._made = (ours, annotated, _together(ours, annotated))
        return self._made[2]

    def _tell(self) -> None:
        for told in self.changed:
            told()


def _together(ours: MappingSet, annotated: tuple[Mapping, ...]) -> MappingSet:
    added = [mapping for mapping in annotated if mapping.name not in ours.mappings]
    if not added:
        return ours
    return MappingSet((*ours.mappings.values(), *added), allow_empty=ours.allow_empty)
