"""What the dispatcher's settings must agree on."""

from __future__ import annotations

from pathlib import Path

import pytest

from bridge.config import load
from bridge.dispatcher.settings import DispatcherSettings, GatewaySettings


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8080", "https://gateway.example/openfaas", "http://[::1]:8080", "http://pi:80/"]
)
def test_a_gateways_url_is_one_of_http(url: str) -> None:
    assert list(GatewaySettings(url).problems()) == []


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("127.0.0.1:8080", "names no host"),
        ("ftp://pi", "names no host"),
        ("http://", "names no host"),
        ("http://pi:99999", "out of range"),
        ("http://pi:port", "could not be cast"),
        ("http://[::1", "Invalid IPv6 URL"),
        (f"http://{'x' * 64}.example", "idna"),
    ],
)
def test_a_url_that_cannot_be_connected_to_is_refused_with_its_reason(url: str, reason: str) -> None:
    ((key, text),) = GatewaySettings(url).problems()
    assert key == "url"
    assert repr(url) in text
    assert reason in text


def test_credentials_have_their_own_settings(tmp_path: Path) -> None:
    password = tmp_path / "password"
    password.write_text("secret")
    ((key, _),) = GatewaySettings("http://admin:secret@pi").problems()
    assert key == "url"
    ((key, _),) = GatewaySettings(username="a:b", password_file=password).problems()
    assert key == "username"
    assert list(GatewaySettings(username="admin", password_file=password).problems()) == []


@pytest.mark.parametrize(("written", "environ"), [("manager", {}), ("m.yaml", {"GPIO_BRIDGE_MAPPINGS": "manager"})])
def test_mappings_are_the_managers_when_the_file_or_the_environment_says_so(
    tmp_path: Path, written: str, environ: dict[str, str]
) -> None:
    file = tmp_path / "dispatcher.yaml"
    file.write_text(f"version: 1\nstate_dir: state\nmappings: {written}\n", encoding="utf-8")
    assert load(file, DispatcherSettings, environ=environ).mappings == "manager"


@pytest.mark.parametrize(("written", "environ"), [("a/m.yaml", {}), ("manager", {"GPIO_BRIDGE_MAPPINGS": "a/m.yaml"})])
def test_mappings_are_those_of_a_file_beside_the_settings(
    tmp_path: Path, written: str, environ: dict[str, str]
) -> None:
    file = tmp_path / "dispatcher.yaml"
    file.write_text(f"version: 1\nstate_dir: state\nmappings: {written}\n", encoding="utf-8")
    assert load(file, DispatcherSettings, environ=environ).mappings == tmp_path / "a" / "m.yaml"
