from __future__ import annotations

import dataclasses
import os
import stat
from pathlib import Path

import pytest

from bridge.cli.whereabouts import Whereabouts, announced, find, runtime_folder, state_folder

HERE = Whereabouts(
    pid=os.getpid(),
    gateway="http://127.0.0.1:1",
    manager="http://127.0.0.1:4",
    manager_token="/run/user/1/gpio-bridge/manager-1.token",
    dispatcher="http://127.0.0.1:2",
    control="http://127.0.0.1:3",
    mqtt_host="127.0.0.1",
    mqtt_port=4,
    root="gpio-bridge",
    site="home",
    state="/tmp/state",
)


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {"XDG_RUNTIME_DIR": str(tmp_path)}


def test_a_running_up_is_found_until_it_ends(environ: dict[str, str]) -> None:
    with announced(HERE, environ):
        assert find(environ) == HERE
    assert find(environ) is None


def test_only_this_user_may_read_the_folder(environ: dict[str, str]) -> None:
    assert stat.S_IMODE(runtime_folder(environ).stat().st_mode) == 0o700


def test_without_a_runtime_folder_there_is_one_of_this_users_own() -> None:
    folder = runtime_folder({})
    assert folder.name == f"gpio-bridge-{os.getuid()}"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_what_a_killed_up_left_behind_is_not_believed(environ: dict[str, str]) -> None:
    gone = dataclasses.replace(HERE, pid=2**22 + 1)  # above the kernel's highest pid
    with announced(gone, environ):
        assert find(environ) is None


def test_the_end_of_one_up_does_not_take_away_the_address_of_another(environ: dict[str, str]) -> None:
    with announced(dataclasses.replace(HERE, pid=os.getppid()), environ):
        first = find(environ)
        with announced(HERE, environ):
            pass
    assert first is not None


@pytest.mark.parametrize("text", ["", "{", "[]", '{"version": 1}'])
def test_a_file_that_is_no_address_counts_as_none(environ: dict[str, str], text: str) -> None:
    (runtime_folder(environ) / "up.json").write_text(text, encoding="utf-8")
    assert find(environ) is None


def test_state_stands_in_the_users_state_folder() -> None:
    assert state_folder({"XDG_STATE_HOME": "/home/a/state"}) == Path("/home/a/state/gpio-bridge/up")
