"""Rows of cells below each other, numbers of things, and what has changed, for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence


def print_table(rows: Sequence[Sequence[str]]) -> None:
    """Print rows of equally many cells, the first of them the heads."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        print("  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())


def counted(number: int, noun: str) -> str:
    """`1 event`, `2 events`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def signed(changes: Mapping[str, Sequence[str]], most: int | None = None) -> str:
    """`+new  ~other  -old`, of what was `added`, `changed`, `removed`; beyond `most` only how many there are more."""
    signs = {"added": "+", "changed": "~", "removed": "-"}
    told = [f"{sign}{name}" for what, sign in signs.items() for name in changes[what]]
    more = [] if most is None or len(told) <= most else [f"and {len(told) - most} more"]
    return "  ".join([*told[:most], *more])
