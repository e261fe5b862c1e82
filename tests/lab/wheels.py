"""The wheels that an image of our programs is made of: one of this checkout, and those of what it depends on.

What is installed here is packed again, so that an image has the very versions that are tested, and nothing is fetched.
"""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterable, Iterator
from importlib.metadata import Distribution, distribution
from pathlib import Path
from typing import Final

from packaging.requirements import Requirement

from tests.lab.machine import LabError

ROOT: Final = Path(__file__).parents[2]
_PIP: Final = (sys.executable, "-m", "pip", "--disable-pip-version-check")
_NOT_PACKED: Final = ("RECORD", "INSTALLER", "REQUESTED")  # which are the installation's
_BUILD_S: Final = 120.0
_DOWNLOAD_S: Final = 600.0


def collect(folder: Path, extra: str, python: tuple[int, int]) -> None:
    """Put all wheels into a folder that `pip install --no-index gpio-bridge[extra]` needs on that Python."""
    _pip("wheel", "--no-deps", "--no-index", "--no-build-isolation", "--wheel-dir", folder, ROOT, within_s=_BUILD_S)
    if sys.version_info[:2] == python:
        for each in required([f"gpio-bridge[{extra}]"]):
            pack(each, folder)
        return
    # What is installed here is for another Python; fetch what was made for that one.
    (ours,) = folder.glob("gpio_bridge-*.whl")
    wanted = ("--only-binary", ":all:", "--python-version", ".".join(map(str, python)))
    _pip("download", *wanted, "--dest", folder, f"{ours}[{extra}]", within_s=_DOWNLOAD_S)


def required(names: Iterable[str], *, themselves: bool = False) -> Iterator[Distribution]:
    """What these need at run time of what is installed here, each once, and with or without themselves."""
    asked = [Requirement(name) for name in names if name.strip()]
    left_out = set() if themselves else {_normal(each.name) for each in asked}
    seen: set[tuple[str, str]] = set()
    given: set[str] = set()
    while asked:
        requirement = asked.pop()
        name = _normal(requirement.name)
        found = distribution(name)
        if name not in given and name not in left_out:
            given.add(name)
            yield found
        for extra in ("", *requirement.extras):
            if (name, extra) in seen:
                continue
            seen.add((name, extra))
            needs = (Requirement(text) for text in found.requires or ())
            asked += [each for each in needs if each.marker is None or each.marker.evaluate({"extra": extra})]


def pack(installed: Distribution, folder: Path) -> Path:
    """The wheel that was installed (Binary Distribution Format 1.0), without its commands and compiled files."""
    tags = re.findall(r"^Tag: (\S+)$", installed.read_text("WHEEL") or "", re.MULTILINE)
    if not tags:
        raise LabError(f"{installed.name} was not installed from a wheel")
    parts = [".".join(sorted({tag.split("-")[place] for tag in tags})) for place in range(3)]
    escaped = re.sub(r"[-_.]+", "_", installed.name).lower()
    wheel = folder / f"{escaped}-{installed.version}-{'-'.join(parts)}.whl"
    rows: list[tuple[str, str, str]] = []
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_STORED) as archive:
        for file in installed.files or ():
            if (
                file.parts[0] == ".."
                or "__pycache__" in file.parts
                or file.name in ("RECORD", "INSTALLER", "REQUESTED")
            ):
                continue
            content = file.read_binary()
            archive.writestr(str(file), content)
            rows.append((str(file), _digest(content), str(len(content))))
        record = f"{_info(installed)}/RECORD"
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([*rows, (record, "", "")])
        archive.writestr(record, text.getvalue())
    return wheel


def _info(installed: Distribution) -> str:
    for file in installed.files or ():
        if file.name == "METADATA" and file.parent.name.endswith(".dist-info"):
            return str(file.parent)
    raise LabError(f"{installed.name} is not installed as wheels are")


def _digest(content: bytes) -> str:
    return "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _pip(*arguments: str | Path, within_s: float) -> None:
    command = [*_PIP, arguments[0], "--quiet", *arguments[1:]]
    done = subprocess.run(command, capture_output=True, text=True, timeout=within_s, check=False)
    if done.returncode:
        raise LabError(f"pip {arguments[0]} failed: {done.stderr.strip()}")
