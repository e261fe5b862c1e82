"""Where a running `gpio-bridge up` can be asked: a file in the user's runtime folder, for a second terminal."""

from __future__ import annotations

import dataclasses
import json
import os
import stat
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bridge.errors import NotRunning

_FILE = "up.json"


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """The addresses of one running `up`, all on this machine."""

    pid: int
    gateway: str
    dispatcher: str
    manager: str
    manager_token: str
    """The file with a token for the manager, readable to this user alone."""
    control: str
    """The control API of the virtual Pis."""
    mqtt_host: str
    mqtt_port: int
    root: str
    site: str
    state: str
    """The folder with the journals and the functions' working files."""


def runtime_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """`$XDG_RUNTIME_DIR/gpio-bridge`, or a folder of this user's own among the temporary files.

    Raises NotRunning when that one belongs to somebody else: what is in it is not to be believed.
    """
    runtime = environ.get("XDG_RUNTIME_DIR")
    if runtime and Path(runtime).is_dir():
        folder = Path(runtime) / "gpio-bridge"
        folder.mkdir(mode=0o700, exist_ok=True)
        return folder
    folder = Path(tempfile.gettempdir()) / f"gpio-bridge-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise NotRunning(f"{folder} does not belong to this user alone; remove it, or set XDG_RUNTIME_DIR")
    return folder


def state_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """Where `up` keeps its state unless it is told: `$XDG_STATE_HOME/gpio-bridge/up`."""
    home = environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(home) / "gpio-bridge" / "up"


@contextmanager
def announced(here: Whereabouts, environ: Mapping[str, str] = os.environ) -> Iterator[Path]:
    """Let other terminals find us while the block runs; of several `up` the last one started is found."""
    path = runtime_folder(environ) / _FILE
    waiting = path.with_name(f"{_FILE}.{here.pid}")
    waiting.write_text(json.dumps({"version": 1, **dataclasses.asdict(here)}, indent=1) + "\n", encoding="utf-8")
    waiting.replace(path)
    try:
        yield path
    finally:
        found = _read(path)
        if found is not None and found.pid == here.pid:
            path.unlink(missing_ok=True)


@contextmanager
def token_file(pid: int, token: str, environ: Mapping[str, str] = os.environ) -> Iterator[Path]:
    """Keep a token where only this user's commands can read it, while the block runs."""
    path = runtime_folder(environ) / f"manager-{pid}.token"
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
        file.write(token + "\n")
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)


def find(environ: Mapping[str, str] = os.environ) -> Whereabouts | None:
    """The running `up` of this user, or None; a file that a killed one left behind does not count."""
    found = _read(runtime_folder(environ) / _FILE)
    if found is None:
        return None
    try:
        os.kill(found.pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass  # it runs, as somebody else
    return found


def _read(path: Path) -> Whereabouts | None:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    names = [field.name for field in dataclasses.fields(Whereabouts)]
    if not isinstance(document, dict) or any(name not in document for name in names):
        return None
    return Whereabouts(**{name: document[name] for name in names})
