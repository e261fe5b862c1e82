from __future__ import annotations

import io
import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from bridge.cli import run

COMMAND = (sys.executable, "-m", "bridge")


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    """Programs started in this process set up logging; the next test must not write into this one's stderr."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(capture=False)


@dataclass(frozen=True, slots=True)
class Result:
    """What a command that ended left behind."""

    returncode: int
    stdout: str
    stderr: str


Command = Callable[..., Result]


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test finds an `up` that its developer has running, and none leaves traces in their folders."""
    runtime = tmp_path / "runtime"
    runtime.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "xdg-state"))
    monkeypatch.setenv("TMPDIR", str(tmp_path))  # for programs that are killed; ours has looked it up already
    for name in [name for name in os.environ if name.startswith("GPIO_BRIDGE_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def command(capfdbinary: pytest.CaptureFixture[bytes], monkeypatch: pytest.MonkeyPatch) -> Command:
    """Runs one command to its end, in this process, which is quicker; other tests start real ones."""

    def perform(*arguments: str, stdin: str = "") -> Result:
        capfdbinary.readouterr()
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin.encode())))
        code = run(list(arguments))
        out, err = capfdbinary.readouterr()
        return Result(code, out.decode(), err.decode())

    return perform


class Running:
    """A command that goes on, and what it has printed so far."""

    def __init__(self, folder: Path, *arguments: str, cwd: Path | None = None) -> None:
        self._output = folder / f"output-{time.monotonic_ns()}"
        with self._output.open("wb") as output:
            self.process = subprocess.Popen([*COMMAND, *arguments], stdout=output, stderr=subprocess.STDOUT, cwd=cwd)

    @property
    def output(self) -> str:
        return self._output.read_text(encoding="utf-8", errors="replace")

    def wait_for(self, text: str, within_s: float = 90.0) -> str:
        deadline = time.monotonic() + within_s
        while text not in self.output:
            assert self.process.poll() is None, f"it ended without {text!r}:\n{self.output}"
            assert time.monotonic() < deadline, f"no {text!r} within {within_s:g} s:\n{self.output}"
            time.sleep(0.02)
        return next(line for line in self.output.splitlines() if text in line)

    def stop(self, number: int, within_s: float = 60.0) -> int:
        self.process.send_signal(number)
        return self.process.wait(within_s)


Start = Callable[..., Running]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts commands that go on, and kills what a test has not stopped."""
    started: list[Running] = []

    def begin(*arguments: str, cwd: Path | None = None) -> Running:
        started.append(Running(tmp_path, *arguments, cwd=cwd))
        return started[-1]

    yield begin
    for running in started:
        if running.process.poll() is None:
            running.process.kill()
            running.process.wait(60)
