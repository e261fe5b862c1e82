"""A disk that is full soon: a small tmpfs, where the test may mount one."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def mounted(folder: Path, size: str) -> Iterator[Path]:
    """A disk of that size (`400k`) over the folder."""
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    if subprocess.run(command, check=False, capture_output=True).returncode != 0:
        if os.environ.get("CI") == "true":
            pytest.fail("mounting a small disk needs root")
        pytest.skip("mounting a small disk needs root: run the tests with sudo to include this one")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)
