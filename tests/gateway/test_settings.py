"""The gateway's settings and its example file."""

from __future__ import annotations

from pathlib import Path

import pytest

from bridge.config import load
from bridge.errors import ConfigError
from bridge.gateway.settings import GatewaySettings

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
