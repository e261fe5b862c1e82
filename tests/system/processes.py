"""A program as a process: started, ended in order or killed, paused, asked over HTTP; its log is kept.

Every wait is for a condition and has a deadline. The kernel kills the process when the one that started it dies.
"""

from __future__ import annotations

import http.client
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

COMMAND = (sys.executable, "-m", "bridge")
READY_S = 90.0
"""Long, for a machine with ten times as much to do as it can: one that has ended is noticed at once all the same."""
STOP_S = 60.0
COMES_S = 60.0
"""How long what comes at once on a quiet machine may take."""
_ASK_S = 5.0
_POLL_S = 0.02
_SHOWN_LINES = 60
_HOST = "127.0.0.1"


def until(condition: Callable[[], object], what: str, within_s: float = COMES_S, told: Callable[[], str] = str) -> None:
    """Wait for a condition; an AssertionError says what did not come true, and what `told` has to say about it."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {within_s:g} s: {what}\n{told()}"
        time.sleep(_POLL_S)


def ask(port: int, path: str, document: object = None, timeout_s: float = _ASK_S) -> tuple[int, Any]:
    """One request to this machine, GET or (with a document) POST: status and JSON or text; 0 when nobody answers."""
    connection = http.client.HTTPConnection(_HOST, port, timeout=timeout_s)
    try:
        body = None if document is None else json.dumps(document)
        headers = {} if body is None else {"Content-Type": "application/json"}
        connection.request("GET" if body is None else "POST", path, body, headers)
        answer = connection.getresponse()
        text = answer.read().decode("utf-8", "replace")
    except (OSError, http.client.HTTPException) as error:
        return 0, str(error)
    finally:
        connection.close()
    try:
        return answer.status, json.loads(text)
    except ValueError:
        return answer.status, text


def environment(folder: Path) -> dict[str, str]:
    """Ours, without what would make a program find its developer's settings or a running `up`.

    What a killed program leaves behind, it leaves in the test's own folder.
    """
    runtime, temporary = folder / "runtime", folder / "tmp"
    runtime.mkdir(exist_ok=True)
    temporary.mkdir(exist_ok=True)
    kept = {key: value for key, value in os.environ.items() if not key.startswith("GPIO_BRIDGE_")}
    ours = {"XDG_RUNTIME_DIR": runtime, "XDG_STATE_HOME": folder / "xdg-state", "TMPDIR": temporary}
    return kept | {name: str(path) for name, path in ours.items()}


class Program:
    """One program of `gpio-bridge` with its settings file, HTTP port and state folder; it can be started many times."""

    def __init__(self, folder: Path, name: str, settings: Mapping[str, Any], port: int) -> None:
        self.name = name
        self.port = port
        self.folder = folder
        self.state = folder / name
        self.log = folder / f"{name}.log"
        self.file = folder / f"{name}.yaml"
        self.arguments: tuple[str, ...] = ()
        self.variables: dict[str, str] = {}
        """What its environment has besides; counts from the next start."""
        self._process: subprocess.Popen[bytes] | None = None
        self.configure(settings)

    def configure(self, settings: Mapping[str, Any]) -> None:
        """Write the settings file; it counts from the next start. JSON is YAML."""
        document = {"version": 1, "state_dir": str(self.state), **settings}
        self.file.write_text(json.dumps(document, indent=1), encoding="utf-8")

    @property
    def kind(self) -> str:
        """The command that runs it."""
        return self.name.partition("-")[0]

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        assert self._process is not None, f"the {self.name} was not started"
        return self._process.pid

    def start(self) -> None:
        """Start it, without waiting for anything."""
        assert not self.running, f"the {self.name} is running"
        command = [*COMMAND, self.kind, "--config", str(self.file), *self.arguments]
        setpriv = shutil.which("setpriv")
        if setpriv is not None:
            command = [setpriv, "--pdeathsig", "KILL", *command]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment(self.folder) | self.variables,
            )

    def ready(self, within_s: float = READY_S) -> None:
        """Wait until it says that it can do its work."""
        until(self._is_ready, f"the {self.name} is ready", within_s, self.why_not)

    def stop(self, within_s: float = STOP_S) -> int:
        """SIGTERM; its exit code."""
        return self.end(signal.SIGTERM, within_s)

    def kill(self) -> None:
        """SIGKILL; one that is not there is left alone."""
        if self.running:
            self.end(signal.SIGKILL)

    def end(self, number: signal.Signals, within_s: float = STOP_S) -> int:
        """Send a signal and wait for the end; the exit code."""
        assert self._process is not None, f"the {self.name} was not started"
        self._process.send_signal(number)
        try:
            code = self._process.wait(within_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"the {self.name} did not end within {within_s:g} s\n{self.last_words()}") from None
        self._process = None
        return code

    def ended(self, within_s: float = STOP_S) -> int:
        """Wait until it ends by itself; the exit code."""
        assert self._process is not None, f"the {self.name} was not started"
        try:
            code = self._process.wait(within_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"the {self.name} did not end by itself\n{self.last_words()}") from None
        self._process = None
        return code

    def pause(self) -> None:
        """Stop it without ending it: connections stay open, nobody answers."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def disk_full(self, *, full: bool) -> None:
        """Let no file of it grow any more (prlimit(2): writes fail), or let them grow again."""
        _, hard = resource.prlimit(self.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(self.pid, resource.RLIMIT_FSIZE, (1 if full else hard, hard))

    def ask(self, path: str, document: object = None, timeout_s: float = _ASK_S) -> tuple[int, Any]:
        """One request to its HTTP API."""
        return ask(self.port, path, document, timeout_s)

    def metrics(self) -> dict[str, float]:
        """Its metrics, by name with labels as they stand in the text; empty when it does not answer."""
        status, text = self.ask("/metrics")
        if status != 200:
            return {}
        rows = (line.rpartition(" ") for line in str(text).splitlines() if line and not line.startswith("#"))
        return {name: float(value) for name, _, value in rows}

    def lines(self) -> list[dict[str, Any]]:
        """Its log: each line that is a JSON object."""
        found = []
        for line in self.log.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("{"):
                found.append(json.loads(line))
        return found

    def said(self, text: str) -> bool:
        """Whether its log has this text."""
        return self.log.exists() and text in self.log.read_text(encoding="utf-8", errors="replace")

    def last_words(self) -> str:
        """The end of its log."""
        text = self.log.read_text(encoding="utf-8", errors="replace") if self.log.exists() else ""
        return f"--- {self.log.name}\n" + "\n".join(text.splitlines()[-_SHOWN_LINES:])

    def why_not(self) -> str:
        """What it says about its readiness, and the end of its log."""
        return f"{self.ask('/readyz')}\n{self.last_words()}"

    def _is_ready(self) -> bool:
        assert self.running, f"the {self.name} has ended\n{self.last_words()}"
        return self.ask("/readyz", timeout_s=2.0)[0] == 200


def run(
    folder: Path, arguments: Sequence[str], stdin: str = "", within_s: float = 90.0
) -> subprocess.CompletedProcess[str]:
    """A command of `gpio-bridge` as people call it, run to its end."""
    return subprocess.run(
        [*COMMAND, *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=within_s,
        check=False,
        cwd=folder,
        env=environment(folder),
    )
