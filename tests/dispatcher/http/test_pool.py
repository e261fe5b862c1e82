"""The pool and its connections against servers that behave, and servers that do not."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import struct
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any, Self

import pytest

from bridge.clock import Clock, RealClock, VirtualClock
from bridge.dispatcher.http.answer import HEAD_BYTES, Answer, Failed
from bridge.dispatcher.http.connection import Connection
from bridge.dispatcher.http.plain import PlainTransport
from bridge.dispatcher.http.pool import IDLE_S, Pool
from bridge.dispatcher.http.request import Origin
from tests.dispatcher.conftest import until
from tests.dispatcher.http.conftest import OK, REQUEST, Peer, Server, begin, failure, post, serving


def pool_to(
    server: Server | int,
    *,
    clock: Clock | None = None,
    connections: int = 4,
    connect_timeout_s: float = 5.0,
    host: str = "127.0.0.1",
    scheme: str = "http",
) -> Pool:
    port = server if isinstance(server, int) else server.port
    origin = Origin(f"{scheme}://{host}:{port}")
    return Pool(origin, clock or RealClock(), connections=connections, connect_timeout_s=connect_timeout_s)


def socket_of(connection: Connection) -> socket.socket:
    """Another handle of its socket, to be closed."""
    transport = connection._transport
    assert isinstance(transport, PlainTransport)
    return socket.socket(fileno=os.dup(transport._fd))


async def test_one_request_after_the_other_shares_a_connection() -> None:
    async with serving() as server, pool_to(server) as pool:
        for _ in range(5):
            answer = await post(pool)
            assert (answer.status, answer.body) == (200, b"ok")
        assert server.requests == [(1, REQUEST)] * 5
        assert pool.open == 1


async def test_what_is_used_last_is_used_next() -> None:
    async with serving() as server, pool_to(server) as pool:
        await asyncio.gather(*(begin(pool) for _ in range(3)))
        last = server.requests[-1][0]
        for _ in range(4):
            await post(pool)
        assert {number for number, _ in server.requests[3:]} == {last}


async def test_more_than_the_bound_waits_its_turn() -> None:
    async with serving() as server, pool_to(server, connections=2) as pool:
        order: list[int] = []
        waits = [begin(pool) for _ in range(20)]
        for number, told in enumerate(waits):
            told.add_done_callback(lambda _, number=number: order.append(number))  # type: ignore[misc] # a default binds it
        await asyncio.gather(*waits)
        assert len(server.requests) == 20
        assert server.most_at_once == 2
        assert sorted(order) == list(range(20))
        # Two are under way at once: when one has ended, one of those before it may not have.
        assert all(len({*range(number)}.difference(order[:place])) <= 1 for place, number in enumerate(order))


async def test_small_packets_are_sent_at_once() -> None:
    async with serving() as server, pool_to(server) as pool:
        await post(pool)
        (connection,) = pool._connections
        with socket_of(connection) as plain:
            assert plain.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


# --- servers that do not behave ---

Spoiling = Callable[[Peer], Awaitable[None]]
"""What a server does with a request that it has read."""


async def half(peer: Peer) -> None:
    await peer.answer(OK[:-1])


async def garbage(peer: Peer) -> None:
    await peer.answer(b"\x16\x03\x01 not http at all")
    await peer.gone()


async def silent_close(peer: Peer) -> None:
    pass


async def huge_head(peer: Peer) -> None:
    await peer.answer(b"HTTP/1.1 200 OK\r\n", *[b"X: " + b"x" * 1000 + b"\r\n"] * (HEAD_BYTES // 1000 + 2))
    await peer.gone()


async def reset(peer: Peer) -> None:
    plain = peer.writer.get_extra_info("socket")
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (half, "half an answer: closed after 1 bytes of the body"),
        (garbage, "no HTTP/1.1 answer"),
        (silent_close, "the connection was closed without an answer"),
        (huge_head, f"no valid HTTP/1.1 answer: its head is longer than {HEAD_BYTES} bytes"),
        (reset, "connection failed: Connection reset by peer"),
    ],
)
async def test_what_a_server_spoils_is_told_once_and_its_connection_is_closed(spoil: Spoiling, reason: str) -> None:
    async def behave(peer: Peer) -> None:
        await peer.request()
        await spoil(peer)

    async with serving(behave) as server, pool_to(server) as pool:
        for _ in range(3):
            assert await failure(pool) == Failed(reason)
        await until(lambda: pool.open == 0, "closed")
        assert server.connections == 3


@pytest.mark.parametrize(
    "pieces",
    [
        [b"HTTP/1.1 100 Continue\r\n\r\n", OK],
        [b"HTTP/1.1 103 Early Hints\r\n\r\n" + OK],
        [OK[i : i + 1] for i in range(len(OK))],
    ],
    ids=["100 first", "103 with it", "trickle"],
)
async def test_an_answer_may_come_in_pieces_and_after_interim_ones(pieces: list[bytes]) -> None:
    async def behave(peer: Peer) -> None:
        while await peer.request():
            await peer.answer(*pieces)

    async with serving(behave) as server, pool_to(server) as pool:
        for _ in range(3):
            assert (await post(pool)).body == b"ok"
        assert server.connections == 1


async def test_a_body_that_ends_with_its_connection_is_whole() -> None:
    async def behave(peer: Peer) -> None:
        await peer.request()
        await peer.answer(b"HTTP/1.1 200 OK\r\n\r\n", b"to the ", b"end")

    async with serving(behave) as server, pool_to(server) as pool:
        assert (await post(pool)).body == b"to the end"
        assert (await post(pool)).body == b"to the end"
        assert server.connections == 2


async def test_what_follows_an_answer_closes_the_connection() -> None:
    async def behave(peer: Peer) -> None:
        await peer.request()
        await peer.answer(OK + b"HTTP/1.1 200 OK\r\n")
        await peer.gone()

    async with serving(behave) as server, pool_to(server) as pool:
        await post(pool)
        await until(lambda: pool.open == 0, "closed")
        await post(pool)
        assert server.connections == 2


async def test_what_comes_unasked_while_a_connection_idles_closes_it() -> None:
    asked = asyncio.Event()

    async def behave(peer: Peer) -> None:
        await peer.request()
        await peer.answer(OK)
        await asked.wait()
        await peer.answer(b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n")
        await peer.gone()

    async with serving(behave) as server, pool_to(server) as pool:
        await post(pool)
        asked.set()
        await until(lambda: pool.open == 0, "closed")
        await post(pool)
        assert server.connections == 2


async def test_an_answer_before_the_request_is_read_is_an_answer_and_ends_the_connection() -> None:
    told = asyncio.Event()

    async def behave(peer: Peer) -> None:
        await peer.answer(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
        await told.wait()

    large = REQUEST.replace(b": 4", b": 20000000") + b"x" * 19_999_996
    async with serving(behave) as server, pool_to(server) as pool:
        assert (await post(pool, large)).status == 413
        await until(lambda: pool.open == 0, "closed")
        told.set()
        assert server.connections == 1


class Listener:
    """A server that moves only when the test says so: what the loop has not seen yet can be tested."""

    def __init__(self) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._listening.setblocking(False)
        self.port = self._listening.getsockname()[1]
        self.accepted: list[socket.socket] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        for plain in (self._listening, *self.accepted):
            plain.close()

    async def answer(self) -> socket.socket:
        """Accept a connection, read a request, answer it."""
        loop = asyncio.get_running_loop()
        plain, _ = await loop.sock_accept(self._listening)
        self.accepted.append(plain)
        assert await loop.sock_recv(plain, 65536) == REQUEST
        await loop.sock_sendall(plain, OK)
        return plain


async def test_a_connection_that_was_closed_a_moment_ago_is_not_handed_out() -> None:
    with Listener() as listener:
        async with pool_to(listener.port) as pool:
            told = begin(pool)
            first = await listener.answer()
            assert isinstance(await told, Answer)
            first.close()
            again = begin(pool)  # the loop has had no turn to see that it is closed
            await listener.answer()
            assert isinstance(await again, Answer)
            assert len(listener.accepted) == 2


async def test_a_request_that_was_taken_is_not_sent_again_when_the_kept_connection_breaks() -> None:
    async def behave(peer: Peer) -> None:
        server.requests.append((peer.number, await peer.request() or b""))
        await peer.answer(OK)
        server.requests.append((peer.number, await peer.request() or b""))

    async with serving(behave) as server, pool_to(server) as pool:
        await post(pool)
        assert await failure(pool) == Failed("the connection was closed without an answer")
        assert server.requests == [(1, REQUEST)] * 2


async def test_a_request_of_which_the_system_took_nothing_is_sent_on_another_connection() -> None:
    async with serving() as server, pool_to(server) as pool:
        await post(pool)
        (connection,) = pool._connections
        with socket_of(connection) as plain:
            plain.shutdown(socket.SHUT_WR)  # the next write fails at once, and nothing of it is seen from outside
        assert connection.quiet()
        assert (await post(pool)).status == 200
        assert server.requests == [(1, REQUEST), (2, REQUEST)]


async def test_what_waits_for_a_connection_that_takes_nothing_more_gets_another_one() -> None:
    held = asyncio.Event()

    async def behave(peer: Peer) -> None:
        while request := await peer.request():
            server.requests.append((peer.number, request))
            await held.wait()
            await peer.answer(OK)

    async with serving(behave) as server, pool_to(server, connections=1) as pool:
        first, second = begin(pool), begin(pool)
        await until(lambda: server.requests, "one under way, one behind it")
        (connection,) = pool._connections
        with socket_of(connection) as plain:
            plain.shutdown(socket.SHUT_WR)
        held.set()
        assert isinstance(await first, Answer)
        assert isinstance(await second, Answer)
        assert server.requests == [(1, REQUEST), (2, REQUEST)]


# --- connecting ---


async def test_an_opening_that_breaks_is_told_to_who_waits_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    await asyncio.get_running_loop().shutdown_default_executor()  # nobody can look up a name any more
    async with pool_to(80, host="localhost") as pool:
        failed = await failure(pool)
    assert not failed.reached
    assert "RuntimeError" in failed.reason
    assert "cannot open a connection" in caplog.text


async def test_nobody_listening_is_told_as_not_reached() -> None:
    async with pool_to(1) as pool:
        expected = Failed("cannot connect to http://127.0.0.1:1: Connection refused", reached=False)
        assert await asyncio.gather(*(begin(pool) for _ in range(3))) == [expected] * 3


async def test_a_name_that_nobody_knows_is_told_as_not_reached() -> None:
    async with pool_to(80, host="nobody.invalid") as pool:
        failed = await failure(pool)
        assert not failed.reached
        assert failed.reason.startswith("cannot connect to http://nobody.invalid:80: ")


async def test_a_host_that_does_not_finish_connecting_is_told_as_not_reached() -> None:
    async def behave(peer: Peer) -> None:
        await peer.gone()

    async with serving(behave) as server:  # it speaks no TLS, so the handshake never ends
        for connect_s, timeout_s, shown in ((0.05, 10.0, "0.05"), (10.0, 0.05, "0.05")):
            async with pool_to(server, connect_timeout_s=connect_s, scheme="https") as pool:
                failed = await failure(pool, timeout_s=timeout_s)
                url = f"https://127.0.0.1:{server.port}"
                assert failed == Failed(f"cannot connect to {url}: no connection within {shown} s", reached=False)


async def test_a_name_with_several_addresses_is_tried_until_one_answers() -> None:
    addresses = {entry[4][0] for entry in socket.getaddrinfo("localhost", 80, type=socket.SOCK_STREAM)}
    async with serving() as server, pool_to(server, host="localhost") as pool:
        assert "127.0.0.1" in addresses
        assert (await post(pool)).status == 200


async def test_an_ipv6_address_is_connected_to() -> None:
    if not socket.has_ipv6:
        pytest.skip("this machine has no IPv6")
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError as error:
        pytest.skip(f"no IPv6 loopback: {error}")
    async with serving(host="::1") as server, pool_to(server, host="[::1]") as pool:
        assert (await post(pool)).status == 200


# --- time ---


async def test_what_never_answers_is_given_up_at_its_timeout_and_its_connection_closed() -> None:
    async def behave(peer: Peer) -> None:
        await peer.request()
        server.requests.append((peer.number, b""))
        await peer.gone()

    clock = VirtualClock()
    async with serving(behave) as server, pool_to(server, clock=clock) as pool:
        first, second = begin(pool, timeout_s=5.0), begin(pool, timeout_s=2.0)
        await until(lambda: len(server.requests) == 2, "both under way")
        await clock.advance(1.9)
        assert not second.done()
        await clock.advance(0.2)
        assert second.result() == Failed("no answer within 2 s")
        assert not first.done()
        await clock.advance(3.0)
        assert first.result() == Failed("no answer within 5 s")
        await until(lambda: pool.open == 0, "closed")


async def test_the_duration_that_is_told_begins_with_the_post() -> None:
    async def behave(peer: Peer) -> None:
        await peer.request()
        await go.wait()
        await peer.answer(OK)

    clock, go = VirtualClock(), asyncio.Event()
    told: list[tuple[Answer | Failed, float]] = []
    async with serving(behave) as server, pool_to(server, clock=clock) as pool:
        pool.post(REQUEST, 10.0, lambda *result: told.append(result))
        await until(lambda: server.connections, "connected")
        await clock.advance(1.5)
        go.set()
        await until(lambda: told, "the answer")
        assert told[0][1] == 1.5


async def test_a_connection_idles_for_half_a_minute_and_no_longer() -> None:
    clock = VirtualClock()
    async with serving() as server, pool_to(server, clock=clock) as pool:
        await asyncio.gather(begin(pool, timeout_s=1000.0), begin(pool, timeout_s=1000.0))
        await clock.advance(IDLE_S / 2)
        await post(pool, timeout_s=1000.0)
        await clock.advance(IDLE_S / 2 + 0.1)
        assert pool.open == 1
        await clock.advance(IDLE_S / 2)
        await until(lambda: pool.open == 0, "closed")
        await post(pool)
        assert server.connections == 3


# --- giving up ---


async def test_what_is_given_up_is_told_to_nobody_and_what_comes_after_goes_on() -> None:
    held = asyncio.Event()

    async def behave(peer: Peer) -> None:
        while await peer.request():
            server.requests.append((peer.number, b""))
            if len(server.requests) <= 2:
                await held.wait()
            await peer.answer(OK)

    async with serving(behave) as server, pool_to(server, connections=2) as pool:
        forgotten = [begin(pool) for _ in range(4)]  # two under way, two that wait
        await until(lambda: len(server.requests) == 2, "under way")
        pool.give_up()
        held.set()
        assert (await post(pool)).status == 200
        assert not any(told.done() for told in forgotten)
        assert len(server.requests) == 3


async def test_leaving_tells_nobody_and_waits_until_every_connection_is_gone() -> None:
    async def behave(peer: Peer) -> None:
        await peer.gone()

    async with serving(behave) as server:
        async with pool_to(server) as pool:
            forgotten = [begin(pool) for _ in range(3)]
            await until(lambda: server.connections == 3, "connected")
            forgotten += [begin(pool)]  # one whose connection is still being made
        assert pool.open == 0
        assert not any(told.done() for told in forgotten)


async def test_leaving_ends_what_is_still_connecting() -> None:
    async def behave(peer: Peer) -> None:
        await peer.gone()

    async with serving(behave) as server:  # it speaks no TLS, so the handshake never ends
        before = set(asyncio.all_tasks())
        async with pool_to(server, scheme="https") as pool:
            forgotten = begin(pool)
            await until(lambda: server.connections, "connecting")
            before |= {task for task in asyncio.all_tasks() if "serve" in repr(task.get_coro())}
        assert set(asyncio.all_tasks()) <= before
        assert not forgotten.done()


def remains() -> tuple[set[asyncio.Task[Any]], int]:
    """The tasks of the loop, and how many files and sockets the process has."""
    return asyncio.all_tasks(), len(list(Path("/proc/self/fd").iterdir()))


async def test_a_thousand_exchanges_of_every_kind_are_told_once_and_leave_nothing_behind() -> None:
    spoilt = [half, garbage, silent_close, reset, huge_head]

    async def behave(peer: Peer) -> None:
        while request := await peer.request():
            server.requests.append((peer.number, request))
            kind = len(server.requests) % 50
            if kind < len(spoilt):
                await spoilt[kind](peer)
                return
            await peer.answer(OK)

    before = remains()
    told: list[int] = []
    answered: set[type] = set()

    def tell(number: int, result: Answer | Failed, _: float) -> None:
        told.append(number)
        answered.add(type(result))

    async with serving(behave) as server:
        async with pool_to(server, connections=32) as pool:
            for number in range(1000):
                pool.post(REQUEST, 10.0, partial(tell, number))
            await until(lambda: len(told) >= 1000, "all told", within_s=60)
        assert pool.open == 0
    assert sorted(told) == list(range(1000))
    assert answered == {Answer, Failed}
    gc.collect()  # what was left open would complain now
    await until(lambda: remains() == before, "nothing is left")
