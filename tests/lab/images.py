"""Images made in a lab: of any Dockerfile, and the one of our programs from this checkout."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from tests.lab import wheels
from tests.lab.lab import Lab
from tests.lab.machine import LabError

PYTHON: Final = (3, 11)
"""Of the base image."""


def build(lab: Lab, name: str, parts: Mapping[str, Path | str], arguments: Mapping[str, str] | None = None) -> str:
    """Build an image of a context of files, folders or texts, and push it into the lab's registry; its name there.

    What an image needs is in its context: a build in a lab reaches nobody. Raises LabError with the build's output.
    """
    from docker.errors import BuildError

    client = lab.manager.client()
    tag = f"{lab.registry.address}/{name}"
    try:
        client.images.build(
            fileobj=_context(parts), custom_context=True, tag=tag, network_mode="none", rm=True,
            buildargs={"BASE": lab.base, **(arguments or {})},
        )  # fmt: skip
        for line in client.images.push(tag, stream=True, decode=True):
            if "error" in line:
                raise LabError(f"{tag} could not be pushed: {line['error']}")
    except BuildError as error:
        said = "".join(str(line.get("stream", "")) for line in error.build_log)
        raise LabError(f"{tag} could not be built: {error}\n{said[-3000:]}") from None
    finally:
        client.close()
    return tag


def build_programs(lab: Lab) -> str:
    """The image of our programs, as stack/Dockerfile makes it of this checkout; its name in the lab's registry."""
    with TemporaryDirectory(prefix="wheels-", dir=lab.plan.folder) as folder:
        wheels.collect(Path(folder), "server", PYTHON)
        parts = {"Dockerfile": wheels.ROOT / "stack" / "Dockerfile", "dist": Path(folder)}
        return build(lab, "gpio-bridge:checkout", parts, {"PIP_OPTIONS": "--no-index"})


def _context(parts: Mapping[str, Path | str]) -> io.BytesIO:
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as archive:
        for name, part in parts.items():
            if isinstance(part, Path):
                archive.add(part, name, filter=_wanted)
                continue
            member = tarfile.TarInfo(name)
            content = part.encode()
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    raw.seek(0)
    return raw


def _wanted(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    return None if Path(member.name).name == "__pycache__" else member
