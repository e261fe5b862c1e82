"""Walks through a page as its reader would: writes its files, types its commands, and compares what is printed.

On a page stand, in the order of the page:

    ```yaml or ```python, the first line a comment with a file's name: that file, written anew
    ```console
    $ COMMAND            typed; what follows, up to the next `$`, is all that it prints
    ^C                   typed where the program that was started last still runs
    LINES                without a `$` before them: what a program that still runs has printed since

What is printed must be what the page shows, letter for letter, but for what VARIES: times, ids, ports and measured
durations, of which the page shows any. `…` stands for anything in a line, and on a line of its own for any lines.
"""

from __future__ import annotations

import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final, Self, TypeAlias

VARIES: Final = (
    (re.compile(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(?:\.\d+)?(?:Z| UTC)?"), "<moment>"),
    (re.compile(r"\b\d\d:\d\d:\d\d(?:\.\d+)?\b"), "<time>"),
    (re.compile(r"\b[0-9A-HJKMNP-TV-Z]{26}\b"), "<id>"),
    (re.compile(r"\b(?:127\.0\.0\.1|192\.168\.\d+\.\d+):\d+ *"), "<address> "),
    (re.compile(r"\b\d+\.\d+ ?s\b|\b\d+ ms\b"), "<measured>"),
)
NOT_TYPED: Final = ("pip install",)
"""What a test cannot do: it would need the network, and the package is installed already."""
GO_ON: Final = ("gpio-bridge up", "gpio-bridge record", "gpio-bridge events")
"""Commands that end when they are told to, unless they say themselves when (`--for`, `-n`)."""
WITHIN_S: Final = 30.0

_FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_NAMED = re.compile(r"# (\S+\.\w+)\n")


@dataclass(frozen=True, slots=True)
class Written:
    """A file of the page."""

    line: int
    name: str
    text: str


@dataclass(frozen=True, slots=True)
class Typed:
    """A command, `^C`, or nothing, and what is shown below it."""

    line: int
    command: str | None
    shown: str


Step: TypeAlias = Written | Typed
CarryOut: TypeAlias = Callable[[list[str], Path], str]


def steps(text: str) -> Iterator[Step]:
    """What a page lets its reader do, in order."""
    for found in _FENCE.finditer(text):
        line = text.count("\n", 0, found.start()) + 2
        if found[1] == "console":
            yield from _typed(found[2], line)
        elif found[1] in ("yaml", "python") and (named := _NAMED.match(found[2])):
            yield Written(line, named[1], found[2][named.end() :])


def _typed(block: str, line: int) -> Iterator[Typed]:
    command, begins, shown = None, line, list[str]()
    for number, text in enumerate(block.splitlines(), line):
        if text.startswith("$ ") or text == "^C":
            if command is not None or shown:
                yield Typed(begins, command, "".join(shown))
            command, begins, shown = text.removeprefix("$ "), number, []
        else:
            shown.append(f"{text}\n")
    yield Typed(begins, command, "".join(shown))


def plain(text: str) -> str:
    """A text without what varies."""
    for pattern, instead in VARIES:
        text = pattern.sub(instead, text)
    return text


def expected(shown: str) -> re.Pattern[str]:
    """What a page shows, as a pattern for what is printed, without what varies."""
    lines = []
    for line in plain(shown).splitlines():
        lines.append(r"(?:.*\n)*?" if line == "…" else ".*?".join(map(re.escape, line.split("…"))) + r"[ \t]*\n")
    return re.compile("".join(lines))


class Walk:
    """A walk through one page in a folder of its own.

    `commands` carries out what can be carried out in this process, which is quicker: for the first word of a command,
    what takes the others and the folder, and gives what is printed. Everything else is done by a shell.
    """

    def __init__(self, page: Path, folder: Path, commands: Mapping[str, CarryOut]) -> None:
        self._page = page
        self._commands = commands
        self._here = folder
        self._logs = folder.parent
        self._running: list[_Running] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        for running in self._running:
            running.kill()

    def through(self, *, instead: Mapping[str, str] = MappingProxyType({})) -> int:
        """Do everything that the page says; how many commands it had.

        `instead` says what stands here for the machines and files of which the page speaks.
        """
        count = 0
        for step in steps(self._page.read_text(encoding="utf-8")):
            if isinstance(step, Written):
                path = self._here / step.name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(step.text, encoding="utf-8")
            elif step.command is None:
                self._wait(step, self._running[-1:] if len(self._running) == 1 else self._running)
            elif step.command == "^C":
                count += 1
                last = self._running.pop()
                self._compare(step, last.interrupted())
            elif not step.command.startswith(NOT_TYPED):
                count += 1
                self._type(step, _replaced(step.command, instead))
        assert not self._running, f"{self._page.name}: what it starts still runs at its end; write ^C"
        return count

    def _type(self, step: Typed, command: str) -> None:
        if command.startswith(GO_ON) and not {"--for", "-n"} & set(shlex.split(command)):
            log = self._logs / f"{self._page.stem}-{step.line}.log"
            self._running.append(_Running(shlex.split(command)[1:], self._here, log))
            self._wait(step, self._running[-1:])
            return
        printed = ""
        for part in command.split(" && "):
            words = shlex.split(part)
            if words[0] == "cd":
                self._here /= words[1]
            elif words[0] in self._commands and not {"|", ">"} & set(words):
                printed += self._commands[words[0]](words[1:], self._here)
            else:
                printed += self._in_a_shell(part)
        self._compare(step, printed)

    def _in_a_shell(self, command: str) -> str:
        done = subprocess.run(
            command, shell=True, cwd=self._here, capture_output=True, text=True, timeout=100, check=False
        )
        return done.stdout + done.stderr

    def _compare(self, step: Typed, printed: str) -> None:
        if not expected(step.shown).fullmatch(plain(_ended(printed))):
            raise AssertionError(self._differs(step, printed))

    def _wait(self, step: Typed, among: list[_Running]) -> None:
        """Until one of the running programs has printed what the page shows."""
        deadline = time.monotonic() + WITHIN_S
        wanted = expected(step.shown)
        while True:
            for running in among:
                found = running.printed()
                if wanted.match(plain(found)):
                    running.read(found, wanted)
                    return
            ended = [running for running in among if running.ended]
            if ended or time.monotonic() > deadline:
                printed = "\n".join(running.printed() for running in among)
                raise AssertionError(self._differs(step, printed))
            time.sleep(0.02)

    def _differs(self, step: Typed, printed: str) -> str:
        where = f"{self._page.name}:{step.line}: {step.command or 'what still runs'}"
        return f"{where}\nthe page shows\n{step.shown}\nand there came\n{printed}"


def _replaced(command: str, instead: Mapping[str, str]) -> str:
    for there, here in instead.items():
        command = command.replace(there, here)
    return command


def _ended(text: str) -> str:
    return text if not text or text.endswith("\n") else f"{text}\n"


class _Running:
    """A program that goes on, and what it has printed that no block of the page has shown."""

    def __init__(self, arguments: list[str], folder: Path, log: Path) -> None:
        self._log = log
        self._read = 0
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "bridge", *arguments], cwd=folder, stdout=output, stderr=subprocess.STDOUT
            )

    @property
    def ended(self) -> bool:
        return self._process.poll() is not None

    def printed(self) -> str:
        """What was printed since, in whole lines."""
        text = self._log.read_text(encoding="utf-8")[self._read :]
        return text[: text.rfind("\n") + 1]

    def read(self, found: str, wanted: re.Pattern[str]) -> None:
        """Set aside the lines that were waited for."""
        lines = found.splitlines(keepends=True)
        for count in range(len(lines) + 1):
            if wanted.fullmatch(plain("".join(lines[:count]))):
                self._read += len("".join(lines[:count]))
                return

    def interrupted(self) -> str:
        """What it prints from now on to its end, after Ctrl-C."""
        before = len(self.printed())
        self._process.send_signal(signal.SIGINT)
        self._process.wait(WITHIN_S)
        return self._log.read_text(encoding="utf-8")[self._read + before :]

    def kill(self) -> None:
        """End it, whatever has become of the walk."""
        if not self.ended:
            self._process.kill()
            self._process.wait(10)
