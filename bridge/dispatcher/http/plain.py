"""A TCP connection without TLS, straight on the event loop's selector.

Nothing stands between the socket and the protocol, which makes an event cheaper (docs/performance.md). Like asyncio's
transports it writes at once, so that the pool knows whether the system took a request: one of which no byte has left
may be sent again elsewhere.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Protocol

_AGAIN = (BlockingIOError, InterruptedError)


class Transport(Protocol):
    """What a connection needs of its transport; asyncio's transports are such too."""

    def write(self, data: bytes, /) -> None:
        """Send, now or later; a failure that is known at once shows in `is_closing`."""

    def is_closing(self) -> bool:
        """Whether nothing more can be sent."""

    def abort(self) -> None:
        """Close without sending what waits; the protocol's `connection_lost` is called in a later turn."""

    def get_write_buffer_size(self) -> int:
        """How many bytes wait to be sent."""


class PlainTransport:
    """Moves bytes between a connected socket and a protocol that has one buffer. Called from the loop's thread only."""

    def __init__(self, sock: socket.socket, protocol: asyncio.BufferedProtocol) -> None:
        self._loop = asyncio.get_running_loop()
        self._sock = sock
        self._fd = sock.fileno()
        self._protocol = protocol
        self._buffer = protocol.get_buffer(-1)
        self._unsent = b""
        self._closing = False
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # a request is small and must not wait
        self._loop.add_reader(self._fd, self._readable)

    def write(self, data: bytes, /) -> None:
        if self._closing:
            return
        if self._unsent:
            self._unsent += data
            return
        try:
            sent = self._sock.send(data)
        except _AGAIN:
            sent = 0
        except OSError as error:
            self._close(error)
            return
        if sent < len(data):
            self._unsent = data[sent:]
            self._loop.add_writer(self._fd, self._writable)

    def is_closing(self) -> bool:
        return self._closing

    def abort(self) -> None:
        self._close(None)

    def get_write_buffer_size(self) -> int:
        return len(self._unsent)

    def _readable(self) -> None:
        protocol = self._protocol
        try:
            count = self._sock.recv_into(self._buffer)
        except _AGAIN:
            return
        except OSError as error:
            self._close(error)
            return
        if count:
            protocol.buffer_updated(count)
        elif not protocol.eof_received():
            self._close(None)

    def _writable(self) -> None:
        try:
            sent = self._sock.send(self._unsent)
        except _AGAIN:
            return
        except OSError as error:
            self._close(error)
            return
        self._unsent = self._unsent[sent:]
        if not self._unsent:
            self._loop.remove_writer(self._fd)

    def _close(self, error: OSError | None) -> None:
        """Close the socket now; its protocol is told in the next turn, when whoever called has come to an end."""
        if self._closing:
            return
        self._closing = True
        self._loop.remove_reader(self._fd)
        self._loop.remove_writer(self._fd)
        self._unsent = b""
        self._sock.close()
        self._loop.call_soon(self._protocol.connection_lost, error)
