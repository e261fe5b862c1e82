"""An edit changes what a file means, and of what stands in it no more than it must."""

from __future__ import annotations

import copy
import difflib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bridge.config import compose
from bridge.errors import ConfigError
from bridge.manager.mappings.edit import edited, same

SHIPPED = (Path(__file__).parents[3] / "config" / "mappings.yaml").read_text(encoding="utf-8")
Mappings = dict[str, Any]


def changed(text: str, change: Callable[[Mappings], object]) -> str:
    document: Any = copy.deepcopy(compose(text, "").plain())
    change(document["mappings"])
    return edited(text, document)


def difference(before: str, after: str) -> list[str]:
    """The lines that went and came."""
    lines = list(difflib.unified_diff(before.splitlines(), after.splitlines(), n=0, lineterm=""))[2:]
    return [line for line in lines if not line.startswith("@@")]


@pytest.mark.parametrize(
    ("change", "lines"),
    [
        (
            lambda all_: all_["intruder"].update(cooldown="10s"),
            [
                "-    cooldown: 5s          # at most one alert in 5 s from the same sensor",
                "+    cooldown: 10s         # at most one alert in 5 s from the same sensor",
            ],
        ),
        (
            lambda all_: all_["intruder"]["retry"].update(attempts=3),
            [
                "-    retry: {attempts: 8, first: 500ms, max: 30s}",
                "+    retry: {attempts: 3, first: 500ms, max: 30s}",
            ],
        ),
        (
            lambda all_: all_["intruder"].update(enabled=False, hours="22:00-06:00"),
            ["+    enabled: false", '+    hours: "22:00-06:00"'],
        ),
        (
            lambda all_: all_["intruder"]["select"].append({"sensor": "gate"}),
            ["+      - {sensor: gate}"],
        ),
        (
            lambda all_: all_["night-loiterer"].pop("hours"),
            ['-    hours: {from: "22:00", to: "06:00", days: [mon-sun]}'],
        ),
        (
            lambda all_: all_.pop("frost"),
            [
                "-",
                "-  # Frost matters in the greenhouse only, and yesterday's frost is no news.",
                "-  frost:",
                "-    select: {node: pi-2, sensor: greenhouse, event: temperature.low}",
                "-    invoke: temperature-alarm",
                "-    max_age: 1h",
            ],
        ),
        (
            lambda all_: all_.update(new={"select": {"topic": "a/+"}, "invoke": {"function": "f", "mode": "sync"}}),
            ["+", "+  new:", '+    select: {topic: "a/+"}', "+    invoke: {function: f, mode: sync}"],
        ),
    ],
    ids=["value", "value-in-brackets", "new-keys", "longer-list", "key-gone", "mapping-gone", "mapping-new"],
)
def test_an_edit_of_the_shipped_file_touches_the_lines_that_it_is_about(
    change: Callable[[Mappings], object], lines: list[str]
) -> None:
    assert difference(SHIPPED, changed(SHIPPED, change)) == lines


def test_what_changes_nothing_leaves_every_byte() -> None:
    assert changed(SHIPPED, lambda all_: None) == SHIPPED


def test_a_comment_below_a_key_that_goes_belongs_to_the_next_one() -> None:
    text = (
        "version: 1\nmappings:\n  a:\n    select: {sensor: s}\n    cooldown: 5s   # why\n    # about retry\n"
        "    retry: {attempts: 2}\n    invoke: f\n"
    )
    assert changed(text, lambda all_: all_["a"].pop("cooldown")) == text.replace("    cooldown: 5s   # why\n", "")


@pytest.mark.parametrize(
    "text",
    [
        '{"version": 1, "mappings": {"a": {"select": {"sensor": "s"}, "invoke": "f"}}}',
        "version: 1\nmappings: {a: {select: {sensor: s}, invoke: f}}  # short\n",
        "version: 1\nmappings:\n    a:\n        select:\n        - sensor: s\n        invoke: f\n",
        "version: 1\r\nmappings:\r\n  a:\r\n    select: {sensor: s}\r\n    invoke: f\r\n",
        "---\nversion: 1\nmappings:\n  a:\n    select: {sensor: s}\n    invoke: f\n...\n",
        "version: 1\nmappings:\n  ? a\n  : {select: {sensor: s}, invoke: f}\n",
        'version: 1\nmappings:\n  "a": {select: {sensor: s}, invoke: {function: f, payload: {template: "x\n    y"}}}',
        "version: 1\nmappings:\n  a:\n    select: {sensor: s}\n    invoke: f\n    when: |\n      true\n      # text\n",
    ],
    ids=["json", "brackets", "wide", "crlf", "markers", "question-mark", "no-newline", "block-text"],
)
def test_a_file_may_be_written_in_any_way(text: str) -> None:
    more = {"select": [{"sensor": "t"}], "invoke": "g", "when": "a\n# b: c", "x": None, "y": 1.5, "z": [1, True, "1"]}
    found = changed(text, lambda all_: (all_["a"].update(invoke="h", order="none"), all_.update(b=more)))
    document: Any = compose(found, "").plain()
    assert document["mappings"]["a"]["invoke"] == "h"
    assert document["mappings"]["a"]["order"] == "none"
    assert same(document["mappings"]["b"], more)


def test_windows_line_ends_stay() -> None:
    text = SHIPPED.replace("\n", "\r\n")
    found = changed(text, lambda all_: all_["intruder"].update(cooldown="10s"))
    assert found == changed(SHIPPED, lambda all_: all_["intruder"].update(cooldown="10s")).replace("\n", "\r\n")


def test_a_file_that_is_no_yaml_is_not_edited() -> None:
    with pytest.raises(ConfigError):
        edited("mappings: [", {})


TEXT = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), max_size=12) | st.sampled_from(
    ["on", "22:00", "5s", "1", "1.0", "0x1F", "null", "~", "", " ", "# no", "a: b", "- a", "*", "&a", "!t", "{",
     "2001-12-14", "line\nbreak", "tab\there", "'", '"', "\\", "1_000", "<<", "a #b", "=", "?", "|", ">", "%", "@", "`",
     "---", "..."]
)  # fmt: skip
SCALAR = (
    st.none() | st.booleans() | st.integers(-(10**20), 10**20) | st.floats(allow_nan=False, allow_infinity=False) | TEXT
)
VALUE = st.recursive(
    SCALAR,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
MAPPING = st.dictionaries(TEXT, VALUE, max_size=4)


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(first=st.dictionaries(TEXT, MAPPING, max_size=3), second=st.dictionaries(TEXT, MAPPING, max_size=3))
def test_any_change_after_any_other_means_what_was_wanted(first: Mappings, second: Mappings) -> None:
    text = "# head\nversion: 1\nmappings:\n  # about a\n  a:\n    select: {sensor: s} # eol\n    invoke: f\n# tail\n"
    for wanted in ({**first, **second}, second):
        document = {"version": 1, "mappings": wanted}
        text = edited(text, document)
        assert same(compose(text, "").plain(), document)
        assert text.startswith("# head\nversion: 1\n")
        assert "# tail" in text
