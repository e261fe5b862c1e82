"""The command line in this process, which is quicker; the programs' own tests start real ones."""

from __future__ import annotations

import contextlib
import io
import shlex
from dataclasses import dataclass

from bridge.cli import run


@dataclass(frozen=True)
class Done:
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str


def command(line: str) -> Done:
    """What `gpio-bridge LINE` does."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run(shlex.split(line))
    return Done(code, out.getvalue(), err.getvalue())
