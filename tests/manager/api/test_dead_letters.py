"""`/api/v1/deadletters`: the dispatcher's dead letters, asked through the manager."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import orjson
import pytest

from bridge.core.retry import Verdict
from bridge.manager.access.roles import Role
from bridge.manager.access.tokens import create_token
from bridge.manager.settings import DispatcherAddress
from bridge.runtime.http import Request, Response, Server
from tests.dispatcher.conftest import FRONT_DOOR, OK, Site, failing, motion, until
from tests.manager.conftest import Desk

PATH = "/api/v1/deadletters"
ONE = """
version: 1
mappings:
  greet:
    select: {sensor: front-door, event: motion.detected}
    invoke: hello
    retry: {attempts: 1}
"""


@pytest.fixture
async def buried(desk: Desk, site: Site) -> Site:
    """A dispatcher with three dead letters, and a manager that knows where it is."""
    site.write_mappings(ONE)
    await site.start()
    site.invoker.answer = lambda invocation, attempt: failing(400, Verdict.REFUSED)
    for sequence in (1, 2, 3):
        site.client.publish(FRONT_DOOR.text, motion(sequence))
    await until(lambda: len(site.invoker.calls) == 3, "attempts")
    await until(lambda: site.dispatcher.ledger.open_events == 0 and site.dispatcher.kept, "committed")
    site.invoker.answer = lambda invocation, attempt: OK
    await at(desk, site.dispatcher.url)
    return site


async def at(desk: Desk, url: str) -> None:
    desk.settings = dataclasses.replace(desk.settings, dispatcher=DispatcherAddress(url))
    await desk.start()


async def ask(desk: Desk, method: str, path: str = "", **more: Any) -> tuple[int, Any]:
    answer = await desk.client.request(method, PATH + path, **more)
    return answer.status_code, answer.json()


async def audited(desk: Desk) -> list[tuple[str, str, int]]:
    entries = (await desk.client.get("/api/v1/audit")).json()["entries"]
    return [(one["what"], one["target"], one["status"]) for one in entries if "dead letters" in one["what"]]


@pytest.mark.usefixtures("buried")
async def test_dead_letters_are_listed_in_pages_and_shown_whole(desk: Desk) -> None:
    answer = await desk.client.get(PATH, params={"limit": 2, "mapping": "greet"})
    found = answer.json()
    assert (found["total"], [one["id"] for one in found["dead_letters"]]) == (3, ["event-3:greet", "event-2:greet"])
    assert answer.headers["link"] == f'<{PATH}?mapping=greet&offset=2&limit=2>; rel="next"'
    same = {"If-None-Match": answer.headers["etag"]}
    again = await desk.client.get(PATH, params={"limit": 2, "mapping": "greet"}, headers=same)
    assert again.status_code == 304
    letter = found["dead_letters"][0]
    assert await ask(desk, "GET", f"/{letter['number']}") == (200, letter)
    assert letter["event"]["data"]["sensor"] == "front-door"
    status, problem = await ask(desk, "GET", "/999")
    assert (status, "there is no dead letter 999" in problem["detail"]) == (404, True)


async def test_one_is_replayed_and_the_audit_says_so(desk: Desk, buried: Site) -> None:
    _, found = await ask(desk, "GET")
    number = found["dead_letters"][0]["number"]
    assert await ask(desk, "POST", f"/{number}/replay") == (200, {"replayed": 1, "refused": [], "left": 0})
    await until(lambda: buried.invoker.ids[3:] == ["event-3:greet"], "it is tried with the same id")
    await until(lambda: buried.dispatcher.ledger.open_events == 0 and buried.dispatcher.kept, "committed")
    assert (await ask(desk, "POST", f"/{number}/replay"))[0] == 404
    assert await audited(desk) == [("replayed dead letters", f"numbers [{number}]", 200)]


@pytest.mark.parametrize(
    ("replayable", "done", "status", "why"),
    [
        (
            True,
            {"replayed": 0, "refused": [{"number": 1, "reason": "it is in work already"}], "left": 0},
            409,
            "in work",
        ),
        (True, {"replayed": 0, "refused": [], "left": 0}, 404, "any more"),
        (False, {}, 409, "no invocation was planned"),
    ],
)
async def test_one_that_cannot_be_replayed_is_refused_with_the_reason(
    desk: Desk, *, replayable: bool, done: object, status: int, why: str
) -> None:
    async def answer(request: Request) -> Response:
        await asyncio.sleep(0)
        found = {"number": 1, "replayable": replayable} if request.method == "GET" else done
        return Response(200, orjson.dumps(found), (("Content-Type", "application/json"),))

    async with answering(answer) as url:
        await at(desk, url)
        shown, problem = await ask(desk, "POST", "/1/replay")
        assert (shown, why in problem["detail"]) == (status, True), problem


async def test_those_of_a_mapping_are_replayed_and_purged_together(desk: Desk, buried: Site) -> None:
    assert (await ask(desk, "DELETE", params={"mapping": "another"}))[1] == {"purged": 0}
    status, done = await ask(desk, "POST", "/replay", json={"mapping": "greet"})
    assert (status, done) == (200, {"replayed": 3, "refused": [], "left": 0})
    await until(lambda: len(buried.invoker.calls) == 6, "they are tried again")
    await until(lambda: buried.dispatcher.ledger.open_events == 0 and buried.dispatcher.kept, "committed")
    assert (await ask(desk, "GET"))[1]["total"] == 0
    assert await audited(desk) == [
        ("replayed dead letters", "mapping greet", 200),
        ("purged dead letters", "mapping another", 200),
    ]


@pytest.mark.usefixtures("buried")
async def test_all_are_purged_only_when_that_is_said(desk: Desk) -> None:
    status, problem = await ask(desk, "DELETE")
    assert (status, "all=true" in problem["detail"]) == (422, True)
    status, problem = await ask(desk, "POST", "/replay", json={})
    assert (status, "all" in problem["detail"]) == (422, True)
    assert await ask(desk, "DELETE", params={"all": "true"}) == (200, {"purged": 3})


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"numbers": "1"}, "/numbers"),
        ({"numbers": [True]}, "/numbers"),
        ({"numbers": [2**70]}, "/numbers"),
        ({"mapping": 1}, "/mapping"),
        ({"all": 1}, "/all"),
        ({"limit": 1}, "/limit"),
    ],
)
async def test_a_choice_with_a_mistake_is_refused_with_its_place(desk: Desk, body: object, pointer: str) -> None:
    await desk.start()
    status, problem = await ask(desk, "POST", "/replay", json=body)
    assert (status, problem["errors"][0]["pointer"]) == (422, pointer)


@pytest.mark.usefixtures("buried")
async def test_what_the_dispatcher_cannot_read_is_refused_in_its_words(desk: Desk) -> None:
    status, problem = await ask(desk, "GET", params={"older_than": "soon"})
    assert (status, "soon" in problem["detail"]) == (422, True), problem


async def test_a_viewer_may_look_and_change_nothing(desk: Desk, buried: Site) -> None:
    text = create_token(desk.settings.state_dir, "eyes", Role.VIEWER, "2026-11-22T00:00:00Z")
    viewer = {"Authorization": f"Bearer {text}"}
    assert (await ask(desk, "GET", headers=viewer))[0] == 200
    for method, path in (("POST", "/1/replay"), ("POST", "/replay"), ("DELETE", "?all=true")):
        assert (await ask(desk, method, path, headers=viewer, json={"all": True}))[0] == 403
    assert len(buried.invoker.calls) == 3


async def test_a_dispatcher_that_does_not_answer_is_a_503_and_the_attempt_is_noted(desk: Desk) -> None:
    await at(desk, "http://127.0.0.1:9")
    for method, path in (("GET", ""), ("GET", "/1"), ("POST", "/1/replay"), ("DELETE", "?all=true")):
        status, problem = await ask(desk, method, path)
        assert (status, "does not answer" in problem["detail"]) == (503, True)
    assert await audited(desk) == [("purged dead letters", "all 1", 503)]


@asynccontextmanager
async def answering(answer: Callable[[Request], Awaitable[Response]]) -> AsyncIterator[str]:
    server = Server(answer, "127.0.0.1", 0)
    await server.start()
    try:
        yield f"http://127.0.0.1:{server.port}"
    finally:
        await server.stop(0.1)


@pytest.mark.parametrize(
    ("status", "body", "shown"),
    [
        (200, b"<html>", 502),
        (404, b"{}", 502),
        (500, b'{"detail": "x"}', 502),
        (302, b"", 502),
        (503, b'{"detail": "its disk is full"}', 503),
    ],
)
async def test_what_does_not_speak_as_a_dispatcher_is_a_502(desk: Desk, status: int, body: bytes, shown: int) -> None:
    async def answer(_: Request) -> Response:
        await asyncio.sleep(0)
        return Response(status, body, (("Content-Type", "application/json"),))

    async with answering(answer) as url:
        await at(desk, url)
        found, problem = await ask(desk, "GET")
        assert (found, problem["status"]) == (shown, shown)
