"""Connections to replicas that can tell, when one breaks, whether anything of a request was received.

A server may close a kept connection just when a request is on its way to it; then the client may make the request again
only if it knows that it was never applied (RFC 9112 section 9.3.1, RFC 9110 section 9.2.2). The kernel knows: what the
other machine received, it acknowledged at the latest with its end of the connection.
"""

from __future__ import annotations

import errno
import select
import socket
import struct
from typing import NamedTuple
from weakref import WeakKeyDictionary, WeakValueDictionary

import aiohttp
from aiohttp.connector import AddrInfoType, Connection
from aiohttp.tracing import Trace

from bridge.config.hosts import is_loopback

_UNANSWERED_MS = 10_000
"""A machine that does not acknowledge what it was sent for this long is taken for dead (tcp(7), TCP_USER_TIMEOUT)."""
_TCP_INFO = getattr(socket, "TCP_INFO", None)
_COUNTS = struct.Struct("=120xQQ")
"""Of Linux' struct tcp_info: tcpi_bytes_acked and tcpi_bytes_received (linux/tcp.h, since 4.1)."""
_ENDED = getattr(select, "POLLRDHUP", 0) | select.POLLHUP | select.POLLERR


class Traffic(NamedTuple):
    """Bytes of a connection so far: those that the other side acknowledged, and those that came from it."""

    acknowledged: int
    received: int


class ReplicaSocket(socket.socket):
    """A socket whose traffic is still known after it was closed."""

    __slots__ = ("_last", "used")

    def __init__(self, family: int, kind: int, protocol: int) -> None:
        super().__init__(family, kind, protocol)
        self._last: Traffic | None = None
        self.used = False
        """It has carried a request before."""

    def traffic(self) -> Traffic | None:
        """The bytes so far, or at the time of closing; None where the system does not count them."""
        if self.fileno() < 0 or _TCP_INFO is None:
            return self._last
        info = self.getsockopt(socket.IPPROTO_TCP, _TCP_INFO, _COUNTS.size)
        return Traffic(*_COUNTS.unpack(info)) if len(info) == _COUNTS.size else None

    @property
    def ended(self) -> bool:
        """Whether the other side has closed, also where the loop has not got round to reading that."""
        poll = select.poll()
        poll.register(self.fileno(), _ENDED)
        return bool(poll.poll(0))

    def close(self) -> None:
        """Close, after a last look."""
        if self.fileno() >= 0:
            self._last = self.traffic()
        super().close()


class ReplicaConnector(aiohttp.TCPConnector):
    """Gives out no kept connection that has ended, and remembers what went over it before each request."""

    def __init__(self, keepalive_s: float) -> None:
        super().__init__(limit=0, keepalive_timeout=keepalive_s, use_dns_cache=False, socket_factory=self._open)
        self._sockets: WeakValueDictionary[int, ReplicaSocket] = WeakValueDictionary()
        self._before: WeakKeyDictionary[aiohttp.ClientRequest, tuple[ReplicaSocket, Traffic | None]]
        self._before = WeakKeyDictionary()

    async def connect(
        self, req: aiohttp.ClientRequest, traces: list[Trace], timeout: aiohttp.ClientTimeout
    ) -> Connection:
        """A connection for one request, kept or new."""
        while True:
            connection = await super().connect(req, traces, timeout)
            transport = connection.transport
            opened = None if transport is None else self._sockets.get(transport.get_extra_info("socket").fileno())
            if opened is None:
                connection.close()
                reset = ConnectionResetError(errno.ECONNRESET, "it was closed at once")
                raise aiohttp.ClientConnectorError(req.connection_key, reset)
            if not (opened.used and opened.ended):
                opened.used = True
                self._before[req] = (opened, opened.traffic())
                return connection
            connection.close()

    def unseen(self, req: aiohttp.ClientRequest) -> bool:
        """Whether a request whose connection broke cannot have reached anybody.

        The other side's end counts as one byte received, and acknowledges what had arrived by then: when that was
        nothing, whoever listened there had left before.
        """
        opened, before = self._before.get(req, (None, None))
        after = opened.traffic() if opened is not None else None
        if before is None or after is None:
            return False
        return after.acknowledged == before.acknowledged and after.received == before.received + 1

    def _open(self, info: AddrInfoType) -> socket.socket:
        family, kind, protocol, _, address = info
        made = ReplicaSocket(family, kind, protocol)
        if hasattr(socket, "TCP_USER_TIMEOUT") and not is_loopback(str(address[0])):
            # It notices a machine which went away without a word; on loopback nobody does.
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _UNANSWERED_MS)
            made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 5)
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 2)
        self._sockets[made.fileno()] = made
        return made
