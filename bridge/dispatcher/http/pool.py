"""The connections to one gateway: opened when they are needed, bounded in number, kept for a while.

An exchange has no task and no timer of its own. One timer stands at the earliest moment at which anything can be late;
what is late is told then. Called from the loop's thread only.

When the gateway closes a kept connection just as a request is sent on it, nobody knows whether that request was carried
out, and that is told (`Failed`). It is sent again on another connection only when the system took no byte of it: a
function may not expect to be invoked twice.
"""

from __future__ import annotations

import asyncio
import logging
import math
import socket
import ssl
from collections import deque
from typing import Final, Self, cast

from aiohappyeyeballs import start_connection

from bridge.clock import Clock, Timer
from bridge.config.hosts import is_address
from bridge.dispatcher.http.answer import Answer, Failed
from bridge.dispatcher.http.connection import Connection, Exchange, Told, why_of
from bridge.dispatcher.http.request import Origin

_log = logging.getLogger(__name__)

IDLE_S: Final = 30.0
"""How long a connection is kept without use: shorter than servers keep theirs, so that it is we who close it."""
NEXT_ADDRESS_S: Final = 0.25
"""How long one address of a name is tried alone before the next one is tried beside it (RFC 8305, 5)."""
_BUFFER_BYTES: Final = 64 * 1024
_TICK_S: Final = 0.001  # what is late by less than the loop's clock can tell is late


class Pool:
    """Carries out exchanges with one gateway over at most `connections`; an async context manager."""

    def __init__(self, origin: Origin, clock: Clock, *, connections: int, connect_timeout_s: float) -> None:
        self._origin = origin
        self._clock = clock
        self._limit = connections
        self._connect_timeout_s = connect_timeout_s
        self._tls: ssl.SSLContext | None = None
        self._address = is_address(origin.host)
        self._buffer = memoryview(bytearray(_BUFFER_BYTES))
        self._connections: set[Connection] = set()
        self._idle: list[Connection] = []  # the one that idles longest comes first; the last one is used next
        self._waiting: deque[Exchange] = deque()
        self._openings: set[asyncio.Task[None]] = set()
        self._timer: Timer | None = None
        self._sweep_at = math.inf
        self._empty = asyncio.Event()

    async def __aenter__(self) -> Self:
        self._tls = ssl.create_default_context() if self._origin.tls else None
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.give_up()
        openings = list(self._openings)
        for task in openings:
            task.cancel()
        await asyncio.gather(*openings, return_exceptions=True)
        for connection in list(self._connections):
            connection.abort()
        if self._connections:
            self._empty.clear()
            await self._empty.wait()
        self._set_timer(math.inf)

    @property
    def open(self) -> int:
        """How many connections there are, in use or not."""
        return len(self._connections)

    def post(self, request: bytes, timeout_s: float, told: Told) -> None:
        """Carry out one exchange. `told` is called once, after this has returned, unless all is given up before."""
        exchange = Exchange(request, self._clock.monotonic(), timeout_s, told)
        if exchange.deadline < self._sweep_at:
            self._set_timer(exchange.deadline)
        while self._idle:
            connection = self._idle.pop()
            if connection.quiet() and connection.send(exchange):
                return
            connection.abort()
        self._waiting.append(exchange)
        self._open_more()

    def give_up(self) -> None:
        """Forget all that is under way, at once: nobody is told. What was sent may be carried out all the same."""
        self._waiting.clear()
        for connection in list(self._connections):
            if connection.exchange is not None:
                connection.abort()

    # --- what connections tell ---

    def _made(self, connection: Connection) -> None:
        self._connections.add(connection)

    def _ended(self, connection: Connection, exchange: Exchange, result: Answer | Failed) -> None:
        now = self._clock.monotonic()
        if not connection.over:
            self._free(connection, now)
        exchange.told(result, now - exchange.began)

    def _lost(self, connection: Connection) -> None:
        self._connections.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
        if not self._connections:
            self._empty.set()
        self._open_more()

    def _free(self, connection: Connection, now: float) -> None:
        """A connection has nothing to do: it takes what waits, or idles."""
        if self._waiting:
            exchange = self._waiting.popleft()
            if not connection.send(exchange):
                self._waiting.appendleft(exchange)
                self._open_more()
            return
        connection.idle_since = now
        self._idle.append(connection)
        if now + IDLE_S < self._sweep_at:
            self._set_timer(now + IDLE_S)

    # --- opening ---

    def _open_more(self) -> None:
        """One opening for each exchange that waits, as far as the bound allows."""
        while len(self._openings) < len(self._waiting) and len(self._openings) + len(self._connections) < self._limit:
            task = asyncio.create_task(self._open(), name=f"connect to {self._origin.authority}")
            self._openings.add(task)

    async def _open(self) -> None:
        """Open a connection for whoever has waited longest; if that fails, it is they who are told."""
        why, connection = "", None
        try:
            async with asyncio.timeout(self._connect_timeout_s):
                connection = await self._connect()
        except TimeoutError as error:
            why = why_of(error) if error.errno else f"no connection within {self._connect_timeout_s:g} s"
        except OSError as error:
            why = why_of(error)
        except Exception as error:  # noqa: BLE001 - the outermost frame of a task: who waits must be told
            _log.exception("cannot open a connection", extra={"op": "http.connect", "url": self._origin.url})
            why = f"{type(error).__name__}: {error}"
        finally:
            self._openings.discard(cast("asyncio.Task[None]", asyncio.current_task()))
        if not self._waiting:
            if connection is not None and not connection.over:
                self._free(connection, self._clock.monotonic())
            return
        exchange = self._waiting.popleft()
        if connection is None or not connection.send(exchange):
            failed = self._not_reached(why or "the new connection was closed at once")
            exchange.told(failed, self._clock.monotonic() - exchange.began)
        self._open_more()

    async def _connect(self) -> Connection:
        loop = asyncio.get_running_loop()
        host, port = self._origin.host, self._origin.port
        if self._address:  # nobody has to be asked, and no thread to do that
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
        else:
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        sock = await start_connection(found, happy_eyeballs_delay=NEXT_ADDRESS_S)
        connection = Connection(self._buffer, self._made, self._ended, self._lost)
        if self._tls is None:
            connection.over_plain(sock)
        else:
            await loop.create_connection(lambda: connection, sock=sock, ssl=self._tls, server_hostname=host)
        return connection

    def _not_reached(self, why: str) -> Failed:
        return Failed(f"cannot connect to {self._origin.url}: {why}", reached=False)

    # --- time ---

    def _set_timer(self, when: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._sweep_at = when
        self._timer = self._clock.call_at(when, self._sweep) if when < math.inf else None

    def _sweep(self) -> None:
        """Tell what is late, close what has idled long enough, and find out when to look again."""
        now = self._clock.monotonic() + _TICK_S
        late: list[tuple[Exchange, Failed]] = []
        for connection in list(self._connections):
            exchange = connection.exchange
            if exchange is not None and exchange.deadline <= now:
                connection.abort()
                late.append((exchange, Failed(f"no answer within {exchange.timeout_s:g} s")))
        for exchange in [exchange for exchange in self._waiting if exchange.deadline <= now]:
            self._waiting.remove(exchange)
            late.append((exchange, self._not_reached(f"no connection within {exchange.timeout_s:g} s")))
        while self._idle and self._idle[0].idle_since + IDLE_S <= now:
            self._idle.pop(0).abort()
        under_way = [connection.exchange for connection in self._connections if connection.exchange is not None]
        times = [exchange.deadline for exchange in (*under_way, *self._waiting)]
        times += [connection.idle_since + IDLE_S for connection in self._idle[:1]]
        self._set_timer(min(times, default=math.inf))
        for exchange, failed in late:
            exchange.told(failed, now - exchange.began)
