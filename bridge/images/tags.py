"""The name under which an image is built: as the stack file has it, or told apart by what it is made of."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from bridge.errors import ImageError
from bridge.images.templates import files_at, files_below

FORMATS: Final = ("latest", "sha", "branch", "describe", "digest")
_GIT_S: Final = 10.0
_DIGITS: Final = 12


def tagged(image: str, form: str, handler: Path, copied: Mapping[str, Path] | None = None) -> str:
    """The image's name as faas-cli's `--tag` makes it: its tag with what git says of the handler's folder behind it.

    `digest` puts a digest of the handler, and of what is `copied` beside it, in the tag's place.

    Raises ImageError where git has nothing to say.
    """
    if form == "latest":
        return image
    name, _, tag = image.rpartition(":") if ":" in image.rpartition("/")[2] else (image, "", "latest")
    if form == "describe":
        return f"{name}:{tag}-{_git(handler, 'describe', '--tags', '--always')}"
    if form == "digest":
        return f"{name}:{_digest(handler, copied or {})}"
    commit = _git(handler, "rev-parse", "--short", "HEAD")
    if form == "branch":
        branch = _git(handler, "rev-parse", "--abbrev-ref", "HEAD").replace("/", "-")
        return f"{name}:{tag}-{branch}-{commit}"
    return f"{name}:{tag}-{commit}"


def for_platform(image: str, platform: str) -> str:
    """The name of an image's part for one platform: `fn:1` and linux/arm/v7 make `fn:1-linux-arm-v7`."""
    tag = "" if ":" in image.rpartition("/")[2] else ":latest"
    return f"{image}{tag}-{platform.replace('/', '-')}"


def _digest(handler: Path, copied: Mapping[str, Path]) -> str:
    found = hashlib.sha256()
    for file in (*files_below(handler if handler.is_dir() else handler.parent), *files_at(copied)):
        content = file.content()
        found.update(f"{file.path}\0{file.executable:d}\0{len(content)}\0".encode())
        found.update(content)
    return found.hexdigest()[:_DIGITS]


def _git(handler: Path, *words: str) -> str:
    folder = handler if handler.is_dir() else handler.parent
    try:
        done = _ran(("git", "-C", str(folder), *words))
    except FileNotFoundError:
        raise ImageError("git is not installed, which --tag sha, branch and describe ask") from None
    if done.returncode:
        raise ImageError(f"git has no version for {folder}: {done.stderr.strip()}")
    return done.stdout.strip()


def _ran(command: Iterable[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(tuple(command), capture_output=True, text=True, timeout=_GIT_S, check=False)  # noqa: S603 - our words
