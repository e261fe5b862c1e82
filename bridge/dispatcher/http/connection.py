"""A connection to the gateway: one exchange at a time, and kept for the next one when both sides allow it."""

from __future__ import annotations

import asyncio
import os
import select
import socket
import ssl
from collections.abc import Callable

from bridge.dispatcher.http.answer import Answer, AnswerReader, Failed
from bridge.dispatcher.http.plain import PlainTransport, Transport

Told = Callable[[Answer | Failed, float], None]
"""Is given what came of an exchange, and how many seconds it took."""


class Exchange:
    """One request, and who is told what came of it."""

    __slots__ = ("began", "deadline", "request", "timeout_s", "told")

    def __init__(self, request: bytes, began: float, timeout_s: float, told: Told) -> None:
        self.request = request
        self.began = began
        self.timeout_s = timeout_s
        self.deadline = began + timeout_s
        self.told = told


class Connection(asyncio.BufferedProtocol):
    """Carries exchanges one after another; `ended` is told of each, `made` and `lost` of the connection itself.

    All connections of a loop read into one `buffer`: what came is taken out before anything else is read. This halves
    the price of an exchange, because asyncio's other kind of protocol takes 256 KiB of new memory at each reading.
    """

    def __init__(
        self,
        buffer: memoryview,
        made: Callable[[Connection], None],
        ended: Callable[[Connection, Exchange, Answer | Failed], None],
        lost: Callable[[Connection], None],
    ) -> None:
        self.exchange: Exchange | None = None
        """What is under way."""
        self.idle_since = 0.0
        self.over = False
        """Whether nothing more can be sent."""
        self._buffer = buffer
        self._made, self._ended, self._lost = made, ended, lost
        self._reader = AnswerReader()
        self._transport: Transport
        self._look: Callable[[int], list[tuple[int, int]]]

    # --- what the pool asks for ---

    def over_plain(self, sock: socket.socket) -> None:
        """Begin on a connected socket, without TLS."""
        self._begin(PlainTransport(sock, self), sock.fileno())

    def quiet(self) -> bool:
        """Whether an idle connection can be used: the peer has neither closed it nor said anything unasked.

        Asks the system, because the loop may not have come to it yet: a request on a closed connection would be an
        attempt that failed. Of what is closed on our side `send` says so itself.
        """
        return not self._look(0)

    def send(self, exchange: Exchange) -> bool:
        """Begin an exchange; False, and nothing begun, when the system took not one byte of the request.

        Only then may it be sent again by itself: once some of it has left, nobody knows whether it was carried out.
        """
        transport = self._transport
        if self.over or transport.is_closing():
            return False
        self.exchange = exchange
        transport.write(exchange.request)
        # A write that fails is the whole request: it is one piece, and nothing else waited before it.
        if transport.is_closing():
            self.exchange = None
            return False
        return True

    def abort(self) -> None:
        """Close at once; what is under way is forgotten."""
        self.exchange = None
        self.over = True
        self._transport.abort()

    def _begin(self, transport: Transport, fd: int) -> None:
        self._transport = transport
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        self._look = poll.poll
        self._made(self)

    # --- the transport's side ---

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._begin(transport, transport.get_extra_info("socket").fileno())

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        exchange = self.exchange
        if exchange is None:
            self.abort()  # nobody asked
            return
        result = self._reader.feed(bytes(self._buffer[:nbytes]))
        if result is not None:
            # An answer that came before its request was sent whole leaves a connection that nobody can use.
            if isinstance(result, Failed) or not result.reusable or self._transport.get_write_buffer_size():
                self.abort()
            self.exchange = None
            self._ended(self, exchange, result)

    def eof_received(self) -> None:
        exchange = self.exchange
        self.abort()  # both sides at once: there is nothing more that we would send
        if exchange is not None:
            self._ended(self, exchange, self._reader.end())

    def connection_lost(self, exc: Exception | None) -> None:
        exchange, self.exchange, self.over = self.exchange, None, True
        self._lost(self)
        if exchange is not None:
            broken = Failed(f"connection failed: {why_of(exc)}") if isinstance(exc, OSError) else None
            self._ended(self, exchange, broken or self._reader.end())


def why_of(error: OSError) -> str:
    """What the system calls the error; asyncio's own text names the address again."""
    if isinstance(error, ssl.SSLError):  # its numbers are OpenSSL's own
        return getattr(error, "verify_message", "") or error.reason or str(error)
    return os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)
