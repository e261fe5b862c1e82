"""The sockets at which clients call: made anew at each start, and never another door's."""

from __future__ import annotations

import socket
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from aiohttp import web

from bridge.engine_door.handler import told
from bridge.errors import EngineDoorError
from bridge.http_server import BoundedServer

_BACKLOG: Final = 128
_CUT_OFF_S: Final = 1.0
_LINGERING_S: Final = 1.0
_FULL: Final = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nContent-Length: 55\r\n"
    b"Connection: close\r\n\r\n"
    b'{"message":"engine door: too many connections at once"}'
)


@asynccontextmanager
async def listening(path: Path, handler: Any, *, max_connections: int, idle_s: float) -> AsyncIterator[BoundedServer]:
    """A server on a socket of its own, which everybody may connect to who reaches it. Raises EngineDoorError."""
    server = BoundedServer(
        handler, max_connections=max_connections, idle_s=idle_s, full=_FULL, told=told, lingering_s=_LINGERING_S
    )
    # What is followed has no end: it is cut off when the door closes.
    runner = web.ServerRunner(server, shutdown_timeout=_CUT_OFF_S)
    await runner.setup()
    try:
        try:
            made = _made(path)
        except OSError as error:
            raise EngineDoorError(f"the engine door cannot listen at {path}: {error.strerror or error}") from error
        await web.SockSite(runner, made, backlog=_BACKLOG).start()
        try:
            yield server
        finally:
            _remove(path)
    finally:
        await runner.cleanup()


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)


def _made(path: Path) -> socket.socket:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
    _clear(path)
    made = socket.socket(socket.AF_UNIX)
    try:
        made.setblocking(False)
        made.bind(str(path))
        # It could not be given to the client without CAP_CHOWN; the kernel says who connects, and that decides.
        path.chmod(0o666)
    except BaseException:
        made.close()
        raise
    return made


def _clear(path: Path) -> None:
    """Remove the socket of a door that was killed. Raises EngineDoorError where one lives, or something else stands."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise EngineDoorError(f"{path} is no socket; the engine door leaves it alone, choose another path")
    with socket.socket(socket.AF_UNIX) as asking:
        asking.settimeout(1.0)
        try:
            asking.connect(str(path))
        except (ConnectionRefusedError, TimeoutError):
            path.unlink()
            return
    raise EngineDoorError(f"somebody listens at {path} already; is another engine door running?")
