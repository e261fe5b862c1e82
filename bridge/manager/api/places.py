"""From a mistake in a mapping file to its place in what a client has sent."""

from __future__ import annotations

import re
from collections.abc import Iterable

from bridge.errors import ConfigError, Problem
from bridge.manager.mappings.store import FileRefused
from bridge.manager.problems import Place, Refusal


def of_mapping(error: ConfigError, name: str, *, inside: str = "") -> Refusal:
    """The refusal of one mapping: mistakes in it by their JSON pointer, those elsewhere by the file's line.

    `inside` is where the mapping stands in what was sent.
    """
    prefix = f"mappings.{name}"
    places = [
        Place(one.message, pointer=inside + pointer(one.key.removeprefix(prefix).lstrip(".")))
        if one.key == prefix or one.key.startswith((f"{prefix}.", f"{prefix}["))
        else _in_file(one)
        for one in error.problems
    ]
    return Refusal(422, _summed(f"the mapping {name} has mistakes", places), errors=places)


def of_file(error: ConfigError, what: str = "the mapping file has mistakes") -> Refusal:
    """The refusal of a whole file: each mistake with its line and column."""
    places = [_in_file(one) for one in error.problems]
    return Refusal(422, _summed(what, places), errors=places)


def of_disk(error: FileRefused) -> Refusal:
    """The refusal of a change while the file on the disk is broken."""
    return Refusal(409, str(error), errors=[_in_file(one) for one in error.problems])


def pointer(key: str) -> str:
    """`select[0].sensor` as `/select/0/sensor` (RFC 6901); the whole document is the empty pointer."""
    parts = re.findall(r"[^.\[\]]+", key)
    return "".join(f"/{part.replace('~', '~0').replace('/', '~1')}" for part in parts)


def _in_file(problem: Problem) -> Place:
    detail = f"{problem.key}: {problem.message}" if problem.key else problem.message
    return Place(detail, line=problem.line or None, column=problem.column or None)


def _summed(what: str, places: Iterable[Place]) -> str:
    told = [f"{place.pointer}: {place.detail}" if place.pointer else place.detail for place in places]
    return f"{what}: {'; '.join(told[:5])}{' ...' if len(told) > 5 else ''}"
