"""Variables in a YAML file that are replaced in its text before it is read, and the places that this moves.

A value may then bring structure with it: a number, a list, several lines. What is told of the text that was read still
has to name the place in the file, so each replacement is remembered.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

from bridge.config.yaml12 import Node, compose
from bridge.errors import ConfigError, Problem

_VARIABLE = re.compile(r"\$\$(?=\{)|\$\{([A-Za-z_][A-Za-z0-9_]*)(?:(:?[-=])([^}]*))?\}")


def composed(text: str, name: str, environ: Mapping[str, str]) -> Node:
    """The nodes of a YAML text with `${NAME}` and `${NAME:-default}` replaced from `environ`; places are the text's.

    `${NAME-default}` is the default only where NAME is not set at all; what is not set and has no default becomes
    nothing. `=` in place of `-` means the same, and `$${NAME}` is the text `${NAME}`.

    Raises ConfigError as `compose` does.
    """
    replaced = _Replaced.of(text, environ)
    try:
        return replaced.relocated(compose(replaced.text, name))
    except ConfigError as error:
        document = replaced.relocated(error.document) if isinstance(error.document, Node) else error.document
        raise ConfigError([replaced.problem(problem) for problem in error.problems], document) from error


def unset(text: str, environ: Mapping[str, str]) -> Iterator[tuple[str, int, int]]:
    """The variables that become nothing, because they are not set and have no default: name, line and column from 1."""
    for match in _VARIABLE.finditer(text):
        if match[1] and match[2] is None and match[1] not in environ:
            begin = text.rfind("\n", 0, match.start()) + 1
            yield match[1], text.count("\n", 0, begin) + 1, match.start() - begin + 1


@dataclass(frozen=True, slots=True)
class _Replaced:
    """A text after replacement; `place` turns a line and column of it into those of the file."""

    text: str
    place: Callable[[int, int], tuple[int, int]]

    @classmethod
    def of(cls, original: str, environ: Mapping[str, str]) -> _Replaced:
        parts: list[str] = []
        # From each offset in the new text on, both run alike, or (within a value) the place is that of its variable.
        starts, olds, runs = [0], [0], [True]
        size = last = 0
        for match in _VARIABLE.finditer(original):
            kept, value = original[last : match.start()], _value(match, environ)
            parts += (kept, value)
            starts += (size + len(kept), size + len(kept) + len(value))
            olds += (match.start(), match.end())
            runs += (False, True)
            size, last = starts[-1], match.end()
        parts.append(original[last:])
        text = "".join(parts)
        lines, old_lines = _line_starts(text), _line_starts(original)

        def place(line: int, column: int) -> tuple[int, int]:
            offset = lines[min(line, len(lines)) - 1] + column - 1
            i = bisect_right(starts, offset) - 1
            old = olds[i] + (offset - starts[i] if runs[i] else 0)
            number = bisect_right(old_lines, old)
            return number, old - old_lines[number - 1] + 1

        return cls(text, place)

    def relocated(self, node: Node) -> Node:
        """A node and all below it, at their places in the file."""
        value = node.value
        if isinstance(value, dict):
            value = {key: self.relocated(child) for key, child in value.items()}
        elif isinstance(value, list):
            value = [self.relocated(child) for child in value]
        line, column = self.place(node.line, node.column)
        key_at = None if node.key_at is None else self.place(*node.key_at)
        return replace(node, value=value, line=line, column=column, key_at=key_at)

    def problem(self, problem: Problem) -> Problem:
        """A mistake, at its place in the file."""
        if not problem.line:
            return problem
        line, column = self.place(problem.line, problem.column)
        return replace(problem, line=line, column=column)


def _value(match: re.Match[str], environ: Mapping[str, str]) -> str:
    name, operator, default = match.groups()
    if name is None:
        return "$"
    found = environ.get(name)
    if operator in (":-", ":="):
        return found or default
    return default if found is None and operator else found or ""


def _line_starts(text: str) -> list[int]:
    return [0, *(match.end() for match in re.finditer("\n", text))]
