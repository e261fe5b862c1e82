from __future__ import annotations

import contextlib
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.config import MAX_BYTES, Node, compose, read
from bridge.config.yaml12 import scalar
from bridge.errors import ConfigError


def wrong(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        compose(text, "f.yaml")
    return str(caught.value).splitlines()


@pytest.mark.parametrize(
    "text",
    [
        "on",
        "off",
        "yes",
        "no",
        "y",
        "N",
        "22:00",
        "1:30:00",
        "2026-11-22",
        "0b1",
        "1_000",
        "0o8",
        "0xg",
        "+.nan",
        "1e",
        ".",
        "tRue",
        "nil",
        "1.2.3",
        "0x",
        "- 1",
        "٤",
    ],
)
def test_what_the_core_schema_does_not_name_stays_text(text: str) -> None:
    assert scalar(text) == text


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("~", None),
        ("", None),
        ("null", None),
        ("NULL", None),
        ("true", True),
        ("FALSE", False),
        ("0", 0),
        ("-7", -7),
        ("+7", 7),
        ("007", 7),
        ("0o17", 15),
        ("0x1F", 31),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("1.", 1.0),
        ("-1.5E-3", -0.0015),
        (".inf", math.inf),
        ("-.INF", -math.inf),
        ("+.Inf", math.inf),
    ],
)
def test_the_core_schema_of_yaml_1_2(text: str, value: object) -> None:
    found = scalar(text)

    assert (found, type(found)) == (value, type(value))
    assert compose(f"key: {text}", "f.yaml").plain() == {"key": value}
    assert compose(f"key: '{text}'", "f.yaml").plain() == {"key": text}


def test_not_a_number_is_a_number() -> None:
    value = scalar(".nan")
    assert isinstance(value, float)
    assert math.isnan(value)


def test_a_number_that_nobody_means_is_text() -> None:
    assert scalar("1" * 5000) == "1" * 5000


def test_every_value_has_its_place() -> None:
    node = compose("a:\n  b: [1, x]\n", "f.yaml")

    assert isinstance(node.value, dict)
    a = node.value["a"]
    assert isinstance(a.value, dict)
    b = a.value["b"]
    assert isinstance(b.value, list)
    assert [(one.line, one.column, one.file) for one in (node, a, b, *b.value)] == [
        (1, 1, "f.yaml"),
        (2, 3, "f.yaml"),
        (2, 6, "f.yaml"),
        (2, 7, "f.yaml"),
        (2, 10, "f.yaml"),
    ]
    assert (a.key_at, b.key_at, node.key_at) == ((1, 1), (2, 3), None)
    assert node.plain() == {"a": {"b": [1, "x"]}}


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ("", "nothing"),
        ("true", "true or false"),
        ("1", "a number"),
        ("1.5", "a number"),
        ("x", "text"),
        ("[]", "a list"),
        ("{}", "a map"),
    ],
)
def test_a_value_is_called_what_people_call_it(value: str, kind: str) -> None:
    assert compose(value, "f.yaml").kind() == kind


@pytest.mark.parametrize("text", ["", "# only a comment\n", "---\n", "~", "---\n...\n"])
def test_an_empty_file_is_nothing(text: str) -> None:
    assert compose(text, "f.yaml").value is None


def test_all_that_may_not_stand_in_a_file_is_told_at_once() -> None:
    text = """\
base: &base {a: 1}
a: *base
a: 2
b: !!str 5
c: !include other.yaml
<<: *base
? [x]
: 1
d: {e: 1, e: 2}
*base : 3
"""
    assert wrong(text) == [
        "f.yaml:2:4: an alias (*name) is not supported; write the value out, or put the text in quotes",
        "f.yaml:3:1: a: the key is already given in line 2",
        "f.yaml:4:4: a tag (!name) is not supported; put the text in quotes if it is meant to start with !",
        "f.yaml:5:4: a tag (!name) is not supported; put the text in quotes if it is meant to start with !",
        "f.yaml:6:1: merge keys (<<) are not supported; write the values out",
        "f.yaml:6:5: an alias (*name) is not supported; write the value out, or put the text in quotes",
        "f.yaml:7:3: a key must be text",
        "f.yaml:9:11: d.e: the key is already given in line 9",
        "f.yaml:10:1: an alias (*name) is not supported; write the value out, or put the text in quotes",
    ]


def test_a_quoted_merge_key_is_a_key() -> None:
    assert compose('"<<": 1', "f.yaml").plain() == {"<<": 1}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("select: {node: *, b: 1}", "f.yaml:1:17: not valid YAML: text that starts with * must stand in quotes"),
        ("a: @x", "f.yaml:1:4: not valid YAML: text that starts with @ must stand in quotes"),
        ("a:\n\tb: 1", "f.yaml:2:1: not valid YAML: a tab; indent with spaces"),
        ("a: b: c", "f.yaml:1:5: not valid YAML: text that holds a colon and a space must stand in quotes"),
        ("a: 'x", "f.yaml:1:6: not valid YAML: a closing quotation mark is missing"),
        ('a: "\\q"', "f.yaml:1:6: not valid YAML: a backslash in double quotes begins an escape; use single quotes"),
        ("a: [1, 2", "f.yaml:1:9: not valid YAML: a bracket, brace or comma is missing"),
        ("- a\nb: 1", "f.yaml:2:1: not valid YAML: check the indentation of this line"),
        ("a: 1\n---\nb: 2", "f.yaml:3:1: a second YAML document; write one per file"),
        ("a: 1\n---\n", "f.yaml:3:1: a second YAML document"),
        ("a: x\x07y", "f.yaml:1:5: the character U+0007 may not stand in a YAML file"),
        ("%YAML 2.0\n--- a", "f.yaml:1:1: not valid YAML: found incompatible YAML document"),
        ("[" * 100_000, "f.yaml:1:66: not valid YAML: nested deeper than 64 levels"),
    ],
)
def test_a_syntax_error_says_where_and_what_to_do(text: str, told: str) -> None:
    (line,) = wrong(text)
    assert line.startswith(told)


def test_a_billion_laughs_is_no_laughing_matter() -> None:
    laughs = "a: &a [x, x]\n" + "".join(
        f"{b}: &{b} [*{a}, *{a}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
    )
    assert len(wrong(laughs)) == 16


@given(st.text(st.sampled_from("ab:- \n\t[]{}&*!|>'\"%@`#,?<~0.\\é\x00\ud800"), max_size=30))
def test_any_text_is_nodes_or_a_config_error(text: str) -> None:
    with contextlib.suppress(ConfigError):
        assert isinstance(compose(text, "f.yaml"), Node)


def test_a_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes(b"\xef\xbb\xbfa: gr\xc3\xbcn\r\nb: 1\r\n")

    assert read(path).plain() == {"a": "grün", "b": 1}


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (None, "cannot be read: No such file or directory"),
        (b"a: 1\nb: \xff", "is not UTF-8 text"),
        (b"#" * (MAX_BYTES + 1), f"is larger than {MAX_BYTES} bytes"),
    ],
)
def test_a_file_that_cannot_be_read_is_told(tmp_path: Path, content: bytes | None, told: str) -> None:
    path = tmp_path / "a.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        read(path)

    (problem,) = caught.value.problems
    assert (problem.file, problem.message) == (str(path), told)
    assert problem.line == (2 if content and b"\xff" in content else 0)
