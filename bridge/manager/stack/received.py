"""A compose file that came over the network: it names no files, for those of the manager's machine are not its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from bridge.config import Node, understood
from bridge.config.yaml12 import compose
from bridge.errors import ConfigError, Problem
from bridge.manager.stack.document import ComposeFile, read_compose_file

NAME: Final = "stack.yml"
"""What problems call the file."""
_BASE: Final = Path("/the-folder-of-the-compose-file")
"""What relative paths would start from; nothing is ever read there."""
_NOT_SENT: Final = "files are not sent with a compose file"


def received_compose_file(text: str) -> ComposeFile:
    """The compose file in a text; its variables have no values but those it gives itself.

    Raises ConfigError, with each problem's line, also for what names a file.
    """
    return understood(lambda: compose(text, NAME), _understand)


def _understand(node: Node) -> ComposeFile:
    found = [Problem(at.file, at.line, at.column, key, text) for at, key, text in _files(node)]
    if found:
        # Before anything is read of them.
        raise ConfigError(found)
    file = read_compose_file(node, _BASE, {})
    relative = [
        Problem(NAME, 0, 0, f"services.{name}.volumes[{i}]", "the folder of a cluster node must be an absolute path")
        for name, service in file.services.items()
        for i, mount in enumerate(service.volumes)
        if mount.type == "bind" and Path(str(mount.source)).is_relative_to(_BASE)
    ]
    if relative:
        raise ConfigError(relative)
    return file


def _files(node: Node) -> Iterator[tuple[Node, str, str]]:
    """Where a document names files, by what key, and what to do instead."""
    for name, child in _entries(node, "services"):
        if "env_file" in child:
            yield child["env_file"], f"services.{name}.env_file", f"{_NOT_SENT}; write the variables under environment"
        volumes = child.get("volumes")
        for i, volume in enumerate(volumes.value if volumes is not None and isinstance(volumes.value, list) else ()):
            source = volume.value.get("source") if isinstance(volume.value, dict) else volume
            if source is not None and str(source.value).startswith("~"):
                key = f"services.{name}.volumes[{i}]"
                yield volume, key, "the folder of a cluster node must be an absolute path"
    for kind in ("configs", "secrets"):
        for name, child in _entries(node, kind):
            if "file" in child:
                what = f"{_NOT_SENT}; make the {kind[:-1]} beforehand, and say external: true"
                yield child["file"], f"{kind}.{name}.file", what


def _entries(node: Node, key: str) -> Iterator[tuple[str, dict[str, Node]]]:
    """The entries of a map of maps, as far as there are such."""
    found = node.value.get(key) if isinstance(node.value, dict) else None
    if found is not None and isinstance(found.value, dict):
        for name, child in found.value.items():
            if isinstance(child.value, dict):
                yield name, child.value
