"""Kept connections that are closed just when they are used again, on real sockets."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from multidict import CIMultiDict

from bridge.gateway.answers import Refusal
from bridge.gateway.connections import Connection, Connections
from bridge.gateway.exchange import Call, StreamedBody
from bridge.gateway.settings import GatewaySettings, TimeoutSettings
from bridge.gateway.upstream import Upstream

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@dataclass
class Server:
    """A server whose connections a test closes itself, at the very moment that it wants."""

    listener: socket.socket
    connection: socket.socket | None = None

    @property
    def port(self) -> int:
        port: int = self.listener.getsockname()[1]
        return port

    async def answer(self, *, chunked: bool = False) -> bytes:
        """Take a connection, or go on with the kept one, and answer one request; the request."""
        loop = asyncio.get_running_loop()
        if self.connection is None:
            self.connection, _ = await loop.sock_accept(self.listener)
        request = b""
        while not (request.endswith(b"0\r\n\r\n") if chunked else complete(request)):
            piece = await loop.sock_recv(self.connection, 65536)
            assert piece, "the client has gone"
            request += piece
        await loop.sock_sendall(self.connection, OK)
        return request

    def leave(self) -> None:
        """Close the kept connection, without a turn of the loop."""
        assert self.connection is not None
        self.connection.close()
        self.connection = None


def complete(request: bytes) -> bool:
    head, end, body = request.partition(b"\r\n\r\n")
    return bool(end) and len(body) >= length(head)


def unchunked(body: bytes) -> bytes:
    pieces = b""
    while body:
        size, _, rest = body.partition(b"\r\n")
        pieces, body = pieces + rest[: int(size, 16)], rest[int(size, 16) + 2 :]
    return pieces


def length(request: bytes) -> int:
    lines = request.partition(b"\r\n\r\n")[0].lower().split(b"\r\n")
    return next((int(line[15:]) for line in lines if line.startswith(b"content-length:")), 0)


@pytest.fixture
def server() -> Iterator[Server]:
    with listening() as made:
        yield made


@contextmanager
def listening() -> Iterator[Server]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        server = Server(listener)
        yield server
        if server.connection is not None:
            server.connection.close()


class Lease:
    def __init__(self, port: int) -> None:
        self.instance, self.host, self.port = "r", "127.0.0.1", port
        self.suspected = False

    def release(self) -> None:
        pass

    def suspect(self) -> None:
        self.suspected = True


class Replicas:
    """Of the seam's backend, the part that calls need: one replica after the other, the last one for ever."""

    def __init__(self, *ports: int) -> None:
        self._ports = list(ports)
        self.leases: list[Lease] = []

    async def acquire(self, name: str) -> Lease:
        del name
        self.leases.append(Lease(self._ports.pop(0) if len(self._ports) > 1 else self._ports[0]))
        return self.leases[-1]


def taking(*pieces: bytes, on_turn: Callable[[int], object] = lambda turn: None) -> Callable[[], Awaitable[bytes]]:
    """What a stream takes its pieces from; `on_turn` is told before each."""
    left = list(enumerate(pieces))

    async def take() -> bytes:
        if not left:
            return b""
        turn, piece = left.pop(0)
        on_turn(turn)
        return piece

    return take


async def post(upstream: Upstream, body: Any = b"body", fields: dict[str, str] | None = None) -> int:
    headers = CIMultiDict({"Content-Length": str(len(body))} if isinstance(body, bytes) else fields or {})
    async with await upstream.send(Call("f", "POST", "/", headers, body)) as answer:
        await answer.read()
        return answer.status


class Left(Connections):
    """Connections whose server leaves a kept one just after it was found to be good."""

    def __init__(self, server: Server) -> None:
        super().__init__(connect_s=5.0, keep_s=5.0)
        self._server = server

    async def take(self, host: str, port: int) -> Connection:
        taken = await super().take(host, port)
        if taken.idle_since and self._server.connection is not None:
            self._server.leave()
        return taken


def gateway_of(replicas: Replicas, connections: Connections | None = None) -> Upstream:
    settings = GatewaySettings(state_dir=Path("unused"))
    return Upstream(replicas, settings, connections)  # type: ignore[arg-type]  # the part of replicas that it uses


async def test_a_kept_connection_that_has_ended_unnoticed_is_not_used_again(server: Server) -> None:
    replicas = Replicas(server.port)
    async with gateway_of(replicas) as upstream:
        for _ in range(2):
            first, status = await asyncio.gather(server.answer(), post(upstream))
            assert (first[-4:], status) == (b"body", 200)
            # The loop has no turn in which it could notice before the next call.
            server.leave()
    assert [lease.suspected for lease in replicas.leases] == [False, False]


async def test_a_body_that_streams_goes_over_another_connection_than_one_that_has_ended(server: Server) -> None:
    async with gateway_of(Replicas(server.port)) as upstream:
        await asyncio.gather(server.answer(), post(upstream))
        server.leave()
        streamed, status = await asyncio.gather(server.answer(), post(upstream, StreamedBody(taking(b"piece"))))
        assert (b"chunked" in streamed, status) == (True, 200)


async def test_a_call_whose_connection_closes_just_when_it_is_sent_is_made_again_elsewhere(server: Server) -> None:
    # Large enough that it is written some turns of the loop after the connection was chosen.
    body = b"x" * 300_000
    with listening() as other:
        replicas = Replicas(server.port, server.port, other.port)
        async with gateway_of(replicas) as upstream:
            await asyncio.gather(server.answer(), post(upstream))

            async def caught() -> int:
                asyncio.get_running_loop().call_soon(server.leave)
                return await post(upstream, body)

            request, status = await asyncio.gather(other.answer(), caught())
        assert (request.endswith(b"\r\n\r\n" + body), status) == (True, 200)
    assert [lease.suspected for lease in replicas.leases] == [False, True, False]


@pytest.mark.parametrize("told", [True, False])
async def test_a_stream_whose_connection_closes_just_when_it_begins_is_sent_again_from_its_beginning(
    server: Server, told: bool
) -> None:
    pieces = (b"x" * 40_000, b"y" * 40_000, b"z" * 100_000, b"end")
    fields = {"Content-Length": str(sum(map(len, pieces)))} if told else {}
    with listening() as other:
        replicas = Replicas(server.port, server.port, other.port)
        async with gateway_of(replicas, Left(server)) as upstream:
            await asyncio.gather(server.answer(), post(upstream))
            request, status = await asyncio.gather(
                other.answer(chunked=not told), post(upstream, StreamedBody(taking(*pieces)), fields)
            )
        head, _, body = request.partition(b"\r\n\r\n")
    assert (status, (b"chunked" in head.lower())) == (200, not told)
    assert (body if told else unchunked(body)) == b"".join(pieces)
    assert [lease.suspected for lease in replicas.leases] == [False, True, False]


async def test_no_more_of_a_stream_is_taken_than_is_kept_while_nobody_has_received_any_of_it() -> None:
    taken: list[int] = []
    deaf = asyncio.Event()

    async def received() -> None:
        await deaf.wait()

    stream = StreamedBody(taking(*[b"x" * 30_000] * 5, on_turn=taken.append))
    pieces = stream.pieces(received)
    for _ in range(3):
        await anext(pieces)
    waiting = asyncio.ensure_future(anext(pieces))
    await asyncio.sleep(0)
    assert (taken, stream.whole) == ([0, 1, 2], True)
    deaf.set()
    assert await waiting == b"x" * 30_000
    assert not stream.whole


async def test_a_stream_of_which_something_was_received_is_not_made_up_for(server: Server) -> None:
    async def gone() -> bytes:
        # It has the head by now, and leaves with it.
        if server.connection is None:
            return b""
        await read_it(server.connection)
        server.leave()
        return b"piece"

    async with gateway_of(Replicas(server.port)) as upstream:
        await asyncio.gather(server.answer(), post(upstream))
        with pytest.raises(Refusal) as told:
            await post(upstream, StreamedBody(gone))
    assert told.value.status == 502


async def test_a_stream_that_fails_itself_is_not_begun_again(server: Server) -> None:
    async def too_slow() -> bytes:
        raise Refusal(408, "too slow")

    replicas = Replicas(server.port)
    async with gateway_of(replicas) as upstream:
        await asyncio.gather(server.answer(), post(upstream))
        with pytest.raises(Refusal) as told:
            await post(upstream, StreamedBody(too_slow))
    assert (told.value.status, len(replicas.leases)) == (502, 2)


async def read_it(connection: socket.socket) -> None:
    await asyncio.get_running_loop().sock_recv(connection, 65536)


async def begin_to_answer(connection: socket.socket) -> None:
    await read_it(connection)
    connection.send(b"HTTP/1.1 200")


@pytest.mark.parametrize("before_it_breaks", [read_it, begin_to_answer])
async def test_a_request_that_was_received_is_never_taken_for_unseen(server: Server, before_it_breaks: Any) -> None:
    async with gateway_of(Replicas(server.port)) as upstream:
        await asyncio.gather(server.answer(), post(upstream))
        posting = asyncio.create_task(post(upstream))
        assert server.connection is not None
        await before_it_breaks(server.connection)
        server.leave()
        with pytest.raises(Refusal) as told:
            await posting
    assert told.value.status == 502


async def test_a_request_that_was_left_unread_is_never_taken_for_unseen(server: Server) -> None:
    async with gateway_of(Replicas(server.port)) as upstream:
        await asyncio.gather(server.answer(), post(upstream))
        posting = asyncio.create_task(post(upstream))
        assert server.connection is not None
        async with asyncio.timeout(60):
            while True:
                try:
                    server.connection.recv(1, socket.MSG_PEEK)
                    break
                except BlockingIOError:
                    await asyncio.sleep(0)
        server.leave()
        with pytest.raises(Refusal) as told:
            await posting
    assert told.value.status == 502


async def test_a_server_that_hangs_up_at_once_is_no_error_of_ours() -> None:
    async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.abort()

    async with (
        await asyncio.start_server(hang_up, "127.0.0.1", 0) as hanging,
        gateway_of(Replicas(hanging.sockets[0].getsockname()[1])) as upstream,
    ):
        told = await asyncio.gather(*(post(upstream) for _ in range(20)), return_exceptions=True)
    assert {each.status for each in told if isinstance(each, Refusal)} <= {502, 503}
    assert {type(each) for each in told} == {Refusal}


async def test_calls_one_after_the_other_share_a_connection_and_say_how_long_their_bodies_are(server: Server) -> None:
    heads: list[bytes] = []

    async def made(method: str, body: bytes | None) -> None:
        call = Call("f", method, "/a%20b?c=%2F&d", CIMultiDict({"X-One": "1"}), body)
        heads.append((await asyncio.gather(server.answer(), ended(await_answer(call))))[0])

    async def await_answer(call: Call) -> bytes:
        async with await upstream.send(call) as answer:
            return await answer.read()

    async def ended(answering: Any) -> None:
        assert await answering == b"ok"

    async with gateway_of(Replicas(server.port)) as upstream:
        for method, body in (("GET", None), ("POST", None), ("DELETE", b""), ("PUT", b"body")):
            await made(method, body)
    # The server takes one connection only: they all came over it.
    place = b"Host: 127.0.0.1:%d\r\n" % server.port
    assert heads == [
        b"GET /a%20b?c=%2F&d HTTP/1.1\r\nX-One: 1\r\n" + place + b"\r\n",
        b"POST /a%20b?c=%2F&d HTTP/1.1\r\nX-One: 1\r\n" + place + b"Content-Length: 0\r\n\r\n",
        b"DELETE /a%20b?c=%2F&d HTTP/1.1\r\nX-One: 1\r\n" + place + b"Content-Length: 0\r\n\r\n",
        b"PUT /a%20b?c=%2F&d HTTP/1.1\r\nX-One: 1\r\n" + place + b"Content-Length: 4\r\n\r\nbody",
    ]


async def test_what_a_server_says_before_its_answer_is_not_taken_for_it(server: Server) -> None:
    async with gateway_of(Replicas(server.port)) as upstream:
        posting = asyncio.create_task(post(upstream))
        connection, _ = await asyncio.get_running_loop().sock_accept(server.listener)
        server.connection = connection
        await read_it(connection)
        connection.send(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
        await asyncio.sleep(0)
        connection.send(OK)
        assert await posting == 200


async def test_an_answer_before_the_whole_body_came_ends_the_sending_and_the_connection(server: Server) -> None:
    closed = asyncio.Event()

    begun = False

    async def take() -> bytes:
        nonlocal begun
        if not begun:
            begun = True
            return b"piece"
        try:
            await asyncio.Event().wait()
        finally:
            closed.set()
        return b""

    async with gateway_of(Replicas(server.port)) as upstream:
        posting = asyncio.create_task(post(upstream, StreamedBody(take)))
        connection, _ = await asyncio.get_running_loop().sock_accept(server.listener)
        server.connection = connection
        connection.setblocking(False)
        await read_it(connection)
        connection.send(OK)
        assert await posting == 200
        async with asyncio.timeout(60):
            await closed.wait()
            while await asyncio.get_running_loop().sock_recv(connection, 65536):
                pass


async def test_a_function_may_be_slow_as_long_as_it_is_never_silent_for_too_long(server: Server) -> None:
    settings = GatewaySettings(state_dir=Path("unused"), timeouts=TimeoutSettings(upstream_s=0.6))
    async with Upstream(Replicas(server.port), settings) as upstream:  # type: ignore[arg-type]  # the part it uses
        posting = asyncio.create_task(post(upstream))
        connection, _ = await asyncio.get_running_loop().sock_accept(server.listener)
        server.connection = connection
        await read_it(connection)
        for piece in (b"HTTP/1.1 200 OK\r\n", b"Content-Length: 2\r\n", b"\r\n", b"o", b"k"):
            await asyncio.sleep(0.25)
            connection.send(piece)
        assert await posting == 200
        # The same connection, and now it says nothing.
        with pytest.raises(Refusal) as told:
            await post(upstream)
    assert told.value.status == 504


async def test_a_connection_that_nobody_needs_is_closed_after_a_while(server: Server) -> None:
    connections = Connections(connect_s=5.0, keep_s=0.2)
    try:
        used = await connections.take("127.0.0.1", server.port)
        connections.give(used)
        assert await connections.take("127.0.0.1", server.port) is used
        connections.give(used)
        connection, _ = await asyncio.get_running_loop().sock_accept(server.listener)
        server.connection = connection
        connection.setblocking(False)
        async with asyncio.timeout(60):
            assert await asyncio.get_running_loop().sock_recv(connection, 1) == b""
        assert await connections.take("127.0.0.1", server.port) is not used
    finally:
        await connections.close()


@pytest.mark.parametrize("turns", [0, 3])
async def test_an_answer_that_nobody_asked_for_spoils_the_kept_connection(server: Server, turns: int) -> None:
    async with gateway_of(Replicas(server.port)) as upstream:
        await asyncio.gather(server.answer(), post(upstream))
        spoiled, server.connection = server.connection, None
        assert spoiled is not None
        spoiled.send(b"HTTP/1.1 404 Not Found\r\nContent-Length: 5\r\n\r\nwrong")
        # It is seen whether or not the loop has got round to reading it.
        for _ in range(turns):
            await asyncio.sleep(0)
        _, status = await asyncio.gather(server.answer(), post(upstream))
        spoiled.close()
    assert status == 200
