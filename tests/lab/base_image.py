"""The image that all images of a lab begin with: Debian with Python, made once of Debian's packages and then kept."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tests.lab.cluster_node import ClusterNode
from tests.lab.machine import LabError, missing, remove_folder, run
from tests.lab.registry import Registry
from tests.real_parts import find

SUITE: Final = "bookworm"
PACKAGES: Final = ("ca-certificates", "python3", "python3-pip")
NAME: Final = f"debian-python:{SUITE}"
_LEFT_OUT: Final = ("usr/share/doc", "usr/share/info", "usr/share/locale", "usr/share/man", "var/cache/apt/archives",
    "var/lib/apt/lists")  # fmt: skip
_DEBOOTSTRAP_S: Final = 900.0
_IMPORT_S: Final = 300.0


def cached(cache: Path) -> Path:
    """The folder of the image's registry: another one for other packages, or another way to make it."""
    recipe = repr((SUITE, PACKAGES, _LEFT_OUT, platform.machine()))
    return cache / f"base-{SUITE}-{hashlib.sha256(recipe.encode()).hexdigest()[:12]}"


def take(cache: Path, registry: Registry) -> bool:
    """Give a registry that does not run yet the image from the cache; False when it is not there."""
    kept = cached(cache)
    if kept.is_dir():
        shutil.copytree(kept, registry.folder)
    return kept.is_dir()


def make(cache: Path, registry: Registry, node: ClusterNode) -> str:
    """Make the image, push it into the registry and keep it in the cache; its name there."""
    tag = f"{registry.address}/{NAME}"
    with _alone(cache):
        kept = cached(cache)
        if kept.is_dir():
            # Another lab has made it meanwhile. A registry looks into its folder at each question.
            shutil.copytree(kept, registry.folder, dirs_exist_ok=True)
            return tag
        # debootstrap makes device nodes, and chroots: some places where people keep caches allow neither.
        folder = Path(tempfile.mkdtemp(dir=cache, prefix="debootstrap-"))
        try:
            _debootstrap(folder / "root")
            _import(folder / "root", node, tag)
        finally:
            remove_folder(folder)
        node.docker("push", "--quiet", tag)
        # The name says that it is complete, so it comes last.
        copy = Path(tempfile.mkdtemp(dir=cache, prefix="registry-"))
        shutil.copytree(registry.folder, copy / "registry")
        (copy / "registry").rename(kept)
        copy.rmdir()
    return tag


@contextlib.contextmanager
def _alone(cache: Path) -> Iterator[None]:
    """One at a time; of two labs that begin together the second one finds what the first one has made."""
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "base.lock").open("w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _debootstrap(root: Path) -> None:
    reason = missing(("debootstrap",))
    if reason is not None:
        raise LabError(reason)
    run(
        *("debootstrap", "--variant=minbase", f"--include={','.join(PACKAGES)}", SUITE, root),
        within_s=_DEBOOTSTRAP_S,
    )
    for place in _LEFT_OUT:
        for entry in (root / place).iterdir():
            shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()


def _import(root: Path, node: ClusterNode, tag: str) -> None:
    """Root file system -> engine, without a file between."""
    docker = [str(find("docker")), "--host", node.host, "import", "--change", 'CMD ["/bin/sh"]', "-", tag]
    with subprocess.Popen(["tar", "--numeric-owner", "-C", root, "-c", "."], stdout=subprocess.PIPE) as tar:
        done = subprocess.run(
            docker, stdin=tar.stdout, capture_output=True, text=True, timeout=_IMPORT_S, check=False
        )  # fmt: skip
    if done.returncode or tar.returncode:
        raise LabError(f"the base image could not be imported: {done.stderr.strip()}")
