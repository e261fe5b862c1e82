"""The plugin as a user has it: from the wheel, in an environment and a project of their own outside of this one."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

from tests.testing.test_plugin import AGENT, MAPPINGS, TEST

ROOT = Path(__file__).parents[2]


def ran(*command: str | Path, folder: Path, fails: bool = False) -> str:
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "PYTHON", "COV"))
    }
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False
    )  # fmt: skip
    assert (done.returncode != 0) is fails, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of a fresh environment with our wheel in it; what we depend on is borrowed from this one."""
    folder = tmp_path_factory.mktemp("fresh")
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check")
    ran(*pip, "wheel", "--quiet", "--no-deps", "--no-index", "--no-build-isolation", "-w", folder, ROOT, folder=folder)
    (wheel,) = folder.glob("gpio_bridge-*.whl")
    venv.create(folder / "venv", symlinks=True)
    python = folder / "venv" / "bin" / "python"
    ran(*pip, "--python", python, "install", "--quiet", "--no-deps", "--no-index", wheel, folder=folder)
    (packages,) = (folder / "venv" / "lib").glob("python*/site-packages")
    # A line of a .pth is one more folder to import from; the .pth files in there, such as our own, are not read.
    (packages / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    return python


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for name, text in {"agent.yaml": AGENT, "mappings.yaml": MAPPINGS, "test_house.py": TEST}.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


@pytest.mark.timeout(400)
def test_the_templates_of_function_images_come_with_the_wheel(python: Path, tmp_path: Path) -> None:
    ran(python, "-m", "bridge", "functions", "template", folder=tmp_path)
    written = {path.relative_to(tmp_path / "template").as_posix() for path in (tmp_path / "template").rglob("*")}
    assert {"classic/Dockerfile", "python3-http/server.txt", "python3/runtime/__main__.py"} <= written


@pytest.mark.timeout(400)
def test_the_files_of_the_whole_stack_come_with_the_wheel_and_no_password_does(python: Path, tmp_path: Path) -> None:
    ran(python, "-m", "bridge", "stack", "init", folder=tmp_path)
    written = {path.name for path in (tmp_path / "stack").iterdir()}
    assert {"gpio-bridge.yml", "broker.acl", "first-mappings.yaml", "secrets"} <= written
    (shipped,) = python.parents[1].glob("lib/python*/site-packages/bridge/manager/stack/shipped")
    assert {path.name for path in shipped.iterdir()} == written - {"secrets"}


@pytest.mark.timeout(400)
def test_a_project_of_three_files_passes_with_the_wheel_in_a_fresh_environment_and_borrowed_dependencies(
    python: Path, project: Path
) -> None:
    where = ran(python, "-c", "import bridge; print(bridge.__file__)", folder=project)
    assert str(python.parents[1]) in where
    assert "1 passed" in ran(python, "-m", "pytest", "-p", "no:cacheprovider", folder=project)


@pytest.mark.timeout(400)
def test_a_mistake_in_its_mapping_is_told_with_its_line(python: Path, project: Path) -> None:
    (project / "mappings.yaml").write_text(MAPPINGS.replace("hours:", "huors:"), encoding="utf-8")
    told = ran(python, "-m", "pytest", "-p", "no:cacheprovider", folder=project, fails=True)
    assert "mappings.yaml:7:5: mappings.intruder-alert.huors: unknown key; did you mean hours?" in told
    assert "Traceback" not in told
    assert "site-packages" not in told.replace("rootdir", "")
