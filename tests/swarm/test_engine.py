"""The engine's client against a stand-in on a real socket: versions, refusals, silence, streams."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from bridge.errors import EngineError, EngineUnavailable
from bridge.swarm.address import EngineAddress
from bridge.swarm.engine import Engine
from tests.swarm.stand_in import Answer, StandIn


@pytest.mark.parametrize(
    ("newest", "oldest", "spoken"), [("1.41", "1.12", "1.41"), ("1.52", "1.44", "1.51"), ("1.60", "1.55", "1.55")]
)
async def test_every_request_names_the_version_that_was_agreed_on(
    engine: Engine, stand_in: StandIn, newest: str, oldest: str, spoken: str
) -> None:
    stand_in.version = {"ApiVersion": newest, "MinAPIVersion": oldest}
    await engine.connect()
    assert (await engine.get("/info"))["path"] == f"/v{spoken}/info"


async def test_an_engine_that_was_exchanged_is_agreed_with_anew(engine: Engine, stand_in: StandIn) -> None:
    await engine.connect()
    await stand_in.stop()
    with pytest.raises(EngineUnavailable):
        await engine.get("/info")
    stand_in.version = {"ApiVersion": "1.44", "MinAPIVersion": "1.44"}
    await stand_in.start()
    await engine.connect()
    assert (await engine.get("/info"))["path"] == "/v1.44/info"


async def test_documents_and_filters_arrive_as_the_engine_wants_them(engine: Engine) -> None:
    await engine.connect()
    said = await engine.post("/services/create", {"Name": "f"}, headers={"X-Registry-Auth": "x"}, version=3)
    assert said == {"path": "/v1.41/services/create?version=3", "method": "POST", "body": {"Name": "f"}}
    said = await engine.get("/tasks", filters={"service": ["a", "b"]}, follow=True, all=False)
    assert "filters=%7B%22service%22%3A%5B%22a%22%2C%22b%22%5D%7D&follow=1&all=0" in said["path"]
    assert (await engine.delete("/services/x"))["method"] == "DELETE"


@pytest.mark.parametrize(
    ("status", "body", "kind", "words"),
    [
        (400, '{"message": "rpc error: code = InvalidArgument desc = bad image"}', EngineError, "bad image"),
        (404, '{"message": "service x not found"}', EngineError, "service x not found"),
        (
            500,
            '{"message": "rpc error: code = Unknown desc = The swarm does not have a leader"}',
            EngineUnavailable,
            "The",
        ),
        (503, '{"message": "not a swarm manager"}', EngineUnavailable, "not a swarm manager"),
        (500, "<html>", EngineError, "<html>"),
        (502, "", EngineError, "HTTP status 502"),
    ],
)
async def test_a_refusal_holds_the_engines_own_words(
    engine: Engine, stand_in: StandIn, status: int, body: str, kind: type[EngineError], words: str
) -> None:
    async def refuse(request: web.Request) -> web.Response:
        del request
        return web.Response(status=status, text=body)

    await engine.connect()
    stand_in.answer = refuse
    with pytest.raises(EngineError) as told:
        await engine.get("/services")
    assert (type(told.value), told.value.status) == (kind, status)
    assert str(told.value).startswith(words)


async def test_an_engine_that_says_nothing_is_unavailable_after_its_time(engine: Engine, stand_in: StandIn) -> None:
    hung = asyncio.Event()

    async def hang(request: web.Request) -> web.Response:
        del request
        await hung.wait()
        return web.Response()

    await engine.connect()
    stand_in.answer = hang
    loop = asyncio.get_running_loop()
    began = loop.time()
    answers = await asyncio.gather(*(engine.get("/info") for _ in range(12)), return_exceptions=True)
    hung.set()
    assert {type(answer) for answer in answers} == {EngineUnavailable}
    assert loop.time() - began < 5


@pytest.mark.parametrize("said", [web.Response(text="hello"), web.Response(text="[]"), {"ApiVersion": "x"}, {}])
async def test_what_is_no_engine_is_told(engine: Engine, stand_in: StandIn, said: Any) -> None:
    stand_in.version = said
    with pytest.raises(EngineError, match=r"is no Docker Engine|is it a Docker Engine"):
        await engine.connect()


async def test_where_nothing_listens_the_message_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for host, words in (
        (f"unix://{tmp_path}/none.sock", "no such socket; is the engine running?"),
        (f"unix://{tmp_path}/file", "takes no connection; is the engine running?"),
        ("tcp://127.0.0.1:9", "takes no connection"),
    ):
        async with Engine(EngineAddress(host), timeout_s=0.5) as engine:
            with pytest.raises(EngineUnavailable, match=words):
                await engine.connect()
            with pytest.raises(EngineUnavailable, match="not connected"):
                await engine.get("/info")


# --- streams


def streaming(*pieces: bytes, then: asyncio.Event | None = None) -> Answer:
    async def answer(request: web.Request) -> web.StreamResponse:
        out = web.StreamResponse()
        await out.prepare(request)
        for piece in pieces:
            await out.write(piece)
        if then is not None:
            await then.wait()
        return out

    return answer


async def test_pieces_come_as_they_are_written_and_the_end_is_seen(engine: Engine, stand_in: StandIn) -> None:
    go_on = asyncio.Event()
    stand_in.answer = streaming(b"one", b"two", then=go_on)
    await engine.connect()
    async with engine.stream("/events") as stream:
        first = await asyncio.wait_for(anext(stream), 60)
        while first != b"onetwo":
            first += await asyncio.wait_for(anext(stream), 60)
        go_on.set()
        assert [piece async for piece in stream] == []


async def test_a_silent_stream_outlives_the_time_of_a_call_and_ends_at_once_when_it_is_left(
    engine: Engine, stand_in: StandIn
) -> None:
    never = asyncio.Event()
    stand_in.answer = streaming(b"x", then=never)
    await engine.connect()
    loop = asyncio.get_running_loop()
    async with engine.stream("/events") as stream:
        assert await anext(stream) == b"x"
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(anext(stream), 0.8)
        began = loop.time()
    # Who waited for the silence to end would wait for ever.
    assert loop.time() - began < 5
    for thread in [each for each in threading.enumerate() if each.name == "engine/events"]:
        await asyncio.to_thread(thread.join, 60)
        assert not thread.is_alive()
    never.set()


async def test_a_stream_that_is_cut_ends_for_who_reads_it(engine: Engine, stand_in: StandIn) -> None:
    never = asyncio.Event()
    stand_in.answer = streaming(b"x", then=never)
    await engine.connect()
    async with engine.stream("/events") as stream:
        assert await anext(stream) == b"x"
        stream.cut()
        with pytest.raises((EngineUnavailable, StopAsyncIteration)):
            await asyncio.wait_for(anext(stream), 60)
    never.set()


async def test_who_reads_slowly_holds_the_engine_up_and_loses_nothing(engine: Engine, stand_in: StandIn) -> None:
    pieces = [bytes([number % 251]) * 65536 for number in range(300)]
    stand_in.answer = streaming(*pieces)
    await engine.connect()
    size = 0
    async with engine.stream("/logs") as stream:
        await asyncio.sleep(0.2)
        assert stream.waiting <= 64
        async for piece in stream:
            size += len(piece)
    assert size == 300 * 65536


async def test_a_stream_that_is_refused_says_why(engine: Engine, stand_in: StandIn) -> None:
    async def refuse(request: web.Request) -> web.Response:
        del request
        return web.json_response({"message": "no such service"}, status=404)

    stand_in.answer = refuse
    await engine.connect()
    with pytest.raises(EngineError, match="no such service"):
        async with engine.stream("/services/x/logs"):
            pass
