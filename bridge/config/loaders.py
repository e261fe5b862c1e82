"""PyYAML up to its nodes, without aliases and tags: in C where PyYAML was built with libyaml, else in Python.

In C a file is read five times as quickly (measured). Both parsers must find the same in a text, and say the same of its
mistakes; where they are known to differ, and for all mistakes, it is Python's that counts.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import yaml
from yaml.composer import Composer
from yaml.constructor import SafeConstructor
from yaml.resolver import Resolver

ALIAS: Final = "alias"
"""The tag of what stands in an alias' place."""
_MAX_DEPTH: Final = 64
_UNLIKE: Final = re.compile(r"[\t\ufeff]|[|>][-+0-9]*#")
"""Tabs between tokens, byte order marks, and comments right after a block's indicator: libyaml takes more of them."""

Note = Callable[[yaml.Mark, str], None]


def documents(text: str, note: Note) -> list[yaml.Node | None]:
    """The nodes of all documents of a text; what may not stand in it is noted. Raises yaml.YAMLError."""
    if QuickLoader is not None and not _UNLIKE.search(text):
        notes: list[tuple[yaml.Mark, str]] = []
        with suppress(yaml.YAMLError, UnicodeEncodeError):
            found = read(QuickLoader(text, lambda mark, message: notes.append((mark, message))))
            for mark, message in notes:
                note(mark, message)
            return found
    return read(Loader(text, note))


def read(loader: Strict) -> list[yaml.Node | None]:
    """All documents that a loader finds."""
    found: list[yaml.Node | None] = []
    while loader.check_node():
        found.append(loader.get_node())
    return found


class Strict(Composer):
    """PyYAML's composer, without aliases and tags, and never nested deeper than Python's own stack allows."""

    note: Note
    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[attr-defined] # each loader brings its parser
        mark: yaml.Mark = event.start_mark
        if isinstance(event, yaml.AliasEvent):
            self.get_event()  # type: ignore[attr-defined] # as above
            self.note(mark, "an alias (*name) is not supported; write the value out, or put the text in quotes")
            return yaml.ScalarNode(ALIAS, "", mark, mark, style="'")
        if getattr(event, "tag", None) is not None:
            self.note(mark, "a tag (!name) is not supported; put the text in quotes if it is meant to start with !")
        if self.depth > _MAX_DEPTH:
            raise yaml.MarkedYAMLError(None, None, f"nested deeper than {_MAX_DEPTH} levels", mark)
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


class Loader(Strict, yaml.SafeLoader):
    """With PyYAML's own parser."""

    def __init__(self, text: str, note: Note) -> None:
        yaml.SafeLoader.__init__(self, text)
        self.note = note


def _quick_loader() -> Callable[[str, Note], Strict] | None:
    if not yaml.__with_libyaml__:
        return None
    from yaml._yaml import CParser  # noqa: PLC0415 - it is not everywhere

    class QuickLoader(Strict, CParser, SafeConstructor, Resolver):
        """With libyaml's parser."""

        def __init__(self, text: str, note: Note) -> None:
            CParser.__init__(self, text)
            Composer.__init__(self)
            SafeConstructor.__init__(self)
            Resolver.__init__(self)
            self.note = note

    return QuickLoader


QuickLoader: Final = _quick_loader()
