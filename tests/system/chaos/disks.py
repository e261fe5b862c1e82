"""State folders on small disks of their own, which can be really full or really read-only.

Mounts are made in a mount namespace of our own alone (unshare(1)): when its last process has ended, however it ended,
the kernel takes them away, and nobody else has ever seen them.
"""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.real_parts import find

SIZE_MIB = 48
_BALLAST = "ballast"
_PIECE = bytes(1024 * 1024)
_OUTSIDE = "CHAOS_OUTSIDE"
_NEEDED = ("mount", "umount", "unshare")


def why_not() -> str | None:
    """Why no disk can be mounted here; None when it can."""
    if os.geteuid() != 0:
        return "mounting needs root; run it with sudo"
    absent = [command for command in _NEEDED if find(command) is None]
    if absent:
        return f"{', '.join(absent)} missing; install: sudo apt-get install mount util-linux"
    if not private():
        return "mounting needs a mount namespace of our own; scripts/chaos makes one"
    return None


def private() -> bool:
    """Whether what we mount stays ours: `own_namespace` has noted which namespace is everybody's."""
    return os.environ.get(_OUTSIDE, _namespace()) != _namespace()


def _namespace() -> str:
    return str(Path("/proc/self/ns/mnt").readlink())


def own_namespace(module: str, arguments: Sequence[str]) -> list[str]:
    """The command that runs a module where it can mount; as it is where that is not possible."""
    command = [sys.executable, "-m", module, *arguments]
    unshare = find("unshare")
    if os.geteuid() != 0 or unshare is None or private():
        return command
    return ["/usr/bin/env", f"{_OUTSIDE}={_namespace()}", unshare, "--mount", "--propagation", "private", *command]


class Disk:
    """A tmpfs in the place of a folder, which need not exist yet."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._locked = False
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _run("mount", "-t", "tmpfs", "-o", f"size={SIZE_MIB}m,mode=0700", "tmpfs", str(folder))

    def fill(self) -> None:
        """Take all the space that is left; the kernel says ENOSPC from then on."""
        try:
            with (self.folder / _BALLAST).open("ab", buffering=0) as file:
                while True:
                    file.write(_PIECE)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise

    def free(self) -> None:
        (self.folder / _BALLAST).unlink(missing_ok=True)

    def lock(self) -> None:
        """Make the folder read-only for everybody who opens something in it from now on, root included.

        Files that are open stay writable: the kernel does not take a mount from its writers.
        """
        _run("mount", "--bind", str(self.folder), str(self.folder))
        _run("mount", "-o", "remount,bind,ro", str(self.folder))
        self._locked = True

    def unlock(self) -> None:
        """Take the read-only cover away; not while something that was opened below it is still open."""
        _run("umount", "--lazy", str(self.folder))
        self._locked = False

    def close(self, *, keep: bool) -> None:
        """Give the folder back; with `keep`, with what was on the disk."""
        if self._locked:
            self.unlock()
        kept = self.folder.with_name(f"{self.folder.name}.kept")
        if keep:
            shutil.copytree(self.folder, kept, ignore=shutil.ignore_patterns(_BALLAST, "*.sock"))
        _run("umount", "--lazy", str(self.folder))
        if keep:
            self.folder.rmdir()
            kept.rename(self.folder)


def _run(command: str, *arguments: str) -> None:
    where = find(command)
    assert where is not None, f"{command} is missing"
    done = subprocess.run([where, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command} {' '.join(arguments)}: {done.stderr}"
