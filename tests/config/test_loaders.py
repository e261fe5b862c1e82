"""Both of PyYAML's parsers find the same in a text, wherever the quick one is asked."""

from __future__ import annotations

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from bridge.config import loaders

PIECES = (
    "a: ", "b", "- ", "\n", "  ", "[", "]", "{", "}", ": ", "'", '"', "|\n", ">-\n", "# c", "key: value\n", "- x\n",
    "  k: [1, 2]\n", "---\n", "...\n", "é", "0", "~", "!t ", "&a ", "*a", "\\n", "\u2028", "\x85", "\r\n", ", ", "%",
    "@", "`", "<<: ", "\x00", "\ud800",
)  # fmt: skip


def told(text: str) -> object:
    """What `documents` gives, in plain values with places, and what it notes."""
    notes: list[tuple[int, int, str]] = []
    try:
        found = loaders.documents(text, lambda mark, message: notes.append((mark.line, mark.column, message)))
    except (yaml.YAMLError, ValueError) as error:
        return str(error)
    return [shape(node) for node in found], notes


def shape(node: yaml.Node | None) -> object:
    if node is None:
        return None
    place = (node.start_mark.line, node.start_mark.column, node.tag)
    if isinstance(node, yaml.MappingNode):
        return place, [(shape(key), shape(value)) for key, value in node.value]
    if isinstance(node, yaml.SequenceNode):
        return place, [shape(one) for one in node.value]
    assert isinstance(node, yaml.ScalarNode)
    if not node.value and not node.style:  # what is not there is somewhere between the places around it
        return node.tag
    return place, node.value, node.style or None


@given(st.lists(st.sampled_from(PIECES), max_size=25).map("".join))
@example("a: &x [1]\nb: *x\nc: !t 1\n")
@example("a: |#\n  b\n")
@example("[" * 80)
def test_both_parsers_find_the_same_and_say_the_same(text: str) -> None:
    if loaders.QuickLoader is None:
        pytest.skip("PyYAML was installed without libyaml")
    quick = told(text)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loaders, "QuickLoader", None)
        assert told(text) == quick


@pytest.mark.parametrize("text", ["a:\t1\n", "\ufeffa: 1\n", "a: |#\n  b\n"])
def test_what_the_quick_parser_takes_otherwise_is_left_to_the_other(text: str) -> None:
    def never(text: str, note: loaders.Note) -> loaders.Strict:
        raise AssertionError(text)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loaders, "QuickLoader", never)
        told(text)
