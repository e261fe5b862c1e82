"""Routes of the dispatcher's HTTP API, and their errors."""

from __future__ import annotations

import orjson
import pytest

from bridge.dispatcher.routes import Asked, Routes
from bridge.errors import BridgeError, EventError
from bridge.runtime.http import Request, Response


async def shown(asked: Asked) -> Response:
    return Response(200, orjson.dumps([asked.path, dict(asked.query), asked.place, asked.body.decode()]))


def raising(error: Exception) -> Routes:
    async def handle(asked: Asked) -> Response:
        raise error

    routes = Routes()
    routes.add("GET", "/", handle)
    return routes


@pytest.fixture
def routes() -> Routes:
    routes = Routes()
    routes.add("GET", "/v1/letters", shown)
    routes.add("DELETE", "/v1/letters", shown)
    routes.add("GET", "/v1/letters/{number}", shown)
    routes.add("POST", "/v1/letters/replay", shown)
    return routes


async def asked(routes: Routes, method: str, target: str, body: bytes = b"") -> tuple[int, object]:
    path, _, query = target.partition("?")
    answer = await routes.answer(Request(method, target, path, query, (), body))
    assert isinstance(answer.body, bytes)
    return answer.status, orjson.loads(answer.body)


async def test_a_route_is_found_by_method_and_path(routes: Routes) -> None:
    assert await asked(routes, "DELETE", "/v1/letters", b"x") == (200, ["/v1/letters", {}, "", "x"])
    assert await asked(routes, "HEAD", "/v1/letters") == (200, ["/v1/letters", {}, "", ""])


async def test_the_last_part_of_a_path_may_be_anything_and_is_decoded(routes: Routes) -> None:
    assert await asked(routes, "GET", "/v1/letters/a%2Fb%20c") == (200, ["/v1/letters/a%2Fb%20c", {}, "a/b c", ""])
    for path in ("/v1/letters/", "/v1/letters/1/2", "/v1", "/", "/v1/lettersx", "*"):
        assert (await asked(routes, "GET", path))[0] == 404


async def test_the_first_of_each_name_in_a_query_counts(routes: Routes) -> None:
    _, found = await asked(routes, "GET", "/v1/letters?a=1&a=2&b=%C3%A9+x&c=")
    assert found == ["/v1/letters", {"a": "1", "b": "é x", "c": ""}, "", ""]


async def test_an_exact_path_goes_first_and_another_method_is_told_what_is_allowed(routes: Routes) -> None:
    assert (await asked(routes, "POST", "/v1/letters/replay"))[0] == 200
    answer = await routes.answer(Request("PUT", "/v1/letters", "/v1/letters"))
    assert (answer.status, dict(answer.headers)["Allow"]) == (405, "DELETE, GET, HEAD")
    answer = await routes.answer(Request("GET", "/v1/letters/replay", "/v1/letters/replay"))
    assert (answer.status, dict(answer.headers)["Allow"]) == (405, "POST")


@pytest.mark.parametrize(
    ("error", "status"),
    [(ValueError("no number"), 400), (EventError("no event"), 400), (BridgeError("no disk"), 503)],
)
async def test_what_goes_wrong_is_told_as_problem_json(error: Exception, status: int) -> None:
    answer = await raising(error).answer(Request("GET", "/", "/"))
    assert dict(answer.headers)["Content-Type"] == "application/problem+json"
    assert isinstance(answer.body, bytes)
    told = {"status": status, "title": str(error), "detail": str(error)}
    assert (answer.status, orjson.loads(answer.body)) == (status, told)


async def test_what_nobody_expected_is_left_to_the_server(routes: Routes) -> None:
    with pytest.raises(RuntimeError):
        await raising(RuntimeError("a bug")).answer(Request("GET", "/", "/"))
