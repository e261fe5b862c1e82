"""Processes: everything a benchmark starts, each in a group of its own, and gone when the benchmark ends."""

from __future__ import annotations

import ctypes
import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

ROOT = Path(__file__).resolve().parent.parent
STOP_S = 10.0
ANSWER_S = 120.0
_SHOWN_BYTES = 2000
_PR_SET_PDEATHSIG = 1  # prctl(2)
_LIBC = ctypes.CDLL(None)


class BenchmarkError(Exception):
    """A benchmark cannot be carried out; the message says what to do."""


class Child:
    """A process that is started on entering and stopped on leaving: SIGTERM, then SIGKILL to its whole group.

    What it writes goes to `log`. The kernel kills it when we die, however that happens.
    """

    def __init__(
        self, command: Sequence[str], log: Path, *, cwd: Path = ROOT, environment: Mapping[str, str] | None = None
    ) -> None:
        self.command = list(command)
        self.log = log
        self.started_at = 0.0
        self._cwd = cwd
        self._environment = environment or {}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The process, once entered."""
        assert self._process is not None, "enter it first"
        return self._process

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.process.pid

    def __enter__(self) -> Self:
        # Settings come from the benchmark's files alone, and nothing may take the way through somebody's proxy.
        environment = {
            key: value
            for key, value in os.environ.items()
            if not key.startswith("GPIO_BRIDGE_") and not key.lower().endswith("_proxy")
        } | dict(self._environment)
        with self.log.open("ab") as log:
            self.started_at = time.monotonic()
            self._process = subprocess.Popen(  # noqa: S603 - the programs of this project, and the Mosquitto found here
                self.command,
                stdin=subprocess.PIPE,
                stdout=self._stdout(log.fileno()),
                stderr=log,
                bufsize=0,
                cwd=self._cwd,
                env=environment,
                start_new_session=True,
                preexec_fn=_end_with_parent,  # noqa: PLW1509 - we have no threads when we start something
            )
        return self

    def __exit__(self, *exc: object) -> None:
        process = self.process
        if process.stdin is not None:
            process.stdin.close()
        if process.poll() is None:
            process.terminate()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            pass
        finally:
            _kill_group(process.pid)
            process.wait(STOP_S)
            if process.stdout is not None:
                process.stdout.close()

    def last_words(self) -> str:
        """The end of its log, for a message."""
        said = self.log.read_bytes()[-_SHOWN_BYTES:].decode("utf-8", "replace").strip()
        return f"{' '.join(self.command)} said:\n{said}" if said else f"{' '.join(self.command)} said nothing"

    def check(self) -> None:
        """Raise BenchmarkError when it has ended."""
        code = self.process.poll()
        if code is not None:
            raise BenchmarkError(f"a process ended with {code} in the middle of a benchmark; {self.last_words()}")

    def _stdout(self, log: int) -> int:
        return log


class Role(Child):
    """One of `benchmarks.roles`: takes a JSON object per line on its input, and answers each with one.

    `python` is the interpreter of a peer's environment, where the role runs the peer itself.
    """

    def __init__(self, name: str, folder: Path, *arguments: str, python: Path = Path(sys.executable)) -> None:
        command = [str(python), "-m", f"benchmarks.roles.{name}", *arguments]
        super().__init__(command, folder / f"{name}.log")
        self.hello: Mapping[str, Any] = {}
        self._rest = b""

    def __enter__(self) -> Self:
        super().__enter__()
        try:
            self.hello = self.answer()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def ask(self, do: str, timeout_s: float = ANSWER_S, **arguments: object) -> Mapping[str, Any]:
        """Ask for something and wait for the answer."""
        self.tell(do, **arguments)
        return self.answer(timeout_s)

    def tell(self, do: str, **arguments: object) -> None:
        """Ask for something; `answer` takes the answer."""
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps({"do": do, **arguments}).encode() + b"\n")
        except BrokenPipeError:
            self._broken()

    def answer(self, timeout_s: float = ANSWER_S) -> Mapping[str, Any]:
        """The next answer. Raises BenchmarkError when none comes in time."""
        assert self.process.stdout is not None
        deadline = time.monotonic() + timeout_s
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            while b"\n" not in self._rest:
                if not selector.select(max(0.0, deadline - time.monotonic())):
                    raise BenchmarkError(f"no answer within {timeout_s:g} s; {self.last_words()}")
                piece = self.process.stdout.read(65536)
                if not piece:
                    self._broken()
                self._rest += piece
        line, _, self._rest = self._rest.partition(b"\n")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _broken(self) -> None:
        self.process.wait(STOP_S)
        self.check()

    def _stdout(self, log: int) -> int:  # a role talks to us instead
        return subprocess.PIPE


def _end_with_parent() -> None:
    if sys.platform == "linux":
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def _kill_group(pid: int) -> None:
    """Whatever of the process's group is still there."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
