"""Values that are taken as they are spelled: to the tools whose files these are, `1.10`, `yes` and `8080` are text."""

from __future__ import annotations

from typing import Self

from bridge.config.decode import Invalid, Reader
from bridge.config.yaml12 import Node


class Spelled(str):
    """A single value as it is spelled in the file; nothing is a mistake."""

    __slots__ = ()

    @classmethod
    def from_node(cls, node: Node, reader: Reader, key: str) -> Self | Invalid:
        if isinstance(node.value, list | dict):
            return reader.problem(node, key, f"must be a single value, not {node.kind()}")
        if node.value is None:
            return reader.problem(node, key, "is empty")
        return cls(node.written if node.written is not None else str(node.value))


class SpelledOrEmpty(Spelled):
    """The same; nothing is the empty text."""

    __slots__ = ()

    @classmethod
    def from_node(cls, node: Node, reader: Reader, key: str) -> Self | Invalid:
        return cls() if node.value is None else super().from_node(node, reader, key)
