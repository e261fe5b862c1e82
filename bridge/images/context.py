"""The build context of one function: its template, its handler, and what the build is told. Nothing is built here."""

from __future__ import annotations

import io
import tarfile
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Final

from docker.utils.build import PatternMatcher

from bridge.errors import ImageError
from bridge.images import templates
from bridge.images.templates import DOCKERFILE, File

_PACKAGES: Final = "ADDITIONAL_PACKAGE"
"""The build argument that faas-cli's build options fill."""
_IN_MEMORY_BYTES: Final = 16 * 1024 * 1024
_AT_THE_TOP: Final = ("build/", "template/")
"""Folders that faas-cli itself writes beside handlers, and leaves out."""


@dataclass(frozen=True, slots=True)
class Context:
    """What `docker build` needs, all of it."""

    files: tuple[File, ...]
    build_args: Mapping[str, str] = field(default_factory=dict)

    @contextmanager
    def archive(self) -> Iterator[IO[bytes]]:
        """The files as a tar archive, on the disk where it is large."""
        with tempfile.SpooledTemporaryFile(_IN_MEMORY_BYTES) as archive:
            with tarfile.open(fileobj=archive, mode="w") as tar:
                for file in self.files:
                    # The same files give the same archive, whenever they were written: the engine's cache knows them.
                    content, member = file.content(), tarfile.TarInfo(file.path)
                    member.size, member.mode = len(content), 0o755 if file.executable else 0o644
                    tar.addfile(member, io.BytesIO(content))
            archive.seek(0)
            yield archive


def context_of(
    lang: str,
    handler: Path,
    *,
    template_folders: Iterable[Path] = (),
    build_args: Mapping[str, str] | None = None,
    build_options: Iterable[str] = (),
    copied: Mapping[str, Path] | None = None,
) -> Context:
    """What the image of a handler is built of. Raises ImageError, and ConfigError for a broken template.

    `template_folders` are looked into for a user's own templates first. `copied` are files and folders that get in
    beside the handler, by their places below it.
    """
    code = (*_of_handler(handler), *templates.files_at(copied or {}))
    arguments = dict(build_args or {})
    if lang.lower() == DOCKERFILE:
        if not any(file.path == "Dockerfile" for file in code):
            raise ImageError(
                f"{handler} has no Dockerfile, which lang: {DOCKERFILE} builds; or name a template as lang"
            )
        return Context(code, arguments)
    template = templates.find(lang, template_folders)
    if lang.startswith("python3") and not any(file.path == "handler.py" for file in code):
        raise ImageError(f"{handler} has no handler.py, which lang: {lang} runs")
    packages = [name for option in build_options for name in _packages(template, option)]
    if packages:
        given = arguments.get(_PACKAGES, "").split()
        arguments[_PACKAGES] = " ".join(dict.fromkeys((*given, *packages)))
    inside = f"{template.handler_folder}/"
    files = [file for file in template.files if not file.path.startswith(inside)]
    # A folder without files still has to be there for the Dockerfile's COPY.
    own = [File(inside + file.path, file.source, file.executable) for file in code] or [File(f"{inside}.keep", b"")]
    return Context((*files, *own), arguments)


def _of_handler(handler: Path) -> Iterator[File]:
    folder = handler if handler.is_dir() else handler.parent
    found = tuple(file for file in templates.files_below(folder) if not file.path.startswith(_AT_THE_TOP))
    patterns = next((file.content().decode("utf-8", "replace") for file in found if file.path == ".dockerignore"), "")
    lines = [line.strip() for line in patterns.splitlines()]
    matcher = PatternMatcher([line for line in lines if line and not line.startswith("#")])
    return (file for file in found if file.path == "Dockerfile" or not matcher.matches(file.path))


def _packages(template: templates.Template, option: str) -> tuple[str, ...]:
    if option not in template.build_options:
        known = ", ".join(template.build_options) or "none"
        raise ImageError(f"the template {template.language} has no build option {option!r}; it has {known}")
    return template.build_options[option]
