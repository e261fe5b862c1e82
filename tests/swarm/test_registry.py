"""Who may pull an image."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from bridge.swarm.registry import given_header, kept_header, registry_of


def decoded(header: dict[str, str]) -> Any:
    return json.loads(base64.urlsafe_b64decode(header["X-Registry-Auth"]))


def basic(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    ("image", "registry"),
    [
        ("ghcr.io/a/b:1", "ghcr.io"),
        ("127.0.0.1:5000/fn:1", "127.0.0.1:5000"),
        ("a/b", "docker.io"),
        ("alpine:3", "docker.io"),
    ],
)
def test_an_images_registry_is_the_one_it_names_or_dockers(image: str, registry: str) -> None:
    assert registry_of(image) == registry


def test_credentials_of_a_deployment_go_to_the_images_registry() -> None:
    assert decoded(given_header("ghcr.io/a/b:1", basic("me:p:w"))) == {
        "username": "me",
        "password": "p:w",
        "serveraddress": "ghcr.io",
    }


@pytest.mark.parametrize("given", ["?", basic("nobody"), "bWU6/w==", "sesame"])
def test_bad_credentials_are_refused_without_repeating_them(given: str) -> None:
    with pytest.raises(ValueError, match="base64") as told:
        given_header("a/b", given)
    assert given not in str(told.value)


def test_credentials_of_dockers_configuration_are_used_for_their_registry_only(tmp_path: Path) -> None:
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"auths": {"ghcr.io": {"auth": basic("me:pw")}}}), encoding="utf-8")
    assert decoded(kept_header("ghcr.io/a/b:1", config))["password"] == "pw"
    assert kept_header("quay.io/a/b:1", config) == {}


def test_a_damaged_configuration_is_no_reason_not_to_deploy(tmp_path: Path) -> None:
    config = tmp_path / "config.json"
    config.write_text('{"auths": {"ghcr.io": 7}}', encoding="utf-8")
    assert kept_header("ghcr.io/a/b:1", config) == {}
