"""Websockets through the gateway: handshake, messages both ways, and every way that one ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from aiohttp import WSMsgType, web

from bridge.gateway.settings import TimeoutSettings
from tests.gateway.workbench import Bench, until


class Talker:
    """Stands in for a function that speaks websockets, which the function server does not."""

    def __init__(self) -> None:
        self.seen: web.BaseRequest | None = None
        self.ended = asyncio.Event()

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.path == "/_/health":
            return web.Response()  # asked now and then by the gateway, on a slow machine in the middle of a test
        self.seen = request
        if request.path == "/no":
            return web.Response(status=403, text="not you")
        if request.path == "/unasked":
            out = web.StreamResponse(status=101, headers={"Connection": "Upgrade", "Upgrade": "websocket"})
            await out.prepare(request)
            return out
        socket = web.WebSocketResponse(protocols=("chat",), max_msg_size=0)
        await socket.prepare(request)
        try:
            async for message in socket:
                if message.data == "bye":
                    await socket.close(code=4001, message=b"done")
                elif message.type is WSMsgType.TEXT:
                    await socket.send_str(message.data.upper())
                else:
                    await socket.send_bytes(message.data)
        finally:
            self.ended.set()
        return socket


@pytest.fixture
async def bench(idle_bench: Bench) -> Bench:
    await idle_bench.start(timeouts=TimeoutSettings(drain_s=0.3))
    return idle_bench


@pytest.fixture
async def talker(bench: Bench) -> AsyncIterator[Talker]:
    await bench.deploy("talker")
    talker = Talker()
    runner = web.ServerRunner(web.Server(talker, access_log=None))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    replica(bench).port = int(runner.addresses[0][1])
    yield talker
    await runner.cleanup()


def replica(bench: Bench) -> Any:
    backend: Any = bench.gateway.backend
    (found,) = backend._deployed["talker"].function.replicas.values()
    return found


def connect(bench: Bench, path: str = "", **options: Any) -> Any:
    return bench.session.ws_connect(f"{bench.gateway.url}/function/talker{path}", max_msg_size=0, **options)


async def test_messages_of_any_size_pass_in_both_directions(bench: Bench, talker: Talker) -> None:
    large = bytes(range(256)) * 20_000
    async with connect(bench, "/room?x=1", protocols=("chat",), headers={"X-Mine": "m"}) as socket:
        assert socket.protocol == "chat"
        for number in range(3):
            await socket.send_str(f"word {number}")
            assert await socket.receive_str(timeout=60) == f"WORD {number}"
        await socket.send_bytes(large)
        assert await socket.receive_bytes(timeout=60) == large
        assert replica(bench).in_flight == 1
    assert talker.seen is not None
    assert (talker.seen.path_qs, talker.seen.headers["X-Mine"]) == ("/room?x=1", "m")
    assert talker.seen.headers["X-Forwarded-For"] == "127.0.0.1"
    assert talker.seen.headers["X-Call-Id"]
    await until(lambda: replica(bench).in_flight == 0, "the replica is free again")
    counted = 'gateway_function_invocation_total{code="101",function_name="talker.openfaas-fn"} 1.0'
    assert counted in (await bench.call("GET", "/metrics"))[1]


async def test_the_functions_close_arrives_with_its_code(bench: Bench, talker: Talker) -> None:
    async with connect(bench) as socket:
        await socket.send_str("bye")
        message = await socket.receive(timeout=60)
        assert (message.type, message.data, message.extra) == (WSMsgType.CLOSE, 4001, "done")
    await asyncio.wait_for(talker.ended.wait(), 60)


async def test_a_client_that_vanishes_ends_the_functions_side(bench: Bench, talker: Talker) -> None:
    async with aiohttp.ClientSession() as session:
        socket = await session.ws_connect(f"{bench.gateway.url}/function/talker")
        await socket.send_str("hello")
        assert await socket.receive_str(timeout=60) == "HELLO"
        transport = socket.get_extra_info("socket")
        assert transport is not None
    await asyncio.wait_for(talker.ended.wait(), 60)
    await until(lambda: replica(bench).in_flight == 0, "the replica is free again")


async def test_a_functions_refusal_is_passed_on(bench: Bench, talker: Talker) -> None:
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await connect(bench, "/no")
    assert refused.value.status == 403
    assert refused.value.headers is not None
    assert "X-OpenFaaS-Internal" not in refused.value.headers


async def test_a_change_of_protocol_that_nobody_asked_for_is_a_broken_answer(bench: Bench, talker: Talker) -> None:
    async with bench.request("GET", "/function/talker/unasked") as answer:
        assert answer.status == 502


async def test_an_open_websocket_does_not_hold_up_a_stop(bench: Bench, talker: Talker) -> None:
    async with connect(bench) as socket:
        await socket.send_str("a")
        await socket.receive_str(timeout=60)
        async with asyncio.timeout(60):
            await bench.stop()
        assert (await socket.receive(timeout=60)).type in (WSMsgType.CLOSED, WSMsgType.CLOSE, WSMsgType.ERROR)
