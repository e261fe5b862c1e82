"""Calls of functions through the gateway."""

from __future__ import annotations

import asyncio
import io
import json
import re
import uuid
from typing import Any

import pytest

from bridge.gateway.settings import TimeoutSettings
from bridge.runtime.http import Request, Response, Server
from tests.gateway.workbench import Bench, both_backends, until

SEEN = """
import json
import re
def handle(event, context):
    seen = {"method": event.method, "path": event.path, "query": dict(event.query), "headers": dict(event.headers),
            "body": event.body.decode("latin-1")}
    return {"statusCode": 200, "body": json.dumps(seen), "headers": {"Content-Type": "application/json"}}
"""
STREAM = """
import asyncio
received = 0
async def handle(event, context):
    global received
    if event.path == "/received":
        received += 1
        return b""
    async def pieces():
        for number in range(3):
            while received < number:
                await asyncio.sleep(0.01)
            yield f"data: {number}\\n\\n"
    return {"statusCode": 200, "body": pieces(), "headers": {"Content-Type": "text/event-stream"}}
"""


async def raw(bench: Bench, request: bytes) -> bytes:
    """What comes back for bytes on the wire, until the gateway closes or pauses."""
    reader, writer = await asyncio.open_connection("127.0.0.1", bench.gateway.port)
    writer.write(request)
    answer = b""
    try:
        async with asyncio.timeout(5.0):
            while piece := await reader.read(65536):
                answer += piece
    except TimeoutError:
        pass
    finally:
        writer.close()
    return answer


@pytest.mark.parametrize("method", ["GET", "POST"])
@both_backends
async def test_method_path_query_headers_and_body_arrive(bench: Bench, method: str) -> None:
    await bench.deploy("seen", SEEN)
    async with bench.request(
        method,
        "/function/seen.openfaas-fn/a/b?x=1&y=2",
        data=b"body",
        headers={"X-Mine": "m", "Authorization": "Basic eDp5"},
    ) as answer:
        seen = await answer.json()
        assert answer.status == 200
        assert answer.headers["Content-Type"] == "application/json"
    assert (seen["method"], seen["path"], seen["query"], seen["body"]) == (method, "/a/b", {"x": "1", "y": "2"}, "body")
    sent = {key.lower(): value for key, value in seen["headers"].items()}
    assert (sent["x-mine"], sent["authorization"]) == ("m", "Basic eDp5")
    assert sent["x-forwarded-for"] == "127.0.0.1"
    assert sent["x-forwarded-host"] == f"127.0.0.1:{bench.gateway.port}"
    assert sent["x-call-id"] == answer.headers["X-Call-Id"]
    assert sent["x-start-time"] == answer.headers["X-Start-Time"]
    assert str(uuid.UUID(sent["x-call-id"])) == sent["x-call-id"]
    assert len(sent["x-start-time"]) == 19
    assert answer.headers["X-Served-By"].startswith("gpio-bridge/")
    assert float(answer.headers["X-Duration-Seconds"]) >= 0


async def test_a_head_request_gets_the_length_and_no_body(bench: Bench) -> None:
    await bench.deploy("seen", SEEN)
    async with bench.request("HEAD", "/function/seen") as answer:
        assert answer.status == 200
        assert int(answer.headers["Content-Length"]) > 0
        assert await answer.read() == b""


async def test_a_call_id_that_the_client_chose_is_kept(bench: Bench) -> None:
    await bench.deploy("echo")
    async with bench.request("POST", "/function/echo", headers={"X-Call-Id": "mine-1"}) as answer:
        assert answer.headers.getall("X-Call-Id") == ["mine-1"]


@pytest.mark.parametrize("path", ["function", "async-function"])
async def test_a_call_id_that_is_no_text_is_replaced(bench: Bench, path: str) -> None:
    await bench.deploy("echo")
    head = f"POST /{path}/echo HTTP/1.1\r\nHost: a\r\nConnection: close\r\n".encode()
    answer = await raw(bench, head + b"X-Call-Id: \xff\xfe\r\nContent-Length: 0\r\n\r\n")
    assert answer[9:12] in (b"200", b"202")
    (made,) = re.findall(rb"\r\nX-Call-Id: (.*)\r\n", answer)
    assert re.fullmatch(rb"[-0-9a-f]{36}", made)


async def test_who_refuses_a_call_says_which_one(bench: Bench) -> None:
    await bench.deploy("echo")
    for method, path, status in (
        ("POST", "/function/nobody", 404),
        ("PURGE", "/function/echo", 405),
        ("POST", "/async-function/nobody", 404),
        ("GET", "/async-function/echo", 405),
    ):
        async with bench.request(method, path, headers={"X-Call-Id": "mine-1"}) as answer:
            assert (answer.status, answer.headers["X-Call-Id"]) == (status, "mine-1")
            assert {"X-Start-Time", "X-Served-By", "X-OpenFaaS-Internal"} <= set(answer.headers)


NOT_DEPLOYED = (
    *("nobody", "ech", "echo.dev", "..", "../system/info", "%65cho", "echo%2F", "", ".openfaas-fn", "-/x"),
    *("a%00b", "echo;x"),
)


async def test_a_name_that_is_not_deployed_gets_404(bench: Bench) -> None:
    await bench.deploy("echo")
    for path in NOT_DEPLOYED:
        answer = await raw(bench, f"GET /function/{path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
        assert answer.startswith(b"HTTP/1.1 404 "), (path, answer)
        assert b"X-OpenFaaS-Internal: gateway" in answer


async def test_a_hostile_path_reaches_the_function_as_it_came_and_nothing_else(bench: Bench) -> None:
    await bench.deploy("seen", SEEN)
    paths = {
        "/../../x": "/../../x",
        "//evil.example/x": "//evil.example/x",
        "/a%2Fb%20c?q=%26": "/a/b c",
        "/@h:1/": "/@h:1/",
    }
    for target, seen in paths.items():
        request = f"GET /function/seen{target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
        answer = await raw(bench, request.encode())
        assert json.loads(answer.partition(b"\r\n\r\n")[2])["path"] == seen


async def test_a_request_that_two_servers_could_read_differently_is_refused(bench: Bench) -> None:
    await bench.deploy("echo")
    for fields in (
        b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        b"Content-Length: 5\r\nContent-Length: 6\r\n",
        b"Transfer-Encoding: xchunked\r\n",
        b"X-A : b\r\n",
        b"X-Odd: \xff\xfe\r\n",
    ):
        start = b"POST /function/echo HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
        answer = await raw(bench, start + fields + b"\r\n0\r\n\r\n")
        assert answer.split()[1] == b"400", (fields, answer)


async def test_a_method_that_functions_do_not_take_gets_405(bench: Bench) -> None:
    await bench.deploy("echo")
    async with bench.request("PROPFIND", "/function/echo") as answer:
        assert answer.status == 405
        assert "POST" in answer.headers["Allow"]


async def test_redirects_and_error_statuses_are_the_functions_own(bench: Bench) -> None:
    await bench.deploy(
        "answer",
        "def handle(event, context):\n"
        "    return {'statusCode': int(event.query['s']), 'body': 'b', 'headers': {'Location': '/system/info'}}\n",
    )
    for status in (301, 307, 404, 418, 500, 503):
        async with bench.request("GET", f"/function/answer?s={status}") as answer:
            assert answer.status == status
            assert answer.headers["Location"] == "/system/info"
            assert "X-OpenFaaS-Internal" not in answer.headers


@both_backends
async def test_a_stream_arrives_piece_by_piece(bench: Bench) -> None:
    """The function says the next piece only when it is told that the one before it has been received."""
    await bench.deploy("stream", STREAM)
    async with bench.request("GET", "/function/stream", headers={"Accept": "text/event-stream"}) as answer:
        assert answer.headers["Content-Type"] == "text/event-stream"
        for number in range(3):
            assert await answer.content.readuntil(b"\n\n") == b"data: %d\n\n" % number
            assert (await bench.invoke("stream/received"))[0] == 200
        assert await answer.content.read() == b""


@both_backends
async def test_large_bodies_pass_in_both_directions_and_too_large_ones_get_413(idle_bench: Bench) -> None:
    bench = idle_bench
    await bench.start(max_body_bytes=3_000_000)
    await bench.deploy("echo")
    body = bytes(range(256)) * 8_000

    async def chunked(size: int) -> Any:
        for at in range(0, size, 50_000):
            yield (body * 2)[at : min(at + 50_000, size)]

    async with bench.request("POST", "/function/echo", data=io.BytesIO(body), expect100=True) as answer:
        assert await answer.read() == body
    async with bench.request("POST", "/function/echo", data=chunked(len(body))) as answer:
        assert await answer.read() == body
    too_large = body * 2
    assert (await bench.call("POST", "/function/echo", data=io.BytesIO(too_large), expect100=True))[0] == 413
    assert (await bench.call("POST", "/function/echo", data=chunked(len(too_large))))[0] == 413
    assert await bench.invoke("echo", b"still") == (200, "still")


@both_backends
async def test_a_function_over_its_time_gets_504(idle_bench: Bench) -> None:
    bench = idle_bench
    await bench.start(timeouts=TimeoutSettings(upstream_s=0.3, drain_s=0.5))
    await bench.deploy(
        "slow", "import time\ndef handle(event, context):\n    time.sleep(2)\n", envVars={"exec_timeout": "5s"}
    )
    async with bench.request("POST", "/function/slow") as answer:
        assert answer.status == 504
        assert answer.headers["X-OpenFaaS-Internal"]
        assert answer.headers["X-Call-Id"]


@both_backends
async def test_a_process_that_dies_in_a_call_gets_502_and_the_next_call_is_answered(bench: Bench) -> None:
    await bench.deploy(
        "dies", "import os\ndef handle(event, context):\n    if event.body == b'die': os._exit(1)\n    return 'ok'\n"
    )
    async with bench.request("POST", "/function/dies", data=b"die") as answer:
        assert answer.status == 502
        assert answer.headers["X-OpenFaaS-Internal"]
    assert await bench.invoke("dies") == (200, "ok")


async def test_a_body_whose_client_leaves_frees_the_replica(bench: Bench) -> None:
    await bench.deploy("echo")
    reader, writer = await asyncio.open_connection("127.0.0.1", bench.gateway.port)
    writer.write(b"POST /function/echo HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\nabc")
    backend: Any = bench.gateway.backend
    (replica,) = backend._deployed["echo"].function.replicas.values()
    await until(lambda: replica.in_flight == 1, "the call has its replica")
    writer.close()
    await until(lambda: replica.in_flight == 0, "nothing is in flight")
    del reader
    assert await bench.invoke("echo", b"x") == (200, "x")


@both_backends
async def test_calls_are_counted_under_openfaas_names(bench: Bench) -> None:
    await bench.deploy("echo")
    await bench.invoke("echo")
    await bench.invoke("echo.openfaas-fn")
    async with bench.session.get(f"http://127.0.0.1:{bench.gateway.metrics_port}/metrics") as answer:
        text = await answer.text()
    name = 'function_name="echo.openfaas-fn"'
    assert f'gateway_function_invocation_total{{code="200",{name}}} 2.0' in text
    assert f"gateway_function_invocation_started{{{name}}} 2.0" in text
    assert f'gateway_functions_seconds_count{{code="200",{name}}} 2.0' in text
    assert f"gateway_service_count{{{name}}} 1.0" in text
    assert (await bench.call("GET", "/metrics"))[0] == 200


async def test_a_missing_content_type_becomes_the_requests(bench: Bench) -> None:
    """The function server names one itself; any other server need not, so one stands in for it here."""

    async def bare(request: Request) -> Response:
        del request
        return Response(200, b"?")

    await bench.deploy("echo")
    backend: Any = bench.gateway.backend
    (replica,) = backend._deployed["echo"].function.replicas.values()
    async with Server(bare, "127.0.0.1", 0) as server:
        replica.port = server.port
        async with bench.request("POST", "/function/echo", headers={"Content-Type": "application/x-a"}) as answer:
            assert answer.headers["Content-Type"] == "application/x-a"
        async with bench.request("GET", "/function/echo") as answer:
            assert answer.headers["Content-Type"] == "text/plain"
