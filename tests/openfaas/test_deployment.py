"""Deployments and statuses as JSON documents."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.errors import FunctionError
from bridge.openfaas.deployment import FunctionStatus, parse_deployment

TEXTS = st.text(alphabet=st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)
KEYS = st.from_regex(r"[a-z][a-z0-9_]{0,10}", fullmatch=True)
OPTIONAL = {
    "envProcess": st.from_regex(r"[a-z ]{1,10}", fullmatch=True),
    "envVars": st.dictionaries(KEYS, TEXTS),
    "constraints": st.lists(TEXTS),
    "secrets": st.lists(TEXTS),
    "limits": st.fixed_dictionaries({"memory": st.just("20m"), "cpu": st.just("100m")}),
    "requests": st.fixed_dictionaries({}, optional={"memory": st.just("5Mi")}),
    "readOnlyRootFilesystem": st.just(True),
}
DOCUMENTS = st.fixed_dictionaries(
    {
        "service": st.just("echo"),
        "namespace": st.just("openfaas-fn"),
        "image": TEXTS,
        "labels": st.dictionaries(KEYS, TEXTS),
        "annotations": st.dictionaries(KEYS, TEXTS),
    },
    optional=OPTIONAL,
)


@given(DOCUMENTS)
def test_what_was_given_comes_back_unchanged_and_the_rest_stays_absent(document: dict[str, Any]) -> None:
    assert parse_deployment(document).document() == document


@given(DOCUMENTS)
def test_a_status_is_the_deployment_with_name_for_service(document: dict[str, Any]) -> None:
    status = FunctionStatus(parse_deployment(document), 2, 1, datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)).document(7)
    expected = {key: value for key, value in document.items() if key != "service"} | {
        "name": "echo",
        "labels": {**document["labels"], "faas_function": "echo"},
        "replicas": 2,
        "availableReplicas": 1,
        "invocationCount": 7,
        "createdAt": "2026-01-02T03:04:05.000000Z",
    }
    assert status == expected


def test_null_parts_count_as_absent_and_unknown_ones_are_left_alone() -> None:
    given_ = {"service": "e", "labels": None, "envVars": None, "limits": None, "network": "func", "registryAuth": "x"}
    document = parse_deployment(given_).document()
    assert document == {"service": "e", "namespace": "openfaas-fn", "image": "", "labels": {}, "annotations": {}}


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"service": ""}, "name is missing"),
        ({"service": "../up"}, "cannot be a function's name"),
        ({"service": 3}, "service: must be text"),
        ({"namespace": "dev"}, "no namespace 'dev'"),
        ({"envVars": {"A": 1}}, "envVars"),
        ({"envVars": {"A=B": "1"}}, "environment variable"),
        ({"labels": ["a"]}, "labels"),
        ({"labels": {"com.openfaas.scale.min": "two"}}, "com.openfaas.scale.min"),
        ({"labels": {"com.openfaas.scale.min": "5", "com.openfaas.scale.max": "2"}}, "above"),
        ({"secrets": "a"}, "secrets"),
        ({"limits": {"cpu": 1}}, "limits"),
        ({"readOnlyRootFilesystem": "yes"}, "readOnlyRootFilesystem"),
    ],
)
def test_a_bad_part_is_named(change: dict[str, Any], told: str) -> None:
    with pytest.raises(FunctionError, match=told):
        parse_deployment({"service": "echo"} | change)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(st.sampled_from(["service", "image", "labels", "envVars", "limits"]), inner)
        ),
    )
)
def test_any_json_is_a_deployment_or_a_told_mistake(document: Any) -> None:
    with contextlib.suppress(FunctionError):
        assert parse_deployment(document).service
