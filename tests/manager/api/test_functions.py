"""`/api/v1/functions`: a real gateway's functions over the manager, and a gateway that is away or asks who we are."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from bridge.manager.access.roles import Role
from bridge.manager.access.tokens import create_token, revoke_token
from bridge.manager.settings import FunctionGateway
from tests.gateway.workbench import Bench
from tests.manager.api.test_cluster import what_was_done
from tests.manager.conftest import Desk

FUNCTIONS = "/api/v1/functions"
HANDLER = """
def handle(event, context):
    print("called", flush=True)
    body = event.body or b""
    if body == b"bytes":
        return {"statusCode": 200, "body": bytes([0, 255])}
    return {"statusCode": 418 if body == b"tea" else 200, "body": body, "headers": {"Content-Type": "text/plain"}}
"""


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    """A gateway that runs functions as processes."""
    bench = Bench(tmp_path / "gateway")
    async with aiohttp.ClientSession() as session:
        bench.session = session
        await bench.start()
        try:
            yield bench
        finally:
            await bench.stop()


async def test_functions_are_listed_invoked_scaled_and_read(desk: Desk, bench: Bench) -> None:
    await bench.deploy("echo", HANDLER, envVars={"PASSWORD": "hidden"}, labels={"com.openfaas.scale.max": "3"})
    desk.settings = dataclasses.replace(desk.settings, gateway=FunctionGateway(bench.gateway.url))
    await desk.start()
    client = desk.client
    listed = await client.get(FUNCTIONS)
    (echo,) = listed.json()["functions"]
    assert (echo["name"], echo["replicas"], echo["available"], echo["invocations"]) == ("echo", 1, 1, 0)
    assert "hidden" not in listed.text

    said = (await client.post(f"{FUNCTIONS}/echo/invoke", content="hello")).json()
    assert (said["status"], said["body"], said["content_type"]) == (200, "hello", "text/plain")
    tea = await client.post(f"{FUNCTIONS}/echo/invoke", content="tea")
    assert (tea.status_code, tea.json()["status"]) == (200, 418), "a function's own errors are its answer"
    assert (await client.post(f"{FUNCTIONS}/echo/invoke", content="bytes")).json()["body_base64"] == "AP8="
    assert (await client.get(f"{FUNCTIONS}/echo")).json()["invocations"] == 3
    log = await client.get(f"{FUNCTIONS}/echo/logs", params={"tail": "50"})
    assert log.headers["content-type"] == "application/x-ndjson"
    assert "called" in [json.loads(line)["text"].strip() for line in log.text.splitlines()]
    async with client.stream("GET", f"{FUNCTIONS}/echo/logs", params={"follow": "true"}) as followed:
        assert json.loads(await anext(followed.aiter_lines()))["name"] == "echo"
    head = await client.head(f"{FUNCTIONS}/echo/logs", params={"follow": "true"})
    assert (head.status_code, head.content) == (200, b"")
    assert (await client.get(f"{FUNCTIONS}/echo")).status_code == 200, "the connection is free again"

    scaled = await client.post(f"{FUNCTIONS}/echo/scale", json={"replicas": 2})
    assert (scaled.status_code, scaled.json()["replicas"]) == (200, 2)
    for body in ({"replicas": -1}, {"replicas": True}, {"replicas": "2"}, {}, {"replicas": 1, "more": 1}):
        assert (await client.post(f"{FUNCTIONS}/echo/scale", json=body)).status_code == 422
    for method, path in (("GET", ""), ("POST", "/invoke"), ("GET", "/logs")):
        gone = await client.request(method, f"{FUNCTIONS}/oven{path}")
        assert (gone.status_code, gone.headers["content-type"]) == (404, "application/problem+json"), path
    assert (await client.post(f"{FUNCTIONS}/oven/scale", json={"replicas": 1})).status_code == 404
    assert await what_was_done(desk) == [
        ("function invoked", "echo: 200", 200),
        ("function invoked", "echo: 418", 200),
        ("function invoked", "echo: 200", 200),
        ("function scaled", "echo: 2", 200),
    ]

    token = create_token(desk.settings.state_dir, "viewer", Role.VIEWER, "2026-11-22T12:00:00Z")
    headers = {"Authorization": f"Bearer {token}"}
    assert (await client.get(f"{FUNCTIONS}/echo", headers=headers)).status_code == 200
    assert (await client.post(f"{FUNCTIONS}/echo/invoke", headers=headers)).status_code == 403
    assert (await client.post(f"{FUNCTIONS}/echo/scale", json={"replicas": 1}, headers=headers)).status_code == 403

    url = bench.gateway.url
    await bench.stop()
    for path in ("", "/echo", "/echo/logs"):
        away = await client.get(f"{FUNCTIONS}{path}")
        assert (away.status_code, f"the gateway at {url} does not answer" in away.json()["detail"]) == (503, True)


async def test_a_log_that_is_followed_ends_with_its_token(desk: Desk, bench: Bench) -> None:
    await bench.deploy("echo", HANDLER)
    desk.settings = dataclasses.replace(desk.settings, gateway=FunctionGateway(bench.gateway.url))
    await desk.start()
    state = desk.settings.state_dir
    token = create_token(state, "viewer", Role.VIEWER, "2026-11-22T12:00:00Z")
    headers, params = {"Authorization": f"Bearer {token}"}, {"follow": "true"}
    async with desk.client.stream("GET", f"{FUNCTIONS}/echo/logs", headers=headers, params=params) as followed:
        lines = followed.aiter_lines()
        assert json.loads(await anext(lines))["name"] == "echo"
        revoke_token(state, "viewer", "2026-11-22T12:00:01Z")
        async with asyncio.timeout(60):
            rest = [json.loads(line) async for line in lines]
    assert rest[-1] == {"error": "the token was revoked"}


async def test_secrets_go_in_and_never_come_out(desk: Desk, bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    desk.settings = dataclasses.replace(desk.settings, gateway=FunctionGateway(bench.gateway.url))
    await desk.start()
    client, path = desk.client, "/api/v1/secrets"
    for body, status in (({"value": "hush-1"}, 201), ({"value_base64": "aHVzaC0yAP8="}, 200)):
        done = await client.put(f"{path}/mail.key", json=body)
        assert (done.status_code, done.json()) == (status, {"name": "mail.key"})
    (kept,) = [each for each in bench.folder.rglob("mail.key") if each.is_file()]
    assert kept.read_bytes() == b"hush-2\0\xff"
    assert (await client.get(path)).json() == {"secrets": ["mail.key"]}
    for wrong in (
        {"value": 5},
        {"value": ""},
        {"value_base64": "hush-3"},
        {},
        {"value": "hush-4", "value_base64": "aHVzaA=="},
        {"value": "hush-5", "name": "x"},
    ):
        refused = await client.put(f"{path}/mail.key", json=wrong)
        assert (refused.status_code, "hush" in refused.text) == (422, False), refused.text
    assert (await client.put(f"{path}/..%2Fa", json={"value": "hush-6"})).status_code in (404, 422)
    assert (await client.delete(f"{path}/mail.key")).status_code == 204
    assert (await client.delete(f"{path}/mail.key")).status_code == 404
    assert [what for what, _, _ in await what_was_done(desk)] == ["secret created", "secret changed", "secret removed"]
    assert "hush" not in "".join(str(vars(record)) for record in caplog.records)
    token = create_token(desk.settings.state_dir, "operator", Role.OPERATOR, "2026-11-22T12:00:00Z")
    headers = {"Authorization": f"Bearer {token}"}
    assert (await client.put(f"{path}/mail.key", json={"value": "x"}, headers=headers)).status_code == 403


STACK = """version: 1.0
provider: {{name: openfaas}}
functions:
  first:
    image: example/first:1
    handler: ./nowhere/here
    annotations: {{io.gpio-bridge.handler: "{folder}"}}
    environment: {{LEVEL: "${{LEVEL:-high}}"}}
  second:
    image: example/second:1
    {secrets}
    annotations: {{io.gpio-bridge.handler: "{folder}"}}
"""


async def test_a_stack_file_is_deployed_and_deployed_again(desk: Desk, bench: Bench) -> None:
    folder = bench.handler("shared", HANDLER)
    desk.settings = dataclasses.replace(desk.settings, gateway=FunctionGateway(bench.gateway.url))
    await desk.start()
    client = desk.client
    text = STACK.format(folder=folder, secrets="")
    for outcome in ("deployed", "updated"):
        done = await client.post(FUNCTIONS, content=text, headers={"Content-Type": "application/yaml"})
        assert done.status_code == 200, done.text
        assert done.json() == {"functions": [{"name": name, "outcome": outcome} for name in ("first", "second")]}
    await bench.ready("first")
    assert (await client.post(f"{FUNCTIONS}/first/invoke", content="tea")).json()["status"] == 418
    assert (await bench.status("first"))["envVars"] == {"LEVEL": "high"}

    third = {"image": "example/third:1", "annotations": {"io.gpio-bridge.handler": str(folder)}}
    assert (await client.put(f"{FUNCTIONS}/third", json=third)).status_code == 201
    again = await client.put(f"{FUNCTIONS}/third", json=third)
    assert (again.status_code, again.json()) == (200, {"name": "third", "outcome": "updated"})
    assert (await client.delete(f"{FUNCTIONS}/third")).status_code == 204
    assert (await client.delete(f"{FUNCTIONS}/third")).status_code == 404
    done_to = [one for one in await what_was_done(desk) if one[1].startswith("third")]
    assert done_to == [
        ("function deployed", "third: example/third:1", 200),
        ("function updated", "third: example/third:1", 200),
        ("function removed", "third", 200),
    ]
    token = create_token(desk.settings.state_dir, "operator", Role.OPERATOR, "2026-11-22T12:00:00Z")
    headers = {"Authorization": f"Bearer {token}"}
    assert (await client.put(f"{FUNCTIONS}/third", json=third, headers=headers)).status_code == 403
    assert (await client.post(FUNCTIONS, content=text, headers=headers)).status_code == 403


async def test_what_cannot_be_deployed_is_told_with_its_place_and_the_rest_is_deployed(
    desk: Desk, bench: Bench
) -> None:
    folder = bench.handler("shared", HANDLER)
    desk.settings = dataclasses.replace(desk.settings, gateway=FunctionGateway(bench.gateway.url))
    await desk.start()
    text = STACK.format(folder=folder, secrets="secrets: [missing]")
    refused = await desk.client.post(FUNCTIONS, content=text, headers={"Content-Type": "application/yaml"})
    assert refused.status_code == 409
    (error,) = refused.json()["errors"]
    assert error["detail"].startswith("second (the stack file that was sent:9): ")
    assert "missing" in error["detail"]
    assert refused.json()["detail"].endswith("; deployed: first")
    assert [one["name"] for one in (await desk.client.get(FUNCTIONS)).json()["functions"]] == ["first"]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("functions: 1", "functions: must be a map"),
        ("functions: {a: {image: '${HOME}'}}", "${HOME} is not set"),
        ("functions: {a: {image: x, environment_file: [/etc/passwd]}}", "is not read from another machine"),
        ("functions: {a: {handler: /etc}}", "functions.a.image: is missing"),
        ("functions: {'../a': {image: x}}", "cannot be a function's name"),
        ("functions: {a: {image: x, imagine: y}}", "imagine"),
        ("[", "the stack file has mistakes"),
    ],
)
async def test_a_stack_file_with_mistakes_deploys_nothing(desk: Desk, text: str, why: str) -> None:
    await desk.start()
    refused = await desk.client.post(
        FUNCTIONS,
        content=f"version: 1.0\nprovider: {{name: openfaas}}\n{text}\n",
        headers={"Content-Type": "text/yaml"},
    )
    assert (refused.status_code, why in refused.json()["detail"]) == (422, True), refused.text
    assert refused.json()["errors"][0]["line"] >= 1


@pytest.mark.parametrize("body", [{"service": "other"}, {"labels": 1}, {"envVars": {"A=B": "c"}}])
async def test_a_deployment_with_mistakes_is_refused(desk: Desk, body: dict[str, object]) -> None:
    await desk.start()
    assert (await desk.client.put(f"{FUNCTIONS}/a", json=body)).status_code == 422


async def test_the_password_of_the_gateway_is_shown_to_it_and_one_that_is_wrong_is_told(
    desk: Desk, tmp_path: Path
) -> None:
    seen: list[str | None] = []

    async def answer(request: web.Request) -> web.Response:
        seen.append(request.headers.get("Authorization"))
        allowed = seen[-1] == aiohttp.encode_basic_auth("admin", "right")
        return web.json_response([]) if allowed else web.Response(status=401, text="who are you")

    app = web.Application()
    app.router.add_get("/system/functions", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        (port,) = [address[1] for address in runner.addresses]
        password = tmp_path / "password"
        password.write_text("right\n", encoding="utf-8")
        address = FunctionGateway(f"http://127.0.0.1:{port}", "admin", password)
        desk.settings = dataclasses.replace(desk.settings, gateway=address)
        await desk.start()
        assert (await desk.client.get(FUNCTIONS)).json() == {"functions": []}
        password.write_text("wrong", encoding="utf-8")
        refused = await desk.client.get(FUNCTIONS)
        assert (refused.status_code, "gateway.password_file" in refused.json()["detail"]) == (503, True)
        password.unlink()
        unread = await desk.client.get(FUNCTIONS)
        assert (unread.status_code, "cannot be read from" in unread.json()["detail"]) == (503, True)
    finally:
        await runner.cleanup()
