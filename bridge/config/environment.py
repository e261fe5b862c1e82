"""Settings from the environment: every setting of a program is also `GPIO_BRIDGE_` and its key in capitals.

`mqtt: {host: ...}` is `GPIO_BRIDGE_MQTT_HOST`. The environment wins over the file. Maps and lists of objects (sensors,
mappings) stay in the file.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, Union, get_args, get_origin

from bridge.config.decode import LISTS, Bytes, Seconds, schema
from bridge.config.yaml12 import Node, scalar

PREFIX = "GPIO_BRIDGE_"


@dataclass(frozen=True, slots=True)
class Variable:
    """One setting's name in the environment and its path in the file."""

    name: str
    path: tuple[str, ...]
    shape: typing.Literal["text", "scalar", "list"]


def variables(cls: type[Any], path: tuple[str, ...] = ()) -> Iterator[Variable]:
    """Every setting of the class that the environment can give."""
    for key, (_, hint) in schema(cls).items():
        here = (*path, key)
        bare, shape = _shape(hint)
        if dataclasses.is_dataclass(bare) and bare is not Node and not hasattr(bare, "from_node"):
            assert isinstance(bare, type)
            yield from variables(bare, here)
        elif shape is not None:
            yield Variable(PREFIX + "_".join(here).upper().replace("-", "_"), here, shape)


def overlay(node: Node, cls: type[Any], environ: Mapping[str, str]) -> Node:
    """The document with the environment's settings in place of its own; the given node is not changed."""
    for variable in variables(cls):
        text = environ.get(variable.name)
        if text is not None:
            node = _put(node, variable.path, _node(variable, text))
    return node


def _node(variable: Variable, text: str) -> Node:
    if variable.shape == "scalar":
        return Node(scalar(text), 0, 0, variable.name, written=text)
    if variable.shape == "list":
        items = [Node(item.strip(), 0, 0, variable.name) for item in text.split(",") if item.strip()]
        return Node(items, 0, 0, variable.name)
    return Node(text, 0, 0, variable.name)


def _put(node: Node, path: tuple[str, ...], value: Node) -> Node:
    if not path:
        return value
    if not isinstance(node.value, dict) and node.value is not None:
        return node  # a mistake in the file, which its reader tells; nothing is put over it
    children = dict(node.value or {})
    child = children.get(path[0], Node(None, node.line, node.column, node.file))
    children[path[0]] = _put(child, path[1:], value)
    return replace(node, value=children)


def _shape(hint: Any) -> tuple[Any, typing.Literal["text", "scalar", "list"] | None]:
    """The bare type behind a hint, and how a variable's text becomes a node (None: not from the environment)."""
    if get_origin(hint) is Annotated:
        bare, shape = _shape(hint.__origin__)
        quantity = any(isinstance(mark, (Seconds, Bytes)) for mark in hint.__metadata__)
        return bare, "text" if quantity else shape
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        options = [option for option in get_args(hint) if option is not type(None)]
        if len(options) > 1:  # a path or a word: both are text
            return hint, "text" if all(_shape(option)[1] == "text" for option in options) else None
        return _shape(options[0])
    if origin in LISTS:
        item = _shape(get_args(hint)[0])
        return hint, "list" if item[1] == "text" and not dataclasses.is_dataclass(item[0]) else None
    if origin in (dict, Mapping) or hint in (Node, Any):
        return hint, None
    if hint in (bool, int, float):
        return hint, "scalar"
    return hint, "text"
