"""Secrets as files of one folder that only we may read; functions find its path in `secret_path`."""

from __future__ import annotations

from pathlib import Path

from bridge.gateway.backends.local.files import write_whole
from bridge.openfaas.names import is_secret
from bridge.service import make_folder


class FileSecrets:
    """One file per secret. Names are checked here again, because they become paths."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def open(self) -> None:
        """Make the folder where it is missing."""
        make_folder(self._folder, mode=0o700)

    async def names(self) -> tuple[str, ...]:
        return tuple(sorted(path.name for path in self._folder.iterdir() if is_secret(path.name) and path.is_file()))

    def has(self, name: str) -> bool:
        """Whether there is such a secret."""
        return is_secret(name) and (self._folder / name).is_file()

    async def create(self, name: str, value: bytes) -> bool:
        if self.has(name):
            return False
        self._write(name, value)
        return True

    async def update(self, name: str, value: bytes) -> bool:
        if not self.has(name):
            return False
        self._write(name, value)
        return True

    async def remove(self, name: str) -> bool:
        if not self.has(name):
            return False
        (self._folder / name).unlink()
        return True

    def _write(self, name: str, value: bytes) -> None:
        if not is_secret(name):
            raise ValueError(f"{name!r} cannot be a secret's name")
        write_whole(self._folder / name, value)
