"""The manager as a program: health, metrics, and what every answer has."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from bridge.errors import BridgeError
from bridge.manager.door import MAX_BODY_BYTES
from bridge.manager.settings import HttpSettings
from tests.manager.conftest import Desk


async def test_it_says_that_it_is_alive_and_ready_and_counts_what_it_answers(desk: Desk) -> None:
    await desk.start()
    for path, word in (("/healthz", "alive"), ("/readyz", "ready")):
        answer = await desk.client.get(path)
        assert (answer.status_code, answer.json()) == (200, {word: True, "reasons": {}})
    metrics = (await desk.client.get("/metrics")).text
    assert 'gpio_bridge_manager_requests_total{method="GET",status="200"} 2.0' in metrics


async def test_it_is_not_ready_for_a_reason_that_it_names(desk: Desk) -> None:
    manager = await desk.start()
    manager.health.require_ready("something", lambda: "it is away")
    answer = await desk.client.get("/readyz")
    assert (answer.status_code, answer.json()) == (503, {"ready": False, "reasons": {"something": "it is away"}})


async def test_a_path_that_is_not_there_is_a_problem_document_with_the_requests_id(desk: Desk) -> None:
    await desk.start()
    answer = await desk.client.get("/nothing", headers={"X-Request-Id": "mine-1"})
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["x-request-id"] == "mine-1"
    assert answer.json() == {
        "type": "about:blank",
        "title": "Not Found",
        "status": 404,
        "detail": "there is nothing at this path",
        "request_id": "mine-1",
    }


@pytest.mark.parametrize(
    ("method", "path", "there"),
    [
        ("POST", "/healthz", "GET, HEAD"),
        ("POST", "/openapi.json", "GET, HEAD"),
        ("PUT", "/api/v1/mappings", "GET, HEAD, POST"),
        ("OPTIONS", "/api/v1/mappings/door", "DELETE, GET, HEAD, PATCH, PUT"),
        ("GET", "/api/v1/functions/alarm/invoke", "POST"),
    ],
)
async def test_a_method_that_is_not_there_is_a_problem_that_names_those_that_are(
    desk: Desk, method: str, path: str, there: str
) -> None:
    await desk.start()
    answer = await desk.client.request(method, path)
    assert (answer.status_code, answer.json()["status"]) == (405, 405)
    assert answer.headers["allow"] == there


@pytest.mark.parametrize("given", ["a b", "x" * 200, "line\tbreak", ""])
async def test_an_id_that_may_not_stand_in_a_log_is_replaced(desk: Desk, given: str) -> None:
    await desk.start()
    answer = await desk.client.get("/healthz", headers={"X-Request-Id": given})
    assert answer.headers["x-request-id"] not in (given, "")


async def test_every_answer_has_the_headers_that_keep_a_browser_from_harm(desk: Desk) -> None:
    await desk.start()
    for path in ("/healthz", "/nothing", "/openapi.json"):
        headers = (await desk.client.get(path)).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
        assert headers["cache-control"] == "no-store"
        assert "server" not in headers


async def test_what_breaks_is_a_problem_and_the_log_knows_why(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    manager = await desk.start()

    def broken() -> str | None:
        raise RuntimeError("it broke")

    manager.health.require_ready("broken", broken)
    answer = await desk.client.get("/readyz")
    assert (answer.status_code, answer.headers["content-type"]) == (500, "application/problem+json")
    assert "it broke" not in answer.text
    assert "it broke" in caplog.text


async def test_the_document_of_the_api_can_be_read(desk: Desk) -> None:
    await desk.start()
    document = (await desk.client.get("/openapi.json")).json()
    assert document["info"]["title"] == "gpio-bridge manager"


async def test_a_port_that_is_taken_is_an_error_that_names_the_setting(desk: Desk) -> None:
    manager = await desk.start()
    other = Desk(desk.folder / "other")
    port = int(manager.url.rpartition(":")[2])
    other.settings = dataclasses.replace(other.settings, http=HttpSettings(port=port))
    with pytest.raises(BridgeError, match=r"Address already in use; set http\.port to another one"):
        await other.start()
    await other.stop()


async def test_it_stops_while_a_client_stays_connected(desk: Desk) -> None:
    await desk.start()
    await desk.client.get("/healthz")
    manager, client = desk.manager, desk.client
    await manager.__aexit__(None, None, None)
    with pytest.raises(httpx.TransportError):
        await client.get("/healthz")


def test_watching_a_manager_loads_no_fastapi(tmp_path: Path) -> None:
    code = (
        "import asyncio, sys\n"
        "from pathlib import Path\n"
        "from bridge.clock import RealClock\n"
        "from bridge.manager.manager import Manager\n"
        "from bridge.mqtt.memory import MemoryBroker\n"
        "from bridge.manager.settings import HttpSettings, ManagerSettings\n"
        f"folder = Path({str(tmp_path)!r})\n"
        "(folder / 'm.yaml').write_text('version: 1\\nallow_empty: true\\nmappings: {}\\n')\n"
        "async def main():\n"
        "    settings = ManagerSettings(state_dir=folder, mappings=folder / 'm.yaml', http=HttpSettings(port=0))\n"
        "    clock = RealClock('always')\n"
        "    async with Manager(settings, clock=clock, connect=MemoryBroker(clock).connect, eager=False) as manager:\n"
        "        reader, writer = await asyncio.open_connection('127.0.0.1', manager._web.port)\n"
        "        writer.write(b'GET /healthz HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n')\n"
        "        assert b'200' in await reader.readline()\n"
        "        writer.close()\n"
        "asyncio.run(main())\n"
        "print(sorted({'fastapi', 'pydantic', 'starlette', 'ruamel', 'aiohttp', 'docker'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_a_body_may_be_as_large_as_a_file() -> None:
    from bridge.config import MAX_BYTES

    assert MAX_BODY_BYTES == MAX_BYTES
