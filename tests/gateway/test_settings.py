"""The gateway's settings and its example file."""

from __future__ import annotations

from pathlib import Path

import pytest

from bridge.config import load
from bridge.errors import ConfigError
from bridge.gateway.settings import GatewaySettings, SwarmSettings

EXAMPLE = Path(__file__).parents[2] / "config" / "gateway.yaml"


def settings(folder: Path, text: str) -> GatewaySettings:
    file = folder / "gateway.yaml"
    file.write_text(f"version: 1\nstate_dir: state\n{text}", encoding="utf-8")
    return load(file, GatewaySettings)


def test_the_example_file_is_valid_and_names_the_example_functions() -> None:
    found = load(EXAMPLE, GatewaySettings)
    assert (found.host, found.port, found.metrics.port) == ("127.0.0.1", 8080, 8082)
    assert found.functions is not None
    assert found.functions.samefile(EXAMPLE.parents[1] / "functions" / "stack.yml")


def test_other_machines_are_served_only_with_authentication_or_when_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="enable basic_auth"):
        settings(tmp_path, "host: 0.0.0.0\n")
    assert settings(tmp_path, "host: 0.0.0.0\nallow_open: true\n").allow_open
    for name in ("basic-auth-user", "basic-auth-password"):
        (tmp_path / name).write_text("x", encoding="utf-8")
    auth = "basic_auth: {enabled: true, secret_mount_path: .}\n"
    assert settings(tmp_path, f"host: 0.0.0.0\n{auth}").basic_auth.enabled


def test_missing_files_and_equal_ports_are_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as told:
        settings(tmp_path, "functions: none.yml\nmetrics: {port: 8080}\nbasic_auth: {enabled: true}\n")
    assert {problem.key for problem in told.value.problems} == {
        "functions",
        "metrics.port",
        "basic_auth.secret_mount_path",
    }


def test_secrets_are_kept_in_the_state_folder_unless_told(tmp_path: Path) -> None:
    assert settings(tmp_path, "").secrets == tmp_path / "state" / "secrets"
    assert settings(tmp_path, "secrets_dir: mine\n").secrets == tmp_path / "mine"


def test_the_example_for_a_swarm_is_valid() -> None:
    found = load(EXAMPLE.with_name("gateway-swarm.yaml"), GatewaySettings)
    assert (found.backend, found.swarm.network) == ("swarm", "gpio-bridge-functions")
    assert found.swarm == SwarmSettings()


@pytest.mark.parametrize(
    ("text", "key", "words"),
    [
        ("host: 'tcp://manager:2376'", "swarm.tls", "everybody on the way to manager"),
        ("host: 'tcp://127.0.0.1:99999', tls: {ca: here}", "swarm.host", "99999 is no port"),
        ("host: 'ssh://manager'", "swarm.host", "unix:///path or tcp://host:port"),
        ("tls: {ca: here}", "swarm.tls", "a socket has none"),
        ("host: 'tcp://127.0.0.1:1', tls: {ca: gone}", "swarm.tls.ca", "there is no file"),
        ("host: 'tcp://127.0.0.1:1', tls: {ca: here, cert: here}", "swarm.tls.key", "given together"),
        ("host: 'tcp://127.0.0.1:1', tls: {ca: here, key: here}", "swarm.tls.cert", "given together"),
        ("registry_config: gone.json", "swarm.registry_config", "there is no file"),
        ("endpoint_mode: ipvs", "swarm.endpoint_mode", "must be one of dnsrr, vip"),
        ("network: '../x'", "swarm.network", "a network's name"),
        ("secret_files: {mode: '999'}", "swarm.secret_files.mode", "an octal mode"),
    ],
)
def test_mistakes_about_the_swarm_are_told_with_their_place(tmp_path: Path, text: str, key: str, words: str) -> None:
    (tmp_path / "here").touch()
    with pytest.raises(ConfigError) as told:
        settings(tmp_path, f"backend: swarm\nswarm: {{{text}}}\n")
    assert any(problem.key == key and words in problem.message for problem in told.value.problems), told.value


def test_an_engine_on_loopback_may_do_without_tls(tmp_path: Path) -> None:
    assert settings(tmp_path, "swarm: {host: 'tcp://127.0.0.1:2375'}\n").swarm.tls is None
