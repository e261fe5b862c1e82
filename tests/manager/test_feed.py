"""The feed in the manager: numbered, bounded, heard only while somebody looks, and honest about what is missing."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any, Self

import orjson
import pytest
from starlette.types import Message

from bridge.clock import RealClock, VirtualClock
from bridge.core.event import rfc3339
from bridge.manager.api.staying import STANDING_S
from bridge.manager.api.streams import EventStream, Listener
from bridge.manager.door import ONLY_HEAD
from bridge.manager.feed import LINGER_S, Decision, Feed, Wanted
from bridge.manager.feed_listener import listen
from bridge.manager.following import Decisions, Follower
from bridge.runtime.http import Request, Response, Server
from tests.dispatcher.conftest import until

EVERYTHING = Wanted()


def line(number: int, **more: object) -> dict[str, Any]:
    return {"type": "event", "at": rfc3339(VirtualClock().now()), "event_id": f"e-{number}", **more}


class Source:
    """Stands where the dispatcher's feed is."""

    def __init__(self) -> None:
        self.past: list[bytes] = []
        self.following = 0
        self.status = 200
        self._news = asyncio.Condition()
        self._server = Server(self._answer, "127.0.0.1", 0)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.port}"

    async def __aenter__(self) -> Self:
        await self._server.start()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._server.stop(0.1)

    async def say(self, *lines: dict[str, Any] | bytes) -> None:
        async with self._news:
            self.past += [one if isinstance(one, bytes) else orjson.dumps(one) for one in lines]
            self._news.notify_all()

    async def _answer(self, request: Request) -> Response:
        if "follow" not in request.query:
            return Response(self.status, b"".join(text + b"\n" for text in self.past[-1000:]))
        return Response(self.status, self._follow())

    async def _follow(self) -> AsyncIterator[bytes]:
        self.following += 1
        told = 0
        try:
            while True:
                async with self._news:
                    while len(self.past) <= told:
                        await self._news.wait()
                new, told = self.past[told:], len(self.past)
                yield b"".join(text + b"\n" for text in new)
        finally:
            self.following -= 1


def ids(decisions: list[Decision]) -> list[str]:
    return [one.line.get("event_id") or one.line["type"] for one in decisions]


async def test_who_looks_gets_the_last_decisions_and_nobody_is_heard_twice() -> None:
    async with Source() as source, Feed(RealClock(), lambda: source.url) as feed:
        await source.say(line(1), line(2))
        await feed.look(5)
        await source.say(line(3))
        await until(lambda: feed.newest == 3, "the third is heard")
        assert ids(feed.last(10, EVERYTHING)) == ["e-1", "e-2", "e-3"]
        assert feed.problem is None


async def test_nobody_is_listened_to_when_nobody_looks_any_more() -> None:
    clock = VirtualClock()
    async with Source() as source, Feed(clock, lambda: source.url) as feed:
        await source.say(line(1))
        assert source.following == 0
        await feed.look(5)
        await until(lambda: source.following == 1, "it is listened to")
        await clock.advance(LINGER_S - 1)
        assert source.following == 1
        await clock.advance(2)
        assert feed.problem == "nobody has looked for a while"
        await source.say(line(2))  # what is written finds nobody
        await until(lambda: source.following == 0, "the connection is closed")
        await feed.look(5)
        assert ids(feed.last(10, EVERYTHING)) == ["e-1", "e-2"]


async def test_what_was_overtaken_while_nobody_listened_is_a_gap() -> None:
    clock = VirtualClock()
    async with Source() as source, Feed(clock, lambda: source.url) as feed:
        await source.say(line(1))
        await feed.look(5)
        await clock.advance(LINGER_S + 1)
        source.past = [orjson.dumps(line(2000))]
        await feed.look(5)
        assert ids(feed.last(10, EVERYTHING)) == ["e-1", "gap", "e-2000"]


async def test_a_dispatcher_that_goes_leaves_a_gap_with_the_reason_and_is_heard_again() -> None:
    clock = VirtualClock()
    url = ""
    async with Feed(clock, lambda: url) as feed:
        async with Source() as source:
            url = source.url
            await source.say(line(1))
            with feed.listening():
                await until(lambda: feed.newest == 1 and source.following, "it is heard")
        with feed.listening():
            await until(lambda: feed.problem is not None, "it is gone")
            async with Source() as again:
                url = again.url
                await again.say(line(1), line(2))

                async def heard() -> None:
                    while feed.newest < 3:
                        await clock.advance(1)
                        await asyncio.sleep(0.01)

                await asyncio.wait_for(heard(), 60)
                assert ids(feed.last(10, EVERYTHING)) == ["e-1", "gap", "e-2"]


@pytest.mark.parametrize(
    ("said", "status", "why"),
    [
        (b"no line", 200, "is no dispatcher"),
        (b"[]", 200, "is no dispatcher"),
        (b"{}", 500, "answers 500"),
    ],
)
async def test_what_is_no_feed_is_a_problem_that_says_so(said: bytes, status: int, why: str) -> None:
    async with Source() as source, Feed(VirtualClock(), lambda: source.url) as feed:
        source.status = status
        await source.say(said)
        await feed.look(5)
        await until(lambda: why in (feed.problem or ""), "it says so")


async def test_nobody_at_the_address_is_a_reason() -> None:
    begun: list[object] = []
    why = await listen("http://127.0.0.1:9", 1, begun=begun.append, heard=begun.append)
    assert "no dispatcher answers at http://127.0.0.1:9" in why
    assert begun == []


# What is kept, without a dispatcher


async def silence(url: str, last: int, **_: object) -> str:
    await asyncio.Event().wait()
    return f"{last} of {url}"


def filled(count: int, *, kept: int = 10) -> Feed:
    feed = Feed(VirtualClock(), lambda: "", kept=kept, listen=silence)
    feed._begun([orjson.dumps(line(number)) for number in range(1, count + 1)])
    return feed


async def test_only_so_many_are_kept_and_who_is_behind_them_is_told() -> None:
    feed = filled(15)
    assert ids(feed.last(100, EVERYTHING)) == [f"e-{number}" for number in range(6, 16)]
    assert feed.after(4, 100) is None
    assert ids(feed.after(5, 2) or []) == ["e-6", "e-7"]
    assert feed.after(15, 2) == []


@pytest.mark.parametrize(
    ("last_id", "place", "said"),
    [("{life}-12", 12, None), ("{life}-15", 15, None), ("{life}-3", 5, "missed"), ("{life}-99", 5, "gap")]
    + [(text, 5, "gap") for text in ("other-12", "12", "", "{life}-x", "{life}-" + "9" * 30)],
)
async def test_an_id_says_where_to_go_on_and_what_was_missed(last_id: str, place: int, said: str | None) -> None:
    feed = filled(15)
    life = feed.id_of(0).rpartition("-")[0]
    found, missed = feed.place_of(last_id.format(life=life))
    assert (found, missed and missed["type"]) == (place, said)
    if said == "missed":
        assert missed is not None
        assert missed["count"] == 2


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (Wanted(), True),
        (Wanted(node="pi-*", sensor="door", event="motion.*", type="judgement", mapping="m"), True),
        (Wanted(node="pi-2"), False),
        (Wanted(mapping="n*"), False),
        (Wanted(type="event"), False),
    ],
)
def test_a_filter_is_globs_over_what_a_line_says(wanted: Wanted, *, found: bool) -> None:
    told = {"type": "judgement", "node": "pi-1", "sensor": "door", "event": "motion.detected", "mapping": "m"}
    assert wanted.includes(told) is found
    assert wanted.includes({"type": "gap"})
    assert not Wanted(mapping="*").includes({"type": "event", "node": "pi-1"})


# A stream, without a server


class Wire:
    """The server's side of an answer."""

    def __init__(self) -> None:
        self.sent: list[Message] = []
        self.open = asyncio.Event()
        self.open.set()
        self.gone = asyncio.Event()

    async def send(self, message: Message) -> None:
        await self.open.wait()
        self.sent.append(message)

    async def receive(self) -> Message:
        await self.gone.wait()
        return {"type": "http.disconnect"}

    @property
    def text(self) -> str:
        return b"".join(message.get("body", b"") for message in self.sent).decode()

    @property
    def complete(self) -> bool:
        last = self.sent[-1]
        return last["type"] == "http.response.body" and not last.get("more_body", False)


@contextlib.asynccontextmanager
async def streaming(stream: EventStream, wire: Wire, **scope: Any) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.ensure_future(stream({"type": "http", **scope}, wire.receive, wire.send))
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def stream_of(
    feed: Feed,
    wanted: Wanted,
    dropped: Callable[[str], None],
    *,
    stands: Callable[[], bool] = lambda: True,
    last_id: str | None = None,
    heartbeat_s: float = 15.0,
    stall_s: float = 20.0,
) -> EventStream:
    follower = Follower(feed, Decisions(feed, wanted), dropped, last_id=last_id, heartbeat_s=heartbeat_s)
    return EventStream(Listener(feed, follower, stands, dropped, stall_s=stall_s, standing_s=0.01))


def never(what: str) -> None:
    pytest.fail(f"{what} was dropped")


async def test_a_quiet_stream_sends_comments_with_the_place_one_is_at() -> None:
    wire, feed = Wire(), filled(15)
    async with feed, streaming(stream_of(feed, EVERYTHING, never, heartbeat_s=0.01), wire):
        await until(lambda: f": nothing new\nid: {feed.id_of(15)}\n\n" in wire.text, "a heartbeat")
        assert wire.text.startswith("retry: 2000\n\n")


async def test_a_stream_goes_on_where_the_client_was_and_filters() -> None:
    wire, feed = Wire(), filled(15)
    stream = stream_of(feed, Wanted(node="pi-1"), never, last_id=feed.id_of(3))
    async with feed, streaming(stream, wire):
        await until(lambda: wire.text, "it has begun")
        feed._hear(orjson.dumps(line(16, node="pi-2")))
        feed._hear(orjson.dumps(line(17, node="pi-1")))
        await until(lambda: "e-17" in wire.text, "it is told")
        blocks = [one for one in wire.text.split("\n\n") if "data: " in one]
        assert [one.partition("\n")[0] for one in blocks] == [f"id: {feed.id_of(5)}", f"id: {feed.id_of(17)}"]
        assert '"type":"missed"' in blocks[0]
        assert len(blocks) == 2


async def test_a_client_that_falls_behind_what_is_kept_is_told_how_much_and_counted() -> None:
    wire, feed = Wire(), filled(1)
    dropped: list[str] = []
    async with feed, streaming(stream_of(feed, EVERYTHING, dropped.append), wire):
        await until(lambda: wire.text, "it has begun")
        wire.open.clear()
        feed._hear(orjson.dumps(line(2)))
        await asyncio.sleep(0)  # it takes nothing of this one
        for number in range(3, 20):
            feed._hear(orjson.dumps(line(number)))
        wire.open.set()
        await until(lambda: "e-19" in wire.text, "it is told the newest")
        told = [orjson.loads(one[6:]) for one in wire.text.splitlines() if one.startswith("data: ")]
    (at,) = [number for number, one in enumerate(told) if one["type"] == "missed"]
    last = int(told[at - 1]["event_id"].removeprefix("e-")) if at else 1
    assert int(told[at + 1]["event_id"].removeprefix("e-")) - last == told[at]["count"] + 1
    assert dropped == ["listener"]


async def test_a_stream_ends_when_its_token_is_revoked() -> None:
    wire, feed = Wire(), filled(1)
    standing = [True]
    async with feed, streaming(stream_of(feed, EVERYTHING, never, stands=lambda: standing[0]), wire) as task:
        await until(lambda: wire.text, "it has begun")
        standing[0] = False
        assert isinstance(feed.clock, VirtualClock)
        await feed.clock.advance(STANDING_S)
        await asyncio.wait_for(task, 60)
    assert (wire.complete, feed.listeners) == (True, 0)


async def test_a_client_that_takes_nothing_is_cut_off_and_counted() -> None:
    wire, feed = Wire(), filled(1)
    dropped: list[str] = []
    async with feed, streaming(stream_of(feed, EVERYTHING, dropped.append, stall_s=0.02), wire) as task:
        await until(lambda: wire.text, "it has begun")
        wire.open.clear()
        feed._hear(orjson.dumps(line(2)))
        await asyncio.wait_for(task, 60)
    assert (dropped, wire.complete, feed.listeners) == (["listener"], False, 0)


async def test_a_stream_ends_when_the_client_goes_and_when_the_manager_stops() -> None:
    feed = filled(1)
    async with feed:
        leaving, staying = Wire(), Wire()
        async with (
            streaming(stream_of(feed, EVERYTHING, never), leaving) as left,
            streaming(stream_of(feed, EVERYTHING, never), staying) as stayed,
        ):
            await until(lambda: leaving.text and staying.text, "both have begun")
            leaving.gone.set()
            await asyncio.wait_for(left, 60)
            assert feed.listeners == 1
            feed.end()
            await asyncio.wait_for(stayed, 60)
            assert staying.complete


async def test_the_head_alone_has_no_body() -> None:
    wire, feed = Wire(), filled(1)
    async with feed, streaming(stream_of(feed, EVERYTHING, never), wire, **{ONLY_HEAD: True}) as task:
        await asyncio.wait_for(task, 60)
    assert (wire.text, wire.complete) == ("", True)
