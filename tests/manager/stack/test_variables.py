"""Variables in compose files, as the Compose Specification has them."""

from __future__ import annotations

from pathlib import Path

import pytest

from bridge.config import Reader, compose
from bridge.manager.stack.variables import replaced

ENVIRON = {"NAME": "value", "EMPTY": "", "N": "3", "TRUTH": "true"}


def read(text: str) -> tuple[object, list[str]]:
    reader = Reader(Path("/"))
    node = replaced(compose(f"it: {text}\n", "stack.yml"), ENVIRON, reader)
    plain = node.plain()
    assert isinstance(plain, dict)
    return plain["it"], [str(problem) for problem in reader.found]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("$NAME", "value"),
        ("${NAME}", "value"),
        ("a ${NAME} and $NAME.", "a value and value."),
        ("${EMPTY:-other}", "other"),
        ("x${EMPTY-other}", "x"),
        ("${MISSING:-other}", "other"),
        ("${MISSING-other}", "other"),
        ("x${MISSING:-}", "x"),
        ("${NAME:?must be}", "value"),
        ("x${EMPTY?must be}", "x"),
        ("$$NAME", "$NAME"),
        ("'$$$NAME'", "$value"),
        ("${N}", 3),
        ("'${N}'", 3),
        ("${TRUTH}", True),
        ("1${N}", 13),
        ("[$NAME, {a: $N}]", ["value", {"a": 3}]),
        ("no variable", "no variable"),
        ("7", 7),
    ],
)
def test_a_variable_becomes_its_value_or_what_stands_for_it(text: str, value: object) -> None:
    assert read(text) == (value, [])


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("$MISSING", "stack.yml:1:5: it: the variable MISSING is not set; set it, or write ${MISSING:-} for nothing"),
        ("${MISSING:?the password}", "stack.yml:1:5: it: the variable MISSING is not set: the password"),
        ("${EMPTY:?}", "stack.yml:1:5: it: the variable EMPTY is not set"),
        ("5 $ a", "stack.yml:1:5: it: a $ that begins no variable; write $$ for the sign itself"),
        ("'${NAME'", "stack.yml:1:5: it: a $ that begins no variable; write $$ for the sign itself"),
        ("${1}", "stack.yml:1:5: it: a $ that begins no variable; write $$ for the sign itself"),
    ],
)
def test_what_cannot_be_replaced_is_told_with_its_place(text: str, told: str) -> None:
    assert read(text)[1] == [told]


def test_places_of_values_that_were_replaced_stay() -> None:
    reader = Reader(Path("/"))
    node = replaced(compose("a:\n  b: $NAME\n", "stack.yml"), ENVIRON, reader)
    assert isinstance(node.value, dict)
    inner = node.value["a"].value
    assert isinstance(inner, dict)
    assert (inner["b"].line, inner["b"].column, inner["b"].written) == (2, 6, "value")
