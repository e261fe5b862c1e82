"""Wheels packed from what is installed."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path

from tests.lab import wheels


def test_what_is_required_is_found_through_its_requirements_and_extras_and_each_once() -> None:
    names = [each.name.lower() for each in wheels.required(["gpio-bridge[server]"])]
    assert len(names) == len(set(names))
    assert {"aiohttp", "yarl", "docker", "orjson"} <= set(names)
    assert "gpio-bridge" not in names
    assert not {"pytest", "hypothesis", "mypy"} & set(names), "of another extra"


def test_a_packed_wheel_can_be_installed_and_used(tmp_path: Path) -> None:
    wheel = wheels.pack(distribution("orjson"), tmp_path)
    target = tmp_path / "installed"
    install = ("-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--disable-pip-version-check")
    subprocess.run([sys.executable, *install, "--target", target, wheel], check=True, capture_output=True, timeout=60)
    code = "import sys; sys.path.insert(0, sys.argv[1]); import orjson; print(orjson.__file__, orjson.dumps([1]))"
    done = subprocess.run([sys.executable, "-c", code, target], check=True, capture_output=True, text=True, timeout=60)
    assert done.stdout.startswith(str(target))
    assert done.stdout.endswith("b'[1]'\n")
