"""What the manager's settings must agree on, and how its file is known."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import httpx
import pytest

from bridge.cli.recognition import Kind, recognise
from bridge.config import load
from bridge.errors import ConfigError
from bridge.manager.settings import AuthSettings, ManagerSettings
from tests.manager.conftest import Desk

BARE = "version: 1\nmappings: mappings.yaml\nstate_dir: state\n"


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
def test_without_tokens_it_serves_this_machine_only(tmp_path: Path, host: str) -> None:
    file = tmp_path / "manager.yaml"
    file.write_text(f"{BARE}auth: {{enabled: false}}\nhttp: {{host: '{host}'}}\n", encoding="utf-8")
    assert not load(file, ManagerSettings).auth.enabled
    file.write_text(f"{BARE}auth: {{enabled: false}}\nhttp: {{host: 0.0.0.0}}\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="may be false on this machine only"):
        load(file, ManagerSettings)


async def test_without_tokens_everybody_here_may_do_everything(desk: Desk) -> None:
    desk.settings = dataclasses.replace(desk.settings, auth=AuthSettings(enabled=False))
    await desk.start()
    async with httpx.AsyncClient(base_url=f"{desk.manager.url}/api/v1", trust_env=False, timeout=60) as anybody:
        assert (await anybody.delete("/mappings/frost", headers={"If-Match": "*"})).status_code == 204
        assert (await anybody.get("/audit")).json()["entries"][0]["who"] == "anybody"


@pytest.mark.parametrize(
    ("name", "text", "kind"),
    [
        ("manager.yaml", BARE, Kind.MANAGER),
        ("manager-2.yaml", BARE, Kind.MANAGER),
        ("house.yaml", f"{BARE}auth: {{failures: 3}}\n", Kind.MANAGER),
        ("house.yaml", f"{BARE}history: {{revisions: 3}}\n", Kind.MANAGER),
        ("dispatcher.yaml", BARE, Kind.DISPATCHER),
    ],
)
def test_a_managers_file_is_told_from_a_dispatchers(tmp_path: Path, name: str, text: str, kind: Kind) -> None:
    file = tmp_path / name
    file.write_text(text, encoding="utf-8")
    assert recognise(file) is kind
