"""A project that `gpio-bridge init` has written, used as its README says: by real processes in a folder of its own."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bridge.cli import exit_codes
from tests.cli.conftest import COMMAND, Command, Start


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the command has written, which nobody changes."""
    folder = tmp_path_factory.mktemp("written") / "house"
    folder.mkdir()
    done = subprocess.run([*COMMAND, "init"], cwd=folder, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (exit_codes.OK, "")
    assert done.stdout.splitlines()[0] == "agent.yaml: written"
    return folder


@pytest.fixture
def house(written: Path, tmp_path: Path) -> Path:
    """A folder with all of it for each test."""
    return shutil.copytree(written, tmp_path / "house")


def test_the_test_of_a_new_project_passes_as_it_stands(house: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest"], cwd=house, capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stdout
    assert "6 passed" in done.stdout  # a scenario and two examples among them


def test_the_scenario_of_a_new_project_passes_as_it_stands(house: Path) -> None:
    done = subprocess.run([*COMMAND, "test"], cwd=house, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "an intruder at night raises the alarm once" in done.stdout
    assert done.stdout.endswith("3 passed, 0 failed\n")


def test_the_files_of_a_new_project_have_no_mistakes(house: Path, command: Command) -> None:
    files = [str(house / name) for name in ("agent.yaml", "mappings.yaml", "functions/stack.yml")]
    result = command("check", *files)
    assert (result.returncode, result.stdout.count(": ok (")) == (exit_codes.OK, 3), result.stdout


def test_a_new_project_runs_and_its_doorbell_invokes_its_function(house: Path, start: Start, command: Command) -> None:
    up = start("up", "--ports", "auto", cwd=house)
    up.wait_for("Ctrl-C stops everything.")
    deadline = time.monotonic() + 90
    while "→ alarm  200" not in up.output:
        assert time.monotonic() < deadline, up.output
        assert command("simulate", "doorbell", "press").returncode == exit_codes.OK
        assert command("simulate", "doorbell", "release").returncode == exit_codes.OK
        time.sleep(0.1)
    assert up.stop(signal.SIGINT) == exit_codes.OK


def test_the_readme_names_commands_and_files_that_are_there(house: Path, command: Command) -> None:
    text = (house / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 10
    for name in ("test_house.py", "house.scenario.yaml", "agent.yaml", "mappings.yaml", "functions/stack.yml"):
        assert name in text
        assert (house / name).is_file()
    called = {line.split()[2] for line in text.splitlines() if line.startswith("- `gpio-bridge ")}
    listed = command("--help").stdout
    assert all(f"  {name.strip('`')} " in listed for name in called), called


def test_a_folder_that_is_not_empty_is_left_as_it_is(tmp_path: Path, command: Command) -> None:
    folder = tmp_path / "full"
    folder.mkdir()
    (folder / "notes.txt").write_text("mine", encoding="utf-8")
    (folder / ".git").mkdir()
    result = command("init", str(folder))
    assert result.returncode == exit_codes.FAILED
    assert f"{folder} is not empty: it holds notes.txt; choose another folder" in result.stderr
    assert sorted(path.name for path in folder.iterdir()) == [".git", "notes.txt"]
    assert (folder / "notes.txt").read_text(encoding="utf-8") == "mine"


def test_a_repository_and_a_virtual_environment_are_not_in_the_way(tmp_path: Path, command: Command) -> None:
    folder = tmp_path / "house"
    (folder / ".git").mkdir(parents=True)
    (folder / "venv").mkdir()
    (folder / "venv" / "pyvenv.cfg").write_text("", encoding="utf-8")
    result = command("init", str(folder))
    assert result.returncode == exit_codes.OK, result
    assert (folder / "agent.yaml").exists()


def test_a_folder_that_is_not_there_is_made_and_where_none_can_be_that_is_said(
    tmp_path: Path, command: Command
) -> None:
    new = tmp_path / "a" / "b"
    result = command("init", str(new))
    assert result.returncode == exit_codes.OK
    assert f"Next: cd {new}; pytest" in result.stdout
    file = tmp_path / "file"
    file.write_text("", encoding="utf-8")
    refused = command("init", str(file))
    assert refused.returncode == exit_codes.FAILED
    assert f"{file} cannot be filled: Not a directory" in refused.stderr
