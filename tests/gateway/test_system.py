"""What the gateway says of itself, secrets, logs and authentication over HTTP."""

from __future__ import annotations

import asyncio
import base64
import json
from pathlib import Path
from typing import Any

import pytest

from bridge.gateway.settings import BasicAuthSettings, TimeoutSettings
from tests.gateway.workbench import Bench, both_backends, until
from tests.small_disk import mounted


@both_backends
async def test_info_has_the_shape_of_a_gateways_and_no_empty_value(bench: Bench) -> None:
    async with bench.request("GET", "/system/info") as answer:
        info = await answer.json()
    assert set(info) == {"provider", "version", "arch"}
    assert set(info["provider"]) == {"provider", "orchestration", "version"}
    assert set(info["version"]) == {"commit_message", "sha", "release"}
    assert set(info["provider"]["version"]) == {"sha", "release"}
    assert '""' not in json.dumps(info)


async def test_info_as_a_provider_is_flat(idle_bench: Bench) -> None:
    await idle_bench.start(role="provider")
    async with idle_bench.request("GET", "/system/info") as answer:
        assert set(await answer.json()) == {"provider", "orchestration", "version"}


PATHS = (
    ("GET", "/", 307),
    ("GET", "/healthz", 200),
    ("GET", "/readyz", 200),
    ("GET", "/openapi.yaml", 200),
    ("POST", "/openapi.yaml", 405),
    ("POST", "/healthz", 405),
    ("GET", "/nothing", 404),
    ("GET", "/system/nothing", 404),
    ("GET", "/system/namespace/dev", 501),
    ("POST", "/system/namespace/dev", 501),
    ("GET", "/function", 404),
    ("GET", "/ui/", 404),
    ("GET", "//system/functions", 404),
    ("GET", "/system/../function/x", 404),
)


async def test_paths_and_their_statuses(bench: Bench) -> None:
    for method, path, status in PATHS:
        reader, writer = await asyncio.open_connection("127.0.0.1", bench.gateway.port)
        writer.write(f"{method} {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
        answer = await reader.read()
        writer.close()
        assert int(answer.split()[1]) == status, (path, answer)
        if path == "/":
            assert b"\r\nLocation: /ui/\r\n" in answer


async def test_the_only_namespace(bench: Bench) -> None:
    assert await bench.call("GET", "/system/namespaces") == (200, '["openfaas-fn"]')


@both_backends
async def test_a_function_that_does_not_run_makes_the_gateway_not_ready_with_its_reason(bench: Bench) -> None:
    await bench.deploy("broken", "import nowhere\n", ready=False)

    async def told() -> bool:
        status, text = await bench.call("GET", "/readyz")
        return status == 503 and "nowhere" in text

    await until(told, "the reason is told")
    assert (await bench.call("GET", "/healthz"))[0] == 200


# --- secrets


async def test_a_secrets_life(bench: Bench) -> None:
    secrets = "/system/secrets"
    key = {"name": "key", "namespace": "openfaas-fn"}
    assert (await bench.call("PUT", secrets, json=key | {"value": "v"}))[0] == 404
    assert (await bench.call("POST", secrets, json=key | {"value": "first"}))[0] == 201
    assert (await bench.call("POST", secrets, json=key | {"value": "again"}))[0] == 409
    assert await bench.call("GET", secrets) == (200, '[{"name":"key","namespace":"openfaas-fn"}]')
    raw = base64.b64encode(b"\x00\xff").decode()
    assert (await bench.call("PUT", secrets, json=key | {"rawValue": raw}))[0] == 202
    file = bench.settings.secrets / "key"
    assert file.read_bytes() == b"\x00\xff"
    assert file.stat().st_mode & 0o777 == 0o600
    assert (await bench.call("DELETE", secrets, json=key))[0] == 202
    assert (await bench.call("DELETE", secrets, json=key))[0] == 404
    assert await bench.call("GET", secrets) == (200, "[]")


async def test_what_a_full_disk_does_not_take_is_said_and_taken_when_there_is_room(bench: Bench) -> None:
    large = {"name": "key", "value": "v" * 10_000}
    with mounted(bench.settings.secrets, "4k"):
        status, said = await bench.call("POST", "/system/secrets", json=large)
        assert (status, said.strip()) == (
            503, "the gateway cannot keep this: No space left on device; see to the disk of its state_dir"
        )  # fmt: skip
        assert await bench.call("GET", "/system/secrets") == (200, "[]")
    assert (await bench.call("POST", "/system/secrets", json=large))[0] == 201


BAD_SECRETS: tuple[Any, ...] = (
    {"name": "../up", "value": "v"},
    {"name": "", "value": "v"},
    {"name": "a"},
    {"name": "a", "rawValue": "?"},
    {"name": "a", "value": "v", "rawValue": {}},
    {"name": "a", "value": 1},
    {"name": "a", "value": "v", "namespace": "dev"},
    [],
)


@both_backends
async def test_a_bad_secret_is_refused_without_repeating_its_value(bench: Bench) -> None:
    for body in BAD_SECRETS:
        status, text = await bench.call("POST", "/system/secrets", json=body)
        assert status == 400, body
        assert "?" not in text
    assert await bench.call("GET", "/system/secrets") == (200, "[]")


@both_backends
async def test_a_function_reads_its_secret_and_cannot_be_deployed_before_it_exists(bench: Bench) -> None:
    code = "import os, pathlib\ndef handle(event, context):\n"
    code += "    return (pathlib.Path(os.environ['secret_path']) / 'key').read_text()\n"
    body = bench.deployment("reader", code, secrets=["key"])
    status, text = await bench.call("POST", "/system/functions", json=body)
    assert (status, "key" in text) == (400, True)
    await bench.call("POST", "/system/secrets", json={"name": "key", "value": "sesame"})
    assert (await bench.call("POST", "/system/functions", json=body))[0] == 202
    assert await bench.invoke("reader") == (200, "sesame")


# --- logs

TALKS = "def handle(event, context):\n    print(event.body.decode())\n    return 'ok'\n"


async def lines(bench: Bench, query: str) -> list[dict[str, str]]:
    status, text = await bench.call("GET", f"/system/logs?name=talks{query}")
    assert status == 200
    return [json.loads(line) for line in text.splitlines()]


@both_backends
async def test_logs_hold_what_a_function_printed(bench: Bench) -> None:
    await bench.deploy("talks", TALKS)
    for word in ("one", "two", "three"):
        await bench.invoke("talks", word.encode())
    found: list[dict[str, str]] = []

    async def written() -> bool:
        found[:] = await lines(bench, "&tail=2")
        return [line["text"] for line in found] == ["two", "three"]

    await until(written, "the log holds what was printed")
    assert set(found[0]) == {"name", "namespace", "instance", "timestamp", "text"}
    assert (found[0]["name"], found[0]["namespace"]) == ("talks", "openfaas-fn")
    assert [line["text"] for line in await lines(bench, f"&since={found[1]['timestamp']}")] == ["three"]
    assert len(await lines(bench, f"&instance={found[0]['instance']}&tail=-1")) >= 3
    assert await lines(bench, "&instance=other") == []


async def test_logs_are_followed_line_by_line_until_the_client_leaves(bench: Bench) -> None:
    await bench.deploy("talks", TALKS)
    async with bench.request("GET", "/system/logs?name=talks.openfaas-fn&follow=true&tail=1") as answer:
        assert answer.headers["Content-Type"] == "application/x-ndjson"
        await answer.content.readline()
        for word in ("one", "two"):
            await bench.invoke("talks", word.encode())
            assert json.loads(await asyncio.wait_for(answer.content.readline(), 60))["text"] == word
    backend: Any = bench.gateway.backend
    followers = backend._deployed["talks"].function.logs._followers
    await until(lambda: not followers, "nobody follows any more")


@both_backends
async def test_following_ends_when_the_function_is_removed_and_does_not_hold_up_a_stop(idle_bench: Bench) -> None:
    bench = idle_bench
    await bench.start(timeouts=TimeoutSettings(drain_s=600.0))
    await bench.deploy("talks", TALKS)
    await bench.deploy("other")
    async with (
        bench.request("GET", "/system/logs?name=talks&follow=1") as answer,
        bench.request("GET", "/system/logs?name=other&follow=1"),
    ):
        await bench.call("DELETE", "/system/functions", json={"functionName": "talks"})
        await asyncio.wait_for(answer.content.read(), 60)
        async with asyncio.timeout(60):
            await bench.stop()


async def test_a_bad_log_query_is_refused(bench: Bench) -> None:
    queries = {
        "": 422,
        "name=talks&tail=x": 422,
        "name=talks&since=yesterday": 422,
        "name=talks&follow=maybe": 422,
        "name=no": 404,
    }
    for query, status in queries.items():
        assert (await bench.call("GET", f"/system/logs?{query}"))[0] == status


# --- authentication


@pytest.fixture
async def guarded(idle_bench: Bench, tmp_path: Path) -> Bench:
    (tmp_path / "basic-auth-user").write_text("admin\n", encoding="utf-8")
    (tmp_path / "basic-auth-password").write_text("p:w\n", encoding="utf-8")
    await idle_bench.start(basic_auth=BasicAuthSettings(enabled=True, secret_mount_path=tmp_path))
    return idle_bench


def basic(text: str) -> dict[str, str]:
    return {"Authorization": f"Basic {base64.b64encode(text.encode()).decode()}"}


async def test_without_the_password_everything_under_system_and_ui_is_closed(guarded: Bench) -> None:
    wrong: list[dict[str, str]] = [{}, basic("admin:wrong"), basic("admin"), basic(""), {"Authorization": "Basic ?"}]
    for path in ("/system/functions", "/system/info", "/system/nothing", "/ui/", "/system/alert", "/system"):
        for headers in [*wrong, {"Authorization": "Bearer x"}]:
            async with guarded.request("GET", path, headers=headers) as answer:
                assert answer.status == 401
                assert answer.headers["WWW-Authenticate"] == 'Basic realm="Restricted"'


async def test_with_the_password_it_is_open_and_functions_always_are(guarded: Bench) -> None:
    body = guarded.deployment("echo")
    assert (await guarded.call("POST", "/system/functions", json=body))[0] == 401
    assert (await guarded.call("POST", "/system/functions", json=body, headers=basic("admin:p:w")))[0] == 202
    assert await guarded.invoke("echo", b"x") == (200, "x")
    assert (await guarded.call("POST", "/async-function/echo"))[0] == 202
    assert (await guarded.call("GET", "/healthz"))[0] == 200


# --- alerts


@both_backends
async def test_a_firing_alert_scales_up_and_a_resolved_one_back(bench: Bench) -> None:
    labels = {"com.openfaas.scale.min": "1", "com.openfaas.scale.max": "4", "com.openfaas.scale.factor": "50"}
    await bench.deploy("echo", labels=labels)

    async def alert(status: str) -> int:
        labels = {"alertname": "APIHighInvocationRate", "function_name": "echo.openfaas-fn"}
        alerts = [{"status": status, "labels": labels}, {"status": status, "labels": {"function_name": "gone"}}]
        return (await bench.call("POST", "/system/alert", json={"status": status, "alerts": alerts}))[0]

    assert await alert("firing") == 200
    assert (await bench.status("echo"))["replicas"] == 3
    assert await alert("resolved") == 200
    assert (await bench.status("echo"))["replicas"] == 1
    firing = {"status": "firing", "labels": {"function_name": "echo"}}
    half = json.dumps({"alerts": [firing, firing | {"labels": {"function_name": 1}}]}).encode()
    for bad in (b"", b"{}", b'{"alerts": [1]}', half):
        assert (await bench.call("POST", "/system/alert", data=bad))[0] == 400
    assert (await bench.status("echo"))["replicas"] == 1
