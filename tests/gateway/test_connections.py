"""Kept connections that are closed just when they are used again, on real sockets."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from multidict import CIMultiDict

from bridge.gateway.answers import Refusal
from bridge.gateway.settings import GatewaySettings
from bridge.gateway.upstream import Call, Upstream

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

    async def answer(self) -> bytes:
        """Take a connection, or go on with the kept one, and answer one request; the request."""
        loop = asyncio.get_running_loop()
        if self.connection is None:
            self.connection, _ = await loop.sock_accept(self.listener)
        request = b""
        while b"\r\n\r\n" not in request or len(request.partition(b"\r\n\r\n")[2]) < length(request):
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


async def post(upstream: Upstream, body: Any = b"body") -> int:
    headers = CIMultiDict({"Content-Length": str(len(body))} if isinstance(body, bytes) else {})
    async with await upstream.send(Call("f", "POST", "/", headers, body)) as answer:
        await answer.response.read()
        return answer.response.status


def gateway_of(replicas: Replicas) -> Upstream:
    return Upstream(replicas, GatewaySettings(state_dir=Path("unused")))  # type: ignore[arg-type]  # the part it uses


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
    async def pieces() -> AsyncIterator[bytes]:
        yield b"piece"

    async with gateway_of(Replicas(server.port)) as upstream:
        await asyncio.gather(server.answer(), post(upstream))
        server.leave()
        streamed, status = await asyncio.gather(server.answer(), post(upstream, pieces()))
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


async def test_a_body_that_was_taken_from_its_stream_is_not_made_up_for(server: Server) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        server.leave()
        yield b"piece"

    async with gateway_of(Replicas(server.port)) as upstream:
        await asyncio.gather(server.answer(), post(upstream))
        with pytest.raises(Refusal) as told:
            await post(upstream, pieces())
    assert told.value.status == 502


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
        async with asyncio.timeout(5):
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
