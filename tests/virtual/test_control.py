from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from bridge.agent.settings import AgentSettings
from bridge.config import compose, decode
from bridge.errors import BridgeError
from bridge.virtual.board import VirtualBoard
from bridge.virtual.control import Control
from bridge.virtual.devices import NotAccepted

PIR = ("motion", "still", "bounce for TIME", "motion bouncing for TIME", "still bouncing for TIME")
STICKING = ("stuck", "unstuck")


def board(node: str, sensors: str) -> VirtualBoard:
    text = f"version: 1\nnode: {node}\npins: {{factory: mock}}\nsensors: {sensors}\n"
    return VirtualBoard(decode(compose(text, "agent.yaml"), AgentSettings, base=Path("/")))


@pytest.fixture
async def boards() -> AsyncIterator[dict[str, VirtualBoard]]:
    made = {
        "pi-1": board("pi-1", "{front-door: {kind: pir, pin: 17}, gate: {kind: laser-tripwire, pin: 27}}"),
        "pi-2": board("pi-2", "{gate: {kind: laser-tripwire, pin: 27}, bell: {kind: button, pin: 16}}"),
    }
    yield made
    for each in made.values():
        each.close()


@pytest.fixture
async def client(boards: dict[str, VirtualBoard]) -> AsyncIterator[httpx.AsyncClient]:
    async with Control(boards) as control, httpx.AsyncClient(base_url=control.url, trust_env=False, timeout=60) as made:
        yield made


async def simulate(client: httpx.AsyncClient, **wanted: Any) -> tuple[int, dict[str, Any]]:
    answer = await client.post("/v1/simulate", json=wanted)
    return answer.status_code, answer.json()


async def test_nodes_are_listed_with_sensors_and_what_they_accept(client: httpx.AsyncClient) -> None:
    nodes = (await client.get("/v1/nodes")).json()["nodes"]
    assert [node["name"] for node in nodes] == ["pi-1", "pi-2"]
    first = nodes[0]["sensors"][0]
    assert first == {
        "name": "front-door",
        "kind": "pir",
        "accepts": [*PIR, *STICKING],
        "rest": "still",
        "seen": None,
        "driven_s": None,
        "warms_up_s": 0.0,
        "stuck": False,
    }
    assert 0 <= nodes[0]["started_s"] < 60


async def test_it_is_told_what_a_sensor_saw_last_and_how_long_ago(client: httpx.AsyncClient) -> None:
    await simulate(client, sensor="front-door", value="motion")
    await simulate(client, sensor="front-door", value="stuck")
    await simulate(client, sensor="bell", value="dance")
    pi_1, pi_2 = (await client.get("/v1/nodes")).json()["nodes"]
    assert pi_1["sensors"][0]["seen"] == "motion"
    assert pi_1["sensors"][0]["stuck"] is True
    assert 0 <= pi_1["sensors"][0]["driven_s"] < 60
    assert [sensor["driven_s"] for sensor in pi_2["sensors"]] == [None, None]


async def test_what_else_can_be_posted_is_served_and_listed(boards: dict[str, VirtualBoard]) -> None:
    async def ring(wanted: Mapping[str, Any]) -> dict[str, Any]:
        if "bell" not in wanted:
            raise NotAccepted("which bell?")
        return {"rings": wanted["bell"]}

    async with (
        Control(boards, posts={"/v1/ring": ring}) as control,
        httpx.AsyncClient(base_url=control.url, trust_env=False, timeout=60) as client,
    ):
        assert (await client.get("/v1/nodes")).json()["posts"] == ["/v1/ring", "/v1/simulate"]
        assert (await client.post("/v1/ring", json={"bell": 1})).json() == {"rings": 1}
        answer = await client.post("/v1/ring", json={})
        assert (answer.status_code, answer.json()) == (400, {"error": "which bell?"})
        assert (await client.post("/v1/ring", json=[])).json() == {"error": "the body is no JSON object"}
        assert (await client.get("/v1/ring")).status_code == 405


async def test_a_pin_has_changed_when_the_answer_comes(
    client: httpx.AsyncClient, boards: dict[str, VirtualBoard]
) -> None:
    assert await simulate(client, sensor="front-door", value="motion") == (
        200,
        {"node": "pi-1", "sensor": "front-door", "value": "motion"},
    )
    assert boards["pi-1"].pin_factory.pin(17).state == 1


async def test_a_sensor_that_two_nodes_have_needs_the_node(
    client: httpx.AsyncClient, boards: dict[str, VirtualBoard]
) -> None:
    status, answer = await simulate(client, sensor="gate", value="break")
    assert (status, answer["error"]) == (409, "several nodes have a sensor gate: pi-1, pi-2; say which node")
    status, _ = await simulate(client, sensor="gate", value="break", node="pi-2")
    assert status == 200
    assert (boards["pi-1"].pin_factory.pin(27).state, boards["pi-2"].pin_factory.pin(27).state) == (1, 0)


@pytest.mark.parametrize(
    ("wanted", "status", "error"),
    [
        (
            {"sensor": "front-door", "value": "dance"},
            400,
            "front-door does not know 'dance'; it accepts motion, still, bounce for TIME, ",
        ),
        ({"sensor": "attic", "value": "on"}, 404, "there is no sensor attic; there are pi-1/front-door, "),
        (
            {"sensor": "bell", "value": "press", "node": "pi-1"},
            404,
            "there is no sensor bell; there are pi-1/front-door",
        ),
        ({"sensor": "bell", "value": "press", "node": "pi-9"}, 404, "there is no node pi-9; there are pi-1, pi-2"),
        ({"sensor": "bell"}, 400, 'send {"sensor"'),
        ({"sensor": "bell", "value": "press", "colour": 1}, 400, "unknown: colour"),
    ],
)
async def test_errors_say_what_is_accepted(
    client: httpx.AsyncClient, wanted: dict[str, Any], status: int, error: str
) -> None:
    found, answer = await simulate(client, **wanted)
    assert (found, answer["error"][: len(error)]) == (status, error)


async def test_a_contact_that_bounces_has_come_to_rest_when_the_answer_comes(
    client: httpx.AsyncClient, boards: dict[str, VirtualBoard]
) -> None:
    pin = boards["pi-2"].pin_factory.pin(16)
    assert (await simulate(client, sensor="bell", value="press bouncing for 5ms"))[0] == 200
    assert pin.state == 0, "a button pulls its pin down"
    assert (await simulate(client, sensor="bell", value="bounce for 5ms"))[0] == 200
    assert pin.state == 1


@pytest.mark.parametrize(
    ("value", "error"),
    [
        ("bounce for 2s", "bell bounces for at most 1s"),
        ("bounce for 0s", "bell does not know 'bounce for 0s': 0s is no time at all"),
        ("dance bouncing for 5ms", "bell does not know 'dance bouncing for 5ms'; it accepts press, release, "),
    ],
)
async def test_bounces_that_no_contact_has_are_refused(client: httpx.AsyncClient, value: str, error: str) -> None:
    status, answer = await simulate(client, sensor="bell", value=value)
    assert (status, answer["error"][: len(error)]) == (400, error)


async def test_numbers_and_booleans_may_come_as_json(client: httpx.AsyncClient) -> None:
    assert (await simulate(client, sensor="front-door", value=True))[0] == 200


async def test_other_paths_and_methods_are_told_what_there_is(client: httpx.AsyncClient) -> None:
    assert (await client.get("/")).json()["error"] == "there are GET /v1/nodes and POST /v1/simulate"
    answer = await client.get("/v1/simulate")
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
    assert (await client.post("/v1/simulate", content=b"{")).status_code == 400


async def test_a_port_that_is_taken_is_told_with_what_to_do(boards: dict[str, VirtualBoard]) -> None:
    async with Control(boards) as first:
        port = int(first.url.rpartition(":")[2])
        with pytest.raises(
            BridgeError, match=rf"over port {port}: Address already in use; choose another --control-port"
        ):
            async with Control(boards, port):
                pass
