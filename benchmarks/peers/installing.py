"""Installing: each peer into a folder of its own in the user's cache, once, at the versions its module pins."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.processes import BenchmarkError

_TIMEOUT_S = 600.0
_SHOWN = 300


class NotInstalledError(BenchmarkError):
    """A peer cannot be installed here; the message says why."""


def cache() -> Path:
    """Where peers are installed: `$XDG_CACHE_HOME/gpio-bridge-bench`. It may be removed at any time."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gpio-bridge-bench"


def python_with(name: str, requirements: Sequence[str]) -> Path:
    """The interpreter of a virtual environment with these requirements and nothing else."""
    folder = cache() / name
    python = folder / "bin" / "python"
    wanted = "\n".join([sys.version, *requirements])
    if not _complete(folder, wanted):
        # Our pip installs into it: one of its own would take longer to come than most of what is installed.
        _run([sys.executable, "-m", "venv", "--without-pip", str(folder)])
        pip = [sys.executable, "-m", "pip", "--python", str(python), "--disable-pip-version-check"]
        _run([*pip, "install", "--quiet", *requirements])
        _completed(folder, wanted)
    return python


def node_with(name: str, packages: Sequence[str], *, least: tuple[int, int], fallback: str) -> tuple[Path, Path]:
    """Node.js, and the folder whose `node_modules` has these packages.

    Where the machine's Node.js is older than `least`, the npm package `fallback` brings another one.
    """
    npm, node = shutil.which("npm"), shutil.which("node")
    if npm is None or node is None:
        raise NotInstalledError("npm is missing; install it: sudo apt-get install npm")
    folder = cache() / name
    bring = _node_version(Path(node)) < least
    asked = [*packages, fallback] if bring else list(packages)
    wanted = "\n".join(asked)
    if not _complete(folder, wanted):
        folder.mkdir(parents=True, exist_ok=True)
        _run([npm, "install", "--prefix", str(folder), "--no-audit", "--no-fund", "--loglevel", "error", *asked])
        _completed(folder, wanted)
    program = folder / "node_modules" / ".bin" / "node" if bring else Path(node)
    if _node_version(program) < least:
        raise NotInstalledError(f"{fallback} did not bring a Node.js of at least {least[0]}.{least[1]}")
    return program, folder


def _complete(folder: Path, wanted: str) -> bool:
    """Whether exactly this is installed; what is left of anything else is removed."""
    mark = folder / "installed.txt"
    if mark.exists() and mark.read_text(encoding="utf-8") == wanted:
        return True
    shutil.rmtree(folder, ignore_errors=True)
    return False


def _completed(folder: Path, wanted: str) -> None:
    (folder / "installed.txt").write_text(wanted, encoding="utf-8")


def _run(command: Sequence[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)  # noqa: S603 - pip, venv and npm
    except subprocess.TimeoutExpired:
        raise NotInstalledError(f"{' '.join(command)} took more than {_TIMEOUT_S:g} s") from None
    if done.returncode:
        said = " ".join((done.stderr or done.stdout).split())[-_SHOWN:]
        raise NotInstalledError(f"{' '.join(command)} failed: {said}")


def _node_version(node: Path) -> tuple[int, int]:
    if not node.exists():
        return (0, 0)
    said = subprocess.run([node, "--version"], capture_output=True, text=True, timeout=30, check=False).stdout  # noqa: S603 - the program found here
    found = re.match(r"v(\d+)\.(\d+)", said)
    return (int(found[1]), int(found[2])) if found else (0, 0)
