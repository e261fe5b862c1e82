"""Deploying, listing, scaling and removing over HTTP."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from tests.gateway.workbench import Bench, both_backends, until

WHO = """
import os, pathlib, time
def handle(event, context):
    while not pathlib.Path({go!r}).exists():
        time.sleep(0.01)
    return str(os.getpid())
"""


@both_backends
async def test_a_deployed_handler_is_listed_and_answers(bench: Bench) -> None:
    given = bench.deployment(
        "echo",
        labels={"team": "a"},
        envVars={"A": "b"},
        annotations={"topic": "t"},
        limits={"memory": "64Mi", "cpu": "900m"},
        constraints=["node.role == manager"],
    )
    status, text = await bench.call("POST", "/system/functions", json=given)
    assert (status, text) == (202, "")
    await bench.ready("echo")
    assert await bench.invoke("echo", b"hello") == (200, "hello")
    found = await bench.status("echo")
    assert found.pop("createdAt").endswith("Z")
    assert found == {
        "name": "echo",
        "namespace": "openfaas-fn",
        "image": given["image"],
        "envVars": given["envVars"],
        "constraints": ["node.role == manager"],
        "labels": {"team": "a", "faas_function": "echo"},
        "annotations": given["annotations"],
        "limits": {"memory": "64Mi", "cpu": "900m"},
        "replicas": 1,
        "availableReplicas": 1,
        "invocationCount": 1,
    }
    async with bench.request("GET", "/system/functions?namespace=openfaas-fn") as answer:
        assert [each["name"] for each in await answer.json()] == ["echo"]
    assert (await bench.call("GET", "/system/functions?namespace=dev"))[1] == "[]"


async def test_any_command_can_be_a_function(bench: Bench) -> None:
    status, text = await bench.call(
        "POST", "/system/functions", json={"service": "wc", "image": "local", "envProcess": "wc -c"}
    )
    assert status == 202, text
    assert (await bench.invoke("wc", b"12345"))[1].strip() == "5"


async def test_an_image_that_is_no_handler_is_refused_with_what_to_do(bench: Bench) -> None:
    status, text = await bench.call("POST", "/system/functions", json={"service": "x", "image": "ghcr.io/a/b:1"})
    assert status == 400
    assert "io.gpio-bridge.handler" in text
    assert (await bench.call("GET", "/system/function/x"))[0] == 404


async def test_an_image_may_be_the_files_address_of_a_handler(bench: Bench) -> None:
    image = bench.handler("direct").as_uri()
    await bench.call("POST", "/system/functions", json={"service": "direct", "image": image})
    assert await bench.invoke("direct", b"x") == (200, "x")
    assert (await bench.status("direct"))["image"] == image


@both_backends
async def test_put_needs_a_function_that_is_there_and_post_replaces_one(bench: Bench) -> None:
    body = bench.deployment("echo")
    assert (await bench.call("PUT", "/system/functions", json=body))[0] == 404
    assert (await bench.call("POST", "/system/functions", json=body))[0] == 202
    body["envVars"] = {"A": "1"}
    assert (await bench.call("POST", "/system/functions", json=body))[0] == 202
    body["image"] = "example/echo:2"
    assert (await bench.call("PUT", "/system/functions", json=body))[0] == 202
    assert (await bench.status("echo"))["image"] == "example/echo:2"


async def test_a_removed_function_is_gone_with_its_processes(bench: Bench) -> None:
    await bench.deploy("echo")
    (pid,) = bench.pids("echo")
    body = {"functionName": "echo", "namespace": "openfaas-fn"}
    assert (await bench.call("DELETE", "/system/functions", json=body))[0] == 202
    assert (await bench.invoke("echo"))[0] == 404
    assert (await bench.call("DELETE", "/system/functions", json=body))[0] == 404
    await until(lambda: not Path(f"/proc/{pid}").exists(), "the process is gone")


BAD_REQUESTS = (
    ("POST", "/system/functions", b"{", 400),
    ("POST", "/system/functions", b"[]", 400),
    ("PUT", "/system/functions", b"", 400),
    ("DELETE", "/system/functions", b'{"functionName": ""}', 400),
    ("DELETE", "/system/functions", b"7", 400),
    ("PATCH", "/system/functions", b"", 405),
    ("POST", "/system/scale-function/nobody", b'{"replicas": 1}', 404),
    ("POST", "/system/scale-function/echo", b"{", 400),
    ("POST", "/system/scale-function/echo", b'{"replicas": -1}', 400),
    ("POST", "/system/scale-function/echo", b'{"replicas": "2"}', 400),
    ("POST", "/system/scale-function/echo", b'{"replicas": 1000}', 400),
    ("POST", "/system/scale-function/echo", b'{"replicas": 1, "namespace": "dev"}', 404),
    ("GET", "/system/function/ech", b"", 404),
    ("GET", "/system/function/echo?namespace=dev", b"", 404),
    ("GET", "/system/function/..%2fecho", b"", 404),
)


@both_backends
async def test_a_bad_request_is_refused_and_changes_nothing(bench: Bench) -> None:
    await bench.deploy("echo")
    for method, path, body, status in BAD_REQUESTS:
        async with bench.request(method, path, data=body) as answer:
            assert answer.status == status, (method, path, body, await answer.text())
            assert answer.headers["X-OpenFaaS-Internal"]
            assert (await answer.text()).strip()
    assert (await bench.status("echo"))["replicas"] == 1


async def test_replicas_follow_the_wanted_number_and_share_the_calls(bench: Bench) -> None:
    go = bench.folder / "go"
    await bench.deploy("who", WHO.format(go=str(go)))
    scale = {"serviceName": "who", "replicas": 3, "namespace": "openfaas-fn"}
    assert (await bench.call("POST", "/system/scale-function/who", json=scale))[0] == 202
    await bench.ready("who", 3)
    calls = asyncio.gather(*(bench.invoke("who") for _ in range(12)))
    backend: Any = bench.gateway.backend
    replicas = backend._deployed["who"].function.replicas.values()
    await until(lambda: [replica.in_flight for replica in replicas] == [4, 4, 4], "each has its share")
    go.touch()
    assert {text for _, text in await calls} == {str(pid) for pid in bench.pids("who")}
    await bench.call("POST", "/system/scale-function/who", json={"replicas": 1})
    await until(lambda: len(bench.pids("who")) == 1, "two replicas are gone")


@both_backends
async def test_many_requests_to_a_function_at_zero_wait_for_one_scaling(bench: Bench) -> None:
    await bench.deploy("echo")
    await bench.call("POST", "/system/scale-function/echo", json={"replicas": 0})
    await until(lambda: not bench.pids("echo"), "it is at zero")
    assert (await bench.status("echo"))["replicas"] == 0
    answers = await asyncio.gather(*(bench.invoke("echo", b"x") for _ in range(20)))
    assert set(answers) == {(200, "x")}
    assert len(bench.pids("echo")) == 1
    assert (await bench.status("echo"))["replicas"] == 1


@both_backends
async def test_usage_is_told_when_asked_for(bench: Bench) -> None:
    await bench.deploy("echo")
    usage: dict[str, Any] = (await bench.status("echo", "?usage=1"))["usage"]
    assert usage["totalMemoryBytes"] > 5_000_000
    assert 0 <= usage["cpu"] < 2000
    assert "usage" not in await bench.status("echo")
