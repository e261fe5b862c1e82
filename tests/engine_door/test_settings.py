"""The engine door's file, its mistakes, and its command."""

from __future__ import annotations

from pathlib import Path

import pytest

from bridge.cli.recognition import Kind, recognise
from bridge.config import load
from bridge.engine_door.settings import EngineDoorSettings, user_number
from bridge.errors import ConfigError, EngineDoorError
from tests.manager.command import command

ROOT = Path(__file__).parents[2]
GATEWAY = "gateway: {socket: /run/a.sock, user: root}\n"


@pytest.mark.parametrize("name", ["config/engine-door.yaml", "stack/engine-door.yaml"])
def test_the_files_that_we_ship_are_understood_and_recognised(name: str) -> None:
    settings = load(ROOT / name, EngineDoorSettings)
    assert settings.gateway is not None
    assert settings.manager is not None
    assert (settings.binds, settings.manager.join_tokens) == ((), False)
    assert recognise(ROOT / name) is Kind.ENGINE_DOOR


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("", "gateway"),
        (f"{GATEWAY}manager: {{socket: /run/a.sock, user: root}}\n", "manager.socket"),
        (f"{GATEWAY}engine: {{socket: /run/a.sock}}\n", "engine.socket"),
        (f"{GATEWAY}binds: [media]\n", "binds[0]"),
        (f"{GATEWAY}binds: [/media/../etc]\n", "binds[0]"),
        (f"{GATEWAY}binds: [/media/]\n", "binds[0]"),
        (f"{GATEWAY}capabilities: [everything!]\n", "capabilities[0]"),
        ("gateway: {socket: /run/a.sock}\n", "gateway.user"),
        ("gateway: {socket: /run/a.sock, user: 'a b'}\n", "gateway.user"),
    ],
)
def test_a_mistake_is_told_with_its_key(tmp_path: Path, text: str, key: str) -> None:
    file = tmp_path / "engine-door.yaml"
    file.write_text(f"version: 1\n{text}", encoding="utf-8")
    with pytest.raises(ConfigError) as refused:
        load(file, EngineDoorSettings)
    assert key in [problem.key for problem in refused.value.problems], refused.value


def test_a_user_has_a_number() -> None:
    assert (user_number("root"), user_number("10001")) == (0, 10001)
    with pytest.raises(EngineDoorError, match="serves the user nobody-at-all, and there is none"):
        user_number("nobody-at-all")


def test_the_command_says_what_is_wrong(tmp_path: Path) -> None:
    file = tmp_path / "engine-door.yaml"
    file.write_text("version: 1\nmanager: {socket: /run/a.sock, user: nobody-at-all}\n", encoding="utf-8")
    assert command(f"check {file}").out == f"{file}: ok (settings of an engine door)\n"
    file.write_text("version: 1\n", encoding="utf-8")
    done = command(f"engine-door --config {file}")
    assert done.code == 78
    assert "nobody could use the door" in done.err
