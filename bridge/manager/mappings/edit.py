"""Editing a YAML file in place: it gets another meaning, and keeps its comments, its order and its looks.

Lines are replaced only where something changes; what is written anew is rendered by ruamel.yaml, which keeps the
comments, quotes and brackets of what it changes. The outcome is read again and must mean what was wanted.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final, TypeAlias

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.resolver import BaseResolver
from ruamel.yaml.scalarstring import DoubleQuotedScalarString

from bridge.config import Node
from bridge.config.yaml12 import scalar
from bridge.errors import BridgeError
from bridge.manager.mappings.file import composed

Plain: TypeAlias = Any
"""What a JSON parser gives: maps, lists, text, numbers, true, false, null."""

_FLOW_COLUMNS: Final = 90
"""A new map or list that fits into so many columns stands in one line, in brackets."""
_PLAIN = re.compile(r"[A-Za-z0-9_/.$](?:[A-Za-z0-9_/.$+@ -]*[A-Za-z0-9_/.$])?")
_YAML_1_1: Final = {"y", "n", "yes", "no", "on", "off"}
"""Text here, but something else to older readers: they stand in quotes."""


class NotEdited(BridgeError, ValueError):
    """The file is written in a way that cannot be edited without changing something else in it."""


@dataclass(frozen=True, slots=True)
class _Change:
    """The lines `begin` up to `end` (from 0, not included) are replaced by these."""

    begin: int
    end: int
    lines: list[str]


def edited(text: str, wanted: dict[str, Plain], name: str = "") -> str:
    """The text, so changed that it means `wanted`; `name` is that of the file.

    Raises ConfigError for a text that is no good YAML, NotEdited.
    """
    document = composed(text, name)
    newline = "\r\n" if "\r\n" in text else "\n"
    # Only where lines end for YAML, and not also at a form feed, as splitlines has it.
    lines = text.replace("\r\n", "\n").split("\n")
    if lines[-1] == "":
        lines.pop()
    for attempt in (_in_place, _as_a_whole):
        found = newline.join(attempt(lines, document, wanted)) + newline
        if _means(found, wanted, name):
            return found
    raise NotEdited("the file cannot be edited without changing something else in it; edit it by hand")


def same(one: Plain, other: Plain) -> bool:
    """Whether two values are the same in YAML: 1, 1.0, true and "1" are not."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(same(a, b) for a, b in zip(one, other, strict=True))
    return type(one) is type(other) and bool(one == other)


def _means(text: str, wanted: Plain, name: str) -> bool:
    try:
        return same(composed(text, name).plain(), wanted)
    except ValueError:  # ConfigError among them: what was rendered is no YAML
        return False


def _in_place(lines: list[str], document: Node, wanted: dict[str, Plain]) -> list[str]:
    if not _is_block(lines, document):
        return _as_a_whole(lines, document, wanted)
    found = list(lines)
    changes = sorted(_changes(lines, document, wanted, len(lines)), key=lambda change: (change.begin, change.end))
    for change in reversed(changes):
        found[change.begin : change.end] = change.lines
    return found


def _as_a_whole(lines: list[str], document: Node, wanted: dict[str, Plain]) -> list[str]:
    yaml = _yaml(lines)
    loaded = yaml.load("\n".join(lines) + "\n")
    return _dumped(yaml, _merged(loaded, document, wanted))


def _changes(lines: list[str], node: Node, wanted: dict[str, Plain], end: int) -> Iterator[_Change]:
    """What has to change in the lines of a map in block style, which reaches up to `end`."""
    assert isinstance(node.value, dict)
    children = list(node.value.items())
    begins = [_line_of(child) for _, child in children]
    ends = [_without_tail(lines, begin, stop) for begin, stop in zip(begins, [*begins[1:], end], strict=True)]
    for (key, child), begin, stop in zip(children, begins, ends, strict=True):
        if key not in wanted:
            yield _Change(_with_head(lines, begin, node), stop, [])
        elif same(child.plain(), wanted[key]):
            continue
        elif wanted[key] in ({}, []):  # the comments inside of what was there would have no place
            yield _Change(begin, stop, _new(lines, node, key, wanted[key]))
        elif isinstance(wanted[key], dict) and _is_block(lines, child):
            yield from _changes(lines, child, wanted[key], stop)
        else:
            yield _Change(begin, stop, _rendered(lines[begin:stop], key, child, wanted[key]))
    added = {key: value for key, value in wanted.items() if key not in node.value}
    if added:
        at = ends[-1]
        apart = len(children) > 1 and all(_blank_before(lines, begin, node) for begin in begins[1:])
        new: list[str] = []
        for key, value in added.items():
            new += [*([""] if apart else []), *_new(lines, node, key, value)]
        yield _Change(at, at, new)


def _is_block(lines: list[str], node: Node) -> bool:
    """Whether a value is a map whose keys stand in lines of their own, one below the other."""
    if not isinstance(node.value, dict) or not node.value:
        return False
    at = [child.key_at for child in node.value.values()]
    columns = {place[1] for place in at if place is not None}
    first = at[0]
    return (
        len(columns) == 1
        and first == (node.line, node.column)
        and all(place is not None and not lines[place[0] - 1][: place[1] - 1].strip(" ") for place in at)
    )


def _line_of(child: Node) -> int:
    assert child.key_at is not None
    return child.key_at[0] - 1


def _without_tail(lines: list[str], begin: int, end: int) -> int:
    """The end of a value without the blank lines and comments behind it, which belong to what follows."""
    while end > begin + 1 and _is_between(lines[end - 1]):
        end -= 1
    return end


def _is_between(line: str) -> bool:
    stripped = line.strip()
    return not stripped or stripped.startswith("#") or line.rstrip() in ("...", "---")


def _with_head(lines: list[str], begin: int, node: Node) -> int:
    """The begin of a key with the comment right above it, which is about it; and one blank line before that."""
    margin = " " * (node.column - 1)
    first = begin
    while first > 0 and lines[first - 1].startswith(f"{margin}#"):
        first -= 1
    if first > 0 and not lines[first - 1].strip():
        first -= 1
    return first


def _blank_before(lines: list[str], begin: int, node: Node) -> bool:
    margin = " " * (node.column - 1)
    while begin > 0 and lines[begin - 1].startswith(f"{margin}#"):
        begin -= 1
    return begin > 0 and not lines[begin - 1].strip()


def _rendered(region: list[str], key: str, child: Node, wanted: Plain) -> list[str]:
    """The lines of a key with another value."""
    assert child.key_at is not None
    margin = child.key_at[1] - 1
    yaml = _yaml(region)
    loaded = yaml.load("\n".join(_shifted(region, -margin)) + "\n")
    loaded[key] = _merged(loaded[key], child, wanted)
    return _shifted(_dumped(yaml, loaded), margin)


def _new(lines: list[str], node: Node, key: str, value: Plain) -> list[str]:
    """The lines of a key that was not there, in the way of its neighbours."""
    made = CommentedMap()
    made[_text(key)] = _block(value) if isinstance(value, dict) and _nests(node) else _fresh(value)
    return _shifted(_dumped(_yaml(lines), made), node.column - 1)


def _nests(node: Node) -> bool:
    """Whether the values of a map are maps themselves, as mappings are: a new one is then in block style too."""
    assert isinstance(node.value, dict)
    return all(isinstance(child.value, dict) for child in node.value.values())


def _shifted(lines: list[str], by: int) -> list[str]:
    if by < 0:
        return [line[-by:] if not line[:-by].strip(" ") else line.lstrip(" ") for line in lines]
    return [f"{' ' * by}{line}" if line else line for line in lines]


def _merged(loaded: Plain, node: Node, wanted: Plain) -> Plain:
    """What ruamel has read, changed where it differs from what is wanted."""
    if isinstance(loaded, CommentedMap) and isinstance(node.value, dict) and isinstance(wanted, dict):
        for key in [key for key in loaded if key not in wanted]:
            del loaded[key]
        for key, value in wanted.items():
            if key in node.value:
                loaded[key] = _merged(loaded[key], node.value[key], value)
            else:
                loaded[_text(key)] = _fresh(value)
        return loaded
    if isinstance(loaded, CommentedSeq) and isinstance(node.value, list) and isinstance(wanted, list):
        del loaded[len(wanted) :]
        for i, value in enumerate(wanted):
            if i < len(node.value):
                loaded[i] = _merged(loaded[i], node.value[i], value)
            else:
                loaded.append(_fresh(value))
        return loaded
    if loaded != "" and same(node.plain(), wanted):
        return loaded
    return _fresh(wanted)


def _block(value: dict[str, Plain]) -> CommentedMap:
    made = CommentedMap()
    for key, each in value.items():
        made[_text(key)] = _fresh(each)
    return made


def _fresh(value: Plain) -> Plain:
    """A new value for ruamel; what is no text is written as text without quotes, which the resolver leaves alone."""
    if isinstance(value, dict):
        made = _block(value)
        if _columns(value) <= _FLOW_COLUMNS:
            made.fa.set_flow_style()
        return made
    if isinstance(value, list):
        items = CommentedSeq(_fresh(each) for each in value)
        if not value or (_columns(value) <= _FLOW_COLUMNS and not any(isinstance(each, dict) for each in value)):
            items.fa.set_flow_style()
        return items
    if isinstance(value, str):
        return _text(value)
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else repr(value)


def _columns(value: Plain) -> int:
    if isinstance(value, dict):
        return sum(len(key) + _columns(each) + 4 for key, each in value.items()) + 2
    if isinstance(value, list):
        return sum(_columns(each) + 2 for each in value) + 2
    return len(str(value)) + 2


def _text(value: str) -> str:
    """Text, in quotes where it would mean something else without."""
    plain = _PLAIN.fullmatch(value) and isinstance(scalar(value), str) and value.lower() not in _YAML_1_1
    return value if plain else DoubleQuotedScalarString(value)


class _Resolver(BaseResolver):
    """Takes no scalar for anything but text: what they mean is our own reader's business (bridge/config/yaml12.py)."""

    def __init__(self, version: Any = None, loader: Any = None, loadumper: Any = None) -> None:
        super().__init__(loadumper if loader is None else loader)

    @property
    def processing_version(self) -> tuple[int, int]:
        return (1, 2)

    @property
    def versioned_resolver(self) -> dict[Any, Any]:
        return {}


def _yaml(lines: list[str]) -> YAML:
    """A reader and writer that indents as these lines do."""
    yaml = YAML()
    yaml.Resolver = _Resolver
    yaml.preserve_quotes = True
    yaml.width = 2**31
    yaml.allow_duplicate_keys = False
    mapping, sequence, offset = _indentation(lines)
    yaml.indent(mapping=mapping, sequence=sequence, offset=offset)
    return yaml


def _indentation(lines: list[str]) -> tuple[int, int, int]:
    """How far maps and lists stand below their keys; ruamel wants one number for all of a kind."""
    mapping, sequence, offset = 2, 4, 2
    seen_map = seen_list = False
    shown = [line for line in lines if line.strip() and not line.lstrip().startswith("#")]
    for above, below in pairwise(shown):
        step = len(below) - len(below.lstrip(" ")) - (len(above) - len(above.lstrip(" ")))
        if not re.search(r":\s*(?:#.*)?$", above) or above.lstrip().startswith("- "):
            continue
        dash = re.match(r" *-( +)\S", below)
        if dash and step >= 0 and not seen_list:
            offset, sequence, seen_list = step, step + 1 + len(dash[1]), True
        elif not dash and step > 0 and not seen_map:
            mapping, seen_map = step, True
    return mapping, sequence, offset


def _dumped(yaml: YAML, value: Plain) -> list[str]:
    out = io.StringIO()
    yaml.dump(value, out)
    lines = out.getvalue().split("\n")
    while lines and not lines[-1].strip():
        lines.pop()
    return lines
