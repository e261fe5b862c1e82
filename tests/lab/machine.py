"""What a lab asks of the machine that it stands on: commands, processes, control groups."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from tests.real_parts import PACKAGES, find

NEEDED: Final = (
    "dockerd",
    "docker",
    "docker-registry",
    "ip",
    "iptables",
    "nsenter",
    "unshare",
    "setsid",
    "mount",
    "umount",
)
_POLL_S: Final = 0.1
"""Most conditions start a program to be found out, and would keep a machine busy that has better things to do."""
_PLENTY_BYTES: Final = 6 * 1024**3
"""A lab of three engines with a dozen images takes a good gigabyte."""
_CGROUPS: Final = Path("/sys/fs/cgroup")


class LabError(RuntimeError):
    """The lab cannot do what it was asked; the text is for people."""


def missing(commands: Iterable[str] = NEEDED) -> str | None:
    """What this machine lacks for a lab, with the command that installs it; None where nothing is missing."""
    absent = [command for command in commands if find(command) is None]
    if absent:
        packages = " ".join(sorted({PACKAGES.get(command, "util-linux") for command in absent}))
        return f"{', '.join(absent)} missing; install: sudo apt-get install {packages} (scripts/ci-setup does it)"
    return None if os.geteuid() == 0 else "a lab needs root, for network namespaces; run as root"


def run(*command: str | Path, within_s: float = 60.0, stdin: str | None = None) -> str:
    """What a command prints. Raises LabError with what it complained about."""
    program = find(str(command[0]))
    if program is None:
        raise LabError(missing([str(command[0])]) or "")
    shown = " ".join(map(str, command))
    try:
        done = subprocess.run(
            [program, *command[1:]], input=stdin, capture_output=True, text=True, timeout=within_s, check=False
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise LabError(f"`{shown}` did not end within {within_s:g} s") from None
    if done.returncode:
        raise LabError(f"`{shown}` failed: {(done.stderr or done.stdout).strip()}")
    return done.stdout


def until(condition: Callable[[], object], what: str, within_s: float, told: Callable[[], str] = str) -> None:
    """Wait for a condition. Raises LabError that says what did not come true, and what `told` has to say about it."""
    deadline = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > deadline:
            raise LabError(f"not within {within_s:g} s: {what}\n{told()}".strip())
        time.sleep(_POLL_S)


def spawn(command: Iterable[str | Path], log: Path) -> None:
    """Start a program that outlives us and belongs to nobody's terminal; it writes into `log`."""
    with log.open("ab") as sink:
        subprocess.run(
            [str(find("setsid")), "--fork", *map(str, command)],
            stdin=subprocess.DEVNULL, stdout=sink, stderr=sink, check=True, cwd="/",
        )  # fmt: skip


def alive(pid_file: Path, named: str) -> int | None:
    """The process of a pid file if it runs and its command line has these words: numbers are given again."""
    try:
        pid = int(pid_file.read_text(encoding="ascii"))
        command = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
    except (OSError, ValueError):
        return None
    return pid if named in command else None


def with_arguments(*last: str) -> set[int]:
    """The processes whose command line ends so; unlike a number in a file, it is never somebody else's."""
    ending = "".join(f"{each}\0" for each in last).encode()
    found = set()
    for pid in _processes():
        with contextlib.suppress(OSError):
            if Path(f"/proc/{pid}/cmdline").read_bytes().endswith(b"\0" + ending):
                found.add(pid)
    return found


def in_control_group(name: str) -> set[int]:
    """The processes in a control group of the first level, and below it, in whichever hierarchy (cgroups(7))."""
    found = set()
    for pid in _processes():
        with contextlib.suppress(OSError):
            if f":/{name}/" in Path(f"/proc/{pid}/cgroup").read_text(encoding="utf-8"):
                found.add(pid)
    return found


def _processes() -> list[int]:
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal()]


def in_network_namespace(name: str) -> set[int]:
    """The processes in a named network namespace; none where there is no such."""
    if not Path("/run/netns", name).exists():
        return set()
    return {int(pid) for pid in run("ip", "netns", "pids", name).split()}


def end(pids: Callable[[], set[int]], what: str, within_s: float = 15.0) -> None:
    """Kill processes, and those that they start meanwhile, until there are none."""

    def gone() -> bool:
        left = pids()
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return not left

    until(gone, f"the processes of {what} are gone", within_s)


def remove_control_groups(name: str) -> None:
    """Remove a control group of the first level that has no processes any more, in all hierarchies."""
    for top in (_CGROUPS / name, *_CGROUPS.glob(f"*/{name}")):
        if not top.is_dir():
            continue
        for folder, _, _ in os.walk(top, topdown=False):
            with contextlib.suppress(OSError):
                Path(folder).rmdir()


def in_memory(folder: Path, name: str) -> None:
    """Let a folder be in memory where there is plenty: engines write and remove tens of thousands of small files.

    `name` is what `mounted` knows it by.
    """
    if _available_bytes() >= _PLENTY_BYTES:
        run("mount", "-t", "tmpfs", "-o", "mode=0755", name, folder)


def mounted(name: str) -> list[Path]:
    """The folders that `in_memory` has mounted by that name."""
    return [Path(where) for what, where in _mounts() if what == name]


def remove_folder(folder: Path) -> None:
    """Remove a folder that engines worked in; nothing that is mounted below it is entered."""
    unmount(folder)
    if folder.exists():
        shutil.rmtree(folder)


def unmount(folder: Path) -> None:
    """Unmount what is mounted at a folder and below it, the deepest first; another process may do the same."""
    for _, mount in sorted(_mounts(), key=lambda each: len(each[1]), reverse=True):
        if mount == str(folder) or mount.startswith(f"{folder}/"):
            try:
                run("umount", "--lazy", mount)
            except LabError:
                if any(where == mount for _, where in _mounts()):
                    raise


def _mounts() -> list[tuple[str, str]]:
    """What is mounted and where (proc(5)); a space in a path is written as an octal number."""
    lines = Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()
    return [
        (what, re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), where))
        for what, where, *_ in map(str.split, lines)
    ]


def _available_bytes() -> int:
    text = Path("/proc/meminfo").read_text(encoding="ascii")
    found = re.search(r"^MemAvailable: +([0-9]+) kB$", text, re.MULTILINE)
    return 0 if found is None else int(found[1]) * 1024
