"""The mapping file: from its YAML to a mapping set, with every problem at once and its file and line.

What may not live here: the shapes inside of a mapping (entries.py), what a mapping means (bridge/core/plan.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, tzinfo
from pathlib import Path
from typing import Final

from bridge.config import Invalid, Name, Node, Reader, checked, finish
from bridge.core import topics
from bridge.core.hours import time_zone
from bridge.core.mapping import MappingSet
from bridge.mapping_file.entries import MappingEntry, MappingReader
from bridge.mapping_file.examples import Example

VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class ZoneEntry:
    """A time zone by its name."""

    zone: tzinfo

    @classmethod
    def from_node(cls, node: Node, reader: Reader, key: str) -> ZoneEntry | Invalid:
        try:
            return cls(time_zone(str(node.value)))
        except ValueError as error:
            return reader.problem(node, key, str(error))


@dataclass(frozen=True, slots=True)
class MappingDocument:
    """The whole file."""

    mappings: dict[Name, MappingEntry]
    timezone: ZoneEntry | None = None
    allow_empty: bool = False


@dataclass(frozen=True, slots=True)
class MappingFile:
    """What stands in a mapping file: the mappings, and the examples that they are to be held against."""

    mappings: MappingSet
    examples: tuple[Example, ...]


def load_mappings(path: Path, *, local_timezone: str | tzinfo = UTC, root: str = topics.DEFAULT_ROOT) -> MappingSet:
    """The mapping set in a file; `local_timezone` is what hours mean where the file names none.

    `root` is what our own topics start with. Raises ConfigError with every problem.
    """
    return load_file(path, local_timezone=local_timezone, root=root).mappings


def load_file(path: Path, *, local_timezone: str | tzinfo = UTC, root: str = topics.DEFAULT_ROOT) -> MappingFile:
    """As `load_mappings`, with the examples."""
    return checked(path, lambda node: decode_file(node, local_timezone=local_timezone, root=root))


def decode_mappings(node: Node, *, local_timezone: str | tzinfo = UTC, root: str = topics.DEFAULT_ROOT) -> MappingSet:
    """The mapping set in a document; `root` is what our own topics start with. Raises ConfigError."""
    return decode_file(node, local_timezone=local_timezone, root=root).mappings


def decode_file(node: Node, *, local_timezone: str | tzinfo = UTC, root: str = topics.DEFAULT_ROOT) -> MappingFile:
    """As `decode_mappings`, with the examples."""
    zone = time_zone(local_timezone) if isinstance(local_timezone, str) else local_timezone
    reader = MappingReader(root)
    if isinstance(node.value, dict):
        version = node.value.get("version")
        if version is None:
            reader.problem(node, "version", f"is missing; this program reads version: {VERSION}")
        elif version.value != VERSION or isinstance(version.value, bool):
            reader.problem(version, "version", f"must be {VERSION}; this program does not know another")
    document = finish(reader.object(node, MappingDocument, "", ignore=frozenset(["version"])), reader)
    if not document.mappings and not document.allow_empty:
        # Rule 13: a file that lost its mappings must not silence a house.
        reader.problem(node, "mappings", "holds no mapping; write `allow_empty: true` beside it if that is meant")
        finish(document, reader)
    if document.timezone is not None:
        zone = document.timezone.zone
    mappings = MappingSet(
        (entry.mapping(name, zone) for name, entry in document.mappings.items()), allow_empty=document.allow_empty
    )
    examples = tuple(one for name, entry in document.mappings.items() for one in entry.listed_examples(name, zone))
    return MappingFile(mappings, examples)
