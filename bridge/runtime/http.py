"""A small HTTP/1.1 server: asyncio for the sockets, h11 for the protocol.

Serves functions and every program's health endpoint, so it must stay light: the standard library and h11, no more.
"""

import asyncio
import logging
import socket
from types import TracebackType
from typing import Self

from .connection import Connection, Limits
from .exchange import Handler, Headers, Request, Response, text

__all__ = ["Handler", "Headers", "Request", "Response", "Server", "text"]

_log = logging.getLogger(__name__)

_ACCEPTING_TURNS = 4
"""Of the loop, until what waits to be accepted is a connection of ours."""


class Server:
    """Listens on one address and answers with one handler; an async context manager.

    One request at a time is read and answered per connection, in order (RFC 9112 section 9.3.2). Requests are handed
    over whole. A handler runs to its end even when the client has gone: half a side effect is worse than an answer that
    nobody reads.

    - `port` 0 takes a free one; `sock`, a bound socket, replaces host and port.
    - `max_body_bytes`: beyond it 413.
    - `read_timeout_s`: for one whole request, from its first byte; beyond it 408.
    - `keepalive_timeout_s`: how long a connection may idle; keep it longer than the clients' own.
    - `write_timeout_s`: how long a client may take nothing of its answer before it is cut off.
    - `max_connections`: beyond it 503.
    """

    def __init__(
        self,
        handler: Handler,
        host: str,
        port: int,
        *,
        max_body_bytes: int = 1024 * 1024,
        read_timeout_s: float = 10.0,
        keepalive_timeout_s: float = 75.0,
        write_timeout_s: float = 30.0,
        max_connections: int = 1000,
        sock: socket.socket | None = None,
    ) -> None:
        self._handler = handler
        self._host = host
        self._port = port
        self._sock = sock
        self._limits = Limits(max_body_bytes, read_timeout_s, keepalive_timeout_s, write_timeout_s, max_connections)
        self._connections: set[Connection] = set()
        self._empty = asyncio.Event()
        self._listener: asyncio.Server | None = None
        self._retired = False

    async def start(self) -> None:
        """Listen. Raises OSError when the address can't be had."""
        loop = asyncio.get_running_loop()
        if self._sock is not None:
            self._listener = await loop.create_server(self._connection, sock=self._sock, backlog=1024)
        else:
            self._listener = await loop.create_server(self._connection, self._host, self._port, backlog=1024)
        self._port = self._listener.sockets[0].getsockname()[1]

    @property
    def port(self) -> int:
        """The port listened on, once started."""
        return self._port

    @property
    def connections(self) -> int:
        """How many connections are open or still at work."""
        return len(self._connections)

    def retire(self) -> None:
        """Serve on, and let every answer be the last one on its connection, so that clients leave by themselves."""
        self._retired = True
        for connection in self._connections:
            connection.retire()

    async def stop(self, drain_s: float = 5.0) -> bool:
        """Stop listening, let requests in flight finish for `drain_s` seconds, then cut off the rest.

        False when something had to be cut off. May be called again.
        """
        if self._listener is not None:
            self.retire()
            # Who stands at the door believes to be in, and may have sent a request already.
            await _turns()
            # First the door, then the guests: nobody may come in while the idle are shown out.
            self._listener.close()
            await _turns()
        for connection in tuple(self._connections):
            connection.drain()
        finished = await self._emptied(drain_s)
        if not finished:
            _log.warning("Requests cut off at shutdown", extra={"op": "drain", "connections": len(self._connections)})
            tasks = [task for connection in tuple(self._connections) if (task := connection.abort()) is not None]
            if tasks:
                # A handler may need a moment to clean up (to kill a process); one that refuses to end is left behind.
                await asyncio.wait(tasks, timeout=2.0)
            await self._emptied(1.0)
        if self._listener is not None:
            listener, self._listener = self._listener, None
            await listener.wait_closed()
        return finished

    async def _emptied(self, timeout_s: float) -> bool:
        if not self._connections:
            return True
        self._empty.clear()
        try:
            async with asyncio.timeout(timeout_s):
                await self._empty.wait()
        except TimeoutError:
            return False
        return True

    def _connection(self) -> Connection:
        return Connection(self._handler, self._limits, self._connections, self._left, retired=self._retired)

    def _left(self) -> None:
        if not self._connections:
            self._empty.set()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        await self.stop()


async def _turns() -> None:
    for _ in range(_ACCEPTING_TURNS):
        await asyncio.sleep(0)
