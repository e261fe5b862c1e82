"""A Pi with an agent alone has not the packages of the server, nor a server those of an agent."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from bridge.cli import EXTRAS

PROJECT = Path(__file__).parents[2] / "pyproject.toml"


@pytest.mark.parametrize(
    ("package", "command", "extra"),
    [
        ("httpx", "'functions', 'list'", "server"),
        ("aiohappyeyeballs", "'test'", "server"),
        ("gpiozero", "'up'", "agent"),
    ],
)
def test_a_command_says_what_to_install_where_its_packages_are_missing(
    package: str, command: str, extra: str, tmp_path: Path
) -> None:
    (tmp_path / "agent.yaml").write_text("version: 1\nnode: pi-1\nsensors: {bell: {kind: button, pin: 22}}\n")
    (tmp_path / "mappings.yaml").write_text("version: 1\nmappings: {m: {select: {kind: button}, invoke: f}}\n")
    (tmp_path / "a.scenario.yaml").write_text("version: 1\nname: a\nsteps: [expect: none]\n")
    code = f"import sys; sys.modules['{package}'] = None; from bridge.cli import run; sys.exit(run([{command}]))"
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path
    )
    assert ended.returncode == 69, ended.stderr
    assert f"this needs {package}, which is not installed here" in ended.stderr
    assert f"pip install 'gpio-bridge[{extra}]'" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("extra", EXTRAS)
def test_every_package_of_an_extra_is_known_by_the_name_that_is_imported(extra: str) -> None:
    wanted = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]["optional-dependencies"][extra]
    names = {re.split(r"[^A-Za-z0-9_.-]", one)[0].lower() for one in wanted if not one.startswith("gpio-bridge")}
    imported = {
        module
        for module, distributions in packages_distributions().items()
        if not module.startswith("_") and names & {distribution.lower() for distribution in distributions}
    }
    assert imported
    assert imported - {"gpiozerocli"} <= set(EXTRAS[extra])  # those are commands of its own
