"""Images of programs that this machine has installed, each with the libraries that it loads: a lab pulls nothing."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from tests.lab import images
from tests.lab.lab import Lab
from tests.lab.machine import LabError
from tests.real_parts import find

SHELL: Final = ("sh", "cat")
"""What the health checks of people's images may count on."""
_DOCKERFILE: Final = """
FROM scratch
COPY root /
{folders}
ENV PATH=/usr/bin:/bin
ENTRYPOINT {entrypoint}
"""


def build(
    lab: Lab,
    name: str,
    programs: Mapping[str, str],
    *,
    entrypoint: Sequence[str] = (),
    folders: Mapping[str, str] | None = None,
    files: Sequence[str] = (),
) -> str:
    """An image of programs of this machine, each under the name that it has in the image; its name in the registry.

    `folders` are empty ones and whose they are (`1883:1883`): a new volume there takes that over. `files` are folders
    of this machine that the programs read.
    """
    with TemporaryDirectory(prefix="installed-", dir=lab.plan.folder) as temporary:
        root = Path(temporary)
        for as_name, program in {**programs, **{each: each for each in SHELL}}.items():
            _copy(root, program, f"usr/bin/{as_name}")
        for folder in files:
            shutil.copytree(folder, root / folder.lstrip("/"), dirs_exist_ok=True)
        (root / "bin").mkdir(exist_ok=True)
        (root / "bin" / "sh").symlink_to("/usr/bin/sh")
        parts: dict[str, Path | str] = {"root": root}
        copies = []
        for number, (folder, owner) in enumerate((folders or {}).items()):
            parts[f"empty{number}/.keep"] = ""
            copies.append(f"COPY --chown={owner} empty{number} {folder}")
        words = "[" + ", ".join(f'"{word}"' for word in entrypoint) + "]"
        parts["Dockerfile"] = _DOCKERFILE.format(folders="\n".join(copies), entrypoint=words)
        return images.build(lab, name, parts)


def _copy(root: Path, program: str, target: str) -> None:
    path = find(program)
    if path is None:
        raise LabError(f"{program} is not installed here; scripts/ci-setup installs it")
    listed = subprocess.run(["ldd", path], capture_output=True, text=True, check=False).stdout
    # `name => path (address)`, or the path alone (ldd(1)); a program without libraries has no such line.
    libraries = {word for line in listed.splitlines() for word in line.split() if word.startswith("/")}
    wanted = {library.rstrip(":"): library.lstrip("/") for library in libraries} | {str(path): target}
    for source, place in wanted.items():
        into = root / place
        if not into.exists():
            into.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(os.path.realpath(source), into)
