"""A transport over one end of a pair of sockets, while the other end does what peers do."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from bridge.dispatcher.http.plain import PlainTransport
from tests.dispatcher.conftest import until

MUCH = bytes(range(256)) * 40_000
"""More than the system takes at once."""


class Hearer(asyncio.BufferedProtocol):
    """Keeps what a transport tells it."""

    def __init__(self) -> None:
        self.heard = b""
        self.ended = False
        self.lost: list[Exception | None] = []
        self._buffer = memoryview(bytearray(65_536))

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        self.heard += bytes(self._buffer[:nbytes])

    def eof_received(self) -> None:
        self.ended = True

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.append(exc)


@pytest.fixture
def peer_and_ours() -> Iterator[tuple[socket.socket, socket.socket]]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        ours = socket.create_connection(server.getsockname())
        peer, _ = server.accept()
    peer.setblocking(False)
    with peer, ours:
        yield peer, ours


@pytest.fixture
def peer(peer_and_ours: tuple[socket.socket, socket.socket]) -> socket.socket:
    return peer_and_ours[0]


@pytest.fixture
def hearer() -> Hearer:
    return Hearer()


@pytest_asyncio.fixture
async def transport(
    peer_and_ours: tuple[socket.socket, socket.socket], hearer: Hearer
) -> AsyncIterator[PlainTransport]:
    made = PlainTransport(peer_and_ours[1], hearer)
    yield made
    made.abort()
    await asyncio.sleep(0)


async def read(peer: socket.socket, size_bytes: int) -> bytes:
    found = b""
    while len(found) < size_bytes:
        found += await asyncio.get_running_loop().sock_recv(peer, size_bytes)
    return found


async def test_what_the_system_does_not_take_at_once_follows_in_order(
    transport: PlainTransport, peer: socket.socket
) -> None:
    transport.write(MUCH)
    assert transport.get_write_buffer_size() > 0
    transport.write(b"and the end")
    assert await read(peer, len(MUCH) + 11) == MUCH + b"and the end"
    await until(lambda: transport.get_write_buffer_size() == 0, "nothing waiting any more")
    assert not transport.is_closing()


async def test_a_write_that_fails_at_once_closes_and_the_protocol_hears_it_in_the_next_turn(
    transport: PlainTransport, hearer: Hearer, peer_and_ours: tuple[socket.socket, socket.socket]
) -> None:
    peer_and_ours[1].shutdown(socket.SHUT_WR)
    transport.write(b"a request")
    assert transport.is_closing()
    assert hearer.lost == []
    await asyncio.sleep(0)
    (lost,) = hearer.lost
    assert isinstance(lost, BrokenPipeError)
    transport.write(b"another one")  # nobody listens any more
    assert transport.get_write_buffer_size() == 0


async def test_a_peer_that_goes_while_much_waits_is_heard_of_once(
    transport: PlainTransport, hearer: Hearer, peer_and_ours: tuple[socket.socket, socket.socket]
) -> None:
    transport.write(MUCH)
    peer_and_ours[1].shutdown(socket.SHUT_WR)
    await until(lambda: hearer.lost, "the end of the connection")
    assert isinstance(hearer.lost[0], BrokenPipeError)
    transport.abort()
    await asyncio.sleep(0)
    assert len(hearer.lost) == 1
    assert transport.get_write_buffer_size() == 0


async def test_a_peer_that_resets_the_connection_is_told_with_its_error(
    transport: PlainTransport, hearer: Hearer, peer: socket.socket
) -> None:
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
    peer.close()
    await until(lambda: hearer.lost, "the end of the connection")
    assert isinstance(hearer.lost[0], ConnectionResetError)
    assert not hearer.ended


async def test_an_end_that_the_protocol_does_not_keep_open_closes(
    transport: PlainTransport, hearer: Hearer, peer: socket.socket
) -> None:
    peer.send(b"the last words")
    peer.close()
    await until(lambda: hearer.lost, "the end of the connection")
    assert hearer.heard == b"the last words"
    assert hearer.ended
    assert hearer.lost == [None]
