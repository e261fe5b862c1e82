"""The templates of function images, in faas-cli's format: a folder per language with `template.yml` and a Dockerfile.

Ours stand in `functions/template/` (in the wheel: beside this module) without the function server, which is added from
`bridge/runtime` whenever one is used or written out, so that there is one server and a container has the same.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import bridge
from bridge.config import Node, read
from bridge.errors import ConfigError, ImageError, Problem

LANGUAGES: Final = ("python3-http", "python3-flask", "python3", "classic")
DOCKERFILE: Final = "dockerfile"
"""The language of a function that brings its own Dockerfile."""

_SAME_AS: Final = {"python3": "python3-flask"}
_BASED_ON: Final = {"python3-flask": "python3-http"}
"""A template that takes what it has not itself from another."""
_VARIANTS: Final = ("-debian", "-slim")
"""faas-cli's templates come in variants for other base images; here the base image is a build argument."""
_LEFT_OUT: Final = frozenset({"__pycache__", ".git", ".mypy_cache", ".pytest_cache", ".ruff_cache"})


@dataclass(frozen=True, slots=True)
class File:
    """One file of a build context; `path` is relative, with slashes. A file on the disk is read when it is needed."""

    path: str
    source: bytes | Path
    executable: bool = False

    def content(self) -> bytes:
        """The bytes of the file. Raises ImageError."""
        if isinstance(self.source, bytes):
            return self.source
        try:
            return self.source.read_bytes()
        except OSError as error:
            raise ImageError(f"{self.source} cannot be read: {error.strerror}") from error


@dataclass(frozen=True, slots=True)
class Template:
    """What a language adds to a handler."""

    language: str
    files: tuple[File, ...]
    handler_folder: str = "function"
    fprocess: str = ""
    build_options: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Debian packages by the name of an option."""


def source() -> Path:
    """Where our templates stand: beside this module in an installation, else in the checkout."""
    installed = Path(__file__).parent / "template"
    return installed if installed.is_dir() else Path(bridge.__file__).parents[1] / "functions" / "template"


def find(language: str, folders: Iterable[Path]) -> Template:
    """The template of a language: a user's own in one of the folders, or ours. Raises ImageError, ConfigError."""
    ours = source()
    for folder in folders:
        own = folder / language
        if (own / "template.yml").is_file() and folder.resolve() != ours.resolve():
            return _read(language, own, tuple(files_below(own)))
    name = language
    for variant in _VARIANTS:
        name = name.removesuffix(variant)
    if name not in LANGUAGES:
        raise ImageError(
            f"there is no template for lang: {language}; there are {', '.join(LANGUAGES)}, and {DOCKERFILE} for a"
            " handler with a Dockerfile; others belong into the folder template beside the stack file"
        )
    name = _SAME_AS.get(name, name)
    return _read(language, ours / name, tuple(_with_server(name)))


def write(folder: Path) -> tuple[Path, ...]:
    """Write our templates into a folder, the function server in each of them; their folders.

    faas-cli takes them from there, and `docker build` makes an image of each as it stands. Raises ImageError.
    """
    written = []
    for language in LANGUAGES:
        place = folder / language
        template = find(language, ())
        write_files(place, _named(template))
        written.append(place)
    return tuple(written)


def write_files(folder: Path, files: Iterable[File]) -> None:
    """Write files below a folder. Raises ImageError when that cannot be done."""
    try:
        for file in files:
            path = folder / file.path
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(file.content())
            path.chmod(0o755 if file.executable else 0o644)
    except OSError as error:
        raise ImageError(f"{error.filename or folder} cannot be written: {error.strerror}") from error


def files_below(folder: Path) -> Iterator[File]:
    """The files below a folder in their order, without caches; links are followed, but to a folder above."""
    for here, folders, names in os.walk(folder, followlinks=True):
        above = Path(here).parent.resolve()
        if Path(here) != folder and Path(here).resolve() in (above, *above.parents):
            folders.clear()
            continue
        folders[:] = sorted(set(folders) - _LEFT_OUT)
        for name in sorted(names):
            path = Path(here) / name
            if path.is_file():
                yield File(path.relative_to(folder).as_posix(), path, bool(path.stat().st_mode & 0o100))


def files_at(places: Mapping[str, Path]) -> Iterator[File]:
    """Files, and all below folders, at their places."""
    for place, path in places.items():
        if path.is_dir():
            yield from (File(f"{place}/{file.path}", file.source, file.executable) for file in files_below(path))
        else:
            yield File(place, path, bool(path.stat().st_mode & 0o100))


def _with_server(name: str) -> Iterator[File]:
    """One of our templates, whole: its own files, those of the one it is based on, and the function server."""
    own = tuple(files_below(source() / name))
    yield from own
    base = _BASED_ON.get(name)
    if base is not None:
        there = {file.path for file in own}
        yield from (file for file in files_below(source() / base) if file.path not in there)
    yield File("server.txt", source() / "server.txt")
    for file in files_below(Path(bridge.__file__).parent / "runtime"):
        yield File(f"runtime/{file.path}", file.source)


def _named(template: Template) -> Iterator[File]:
    for file in template.files:
        if file.path == "template.yml":
            name = template.language.encode()
            lines = file.content().split(b"\n")
            told = [b"language: " + name if line.startswith(b"language:") else line for line in lines]
            yield File(file.path, b"\n".join(told))
        else:
            yield file


def _read(language: str, folder: Path, files: tuple[File, ...]) -> Template:
    """A template as its `template.yml` tells of it."""
    path = folder / "template.yml"
    node = read(path)
    if not isinstance(node.value, dict):
        raise ConfigError([Problem(str(path), node.line, node.column, "", "must be a map with the key language")])
    handler = _text(node.value.get("handler_folder")) or "function"
    if Path(handler).is_absolute() or ".." in Path(handler).parts:
        where = node.value["handler_folder"]
        raise ConfigError(
            [Problem(str(path), where.line, where.column, "handler_folder", "must be below the template")]
        )
    return Template(
        language,
        files,
        handler,
        _text(node.value.get("fprocess")),
        dict(_options(node.value.get("build_options"), path)),
    )


def _options(node: Node | None, path: Path) -> Iterator[tuple[str, tuple[str, ...]]]:
    for each in node.value if node is not None and isinstance(node.value, list) else ():
        entry = each.value
        packages = entry.get("packages") if isinstance(entry, dict) else None
        name = _text(entry.get("name")) if isinstance(entry, dict) else ""
        if not name or packages is None or not isinstance(packages.value, list):
            raise ConfigError(
                [Problem(str(path), each.line, each.column, "build_options", "each must have a name and packages")]
            )
        yield name, tuple(_text(package) for package in packages.value)


def _text(node: Node | None) -> str:
    return "" if node is None or node.value is None or isinstance(node.value, dict | list) else str(node.value)
