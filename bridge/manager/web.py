"""The HTTP server: uvicorn on the program's own loop, without its signals, its log and its process."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, Self

import uvicorn

from bridge.errors import BridgeError
from bridge.manager.door import Door

DRAIN_S: Final = 3
"""How long answers under way may go on when the manager stops."""
_KEEPALIVE_S: Final = 75
_BACKLOG: Final = 512
_SAID_BYTES: Final = 4096
"""What a client of a WebSocket says is of no concern, and so may be no more than this."""
_PING_S: Final = 20.0
_UNTAKEN_MS: Final = 60_000
"""A connection whose other end takes nothing for so long is cut off by the kernel, whatever still waits to be sent."""


class Web:
    """Serves a door; an async context manager. `port` is known once it is entered."""

    def __init__(self, door: Door, host: str, port: int) -> None:
        self._door = door
        self._host = host
        self._wanted = port
        self.port = 0

    @property
    def url(self) -> str:
        """Where a client on this machine finds it."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self._host, self._host)  # noqa: S104 - compared
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"

    async def __aenter__(self) -> Self:
        listening = await self._listen()
        self.port = int(listening.getsockname()[1])
        door: Any = self._door  # uvicorn spells out each message of ASGI; the door takes them as maps
        self._server = _Server(
            uvicorn.Config(
                door,
                http="h11",
                ws="websockets-sansio",
                ws_max_size=_SAID_BYTES,
                ws_ping_interval=_PING_S,
                ws_ping_timeout=_PING_S,
                ws_per_message_deflate=False,  # it costs memory for each client
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                timeout_keep_alive=_KEEPALIVE_S,
                timeout_graceful_shutdown=DRAIN_S,
                backlog=_BACKLOG,
            )
        )
        self._serving = asyncio.create_task(self._server.serve([listening]), name="manager http")
        started = asyncio.create_task(self._server.listening.wait(), name="manager http listens")
        await asyncio.wait((started, self._serving), return_when=asyncio.FIRST_COMPLETED)
        started.cancel()
        if self._serving.done():
            await self._serving
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._server.should_exit = True
        await asyncio.gather(self._serving, return_exceptions=True)

    async def failed(self) -> None:
        """Wait until the server ends by itself, and raise its error."""
        await asyncio.shield(self._serving)

    @property
    def problem(self) -> str | None:
        """Why nobody is served, if so."""
        return "the HTTP server has ended" if self._serving.done() else None

    async def _listen(self) -> socket.socket:
        try:
            found = await asyncio.get_running_loop().getaddrinfo(
                self._host, self._wanted, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )
            family, kind, protocol, _, address = found[0]
            listening = socket.socket(family, kind, protocol)
            try:
                listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _UNTAKEN_MS)  # whom it accepts too
                listening.bind(address)
            except OSError:
                listening.close()
                raise
        except OSError as error:
            raise BridgeError(
                f"cannot serve the manager's API on {self._host}:{self._wanted}: {error.strerror or error};"
                " set http.port to another one"
            ) from error
        return listening


class _Server(uvicorn.Server):
    """Says when it listens, and leaves the signals to whoever runs the program."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listening.set()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
