"""One client's HTTP/1.1 connection: bytes in, requests to the handler, answers out, in order.

h11 knows the protocol; this knows the socket, the clock and the task that runs the handler. All of it
happens on the loop.
"""

import asyncio
import logging
import select
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import h11

from . import wire
from .exchange import BrokenOff, Handler, Request, Response, dispose, text

_log = logging.getLogger(__name__)

_LINGER_S = 2.0
# A body up to this size travels in one piece with its head; above it the copy costs more than a second system call.
_JOIN_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Limits:
    """What one client may ask of the server; see `Server`."""

    max_body_bytes: int
    read_timeout_s: float
    keepalive_timeout_s: float
    write_timeout_s: float
    max_connections: int


class Connection(asyncio.Protocol):
    """Reads requests, has them answered one at a time, and keeps to the limits.

    Stays in `peers` until both the socket and the handler are done with it; `left` is called after it went. With
    `retired` its first answer is its last one.
    """

    def __init__(
        self,
        handler: Handler,
        limits: Limits,
        peers: set["Connection"],
        left: Callable[[], None],
        *,
        retired: bool = False,
    ) -> None:
        self._handler = handler
        self._limits = limits
        self._peers = peers
        self._left = left
        self._loop = asyncio.get_running_loop()
        self._http = h11.Connection(h11.SERVER)
        self._transport: asyncio.Transport | None = None
        self._head: h11.Request | None = None
        self._body: list[bytes] = []
        self._body_bytes = 0
        self._task: asyncio.Task[None] | None = None
        self._reading_paused = False
        self._drained: asyncio.Future[None] | None = None
        self._draining = retired
        self._closing = False
        self._client_ended = False
        self._streaming = False
        self._deadline: float | None = None
        self._deadline_is_idle = True
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start to wait for the first request, or turn the client away when the house is full."""
        self._transport = cast("asyncio.Transport", transport)
        crowded = len(self._peers) >= self._limits.max_connections
        self._peers.add(self)
        if crowded:
            self._refuse(503, "too many connections, try again later")
        else:
            self._wait_until(self._loop.time() + self._limits.keepalive_timeout_s)

    def data_received(self, data: bytes) -> None:
        """Feed the parser; while a request is being answered, hold the rest back in the socket."""
        if self._closing:
            return
        self._http.receive_data(data)
        if self._task is not None:
            self._pause_reading()
        else:
            self._advance()

    def eof_received(self) -> bool:
        """The client sends no more, but may still want its answer."""
        if self._closing:
            return False
        self._client_ended = True
        self._http.receive_data(b"")
        if self._task is None:
            self._advance()
        # A stream may run for ever and say nothing for long, so for its sake an end is taken as leaving.
        return not self._streaming

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is gone; a handler at work runs on and its answer is dropped, a stream ends."""
        self._transport = None
        self._deadline = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.resume_writing()
        if self._streaming and self._task is not None:
            # Unlike a call, a stream has no end of its own that would be worth waiting for.
            self._task.cancel()
        self._leave()

    def pause_writing(self) -> None:
        """The client reads slower than we write."""
        if self._drained is None:
            self._drained = self._loop.create_future()

    def resume_writing(self) -> None:
        """The client has caught up, or is gone."""
        if self._drained is not None and not self._drained.done():
            self._drained.set_result(None)
        self._drained = None

    def retire(self) -> None:
        """Close after the next answer, which says so."""
        self._draining = True

    def drain(self) -> None:
        """Close now when idle, else after the answer that is being worked on."""
        self._draining = True
        if self._task is None and self._head is None and not self._half_received() and not self._unread():
            self._close()

    def abort(self) -> asyncio.Task[None] | None:
        """Cut the connection and cancel its handler; the task that is being cancelled, if any."""
        if self._task is not None:
            self._task.cancel()
        if self._transport is not None:
            self._transport.abort()
        return self._task

    def _advance(self) -> None:
        """Take what the parser has, up to a whole request or until more bytes are needed."""
        try:
            while not self._closing:
                event = self._http.next_event()
                if event is h11.NEED_DATA:
                    self._wait_for_more()
                    return
                if isinstance(event, h11.Request):
                    self._begin(event)
                elif isinstance(event, h11.Data):
                    self._body_bytes += len(event.data)
                    if self._body_bytes > self._limits.max_body_bytes:
                        self._refuse_body()
                    else:
                        self._body.append(event.data)
                elif isinstance(event, h11.EndOfMessage):
                    self._hand_over()
                    return
                else:  # ConnectionClosed; PAUSED can't be, the parser is only asked between two requests
                    self._close()
        except h11.RemoteProtocolError as problem:
            self._refuse(problem.error_status_hint, f"bad request: {problem}")

    def _begin(self, head: h11.Request) -> None:
        self._head = head
        if head.method == b"CONNECT":
            self._refuse(501, "CONNECT is not supported")
            return
        for name, value in head.headers:
            if name == b"content-length" and int(value) > self._limits.max_body_bytes:
                self._refuse_body()
                return
        if self._http.they_are_waiting_for_100_continue:
            self._write(self._http.send(h11.InformationalResponse(status_code=100, headers=[], reason=b"Continue")))

    def _hand_over(self) -> None:
        head, self._head = self._head, None
        assert head is not None, "h11 ends no request that it hasn't begun"
        body = b"".join(self._body)
        self._body = []
        self._body_bytes = 0
        self._deadline = None  # from here on the handler's own time-out counts
        try:
            request = wire.request(head, body)
        except ValueError as problem:
            self._refuse(400, f"bad request: the target can't be read: {problem}")
            return
        self._task = self._loop.create_task(self._answer(request), name="http-request")

    def _wait_for_more(self) -> None:
        if self._head is None and not self._half_received():
            self._wait_until(self._loop.time() + self._limits.keepalive_timeout_s)
        elif self._deadline is None or self._deadline_is_idle:
            # Counted from the first byte, not from the latest: a client that drips must not hold a place for ever.
            self._wait_until(self._loop.time() + self._limits.read_timeout_s, idle=False)

    def _half_received(self) -> bool:
        return bool(self._http.trailing_data[0])

    def _unread(self) -> bool:
        """Whether bytes have come that the loop has not got round to: closing on a request would lose it unanswered."""
        if self._transport is None:
            return False
        poll = select.poll()
        poll.register(self._transport.get_extra_info("socket").fileno(), select.POLLIN)
        return bool(poll.poll(0))

    def _pause_reading(self) -> None:
        if self._transport is not None and not self._reading_paused:
            self._transport.pause_reading()
            self._reading_paused = True

    def _resume_reading(self) -> None:
        if self._transport is not None and self._reading_paused:
            self._transport.resume_reading()
            self._reading_paused = False

    async def _answer(self, request: Request) -> None:
        answered = False
        try:
            await self._send(request, await self._handled(request))
            answered = True
        finally:
            self._task = None
            if self._transport is None:
                self._leave()
            elif not answered:
                self._transport.abort()  # cancelled, or an error of our own: nothing can follow here
        if self._transport is not None and not self._closing:
            self._next_cycle()

    async def _handled(self, request: Request) -> Response:
        try:
            return await self._handler(request)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            # Nobody cancelled us: the handler awaited what had been cancelled. The client still wants an answer.
            _log.exception("Handler was cancelled from inside", extra={"op": "http", "path": request.path})
        except Exception:  # noqa: BLE001 - one request must not end the connection; the traceback is logged
            _log.exception("Handler failed", extra={"op": "http", "method": request.method, "path": request.path})
        return text(500, "internal error; the log of this program says more")

    async def _send(self, request: Request, response: Response) -> None:
        whole = response.body if isinstance(response.body, bytes) else None
        if self._transport is None:
            await dispose(response)
            return
        try:
            head = wire.response_head(request, response, closing=self._draining)
        except (h11.LocalProtocolError, ValueError) as problem:
            _log.error("Handler answered what HTTP can't carry", extra={"op": "http", "problem": str(problem)})
            await dispose(response)
            response = text(500, "internal error; the log of this program says more")
            assert isinstance(response.body, bytes), "text() answers with bytes"
            whole = response.body
            head = wire.response_head(request, response, closing=self._draining)
        silent = request.method == "HEAD" or response.status in wire.NO_BODY
        start = self._http.send(head)
        if whole is not None:
            self._write_whole(start, b"" if silent else whole)
            await self._client_caught_up()
        elif silent:
            self._write(start + self._http.send(h11.EndOfMessage()))
            await dispose(response)
        else:
            self._write(start)
            await self._stream(response)

    def _write_whole(self, start: bytes, body: bytes) -> None:
        if not body:
            self._write(start + self._http.send(h11.EndOfMessage()))
        elif len(body) <= _JOIN_BYTES:
            self._write(start + self._http.send(h11.Data(data=body)) + self._http.send(h11.EndOfMessage()))
        else:
            self._write(start)
            self._write(self._http.send(h11.Data(data=body)))
            self._write(self._http.send(h11.EndOfMessage()))

    async def _stream(self, response: Response) -> None:
        assert not isinstance(response.body, bytes), "the caller has seen to that"
        self._streaming = True
        try:
            async for piece in response.body:
                if piece:
                    self._write(self._http.send(h11.Data(data=piece)))
                    await self._client_caught_up()
            self._write(self._http.send(h11.EndOfMessage()))
        # The head is out, so no status can tell it any more: a cut connection is how HTTP says "incomplete".
        except BrokenOff:
            self._cut()
        except Exception:  # noqa: BLE001 - as above; the source of a stream is the handler's code
            _log.exception("Streamed answer failed", extra={"op": "http"})
            self._cut()
        finally:
            self._streaming = False
            await dispose(response)

    def _cut(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    async def _client_caught_up(self) -> None:
        """Wait while the client reads; cut it off when it took nothing for `write_timeout_s`."""
        while self._drained is not None and self._transport is not None:
            before = self._transport.get_write_buffer_size()
            try:
                async with asyncio.timeout(self._limits.write_timeout_s):
                    await asyncio.shield(self._drained)
            except TimeoutError:
                if self._transport is not None and self._transport.get_write_buffer_size() >= before:
                    self._transport.abort()
                    return

    def _next_cycle(self) -> None:
        if self._http.our_state is not h11.DONE or self._http.their_state is not h11.DONE:
            self._close()
            return
        self._http.start_next_cycle()
        self._resume_reading()
        if self._draining:
            self._close()
        else:
            self._advance()

    def _refuse_body(self) -> None:
        self._refuse(413, f"the body is larger than the {self._limits.max_body_bytes} bytes that are taken here")

    def _refuse(self, status: int, line: str) -> None:
        """Answer on our own account and close; the rest of what the client sends is thrown away."""
        if self._http.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            response = text(status, line)
            assert isinstance(response.body, bytes), "text() answers with bytes"
            request = Request(self._head.method.decode("latin-1") if self._head else "", "", "")
            self._write_whole(
                self._http.send(wire.response_head(request, response, closing=True)),
                b"" if request.method == "HEAD" else response.body,
            )
        self._close(linger=True)

    def _close(self, *, linger: bool = False) -> None:
        """Close after what is written has gone out.

        With `linger` our side is closed first and the client's bytes are read away for a moment: closing on unread data
        makes the kernel send a reset that can overtake the answer (RFC 9112 section 9.6).
        """
        self._closing = True
        transport = self._transport
        if transport is None:
            return
        if linger and not self._client_ended and transport.can_write_eof():
            transport.write_eof()
            self._resume_reading()
            self._wait_until(self._loop.time() + _LINGER_S, idle=False)
        else:
            transport.close()
            self._wait_until(self._loop.time() + self._limits.write_timeout_s, idle=False)

    def _leave(self) -> None:
        if self._task is None and self in self._peers:
            self._peers.discard(self)
            self._left()

    def _write(self, data: bytes | None) -> None:
        if data and self._transport is not None:
            self._transport.write(data)

    def _wait_until(self, deadline: float, *, idle: bool = True) -> None:
        """Set the one deadline; the timer is moved only when it would ring too late, which makes keep-alive cheap."""
        self._deadline = deadline
        self._deadline_is_idle = idle
        if self._timer is not None and self._timer.when() > deadline:
            self._timer.cancel()
            self._timer = None
        if self._timer is None:
            self._timer = self._loop.call_at(deadline, self._ring)

    def _ring(self) -> None:
        self._timer = None
        if self._deadline is None or self._transport is None:
            return
        if self._loop.time() < self._deadline:
            self._timer = self._loop.call_at(self._deadline, self._ring)
        elif self._closing:
            self._transport.abort()
        elif self._deadline_is_idle:
            self._close()
        else:
            self._refuse(408, f"the request did not arrive whole within {self._limits.read_timeout_s:g} s")
