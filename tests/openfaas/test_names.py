"""Names of functions, their namespaces, and names that try to be more."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.openfaas import names


@pytest.mark.parametrize("name", ["echo", "echo.openfaas-fn", "Echo_2", "a", "node-info"])
def test_a_name_and_the_same_with_the_default_namespace_are_one_function(name: str) -> None:
    assert names.resolve(name) == name.removesuffix(".openfaas-fn")


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../x", "a/b", "echo.", ".echo", "echo.other", "a.b.openfaas-fn", "-a", "é", "a%2fb", "a\n"]
)
def test_what_is_no_name_of_ours_resolves_to_nothing(name: str) -> None:
    assert names.resolve(name) is None


def test_another_namespace_beside_a_name_resolves_to_nothing() -> None:
    assert names.resolve("echo", "dev") is None
    assert names.resolve("echo", "openfaas-fn") == "echo"


@given(st.text(max_size=80))
def test_a_resolved_name_is_always_safe_as_a_file_name(text: str) -> None:
    name = names.resolve(text)
    assert name is None or (name.isascii() and "/" not in name and "." not in name and 0 < len(name) <= 63)


@given(st.text(max_size=80))
def test_a_secrets_name_never_leaves_its_folder(text: str) -> None:
    if names.is_secret(text):
        assert "/" not in text
        assert not text.startswith(".")
        assert ".." not in text
        assert "\0" not in text
