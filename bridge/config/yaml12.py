"""YAML files as people mean them: YAML 1.2 core types, duplicate keys refused, every value with its place.

PyYAML implements YAML 1.1, where `on` is true, `22:00` is 1320 and the last of two equal keys wins. Here plain scalars
follow the core schema of YAML 1.2.2, section 10.3.2, and whatever it does not name stays text.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

import yaml

from bridge.errors import ConfigError, Problem

Value: TypeAlias = "bool | int | float | str | list[Node] | dict[str, Node] | None"

MAX_BYTES = 4 * 1024 * 1024
"""Larger files are refused: a configuration of this size is a mistake."""

_NULL = re.compile(r"^(?:null|Null|NULL|~|)$")
_BOOL = re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$")
_INT = re.compile(r"^[-+]?[0-9]+$")
_OCTAL = re.compile(r"^0o[0-7]+$")
_HEX = re.compile(r"^0x[0-9a-fA-F]+$")
_FLOAT = re.compile(r"^[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$")
_INF = re.compile(r"^[-+]?(?:\.inf|\.Inf|\.INF)$")
_NAN = re.compile(r"^(?:\.nan|\.NaN|\.NAN)$")

_MAP, _SEQ, _STR = "tag:yaml.org,2002:map", "tag:yaml.org,2002:seq", "tag:yaml.org,2002:str"
_MAX_DEPTH = 64


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """A value and where it stands. `value` is a scalar, a list of nodes, or a dict of nodes by text keys."""

    value: Value
    line: int
    column: int
    file: str = ""

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


def scalar(text: str) -> bool | int | float | str | None:
    """The value of a plain (unquoted) scalar under the core schema."""
    if _NULL.match(text):
        return None
    if _BOOL.match(text):
        return text[0] in "tT"
    if _INT.match(text):
        return int(text)
    if _OCTAL.match(text):
        return int(text, 0)
    if _HEX.match(text):
        return int(text, 16)
    if _FLOAT.match(text):
        return float(text)
    if _INF.match(text):
        return -math.inf if text[0] == "-" else math.inf
    if _NAN.match(text):
        return math.nan
    return text


def compose(text: str, name: str) -> Node:
    """Parse one YAML document; `name` stands in messages.

    Raises ConfigError for bad syntax, duplicate keys, keys that are not text, unknown tags, merge keys and aliases
    (which would hide where a value comes from, and can be made to expand without bound).
    """
    try:
        documents = list(yaml.compose_all(text, Loader=yaml.SafeLoader))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        message = " ".join(part for part in (error.context, error.problem) if part)
        line, column = (mark.line + 1, mark.column + 1) if mark else (0, 0)
        raise ConfigError([Problem(name, line, column, "", f"not valid YAML: {message}")]) from error
    except yaml.YAMLError as error:
        raise ConfigError([Problem(name, 0, 0, "", f"not valid YAML: {error}")]) from error
    if len(documents) > 1:
        line = documents[1].start_mark.line + 1
        raise ConfigError([Problem(name, line, 1, "", "a second YAML document; write one per file")])
    if not documents or documents[0] is None:
        return Node(None, 1, 1, name)
    problems: list[Problem] = []
    seen: set[int] = set()
    node = _node(documents[0], name, "", problems, seen, 0)
    if problems:
        raise ConfigError(problems)
    return node


def _node(raw: yaml.Node, name: str, key: str, problems: list[Problem], seen: set[int], depth: int) -> Node:
    line, column = raw.start_mark.line + 1, raw.start_mark.column + 1

    def problem(message: str, at: yaml.Node = raw) -> None:
        problems.append(Problem(name, at.start_mark.line + 1, at.start_mark.column + 1, key, message))

    if not isinstance(raw, yaml.ScalarNode):
        if id(raw) in seen:
            problem("an alias (*name); write the value out")
            return Node(None, line, column, name)
        seen.add(id(raw))
    if depth > _MAX_DEPTH:
        problem(f"nested deeper than {_MAX_DEPTH} levels")
        return Node(None, line, column, name)
    if isinstance(raw, yaml.MappingNode):
        if raw.tag != _MAP:
            problem(f"the tag {raw.tag} is not known here")
        return Node(dict(_pairs(raw, name, key, problems, seen, depth)), line, column, name)
    if isinstance(raw, yaml.SequenceNode):
        if raw.tag != _SEQ:
            problem(f"the tag {raw.tag} is not known here")
        items = [_node(item, name, f"{key}[{i}]", problems, seen, depth + 1) for i, item in enumerate(raw.value)]
        return Node(items, line, column, name)
    assert isinstance(raw, yaml.ScalarNode)
    text: str = raw.value
    if raw.tag.startswith("!"):
        problem(f"the tag {raw.tag} is not known here")
    return Node(text if raw.style is not None else scalar(text), line, column, name)


def _pairs(
    raw: yaml.MappingNode, name: str, key: str, problems: list[Problem], seen: set[int], depth: int
) -> Iterator[tuple[str, Node]]:
    lines: dict[str, int] = {}
    for key_node, value_node in raw.value:
        line, column = key_node.start_mark.line + 1, key_node.start_mark.column + 1
        if not isinstance(key_node, yaml.ScalarNode):
            problems.append(Problem(name, line, column, key, "a key must be text"))
            continue
        text: str = key_node.value
        if text == "<<" and key_node.style is None:
            problems.append(Problem(name, line, column, key, "merge keys (<<) are not supported; write the values out"))
            continue
        path = f"{key}.{text}" if key else text
        if text in lines:
            problems.append(Problem(name, line, column, path, f"the key is already given in line {lines[text]}"))
            continue
        lines[text] = line
        yield text, _node(value_node, name, path, problems, seen, depth + 1)
