"""`/api/v1/events/ws`: the same decisions over a WebSocket, for whoever may hear them and as long as they may."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from typing import Any

import orjson
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from bridge.manager.access.roles import Role
from bridge.manager.access.tokens import create_token, revoke_token
from bridge.manager.settings import DispatcherAddress, HttpSettings
from tests.dispatcher.conftest import Site, until
from tests.manager.api.test_events import begin, happen
from tests.manager.conftest import Desk

PATH = "/api/v1/events/ws"
AT = "2026-11-22T12:00:00Z"


def opened(desk: Desk, query: str = "", token: str | None = None, **more: Any) -> connect:
    """A connection, to be entered; with the token in the header as programs show it."""
    shown = {"Authorization": f"Bearer {token or desk.manager.own_token}"}
    url = f"{desk.manager.url.replace('http', 'ws')}{PATH}{query}"
    return connect(url, **{"additional_headers": shown, "proxy": None, "open_timeout": 60, **more})


async def heard(socket: ClientConnection, count: int) -> list[dict[str, Any]]:
    async with asyncio.timeout(60):
        return [orjson.loads(await socket.recv()) for _ in range(count)]


async def refused(connection: connect) -> tuple[int, dict[str, Any]]:
    with pytest.raises(InvalidStatus) as found:
        async with connection:
            pass
    response = found.value.response
    assert response.headers["content-type"] == "application/problem+json"
    assert response.headers["x-content-type-options"] == "nosniff"
    return response.status_code, orjson.loads(response.body or b"")


async def listening(desk: Desk) -> None:
    await until(lambda: desk.manager.feed.problem is None and desk.manager.feed.listeners, "the dispatcher is heard")


async def test_a_socket_tells_what_happens_and_goes_on_after_a_break(desk: Desk, site: Site) -> None:
    await begin(desk, site)
    async with opened(desk, "?type=event&node=pi-*") as socket:
        assert socket.response is not None
        assert socket.response.headers["x-request-id"]
        await listening(desk)
        await happen(site, 1)
        (first,) = await heard(socket, 1)
        assert (first["data"]["event_id"], first["data"]["node"]) == ("event-1", "pi-1")
        await socket.send("what a client says is of no concern")
    await happen(site, 2, 3)
    async with opened(desk, f"?type=event&since={first['id']}") as socket:
        assert [one["data"]["event_id"] for one in await heard(socket, 2)] == ["event-2", "event-3"]
    async with opened(desk, "?type=event&last=1") as socket:
        assert [one["data"]["event_id"] for one in await heard(socket, 1)] == ["event-3"]
    async with opened(desk, "?event_id=event-2&last=100") as socket:
        story = await heard(socket, 4)
        assert [one["data"]["type"] for one in story] == ["event", "judgement", "attempt", "invocation"]
    async with opened(desk, "?since=nonsense") as socket:
        (gap,) = await heard(socket, 1)
        assert gap["data"]["type"] == "gap"
    await until(lambda: desk.manager.feed.listeners == 0, "nobody listens")


async def test_a_page_shows_its_token_as_a_subprotocol_and_only_pages_of_this_origin_may(desk: Desk) -> None:
    house = "https://house.example"
    desk.settings = dataclasses.replace(desk.settings, http=HttpSettings(port=0, origins=(house,)))
    await desk.start()
    offered = ["gpio-bridge", f"bearer.{desk.manager.own_token}"]
    own = desk.manager.url
    page: dict[str, Any] = {"additional_headers": None, "subprotocols": offered}
    async with opened(desk, **page, origin=own) as socket:
        assert socket.subprotocol == "gpio-bridge"
    status, problem = await refused(opened(desk, **page, origin="http://evil.example"))
    assert (status, "http.origins" in problem["detail"]) == (403, True)
    status, _ = await refused(opened(desk, **{**page, "subprotocols": ["gpio-bridge", "bearer.gpb_0_x"]}, origin=own))
    assert status == 401
    async with opened(desk, **page, origin=house):
        pass


async def test_who_may_not_or_asks_for_nonsense_is_refused_with_a_problem(desk: Desk) -> None:
    await desk.start()
    assert (await refused(opened(desk, additional_headers=None)))[0] == 401
    assert (await refused(opened(desk, token="gpb_00_wrong")))[0] == 401
    status, problem = await refused(opened(desk, "?last=many"))
    assert (status, problem["errors"][0]["detail"].startswith("last (query)")) == (422, True)
    desk.manager.feed.listeners = 100
    assert (await refused(opened(desk)))[0] == 503
    desk.manager.feed.listeners = 0
    plain = await desk.client.get(PATH)
    assert (plain.status_code, plain.headers["upgrade"]) == (426, "websocket")


async def test_a_revoked_token_ends_what_it_has_opened(desk: Desk) -> None:
    await desk.start()
    token = create_token(desk.settings.state_dir, "anna", Role.VIEWER, AT)
    other = create_token(desk.settings.state_dir, "bert", Role.VIEWER, AT)
    headers = {"Authorization": f"Bearer {token}"}
    async with (
        opened(desk, token=token) as socket,
        opened(desk, token=other) as stays,
        desk.client.stream("GET", "/api/v1/events/stream", headers=headers) as stream,
    ):
        await until(lambda: desk.manager.feed.listeners == 3, "three listen")
        begun = time.monotonic()
        revoke_token(desk.settings.state_dir, "anna", AT)
        with pytest.raises(ConnectionClosed) as ended:
            await asyncio.wait_for(socket.recv(), 60)
        assert ended.value.rcvd is not None
        assert (ended.value.rcvd.code, ended.value.rcvd.reason) == (1008, "the token was revoked")
        assert (await stream.aread()).startswith(b"retry: ")
        assert time.monotonic() - begun < 5
        assert desk.manager.feed.listeners == 1
        assert (await (await stays.ping())) >= 0


async def test_a_manager_stops_while_somebody_listens_and_says_so(desk: Desk, site: Site) -> None:
    await begin(desk, site)
    async with opened(desk) as socket:
        await listening(desk)
        begun = time.monotonic()
        await desk.manager.__aexit__(None, None, None)
        assert time.monotonic() - begun < 3
        with pytest.raises(ConnectionClosed) as ended:
            await socket.recv()
        assert ended.value.rcvd is not None
        assert ended.value.rcvd.code == 1012


async def test_a_client_that_takes_nothing_holds_nobody_up_and_is_told_what_it_missed(desk: Desk) -> None:
    desk.settings = dataclasses.replace(desk.settings, dispatcher=DispatcherAddress("http://127.0.0.1:9"))
    await desk.start()
    feed = desk.manager.feed
    line = {"type": "event", "node": "pi-1", "value": "x" * 4000}
    async with opened(desk, max_queue=1) as slow:
        await until(lambda: feed.listeners == 1, "it listens")
        for number in range(8000):
            feed._hear(orjson.dumps({**line, "event_id": f"e-{number}"}))
            if number % 100 == 0:
                await asyncio.sleep(0)
        missed = 0
        while True:
            (one,) = await heard(slow, 1)
            if one.get("data", {}).get("type") == "missed":
                missed += one["data"]["count"]
            if one.get("data", {}).get("event_id") == "e-7999":
                break
        assert missed > 0
    metrics = (await desk.client.get("/metrics")).text
    assert 'gpio_bridge_manager_dropped_total{what="listener"} 0.0' not in metrics
