"""`/api/v1/events`: a real dispatcher's decisions, through the manager."""

from __future__ import annotations

import dataclasses
import time
from typing import Any

import httpx
import orjson

from bridge.manager.settings import DispatcherAddress
from tests.dispatcher.conftest import FRONT_DOOR, Site, motion, until
from tests.manager.conftest import Desk

PATH = "/api/v1/events"
ONE = """
version: 1
mappings:
  greet:
    select: {sensor: front-door, event: motion.detected}
    invoke: hello
"""


async def begin(desk: Desk, site: Site) -> None:
    site.write_mappings(ONE)
    await site.start()
    desk.settings = dataclasses.replace(desk.settings, dispatcher=DispatcherAddress(site.dispatcher.url))
    await desk.start()


async def happen(site: Site, *sequences: int) -> None:
    for sequence in sequences:
        site.client.publish(FRONT_DOOR.text, motion(sequence))
    await until(lambda: len(site.invoker.calls) >= sequences[-1], "invoked")


async def heard(answer: httpx.Response, count: int) -> list[dict[str, Any]]:
    """The next events of a stream, each with its id."""
    found: list[dict[str, Any]] = []
    id_ = ""
    async for text in answer.aiter_lines():
        if text.startswith("id: "):
            id_ = text.removeprefix("id: ")
        elif text.startswith("data: "):
            found.append({"id": id_, **orjson.loads(text.removeprefix("data: "))})
            if len(found) == count:
                return found
    raise AssertionError(f"the stream ended after {found}")


async def test_the_last_decisions_tell_the_whole_trace_and_can_be_filtered(desk: Desk, site: Site) -> None:
    await begin(desk, site)
    await happen(site, 1, 2)
    await until(lambda: len(site.dispatcher.feed.recent(100)) == 8, "all is decided")
    found = (await desk.client.get(PATH)).json()
    assert [one["type"] for one in found["decisions"]].count("judgement") == 2
    assert {one["type"] for one in found["decisions"]} == {"event", "judgement", "attempt", "invocation"}
    assert (found["problem"], found["last_id"]) == (None, found["decisions"][-1]["id"])
    asked = {"mapping": "gre*", "type": "invocation", "node": "pi-1", "limit": "1"}
    (last,) = (await desk.client.get(PATH, params=asked)).json()["decisions"]
    assert (last["event_id"], last["mapping"]) == ("event-2", "greet")


async def test_a_stream_tells_what_happens_and_goes_on_after_a_break(desk: Desk, site: Site) -> None:
    await begin(desk, site)
    asked = {"type": "event"}
    async with desk.client.stream("GET", f"{PATH}/stream", params=asked) as answer:
        assert (answer.status_code, answer.headers["content-type"].partition(";")[0]) == (200, "text/event-stream")
        await until(lambda: desk.manager.feed.problem is None, "the dispatcher is heard")
        await happen(site, 1)
        (first,) = await heard(answer, 1)
        assert (first["event_id"], first["node"]) == ("event-1", "pi-1")
    await happen(site, 2, 3)
    resumed = {"Last-Event-ID": first["id"]}
    async with desk.client.stream("GET", f"{PATH}/stream", params=asked, headers=resumed) as answer:
        assert [one["event_id"] for one in await heard(answer, 2)] == ["event-2", "event-3"]
    async with desk.client.stream("GET", f"{PATH}/stream", params={**asked, "last": "2"}) as answer:
        assert [one["event_id"] for one in await heard(answer, 2)] == ["event-2", "event-3"]
    await until(lambda: desk.manager.feed.listeners == 0, "nobody listens")


async def test_a_dispatcher_that_is_away_is_a_problem_beside_what_is_known(desk: Desk, site: Site) -> None:
    await begin(desk, site)
    await happen(site, 1)
    await desk.client.get(PATH)
    await site.stop()
    await until(lambda: desk.manager.feed.problem is not None, "it is missed")
    found = (await desk.client.get(PATH)).json()
    assert (found["decisions"][-1]["type"], "dispatcher" in found["problem"]) == ("gap", True)
    assert found["decisions"][0]["event_id"] == "event-1"


async def test_a_manager_stops_at_once_while_somebody_listens(desk: Desk, site: Site) -> None:
    await begin(desk, site)
    async with desk.client.stream("GET", f"{PATH}/stream") as answer:
        await until(lambda: desk.manager.feed.listeners == 1, "somebody listens")
        begun = time.monotonic()
        await desk.manager.__aexit__(None, None, None)
        assert time.monotonic() - begun < 2
        assert (await answer.aread()).startswith(b"retry: ")


async def test_the_head_of_a_stream_does_not_wait_and_a_stranger_hears_nothing(desk: Desk) -> None:
    await desk.start()
    head = await desk.client.head(f"{PATH}/stream")
    assert (head.status_code, head.content) == (200, b"")
    stranger = await desk.client.get(f"{PATH}/stream", headers={"Authorization": "Bearer nobody"})
    assert stranger.status_code == 401
