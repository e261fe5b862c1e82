"""Calls that meet dead and dying replicas: what is tried again, and what must not be."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from multidict import CIMultiDict

from bridge.gateway.answers import Refusal
from bridge.gateway.exchange import Call, StreamedBody
from bridge.gateway.settings import GatewaySettings
from bridge.gateway.upstream import Upstream


@dataclass
class Replica:
    """A TCP server on loopback; `reply` None breaks the connection once it has the whole request."""

    reply: bytes | None
    port: int = 0
    seen: list[bytes] = field(default_factory=list)
    suspected: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = next((int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")), 0)
        self.seen.append(head + await reader.readexactly(length))
        if self.reply is not None:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(self.reply), self.reply))
            await writer.drain()
        writer.close()


class Lease:
    """A hold on a replica that counts."""

    def __init__(self, replica: Replica, backend: Replicas) -> None:
        self._replica = replica
        self._backend = backend
        self.instance, self.host, self.port = "r", "127.0.0.1", replica.port

    def release(self) -> None:
        self._backend.out -= 1

    def suspect(self) -> None:
        self._replica.suspected += 1


class Replicas:
    """Of the seam's backend, the part that calls need: replicas in turn, the last one for ever."""

    def __init__(self, *replicas: Replica) -> None:
        self._turn = list(replicas)
        self.out = 0

    async def acquire(self, name: str) -> Lease:
        del name
        self.out += 1
        return Lease(self._turn.pop(0) if len(self._turn) > 1 else self._turn[0], self)


@pytest.fixture
async def running() -> AsyncIterator[Any]:
    async with AsyncExitStack() as stack:

        async def start(*replicas: Replica) -> tuple[Upstream, Replicas]:
            for replica in replicas:
                if replica.reply == b"closed":
                    with socket.socket() as taken:
                        taken.bind(("127.0.0.1", 0))
                        replica.port = taken.getsockname()[1]
                    continue
                server = await asyncio.start_server(replica.serve, "127.0.0.1", 0)
                stack.push_async_callback(server.wait_closed)
                stack.callback(server.close)
                replica.port = server.sockets[0].getsockname()[1]
            backend = Replicas(*replicas)
            settings = GatewaySettings(state_dir=Path("unused"))
            upstream: Any = Upstream(backend, settings)  # type: ignore[arg-type]  # the part that it needs
            return await stack.enter_async_context(upstream), backend

        yield start


def call(method: str, body: Any = None) -> Call:
    headers = CIMultiDict({"Content-Length": str(len(body))} if isinstance(body, bytes) else {})
    return Call("f", method, "/", headers, body)


async def text(upstream: Upstream, made: Call) -> bytes:
    async with await upstream.send(made) as answer:
        return await answer.read()


async def test_a_call_that_nobody_took_goes_to_another_replica_whatever_it_is(running: Any) -> None:
    closed, good = Replica(b"closed"), Replica(b"ok")
    upstream, backend = await running(closed, good)
    assert await text(upstream, call("POST", b"once")) == b"ok"
    assert (closed.suspected, good.suspected, backend.out) == (1, 0, 0)
    assert len(good.seen) == 1


@pytest.mark.parametrize("method", ["POST", "PATCH"])
async def test_a_call_that_broke_off_is_not_repeated_when_it_may_count_twice(running: Any, method: str) -> None:
    dying, good = Replica(None), Replica(b"ok")
    upstream, backend = await running(dying, good)
    with pytest.raises(Refusal) as told:
        await upstream.send(call(method, b"once"))
    assert (told.value.status, dying.suspected, backend.out) == (502, 1, 0)
    assert (len(dying.seen), len(good.seen)) == (1, 0)


@pytest.mark.parametrize(
    ("method", "body"), [("GET", None), ("HEAD", None), ("OPTIONS", None), ("DELETE", None), ("PUT", b"whole")]
)
async def test_an_idempotent_call_that_broke_off_is_made_once_more_elsewhere(
    running: Any, method: str, body: bytes | None
) -> None:
    dying, good = Replica(None), Replica(b"" if method == "HEAD" else b"ok")
    upstream, backend = await running(dying, good)
    assert await text(upstream, call(method, body)) == good.reply
    assert (dying.suspected, len(good.seen), backend.out) == (1, 1, 0)


async def test_a_call_that_kills_replicas_kills_two_and_no_more(running: Any) -> None:
    replicas = [Replica(None) for _ in range(4)]
    upstream, backend = await running(*replicas)
    with pytest.raises(Refusal) as told:
        await upstream.send(call("GET"))
    assert (told.value.status, backend.out) == (502, 0)
    assert [len(replica.seen) for replica in replicas] == [1, 1, 0, 0]


async def test_a_body_that_streams_is_not_sent_again_when_it_may_have_been_seen(running: Any) -> None:
    left = [b"a"]

    async def take() -> bytes:
        return left.pop() if left else b""

    dying, good = Replica(None), Replica(b"ok")
    upstream, _ = await running(dying, good)
    with pytest.raises(Refusal) as told:
        await upstream.send(call("PUT", StreamedBody(take)))
    assert (told.value.status, good.seen) == (502, [])


async def test_when_nobody_takes_a_connection_the_call_is_refused_in_time(running: Any) -> None:
    upstream, backend = await running(Replica(b"closed"))
    loop = asyncio.get_running_loop()
    began = loop.time()
    with pytest.raises(Refusal) as told:
        await upstream.send(call("POST"))
    assert (told.value.status, backend.out) == (503, 0)
    assert told.value.headers["Retry-After"]
    assert 1.5 < loop.time() - began < 4
