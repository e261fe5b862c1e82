"""The variables of a compose file, replaced as the Compose Specification says ("Interpolation"). Pure.

`$NAME` and `${NAME}` are the environment's value, `${NAME:-text}` has text for what is unset or empty and
`${NAME-text}` for what is unset, `${NAME:?text}` and `${NAME?text}` are mistakes then, and `$$` is a dollar sign.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping

from bridge.config import Node, Reader
from bridge.config.yaml12 import scalar

_FOUND = re.compile(
    r"\$(?:(?P<escaped>\$)|(?P<bare>[A-Za-z_][A-Za-z0-9_]*)"
    r"|\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?:(?P<operator>:?[-?])(?P<text>[^{}]*))?\}|(?P<wrong>))"
)


def replaced(node: Node, environ: Mapping[str, str], reader: Reader, key: str = "") -> Node:
    """The document with the variables in its values replaced; keys stay. Notes what is wrong in `reader`.

    What a variable stands in becomes a number or a truth where it looks like one, in quotes or not: `replicas: ${N}`.
    """
    if isinstance(node.value, dict):
        inside = {
            name: replaced(child, environ, reader, f"{key}.{name}" if key else name)
            for name, child in node.value.items()
        }
        return dataclasses.replace(node, value=inside)
    if isinstance(node.value, list):
        items = [replaced(child, environ, reader, f"{key}[{i}]") for i, child in enumerate(node.value)]
        return dataclasses.replace(node, value=items)
    if not isinstance(node.value, str) or "$" not in node.value:
        return node

    def value(match: re.Match[str]) -> str:
        if match["escaped"]:
            return "$"
        name = match["bare"] or match["name"]
        if name is None:
            reader.problem(node, key, "a $ that begins no variable; write $$ for the sign itself")
            return ""
        found = environ.get(name)
        operator, text = match["operator"] or "", match["text"] or ""
        missing = found is None or (operator.startswith(":") and not found)
        if not missing or not operator:
            if found is None:
                reader.problem(node, key, f"the variable {name} is not set; set it, or write ${{{name}:-}} for nothing")
            return found or ""
        if operator.endswith("?"):
            reader.problem(node, key, f"the variable {name} is not set{f': {text}' if text else ''}")
        return text

    text = _FOUND.sub(value, node.value)
    return dataclasses.replace(node, value=scalar(text), written=text)
