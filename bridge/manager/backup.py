"""A manager's backup: its state folder and its mapping file in one archive, and the way back.

The database is copied by SQLite itself (https://www.sqlite.org/backup.html), so that the manager may run meanwhile;
the other files are replaced as a whole by whoever changes them, and can be read at any time.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import tarfile
import tempfile
import zlib
from pathlib import Path
from typing import Final

from bridge.errors import BridgeError
from bridge.journal.database import Lock
from bridge.manager.access.tokens import FILE as TOKENS
from bridge.manager.settings import ManagerSettings

DATABASE: Final = "manager.sqlite"
MAPPINGS: Final = "mappings.yaml"
_MEMBERS: Final = frozenset({f"state/{DATABASE}", f"state/{TOKENS}", MAPPINGS})
_LARGEST_BYTES: Final = 512 * 1024**2


class BackupRefused(BridgeError, RuntimeError):
    """A backup cannot be made or brought back; the message says why and what to do."""


def back_up(settings: ManagerSettings, target: Path) -> list[str]:
    """Write the archive, readable to its owner alone; what is in it. Raises BackupRefused, and changes nothing then."""
    database = settings.state_dir / DATABASE
    if not database.is_file():
        raise BackupRefused(f"{settings.state_dir} holds no state of a manager: there is no {database}")
    if target.exists() and not target.is_file():
        # The archive takes its place whole: of a device, /dev/null say, root would leave nothing but a file.
        raise BackupRefused(f"{target} is no file that could be written over; name the archive that is to be made")
    try:
        with tempfile.TemporaryDirectory(dir=target.absolute().parent, prefix=".backup-") as folder:
            copy, packed = Path(folder, DATABASE), Path(folder, "packed")
            _copy(database, copy)
            parts = [(copy, f"state/{DATABASE}"), (settings.state_dir / TOKENS, f"state/{TOKENS}")]
            parts.append((settings.mappings, MAPPINGS))
            present = [(path, name) for path, name in parts if path.is_file()]
            with os.fdopen(os.open(packed, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                with tarfile.open(fileobj=file, mode="w:gz") as archive:
                    for path, name in present:
                        archive.add(path, name, recursive=False, filter=_plain)
                file.flush()
                os.fsync(file.fileno())
            packed.replace(target)
    except (OSError, sqlite3.Error) as error:
        raise BackupRefused(f"cannot write the backup {target}: {error}") from error
    return [name for _, name in present]


def restore(settings: ManagerSettings, source: Path, *, force: bool = False) -> list[str]:
    """Put back what an archive holds; the manager must not run. Raises BackupRefused, before anything is changed."""
    state = settings.state_dir
    contents = _read(source)
    try:
        if not force:
            there = [path for path in (settings.mappings,) if path.exists()]
            there += sorted(state.iterdir()) if state.is_dir() else []
            if there:
                raise BackupRefused(f"{there[0]} is there already; move it away, or overwrite it with --force")
        state.mkdir(parents=True, exist_ok=True, mode=0o700)
        settings.mappings.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.ExitStack() as held:
            held.callback(Lock(state / DATABASE).release)
            fresh: list[tuple[Path, Path]] = []
            for name, content in contents.items():
                path = settings.mappings if name == MAPPINGS else state / Path(name).name
                beside = path.with_name(f".{path.name}.restored")
                held.callback(beside.unlink, missing_ok=True)
                _write(beside, content, 0o644 if name == MAPPINGS else 0o600)
                fresh.append((beside, path))
            # All of it is on the disk: from here on only names change.
            for suffix in ("-wal", "-shm"):
                (state / f"{DATABASE}{suffix}").unlink(missing_ok=True)
            if f"state/{TOKENS}" not in contents:
                (state / TOKENS).unlink(missing_ok=True)
            for beside, path in fresh:
                beside.replace(path)
    except OSError as error:
        if isinstance(error, BridgeError):
            raise BackupRefused(f"{error}; stop the manager first") from error
        raise BackupRefused(f"cannot restore {source}: {error}") from error
    return sorted(contents)


def _copy(database: Path, target: Path) -> None:
    """The database as it is at one moment, in one file."""
    with (
        contextlib.closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as origin,
        contextlib.closing(sqlite3.connect(target)) as copy,
    ):
        origin.backup(copy)
        copy.execute("PRAGMA journal_mode = DELETE")


def _plain(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """Whose the files were says nothing on another machine."""
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member


def _read(source: Path) -> dict[str, bytes]:
    """What the archive holds, by name: plain files that a backup has, and nothing else. Raises BackupRefused."""
    found: dict[str, bytes] = {}
    try:
        with tarfile.open(source, mode="r:gz") as archive:
            for member in archive:
                if member.name not in _MEMBERS or not member.isfile() or member.name in found:
                    raise BackupRefused(f"{source} is no backup of a manager: {member.name!r} does not belong in one")
                if member.size > _LARGEST_BYTES:
                    raise BackupRefused(f"{source}: {member.name} is larger than a backup's files are")
                file = archive.extractfile(member)
                found[member.name] = b"" if file is None else file.read()
    except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
        raise BackupRefused(f"{source} cannot be read as a backup: {error}") from error
    for name in (f"state/{DATABASE}", MAPPINGS):
        if name not in found:
            raise BackupRefused(f"{source} is no backup of a manager: it has no {name}")
    if not found[f"state/{DATABASE}"].startswith(b"SQLite format 3\0"):
        raise BackupRefused(f"{source}: state/{DATABASE} is no database")
    return found


def _write(path: Path, content: bytes, mode: int) -> None:
    """Write a new file to the disk; it belongs to whom its folder does."""
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        if os.geteuid() == 0:
            owner = path.parent.stat()
            os.fchown(file.fileno(), owner.st_uid, owner.st_gid)
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
