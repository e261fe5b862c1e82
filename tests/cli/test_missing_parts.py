"""A Pi with an agent alone has not the packages of the server."""

from __future__ import annotations

import subprocess
import sys


def test_a_command_of_the_server_says_what_to_install_where_its_packages_are_missing() -> None:
    code = "import sys; sys.modules['httpx'] = None; from bridge.cli import run; sys.exit(run(['functions', 'list']))"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 69
    assert "pip install 'gpio-bridge[server]'" in ended.stderr
    assert "Traceback" not in ended.stderr
