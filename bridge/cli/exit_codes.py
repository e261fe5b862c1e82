"""The exit codes of `gpio-bridge`, all of them.

Above 2 they follow sysexits(3), so that systemd's `RestartPreventExitStatus=78` and scripts can tell them apart.
"""

from __future__ import annotations

from typing import Final

OK: Final = 0
FAILED: Final = 1
"""It was tried and did not work; the message says why."""
USAGE: Final = 2
"""The command line is wrong."""
UNAVAILABLE: Final = 69
"""A program that was asked does not answer (EX_UNAVAILABLE)."""
CONFIG: Final = 78
"""A file written by people has mistakes; each is printed (EX_CONFIG)."""
INTERRUPTED: Final = 130
"""Ctrl-C (128 + SIGINT)."""

HELP: Final = (
    "Exit codes: 0 done, 1 failed, 2 wrong usage, 69 a program that was asked does not answer,"
    " 78 mistakes in a file, 130 interrupted."
)
