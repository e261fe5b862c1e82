"""What a condition's text says before it is compiled: the macros, functions and fields that it uses.

Works on the text, because the CEL library tells names only, not places. What may not live here: CEL itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from bridge.errors import ConditionError

MACROS: Final = frozenset({"all", "exists", "exists_one", "filter"})
_TEXT = re.compile(r"""[rR]?("(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')|//[^\n]*""")
_MACRO = re.compile(r"\.\s*(all|exists|exists_one|map|filter)\s*\(\s*([A-Za-z_]\w*|)")
_ZONED = re.compile(r"""\.\s*get[A-Z]\w*\s*\(\s*("[^"\\]*"|'[^'\\]*')\s*\)""")


def blank(text: str) -> str:
    """The expression with the insides of texts and comments blanked out; every place stays where it is."""
    return _TEXT.sub(lambda found: " " * len(found[0]), text)


def bound_names(text: str) -> frozenset[str]:
    """The names that macros introduce.

    Raises ConditionError for `map` and for a macro inside another: their time grows with the square or the cube of
    what an event brings (measured: `map` over 1,000 values can take 40 s).
    """
    bare = blank(text)
    names = set()
    end = -1
    for found in _MACRO.finditer(bare):
        if found[1] == "map":
            raise ConditionError("map is not available; filter, all, exists and exists_one are")
        if found.start() < end:
            raise ConditionError(f"{found[1]} stands inside of another one; write at most one level")
        end = _closing(bare, bare.index("(", found.start()))
        names.add(found[2])
    return frozenset(names)


def zones(text: str) -> Iterator[str]:
    """The time zones that are written out, as in `getHours('Europe/London')`."""
    for found in _ZONED.finditer(text):
        yield found[1][1:-1]


def keys_used(text: str, name: str) -> frozenset[str] | None:
    """The keys of the map `name` that an expression can touch; None when that cannot be told, hence all.

    Handing over only these keeps a condition quick: the library copies every value it is given.
    """
    bare = blank(text)
    keys: set[str] = set()
    for found in re.finditer(rf"(?<![\w.]){name}\b", bare):
        rest, bare_rest = text[found.end() :], bare[found.end() :]
        if field := re.match(r"\s*\.\s*([A-Za-z_]\w*+)(?!\s*\()", bare_rest):
            keys.add(field[1])
        elif index := re.match(r"""\s*\[\s*("[^"\\]*"|'[^'\\]*')\s*\]""", rest):
            keys.add(index[1][1:-1])
        elif (
            before := re.search(r"""(?:^|[(]|&&|\|\|)\s*("[^"\\]*"|'[^'\\]*')\s+in\s+$""", text[: found.start()])
        ) and not re.match(r"\s*[.\[+]", bare_rest):
            keys.add(before[1][1:-1])
        else:
            return None
    return frozenset(keys)


def split_template(text: str) -> list[tuple[str, str | None]]:
    """A template as (text, expression) pairs; `$${` stands for `${`. The last pair has no expression.

    Raises ConditionError for an expression that is not closed.
    """
    parts: list[tuple[str, str | None]] = []
    literal, place = "", 0
    while (start := text.find("${", place)) >= 0:
        if start > place and text[start - 1] == "$":
            literal += text[place : start - 1] + "${"
            place = start + 2
            continue
        end = _closing(blank_from(text, start + 1), start + 1)
        if end < 0:
            raise ConditionError(f"the ${{ at character {start + 1} of the template is not closed with }}")
        parts.append((literal + text[place:start], text[start + 2 : end]))
        literal, place = "", end + 1
    parts.append((literal + text[place:], None))
    return parts


def blank_from(text: str, start: int) -> str:
    """As `blank`, for what follows `start`: a quote in the text before it opens nothing."""
    return " " * start + blank(text[start:])


def _closing(bare: str, start: int) -> int:
    """Where the bracket at `start` is closed, or -1."""
    depth = 0
    for place in range(start, len(bare)):
        if bare[place] in "([{":
            depth += 1
        elif bare[place] in ")]}":
            depth -= 1
            if depth == 0:
                return place
    return -1
