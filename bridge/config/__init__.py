"""The one door for YAML files: read, check, and become settings, with every problem at once and its file and line.

    settings = load(Path("agent.yaml"), AgentSettings, environ=os.environ)

`ConfigError.problems` lists the mistakes. Nothing is opened or started for a file that has any.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from bridge.config.decode import (
    INVALID,
    NAME,
    Bytes,
    Choice,
    Invalid,
    Name,
    Pattern,
    Port,
    Reader,
    Seconds,
    Within,
    finish,
    schema,
)
from bridge.config.environment import PREFIX, Variable, overlay, variables
from bridge.config.file import Mark, Text, mark_of, marked, text_of
from bridge.config.substitution import composed
from bridge.config.units import duration, seconds, size_bytes
from bridge.config.yaml12 import MAX_BYTES, Node, compose
from bridge.errors import ConfigError

__all__ = [
    "INVALID",
    "MAX_BYTES",
    "NAME",
    "PREFIX",
    "Bytes",
    "Choice",
    "Invalid",
    "Mark",
    "Name",
    "Node",
    "Pattern",
    "Port",
    "Reader",
    "Seconds",
    "Text",
    "Variable",
    "Within",
    "checked",
    "compose",
    "composed",
    "decode",
    "duration",
    "finish",
    "load",
    "mark_of",
    "marked",
    "read",
    "schema",
    "seconds",
    "size_bytes",
    "text_of",
    "understood",
    "variables",
]

T = TypeVar("T")
VERSION = 1


def read(path: Path) -> Node:
    """The file as nodes. Raises ConfigError when it cannot be read, is not UTF-8, too large, or no valid YAML."""
    return compose(text_of(path).text, str(path))


def decode(node: Node, cls: type[T], *, base: Path, environ: Mapping[str, str] | None = None) -> T:
    """The document as settings; `version: 1` is required and stands outside of the settings class."""
    reader = Reader(base)
    node = overlay(node, cls, environ or {})
    if isinstance(node.value, dict) or node.value is None:
        version = (node.value or {}).get("version")
        if version is None:
            reader.problem(node, "version", f"is missing; this program reads version: {VERSION}")
        elif version.value != VERSION or isinstance(version.value, bool):
            reader.problem(version, "version", f"must be {VERSION}; this program does not know another")
    return finish(reader.object(node, cls, "", ignore=frozenset(["version"])), reader)


def load(path: Path, cls: type[T], *, environ: Mapping[str, str] | None = None) -> T:
    """The settings in a file, with the environment's on top. Relative paths in it start from the file's folder."""
    return checked(path, lambda node: decode(node, cls, base=path.absolute().parent, environ=environ))


def checked(path: Path, understand: Callable[[Node], T]) -> T:
    """What `understand` makes of a file; mistakes of its YAML and of its contents are told together, as ConfigError."""
    return understood(lambda: read(path), understand)


def understood(compose_it: Callable[[], Node], understand: Callable[[Node], T]) -> T:
    """As `checked`, of any text: `compose_it` gives its nodes, or raises ConfigError."""
    try:
        return understand(compose_it())
    except ConfigError as error:
        if not isinstance(error.document, Node):
            raise
        try:
            understand(error.document)
        except ConfigError as more:
            raise ConfigError([*error.problems, *more.problems]) from error
        raise
