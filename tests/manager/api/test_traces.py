"""`/api/v1/traces`: what became of a real dispatcher's events, listed, told whole, and live."""

from __future__ import annotations

from typing import Any

import orjson
from websockets.asyncio.client import connect

from tests.dispatcher.conftest import Site, until
from tests.manager.api.test_events import begin, happen, heard
from tests.manager.conftest import Desk

PATH = "/api/v1/traces"


def results(stories: list[dict[str, Any]]) -> list[tuple[str, list[str]]]:
    return [(one["event_id"], [hop["result"] for hop in one["invocations"]]) for one in stories]


async def test_stories_are_listed_and_one_is_told_whole(desk: Desk, site: Site) -> None:
    await begin(desk, site)
    await happen(site, 1, 2, 3)
    await until(lambda: site.dispatcher.ledger.open_events == 0, "all is done")
    answer = await desk.client.get(PATH, params={"limit": "2", "outcome": "succeeded"})
    assert results(answer.json()["traces"]) == [("event-3", ["succeeded"]), ("event-2", ["succeeded"])]
    following = answer.headers["link"].partition(">")[0].removeprefix("<")
    page = (await desk.client.get(following)).json()
    assert (results(page["traces"]), page["next"]) == ([("event-1", ["succeeded"])], None)
    assert (await desk.client.get(PATH, params={"mapping": "other"})).json()["traces"] == []
    assert (await desk.client.get(PATH, params={"outcome": "great"})).status_code == 422
    whole = (await desk.client.get(f"{PATH}/event-2")).json()
    assert [one["type"] for one in whole["story"]] == ["event", "judgement", "attempt", "invocation"]
    unknown = await desk.client.get(f"{PATH}/never-seen")
    assert (unknown.status_code, "no trace of the event 'never-seen'" in unknown.json()["detail"]) == (404, True)


async def test_stories_are_told_live_by_both_ways_whenever_there_is_news(desk: Desk, site: Site) -> None:
    await begin(desk, site)
    url = f"{desk.manager.url.replace('http', 'ws')}{PATH}/ws?outcome=succeeded"
    headers = {"Authorization": f"Bearer {desk.manager.own_token}"}
    async with (
        desk.client.stream("GET", f"{PATH}/stream", params={"mapping": "greet"}) as answer,
        connect(url, additional_headers=headers, proxy=None, open_timeout=60) as socket,
    ):
        await until(lambda: desk.manager.feed.problem is None and desk.manager.feed.listeners == 2, "it is heard")
        await happen(site, 1)
        told = await heard(answer, 2)
        assert results(told) == [("event-1", ["open"]), ("event-1", ["succeeded"])]
        assert {one["type"] for one in told} == {"story"}
        only = orjson.loads(await socket.recv())
        assert (only["id"], results([only["data"]])) == (told[1]["id"], [("event-1", ["succeeded"])])
    # Who comes back knows how the story began, though it is told nothing of that twice.
    resumed = {"Last-Event-ID": told[0]["id"]}
    async with desk.client.stream("GET", f"{PATH}/stream", headers=resumed) as answer:
        (again,) = await heard(answer, 1)
        assert (again["id"], results([again])) == (told[1]["id"], [("event-1", ["succeeded"])])
