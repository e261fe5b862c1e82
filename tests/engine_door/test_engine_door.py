"""A door that runs, before a stand-in for an engine: what gets through, in which form, and for how long."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import logging
import os
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from bridge.clock import RealClock
from bridge.engine_door.engine_door import EngineDoor
from bridge.engine_door.settings import (
    EngineDoorSettings,
    EngineSettings,
    GatewayClient,
    HttpSettings,
    ManagerClient,
)
from bridge.errors import EngineDoorError
from bridge.service import page
from tests.swarm import documents
from tests.swarm.stand_in import StandIn

FUNCTION = {"com.openfaas.function": "echo"}
STACK = {"com.docker.stack.namespace": "house"}


class Bench:
    """A stand-in with what it has of a swarm, and the door before it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.engine = StandIn(folder / "engine.sock")
        self.engine.answer = self.answer
        self.there: dict[str, Any] = {
            "/services/echo": documents.service("echo", labels=FUNCTION),
            "/services/broker": documents.service("broker", labels=STACK),
            "/networks": [{"Id": "n1", "Name": "gpio-bridge-functions", "Driver": "overlay", "Scope": "swarm"}],
            "/secrets": [{"ID": "s1", "Spec": {"Labels": {"io.gpio-bridge.secret": "key"}}}, {"ID": "s2", "Spec": {}}],
            "/tasks/t1": {"ID": "t1", "ServiceID": "echo"},
            "/tasks/t2": {"ID": "t2", "ServiceID": "broker"},
        }
        self.passed: list[tuple[str, str, str]] = []
        """Method, target and body of what the engine was asked to change."""
        self.settings = EngineDoorSettings(
            engine=EngineSettings(self.engine.socket),
            gateway=GatewayClient(folder / "gateway" / "docker.sock", str(os.getuid())),
            manager=ManagerClient(folder / "manager" / "docker.sock", str(os.getuid())),
            http=HttpSettings(port=0),
            max_connections=8,
        )

    async def answer(self, request: web.Request) -> web.StreamResponse:
        if request.method not in ("GET", "HEAD"):
            self.passed.append((request.method, request.raw_path, await request.text()))
            return web.json_response({"ID": "made"}, status=201, headers={"Api-Version": "1.44", "X-Odd": "1"})
        path = request.path.removeprefix("/v1.44")
        if path == "/_ping":
            return web.Response(text="OK")
        if path not in self.there:
            return web.json_response({"message": f"{path} not found"}, status=404)
        return web.json_response(self.there[path])

    async def ask(self, client: str, method: str, path: str, document: object = None) -> tuple[int, Any]:
        """Status and document of an answer."""
        sock = self.folder / client / "docker.sock"
        async with (
            aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(sock))) as session,
            session.request(method, f"http://door{path}", json=document) as answer,
        ):
            body = await answer.read()
            return answer.status, json.loads(body) if answer.content_type == "application/json" else body

    async def raw(self, *pieces: bytes, client: str = "gateway") -> bytes:
        """What the door answers to these bytes until it closes."""
        reader, writer = await asyncio.open_unix_connection(str(self.folder / client / "docker.sock"))
        try:
            for piece in pieces:
                writer.write(piece)
            await writer.drain()
            async with asyncio.timeout(60):
                return await reader.read()
        finally:
            writer.close()


@pytest.fixture
async def idle(tmp_path: Path) -> AsyncIterator[Bench]:
    bench = Bench(tmp_path)
    await bench.engine.start()
    yield bench
    await bench.engine.stop()


QUICK_S = 0.5


@pytest.fixture
async def impatient(idle: Bench) -> Bench:
    """For tests of what takes too long: the door gives everybody half a second."""
    engine = dataclasses.replace(idle.settings.engine, timeout_s=QUICK_S)
    idle.settings = dataclasses.replace(idle.settings, engine=engine, read_s=QUICK_S)
    return idle


@pytest.fixture
async def bench(idle: Bench) -> AsyncIterator[Bench]:
    async with EngineDoor(idle.settings, clock=RealClock("always")):
        yield idle


def changed(name: str, bench: Bench, **parts: Any) -> dict[str, Any]:
    """The document of a service with other parts at its top."""
    return {**bench.there[f"/services/{name}"]["Spec"], **parts}


async def test_what_passes_comes_back_as_the_engine_said_it(bench: Bench) -> None:
    assert await bench.ask("gateway", "GET", "/version") == (200, bench.engine.version)
    assert await bench.ask("manager", "GET", "/v1.44/services/echo") == (200, bench.there["/services/echo"])
    status, told = await bench.ask("manager", "GET", "/v1.44/nodes")
    assert (status, told) == (404, {"message": "/nodes not found"}), "the engine's own refusal, in its words"


async def test_what_does_not_pass_is_refused_with_a_reason_and_never_reaches_the_engine(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    before = len(bench.engine.seen)
    with caplog.at_level(logging.INFO):
        status, told = await bench.ask("gateway", "POST", "/v1.44/containers/create", {"Image": "x"})
    assert status == 403
    assert told == {"message": "engine door: the gateway may ask for no POST /containers/create"}
    assert len(bench.engine.seen) == before
    (line,) = [record for record in caplog.records if record.message == "Refused"]
    assert (line.client, line.method, line.path, line.status) == ("gateway", "POST", "/v1.44/containers/create", 403)  # type: ignore[attr-defined]


async def test_a_change_names_the_id_that_was_looked_at_and_is_written_anew(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    spec = changed("echo", bench, Mode={"Replicated": {"Replicas": 3}})
    with caplog.at_level(logging.INFO):
        status, told = await bench.ask("gateway", "POST", "/v1.44/services/echo/update?version=12", spec)
    assert (status, told) == (201, {"ID": "made"})
    ((method, target, body),) = bench.passed
    assert (method, target) == ("POST", "/v1.44/services/id-echo/update?version=12")
    assert json.loads(body) == spec
    (line,) = [record for record in caplog.records if record.message == "Passed on"]
    facts = (line.op, line.client, line.method, line.path, line.subject, line.status)  # type: ignore[attr-defined]
    assert facts == ("engine_door.call", "gateway", "POST", "/services/echo/update", "echo", 201)


async def test_of_two_keys_the_engine_gets_the_one_that_was_looked_at(bench: Bench) -> None:
    good = changed("echo", bench)["TaskTemplate"]
    bad = {"ContainerSpec": {"Image": "x", "Mounts": [{"Type": "bind", "Source": "/", "Target": "/x"}]}}
    twice = f'{{"Name":"echo","Labels":{json.dumps(FUNCTION)},"TaskTemplate":{json.dumps(bad)},"TaskTemplate":%s}}'
    for last, status in ((good, b"201"), (bad, b"403")):
        body = (twice % json.dumps(last)).encode()
        head = b"POST /services/create HTTP/1.1\r\nHost: d\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(
            body
        )
        assert (await bench.raw(head, body)).split(b" ")[1] == status
    ((_, _, passed),) = bench.passed
    assert passed.count("TaskTemplate") == 1
    assert json.loads(passed)["TaskTemplate"] == good


@pytest.mark.parametrize(
    ("client", "method", "path", "document", "why"),
    [
        ("gateway", "POST", "/services/broker/update?version=12", {"Name": "broker"}, "broker is no function"),
        ("gateway", "DELETE", "/services/broker", None, "broker is no function"),
        ("gateway", "GET", "/services/broker/logs?stdout=1", None, "broker is no function"),
        ("gateway", "GET", "/tasks/t2/logs?stdout=1", None, "broker is no function"),
        ("gateway", "POST", "/services/create", {"Name": "x", "Labels": STACK}, "functions only"),
        ("gateway", "POST", "/secrets/create", {"Name": "x", "Data": "eA=="}, "secrets of functions only"),
        ("gateway", "POST", "/networks/create", {"Name": "x", "Driver": "host"}, "only overlay networks"),
        ("manager", "POST", "/services/create", {"Name": "x"}, "services of stacks only"),
        ("manager", "POST", "/services/echo/update?version=12", {"Name": "echo"}, "echo belongs to no stack"),
        ("manager", "GET", "/swarm", None, "manager.join_tokens"),
        ("manager", "POST", "/services/create", [1], "the document is no map"),
    ],
)
async def test_each_client_has_its_own_allow_list(
    bench: Bench, client: str, method: str, path: str, document: object, why: str
) -> None:
    status, told = await bench.ask(client, method, path, document)
    assert status == 403
    assert why in told["message"]
    assert bench.passed == []


@pytest.mark.parametrize(
    ("task", "why"),
    [
        ({"Networks": [{"Target": "host"}]}, "host is no overlay network"),
        ({"Networks": [{"Target": "n"}]}, "n is no overlay network"),
        ({"ContainerSpec": {"Secrets": [{"SecretID": "s2"}]}}, "s2 is no secret of a function"),
        ({"ContainerSpec": {"Secrets": [{"SecretName": "key"}]}}, "None is no secret of a function"),
    ],
)
async def test_a_function_gets_its_own_network_and_secrets_only(bench: Bench, task: dict[str, Any], why: str) -> None:
    document = {"Name": "spy", "Labels": FUNCTION, "TaskTemplate": task}
    status, told = await bench.ask("gateway", "POST", "/services/create", document)
    assert (status, why in told["message"]) == (403, True), told
    good = {"Networks": [{"Target": "n1"}], "ContainerSpec": {"Secrets": [{"SecretID": "s1"}]}}
    assert (await bench.ask("gateway", "POST", "/services/create", {**document, "TaskTemplate": good}))[0] == 201


async def test_a_service_keeps_what_somebody_else_gave_it_and_gets_no_more(bench: Bench) -> None:
    given = {"Mounts": [{"Type": "bind", "Source": "/var/run/docker.sock", "Target": "/s"}]}
    bench.there["/services/echo"] = documents.service("echo", labels=FUNCTION, container=given)
    path = "/services/echo/update?version=12"
    scaled = changed("echo", bench, Mode={"Replicated": {"Replicas": 2}})
    assert (await bench.ask("gateway", "POST", path, scaled))[0] == 201
    image = changed("echo", bench, TaskTemplate={"ContainerSpec": {**given, "Image": "evil:1"}})
    status, told = await bench.ask("gateway", "POST", path, image)
    assert (status, "folders of a cluster node" in told["message"]) == (403, True)
    # The same in other letters would be read by the engine, too.
    sly = {**scaled, "tasktemplate": image["TaskTemplate"]}
    assert (await bench.ask("gateway", "POST", path, sly))[0] == 403
    assert len(bench.passed) == 1


async def test_a_way_back_is_looked_at_as_what_it_leads_to(bench: Bench) -> None:
    before = documents.service("broker", labels=STACK)
    bench.there["/services/broker"]["PreviousSpec"] = before["Spec"]
    path = "/services/broker/update?version=12&rollback=previous"
    now = changed("broker", bench)
    assert (await bench.ask("manager", "POST", path, now))[0] == 201
    mighty = {"ContainerSpec": {"Mounts": [{"Type": "bind", "Source": "/", "Target": "/host"}]}}
    bench.there["/services/broker"]["PreviousSpec"] = {**before["Spec"], "TaskTemplate": mighty}
    status, told = await bench.ask("manager", "POST", path, now)
    assert (status, "the folder '/'" in told["message"]) == (403, True)
    assert (await bench.ask("manager", "POST", path.replace("previous", "x"), now))[0] == 403


async def test_a_change_of_another_version_than_was_looked_at_does_not_pass(bench: Bench) -> None:
    for query in ("?version=11", "", "?version="):
        status, told = await bench.ask("gateway", "POST", f"/services/echo/update{query}", changed("echo", bench))
        assert (status, "out of sequence" in told["message"]) == (409, True)
    assert bench.passed == []


SMUGGLED = b"GET /containers/json HTTP/1.1\r\nHost: d\r\n\r\n"


@pytest.mark.parametrize(
    "request_",
    [
        b"POST /services/create HTTP/1.1\r\nHost: d\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n",
        b"POST /services/create HTTP/1.1\r\nHost: d\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n",
        b"POST /services/create HTTP/1.1\r\nHost: d\r\nContent-Length: 2\r\nContent-Length: 40\r\n\r\n{}",
        b"POST /services/create HTTP/1.1\r\nHost: d\r\nContent-Length: +2\r\n\r\n{}",
        b"POST /services/create HTTP/1.1\r\nHost: d\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        b"GET /info HTTP/1.1\r\nHost: d\r\nContent-Length: 41\r\n\r\n",
        b"GET /info HTTP/1.1\r\nHost: d\r\nUpgrade: tcp\r\nConnection: Upgrade\r\n\r\n",
        b"GET /events HTTP/1.1\r\nHost: d\r\nConnection: keep-alive, Upgrade\r\nUpgrade: h2c\r\n\r\n",
        b"CONNECT engine:80 HTTP/1.1\r\nHost: d\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET /info HTTP/1.1\r\nHost: d\r\nX-A: 1\r\n X-B: 2\r\nContent-Length : 44\r\n\r\n",
    ],
)
async def test_nothing_is_smuggled_behind_a_request(bench: Bench, request_: bytes) -> None:
    before = len(bench.engine.seen)
    answer = await bench.raw(request_, SMUGGLED)
    assert answer.split(b" ")[1] in (b"400", b"403"), answer
    assert answer.count(b"Content-Type: ") == 1
    assert [request.path for request in bench.engine.seen[before:]] == []


async def test_requests_in_a_row_are_each_looked_at(bench: Bench) -> None:
    ping = b"GET /_ping HTTP/1.1\r\nHost: d\r\n\r\n"
    answer = await bench.raw(ping, ping, SMUGGLED, ping)
    assert [each[:3] for each in answer.split(b"HTTP/1.1 ")[1:]] == [b"200", b"200", b"403"]


async def test_a_document_has_a_bound(bench: Bench) -> None:
    # As large as a config may be, and larger than the door reads.
    for size, status in ((1_400_000, b"201"), (5_000_000, b"413")):
        body = json.dumps({"Name": "c", "Labels": STACK, "Data": "x" * size}).encode()
        head = b"POST /configs/create HTTP/1.1\r\nHost: d\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
        answer = await bench.raw(head % len(body), body, client="manager")
        assert answer.split(b" ")[1] == status, answer
    assert [len(body) > 1_400_000 for _, _, body in bench.passed] == [True]


@pytest.mark.usefixtures("impatient")
async def test_a_document_has_a_time(bench: Bench) -> None:
    head = b"POST /configs/create HTTP/1.1\r\nHost: d\r\nContent-Length: 100\r\n\r\n{"
    answer = await bench.raw(head, client="manager")
    assert answer.split(b" ")[1] == b"408"
    assert bench.passed == []


@pytest.mark.usefixtures("impatient")
async def test_what_is_followed_comes_as_it_happens_and_may_be_silent(bench: Bench) -> None:
    more, gone = asyncio.Event(), asyncio.Event()

    async def events(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        await answer.write(b"first\n")
        await more.wait()
        await answer.write(b"second\n")
        await until(lambda: request.transport is None)
        gone.set()
        return answer

    bench.engine.answer = events
    connector = aiohttp.UnixConnector(str(bench.settings.gateway.socket))  # type: ignore[union-attr] # it is given
    async with aiohttp.ClientSession(connector=connector) as session, session.get("http://door/events") as answer:
        assert await answer.content.readline() == b"first\n"
        # Longer than the engine may pause in any other answer.
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.8):
                await answer.content.readline()
        more.set()
        async with asyncio.timeout(60):
            assert await answer.content.readline() == b"second\n"
    async with asyncio.timeout(60):
        await gone.wait()


async def hangs(request: web.Request) -> web.StreamResponse:
    await asyncio.Event().wait()
    return web.Response()


async def breaks_off(request: web.Request) -> web.StreamResponse:
    answer = web.StreamResponse(headers={"Content-Length": "100"})
    await answer.prepare(request)
    await answer.write(b"{")
    assert request.transport is not None
    request.transport.close()
    return answer


async def test_an_engine_that_hangs_breaks_off_or_is_gone_is_told_and_counted(impatient: Bench) -> None:
    idle = impatient
    async with EngineDoor(idle.settings, clock=RealClock("always")) as door:
        assert door.health.not_ready() == {}
        idle.engine.answer = hangs
        status, told = await idle.ask("gateway", "GET", "/info")
        assert (status, "does not answer within 0.5 s" in told["message"]) == (504, True)
        assert door.health.not_ready().keys() == {"engine"}
        idle.engine.answer = breaks_off
        with pytest.raises(aiohttp.ClientError):
            await idle.ask("gateway", "GET", "/info")
        await idle.engine.stop()
        status, told = await idle.ask("gateway", "GET", "/info")
        assert (status, "cannot be asked" in told["message"]) == (503, True)
        found = page("/metrics", door.health, door.registry)
        assert found is not None
        metrics = found[2].decode()
        assert 'calls_total{client="gateway",kind="look",outcome="failed"} 3.0' in metrics
        assert "gpio_bridge_engine_door_engine_up 0.0" in metrics


async def test_connections_have_a_bound(bench: Bench) -> None:
    path = str(bench.folder / "gateway" / "docker.sock")
    held = [await asyncio.open_unix_connection(path) for _ in range(8)]
    try:
        await until(lambda: full(path))
        # The other client has its own.
        assert (await bench.ask("manager", "GET", "/version"))[0] == 200
    finally:
        for _, writer in held:
            writer.close()
    await until(lambda: not full(path))


def full(path: str) -> bool:
    with socket.socket(socket.AF_UNIX) as asking:
        asking.settimeout(0.2)
        asking.connect(path)
        try:
            answer = asking.recv(1000)
        except TimeoutError:
            return False
    assert answer.startswith(b"HTTP/1.1 503 ")
    head, _, body = answer.partition(b"\r\n\r\n")
    assert int(head.rpartition(b"Content-Length: ")[2].split(b"\r\n")[0]) == len(body)
    return b"too many connections" in body


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not await asyncio.to_thread(true):  # noqa: ASYNC110 - nobody tells of it
            await asyncio.sleep(0.02)


async def test_only_the_clients_user_is_served(idle: Bench) -> None:
    assert idle.settings.gateway is not None
    stranger = GatewayClient(idle.settings.gateway.socket, str(os.getuid() + 1))
    settings = EngineDoorSettings(engine=idle.settings.engine, gateway=stranger, http=HttpSettings(port=0))
    async with EngineDoor(settings, clock=RealClock("always")):
        status, told = await idle.ask("gateway", "GET", "/version")
    assert (status, told["message"]) == (
        403,
        f"engine door: this socket is the gateway's, and the user {os.getuid()} is not it",
    )


async def test_a_killed_doors_socket_is_replaced_and_nobody_elses(idle: Bench) -> None:
    assert idle.settings.gateway is not None
    path = idle.settings.gateway.socket
    path.parent.mkdir()
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(path))
    left.close()
    async with EngineDoor(idle.settings, clock=RealClock("always")):
        assert (await idle.ask("gateway", "GET", "/version"))[0] == 200
        with pytest.raises(EngineDoorError, match="is another engine door running"):
            await EngineDoor(idle.settings, clock=RealClock("always")).__aenter__()
        assert (await idle.ask("gateway", "GET", "/version"))[0] == 200
    assert not path.exists()
    path.write_text("precious", encoding="utf-8")
    with pytest.raises(EngineDoorError, match="is no socket"):
        await EngineDoor(idle.settings, clock=RealClock("always")).__aenter__()
    assert path.read_text(encoding="utf-8") == "precious"
