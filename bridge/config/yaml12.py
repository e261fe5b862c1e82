"""YAML files as people mean them: YAML 1.2 core types, duplicate keys refused, every value with its place.

PyYAML implements YAML 1.1, where `on` is true, `22:00` is 1320 and the last of two equal keys wins. Here plain scalars
follow the core schema of YAML 1.2.2, section 10.3.2, and whatever it does not name stays text.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import yaml

from bridge.config.loaders import ALIAS, documents
from bridge.errors import ConfigError, Problem

Value: TypeAlias = "bool | int | float | str | list[Node] | dict[str, Node] | None"

MAX_BYTES = 4 * 1024 * 1024
"""Larger files are refused: a configuration of this size is a mistake."""

_NULL = re.compile(r"null|Null|NULL|~|")
_BOOL = re.compile(r"true|True|TRUE|false|False|FALSE")
_INT = re.compile(r"[-+]?[0-9]+")
_OCTAL = re.compile(r"0o[0-7]+")
_HEX = re.compile(r"0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_INF = re.compile(r"[-+]?(?:\.inf|\.Inf|\.INF)")
_NAN = re.compile(r"\.nan|\.NaN|\.NAN")

_MAX_DIGITS = 1000
"""Nobody means a longer number; Python refuses to read one of more than 4300 digits."""

_HINTS = (
    ("while scanning an alias", "text that starts with * must stand in quotes"),
    ("while scanning an anchor", "text that starts with & must stand in quotes"),
    ("found character '\\t'", "a tab; indent with spaces"),
    ("found character '%'", "text that starts with % must stand in quotes"),
    ("found character '@'", "text that starts with @ must stand in quotes"),
    ("found character '`'", "text that starts with ` must stand in quotes"),
    (
        "mapping values are not allowed here",
        "text that holds a colon and a space must stand in quotes; or check the indentation",
    ),
    ("expected <block end>", "check the indentation of this line and of the lines above it"),
    (
        "could not find expected ':'",
        "a line above this one lacks its colon, or text runs over several lines without quotes",
    ),
    ("found unknown escape character", "a backslash in double quotes begins an escape; use single quotes"),
    ("while scanning a quoted scalar", "a closing quotation mark is missing"),
    ("while parsing a flow", "a bracket, brace or comma is missing"),
)
"""What a person should look at, by a piece of PyYAML's message."""


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """A value and where it stands. `value` is a scalar, a list of nodes, or a dict of nodes by text keys."""

    value: Value
    line: int
    column: int
    file: str = ""
    written: str | None = None
    """A plain (unquoted) scalar as it stands in the file: `0x1F`, `007`, `True`."""
    key_at: tuple[int, int] | None = None
    """Where the key of this value stands, when it is a value of a map."""

    def plain(self) -> object:
        """The value without places: dicts, lists and scalars, as a JSON parser would give them."""
        if isinstance(self.value, dict):
            return {key: node.plain() for key, node in self.value.items()}
        if isinstance(self.value, list):
            return [node.plain() for node in self.value]
        return self.value

    def kind(self) -> str:
        """What a person would call this value, for messages."""
        if self.value is None:
            return "nothing"
        names = {bool: "true or false", int: "a number", float: "a number", str: "text", list: "a list", dict: "a map"}
        return names[type(self.value)]


def from_plain(value: Any, name: str) -> Node:
    """The nodes of a JSON document, which have no places; `name` stands in messages."""
    if isinstance(value, dict):
        return Node({key: from_plain(child, name) for key, child in value.items()}, 0, 0, name)
    if isinstance(value, list):
        return Node([from_plain(child, name) for child in value], 0, 0, name)
    return Node(value, 0, 0, name)


def scalar(text: str) -> bool | int | float | str | None:
    """The value of a plain (unquoted) scalar under the core schema."""
    if _NULL.fullmatch(text):
        return None
    if _BOOL.fullmatch(text):
        return text[0] in "tT"
    if len(text) > _MAX_DIGITS:
        return text
    if _INT.fullmatch(text):
        return int(text)
    if _OCTAL.fullmatch(text):
        return int(text, 0)
    if _HEX.fullmatch(text):
        return int(text, 16)
    if _FLOAT.fullmatch(text):
        return float(text)
    if _INF.fullmatch(text):
        return -math.inf if text[0] == "-" else math.inf
    if _NAN.fullmatch(text):
        return math.nan
    return text


def compose(text: str, name: str) -> Node:
    """Parse one YAML document; `name` stands in messages.

    Raises ConfigError for bad syntax, duplicate keys, keys that are not text, tags, merge keys and aliases (which would
    hide where a value comes from, and can be made to expand without bound).
    """
    problems: list[Problem] = []

    def note(mark: yaml.Mark, message: str) -> None:
        problems.append(Problem(name, mark.line + 1, mark.column + 1, "", message))

    try:
        found = documents(text, note)
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        column = error.position - text.rfind("\n", 0, error.position)
        message = f"the character U+{ord(text[error.position]):04X} may not stand in a YAML file"
        raise ConfigError([*problems, Problem(name, line, column, "", message)]) from error
    except yaml.MarkedYAMLError as error:
        raise ConfigError([*problems, _syntax(error, name)]) from error
    if len(found) > 1:
        line = found[1].start_mark.line + 1 if found[1] is not None else 0
        problems.append(Problem(name, line, 1, "", "a second YAML document; write one per file"))
    node = Node(None, 1, 1, name)
    if found and found[0] is not None:
        node = _node(found[0], name, "", problems)
    if problems:
        raise ConfigError(problems, node)
    return node


def _syntax(error: yaml.MarkedYAMLError, name: str) -> Problem:
    mark = error.problem_mark or error.context_mark
    said = ": ".join(part for part in (error.context, error.problem) if part)
    hint = next((hint for piece, hint in _HINTS if piece in said), None)
    message = f"not valid YAML: {hint} ({said})" if hint else f"not valid YAML: {said}"
    line, column = (mark.line + 1, mark.column + 1) if mark else (0, 0)
    return Problem(name, line, column, "", message)


def _node(raw: yaml.Node, name: str, key: str, problems: list[Problem]) -> Node:
    line, column = raw.start_mark.line + 1, raw.start_mark.column + 1
    if isinstance(raw, yaml.MappingNode):
        return Node(dict(_pairs(raw, name, key, problems)), line, column, name)
    if isinstance(raw, yaml.SequenceNode):
        items = [_node(item, name, f"{key}[{i}]", problems) for i, item in enumerate(raw.value)]
        return Node(items, line, column, name)
    assert isinstance(raw, yaml.ScalarNode)
    text: str = raw.value
    if raw.style:  # libyaml gives an empty one to plain text, PyYAML's own parser none
        return Node(text, line, column, name)
    return Node(scalar(text), line, column, name, written=text)


def _pairs(raw: yaml.MappingNode, name: str, key: str, problems: list[Problem]) -> Iterator[tuple[str, Node]]:
    lines: dict[str, int] = {}
    for key_node, value_node in raw.value:
        line, column = key_node.start_mark.line + 1, key_node.start_mark.column + 1
        if not isinstance(key_node, yaml.ScalarNode):
            problems.append(Problem(name, line, column, key, "a key must be text"))
            continue
        if key_node.tag == ALIAS:
            continue
        text: str = key_node.value
        if text == "<<" and not key_node.style:
            problems.append(Problem(name, line, column, key, "merge keys (<<) are not supported; write the values out"))
            continue
        path = f"{key}.{text}" if key else text
        if text in lines:
            problems.append(Problem(name, line, column, path, f"the key is already given in line {lines[text]}"))
            continue
        lines[text] = line
        yield text, replace(_node(value_node, name, path, problems), key_at=(line, column))
