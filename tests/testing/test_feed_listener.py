"""A listener hears a dispatcher's feed, again after every break, and ends when what it hears cannot be kept."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import pytest

from bridge.clock import RealClock
from bridge.runtime.http import Request, Response, Server
from bridge.testing.feed_listener import FeedListener
from bridge.testing.recording import NotRecorded
from tests.ports import free_port


class Feed:
    """Serves what a dispatcher's API serves: the lines of one connection after the other."""

    def __init__(self, *connections: list[bytes]) -> None:
        self._connections = list(connections)
        self.asked: list[str] = []

    async def answer(self, request: Request) -> Response:
        self.asked.append(request.target)
        return Response(200, self._lines(self._connections.pop(0) if self._connections else None))

    async def _lines(self, lines: list[bytes] | None) -> AsyncIterator[bytes]:
        yield b""
        if lines is None:
            await asyncio.Event().wait()
        for line in lines or ():
            yield line


class Hearing:
    """What a listener was told, and a running one."""

    def __init__(self, url: str) -> None:
        self.lines: list[dict[str, Any]] = []
        self.gaps: list[str] = []
        self.listener = FeedListener(
            url, RealClock("always"), heard=self.lines.append, gap=self.gaps.append, again_s=0.001
        )

    async def until_gaps(self, count: int) -> None:
        """Listen until there have been so many gaps."""
        listening = asyncio.create_task(self.listener.run())
        async with asyncio.timeout(60):
            while len(self.gaps) < count:  # noqa: ASYNC110 - any state of the listener
                await asyncio.sleep(0.001)
        listening.cancel()
        with suppress(asyncio.CancelledError):
            await listening


async def test_every_line_is_heard_and_after_a_break_those_that_follow() -> None:
    feed = Feed([b'{"type": "event"}\n{"type":', b' "attempt"}\n'], [b'{"type": "missed"}\n'])
    server = Server(feed.answer, "127.0.0.1", 0)
    await server.start()
    hearing = Hearing(f"http://127.0.0.1:{server.port}")
    await hearing.until_gaps(2)
    await server.stop(0.1)
    assert [line["type"] for line in hearing.lines] == ["event", "attempt", "missed"]
    assert hearing.gaps == [f"the dispatcher at {hearing.listener.url} has ended the feed"] * 2
    assert set(feed.asked) == {"/v1/events?follow=1&limit=0"}


async def test_it_counts_as_connected_before_anything_is_decided() -> None:
    server = Server(Feed().answer, "127.0.0.1", 0)
    await server.start()
    hearing = Hearing(f"http://127.0.0.1:{server.port}")
    listening = asyncio.create_task(hearing.listener.run())
    async with asyncio.timeout(60):
        await hearing.listener.tried.wait()
    assert hearing.listener.connected
    listening.cancel()
    with suppress(asyncio.CancelledError):
        await listening
    await server.stop(0.1)
    assert hearing.gaps == []


async def told_of(url: str) -> str:
    """Why nothing is heard at an address."""
    hearing = Hearing(url)
    listening = asyncio.create_task(hearing.listener.run())
    async with asyncio.timeout(60):
        await hearing.listener.tried.wait()
    listening.cancel()
    with suppress(asyncio.CancelledError):
        await listening
    assert not hearing.gaps
    return hearing.listener.problem


async def test_why_nothing_is_heard_is_said() -> None:
    port = free_port()
    assert (await told_of(f"http://127.0.0.1:{port}")).startswith(f"no dispatcher answers at http://127.0.0.1:{port} (")
    assert (await told_of("127.0.0.1:8089")).startswith("no dispatcher answers at 127.0.0.1:8089 (")

    async def refuse(request: Request) -> Response:
        return Response(404, b"")

    server = Server(refuse, "127.0.0.1", 0)
    await server.start()
    assert (await told_of(f"http://127.0.0.1:{server.port}")).endswith(" answers 404")
    await server.stop(0.1)


async def test_what_is_no_feed_is_said() -> None:
    server = Server(Feed([b"<html>\n"]).answer, "127.0.0.1", 0)
    await server.start()
    hearing = Hearing(f"http://127.0.0.1:{server.port}")
    await hearing.until_gaps(1)
    await server.stop(0.1)
    assert hearing.gaps[0].endswith("is no dispatcher")


async def test_what_cannot_be_kept_ends_it() -> None:
    def full(_: dict[str, Any]) -> None:
        raise NotRecorded("night.jsonl cannot be written: No space left on device")

    server = Server(Feed([b'{"type": "event"}\n']).answer, "127.0.0.1", 0)
    await server.start()
    url = f"http://127.0.0.1:{server.port}"
    listener = FeedListener(url, RealClock("always"), heard=full, gap=lambda reason: None)
    with pytest.raises(NotRecorded, match="No space left"):
        await asyncio.wait_for(listener.run(), 60)
    await server.stop(0.1)
