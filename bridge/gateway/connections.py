"""Connections to replicas: kept for a while, and able to tell, when one breaks, whether anything of a request arrived.

A server may close a kept connection just when a request is on its way to it; then the client may make the request again
only if it knows that it was never applied (RFC 9112 section 9.3.1, RFC 9110 section 9.2.2). The kernel knows: what the
other machine received, it acknowledged at the latest with its end of the connection.

aiohttp's protocol reads the answers; its session is not used, because what that does for each request (cookies,
proxies, a URL, a task for the body) took a third of a call.
"""

from __future__ import annotations

import asyncio
import select
import socket
import struct
from typing import Final, NamedTuple

from aiohappyeyeballs import AddrInfoType, start_connection
from aiohttp.client_proto import ResponseHandler

from bridge.config.hosts import is_address, is_loopback

_UNANSWERED_MS = 10_000
"""A machine that does not acknowledge what it was sent for this long is taken for dead (tcp(7), TCP_USER_TIMEOUT)."""
_TCP_INFO = getattr(socket, "TCP_INFO", None)
_COUNTS = struct.Struct("=120xQQ")
"""Of Linux' struct tcp_info: tcpi_bytes_acked and tcpi_bytes_received (linux/tcp.h, since 4.1)."""
_SPOKEN = select.POLLIN | select.POLLHUP | select.POLLERR
_LOOK_S, _LONGEST_LOOK_S = 0.001, 0.05
"""The pauses between two looks at what the other side has acknowledged, which grow."""
_NEXT_ADDRESS_S: Final = 0.25
"""How long one address of a name is tried alone before the next one is tried beside it (RFC 8305, 5)."""


class Traffic(NamedTuple):
    """Bytes of a connection so far: those that the other side acknowledged, and those that came from it."""

    acknowledged: int
    received: int


class ReplicaSocket(socket.socket):
    """A socket whose traffic is still known after it was closed."""

    __slots__ = ("_last",)

    def __init__(self, family: int, kind: int, protocol: int) -> None:
        super().__init__(family, kind, protocol)
        self._last: Traffic | None = None

    def traffic(self) -> Traffic | None:
        """The bytes so far, or at the time of closing; None where the system does not count them."""
        if self.fileno() < 0 or _TCP_INFO is None:
            return self._last
        info = self.getsockopt(socket.IPPROTO_TCP, _TCP_INFO, _COUNTS.size)
        return Traffic(*_COUNTS.unpack(info)) if len(info) == _COUNTS.size else None

    @property
    def quiet(self) -> bool:
        """Whether the other side has neither closed nor said anything that was not read, whatever the loop knows."""
        poll = select.poll()
        poll.register(self.fileno(), _SPOKEN)
        return not poll.poll(0)

    def close(self) -> None:
        """Close, after a last look."""
        if self.fileno() >= 0:
            self._last = self.traffic()
        super().close()


class Connection(ResponseHandler):
    """One connection to a replica, for one request at a time.

    `read` waits for an answer's head; its body comes as it is read, and no faster.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, sock: ReplicaSocket, place: tuple[str, int]) -> None:
        super().__init__(loop)
        self.place = place
        self.idle_since = 0.0
        self._sock = sock
        self._before: Traffic | None = None
        self._silent_at: float | None = None

    def usable(self) -> bool:
        """Whether another request may be sent on it; what the other side sends from now on is about that one."""
        # Counted before it is looked at, so that an end which comes in between is in the counts.
        self._before = self._sock.traffic()
        return self.is_connected() and not self.should_close and self._sock.quiet

    def begin(self, *, bodiless: bool, silence_s: float, max_field_bytes: int) -> None:
        """Expect the answer to a request that is about to be sent."""
        self.set_response_params(
            skip_payload=bodiless,
            read_until_eof=True,
            auto_decompress=False,
            read_timeout=silence_s,
            max_line_size=max_field_bytes,
            max_field_size=max_field_bytes,
        )

    def unseen(self) -> bool:
        """Whether the request whose connection broke cannot have reached anybody.

        The other side's end counts as one byte received, and acknowledges what had arrived by then: when that was
        nothing, whoever listened there had left before.
        """
        before, after = self._before, self._sock.traffic()
        if before is None or after is None:
            return False
        return after.acknowledged == before.acknowledged and after.received == before.received + 1

    async def received(self) -> None:
        """Wait until the other side has received some of the request. Raises ConnectionResetError when it has gone."""
        pause_s = _LOOK_S
        while self._nothing_received():
            if not self.is_connected():
                raise ConnectionResetError("the connection was closed")
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_LOOK_S)

    def _nothing_received(self) -> bool:
        before, now = self._before, self._sock.traffic()
        return before is not None and now is not None and now.acknowledged == before.acknowledged

    def resume_reading(self, resume_parser: bool = True) -> None:  # noqa: FBT001, FBT002 - aiohttp calls it so
        """Go on reading. A stream says so for every piece that is taken from it, also where nothing had stopped."""
        if self._reading_paused:
            super().resume_reading(resume_parser)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to count."""
        super().connection_made(transport)
        self._before = self._sock.traffic()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Tell who waits for an answer."""
        super().connection_lost(exc)
        if self._read_timeout_handle is not None:
            self._read_timeout_handle.cancel()
            self._read_timeout_handle = None

    # aiohttp sets and cancels a timer at each of its steps. Here one timer is set, and looks at how late it is.

    def _reschedule_timeout(self) -> None:
        if not self._read_timeout:
            self._silent_at = None
            return
        self._silent_at = self._loop.time() + self._read_timeout
        if self._read_timeout_handle is None:
            self._read_timeout_handle = self._loop.call_at(self._silent_at, self._look)

    def _drop_timeout(self) -> None:
        self._silent_at = None

    def _look(self) -> None:
        self._read_timeout_handle = None
        if self._silent_at is None:
            return
        if self._loop.time() < self._silent_at:
            self._read_timeout_handle = self._loop.call_at(self._silent_at, self._look)
        else:
            self._on_read_timeout()


class Connections:
    """Opens connections, and keeps those that are free for `keep_s`. Called from the loop's thread only."""

    def __init__(self, *, connect_s: float, keep_s: float) -> None:
        self._connect_s = connect_s
        self._keep_s = keep_s
        self._free: dict[tuple[str, int], list[Connection]] = {}
        self._all: set[Connection] = set()
        self._sweep: asyncio.TimerHandle | None = None

    async def take(self, host: str, port: int) -> Connection:
        """A connection for one request, the one that was used last or a new one. Raises OSError."""
        free = self._free.get((host, port))
        while free:
            connection = free.pop()
            if connection.usable():
                return connection
            self.drop(connection)
        return await self._open(host, port)

    def give(self, connection: Connection) -> None:
        """Keep a connection whose answer was read to its end, if it is good for another request."""
        if not connection.is_connected() or connection.should_close:
            self.drop(connection)
            return
        loop = asyncio.get_running_loop()
        connection.idle_since = loop.time()
        self._free.setdefault(connection.place, []).append(connection)
        if self._sweep is None:
            self._sweep = loop.call_later(self._keep_s, self._close_idle)

    def drop(self, connection: Connection) -> None:
        """Close a connection, after what was written to it has been sent."""
        self._all.discard(connection)
        connection.close()

    def cut(self, connection: Connection) -> None:
        """Close a connection at once: what was not sent yet will never be."""
        self._all.discard(connection)
        connection.abort()

    async def close(self) -> None:
        """Close all."""
        if self._sweep is not None:
            self._sweep.cancel()
        ended = [closed for connection in self._all if (closed := connection.closed) is not None]
        for connection in list(self._all):
            self.cut(connection)
        self._free.clear()
        await asyncio.gather(*ended, return_exceptions=True)

    async def _open(self, host: str, port: int) -> Connection:
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(self._connect_s):
            if is_address(host):  # nobody has to be asked, and no thread to do that
                flags = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
                found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags)
            else:
                found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            sock = await start_connection(found, happy_eyeballs_delay=_NEXT_ADDRESS_S, socket_factory=_made)
        assert isinstance(sock, ReplicaSocket)
        connection = Connection(loop, sock, (host, port))
        await loop.create_connection(lambda: connection, sock=sock)
        self._all.add(connection)
        return connection

    def _close_idle(self) -> None:
        now = asyncio.get_running_loop().time()
        self._sweep = None
        oldest = now
        for place, free in list(self._free.items()):
            for connection in [each for each in free if each.idle_since + self._keep_s <= now]:
                free.remove(connection)
                self.drop(connection)
            for connection in [each for each in free if not each.is_connected()]:
                free.remove(connection)
                self.drop(connection)
            if free:
                oldest = min(oldest, free[0].idle_since)
            else:
                del self._free[place]
        if self._free:
            self._sweep = asyncio.get_running_loop().call_at(oldest + self._keep_s, self._close_idle)


def _made(info: AddrInfoType) -> socket.socket:
    family, kind, protocol, _, address = info
    made = ReplicaSocket(family, kind, protocol)
    if hasattr(socket, "TCP_USER_TIMEOUT") and not is_loopback(str(address[0])):
        # It notices a machine which went away without a word; on loopback nobody does.
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _UNANSWERED_MS)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 5)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 2)
    return made
