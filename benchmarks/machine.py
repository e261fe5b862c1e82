"""The machine: what it is, and what a process of it uses, read from /proc (proc(5))."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from pathlib import Path

from bridge.broker import find_mosquitto

_TICKS = os.sysconf("SC_CLK_TCK")
_LISTEN = "0A"


def describe() -> str:
    """One line: cores, processor, kernel, Python, Mosquitto."""
    broker = find_mosquitto()
    parts = [
        f"{os.cpu_count()} cores ({_processor()})",
        f"{platform.system()} {platform.machine()}",
        f"Python {platform.python_version()}",
        f"Mosquitto {_version(broker)}" if broker else "no Mosquitto",
    ]
    return ", ".join(parts)


def resident_mb(pid: int) -> float:
    """Resident memory in MB (10^6 bytes)."""
    return int(_status(pid, "VmRSS").split()[0]) * 1024 / 1e6


def cpu_s(pid: int) -> float:
    """Processor time of all threads since the process began, user and system; in steps of a clock tick."""
    fields = _stat(pid)
    return (int(fields[11]) + int(fields[12])) / _TICKS


def starved_s(pid: int) -> float:
    """How long the threads of a process could have run but had no core: what the neighbours took (sched-stats)."""
    threads = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(thread.read_text(encoding="ascii").split()[1]) for thread in threads) / 1e9


def loop_starved_s(pid: int) -> float:
    """As `starved_s`, of a process' first thread alone, which is the one that its loop runs on."""
    return int(Path(f"/proc/{pid}/task/{pid}/schedstat").read_text(encoding="ascii").split()[1]) / 1e9


def written_bytes() -> tuple[int, int]:
    """Bytes that this process has written: by calls, and to the disk's pages (proc_pid_io(5))."""
    found = dict(line.split(": ") for line in Path("/proc/self/io").read_text(encoding="ascii").splitlines())
    return int(found["wchar"]), int(found["write_bytes"])


def children(pid: int) -> list[int]:
    """The processes that a process has started and that still run."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if int(_stat(int(folder.name))[1]) == pid:
                found.append(int(folder.name))
        except (FileNotFoundError, ProcessLookupError):
            continue  # it ended in between
    return found


def listening_ports(pid: int) -> list[int]:
    """The TCP ports that a process listens on (IPv4)."""
    mine = set()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        found = re.fullmatch(r"socket:\[(\d+)\]", str(descriptor.readlink()))
        if found:
            mine.add(found[1])
    lines = Path(f"/proc/{pid}/net/tcp").read_text(encoding="ascii").splitlines()[1:]
    rows = (line.split() for line in lines)
    return [int(row[1].split(":")[1], 16) for row in rows if row[3] == _LISTEN and row[9] in mine]


def _stat(pid: int) -> list[str]:
    """/proc/PID/stat after the command, which may hold spaces: state, parent, ... (proc_pid_stat(5))."""
    return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()


def _status(pid: int, key: str) -> str:
    for line in Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines():
        name, _, value = line.partition(":")
        if name == key:
            return value.strip()
    raise LookupError(f"/proc/{pid}/status has no {key}")


def _processor() -> str:
    model = Path("/proc/device-tree/model")  # a Raspberry Pi says here what it is
    if model.exists():
        return model.read_text(encoding="utf-8").strip("\0 \n")
    found = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(encoding="utf-8"), re.MULTILINE)
    return found[1].strip() if found else platform.machine()


def _version(program: Path) -> str:
    shown = subprocess.run([program, "-h"], capture_output=True, text=True, timeout=10, check=False)  # noqa: S603 - the program found here
    found = re.search(r"version (\S+)", shown.stdout)
    return found[1] if found else "of unknown version"
