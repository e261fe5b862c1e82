"""`/api/v1/cluster`: a real swarm's machines over HTTP, and an engine that goes and comes."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from bridge.manager.access.roles import Role
from bridge.manager.access.tokens import create_token
from bridge.manager.settings import SwarmSettings
from tests.docker_engine import DockerEngine
from tests.manager.conftest import Desk
from tests.swarm.stand_in import StandIn

NODES = "/api/v1/cluster/nodes"
JOIN = "/api/v1/cluster/join-command"


def with_swarm(desk: Desk, host: str) -> Desk:
    desk.settings = dataclasses.replace(desk.settings, swarm=SwarmSettings(host, timeout_s=5.0))
    return desk


async def what_was_done(desk: Desk) -> list[tuple[str, str, int]]:
    """What stands in the audit, oldest first."""
    await desk.manager.store._journal.flush()
    entries = (await desk.client.get("/api/v1/audit")).json()["entries"]
    return [(one["what"], one["target"], one["status"]) for one in reversed(entries)]


async def test_without_a_swarm_each_path_says_what_to_set(desk: Desk) -> None:
    await desk.start()
    for method, path in (
        ("GET", NODES),
        ("GET", f"{NODES}/pi-1"),
        ("POST", f"{NODES}/pi-1/promote"),
        ("POST", f"{NODES}/pi-1/demote"),
        ("POST", f"{NODES}/pi-1/drain"),
        ("POST", f"{NODES}/pi-1/activate"),
        ("GET", JOIN),
    ):
        answer = await desk.client.request(method, path)
        assert (answer.status_code, answer.headers["content-type"]) == (503, "application/problem+json"), path
        assert answer.json()["detail"].startswith("no swarm is configured: ")
        assert "GPIO_BRIDGE_SWARM_HOST" in answer.json()["detail"]
    answer = await desk.client.patch(f"{NODES}/pi-1", json={"labels": {"disk": "ssd"}})
    assert answer.status_code == 503


async def test_a_swarms_machines_are_shown_and_changed(desk: Desk, swarm_of_one: DockerEngine) -> None:
    await with_swarm(desk, swarm_of_one.host).start()
    name = swarm_of_one.name
    shown = (await desk.client.get(NODES)).json()
    (node,) = shown["nodes"]
    assert (node["name"], node["role"], node["leader"], node["state"]) == (name, "manager", True, "ready")
    assert (node["availability"], node["address"], node["labels"]) == ("active", "10.79.0.1", {})
    assert shown["warnings"] == ["one cluster node is all there is: when it is away, everything is"]
    one = await desk.client.get(f"{NODES}/{node['id']}")
    assert one.json() == node
    again = await desk.client.get(f"{NODES}/{name}", headers={"If-None-Match": one.headers["etag"]})
    assert again.status_code == 304

    given = await desk.client.patch(f"{NODES}/{name}", json={"labels": {"disk": "ssd", "floor": "1"}})
    assert given.json()["labels"] == {"disk": "ssd", "floor": "1"}
    taken = await desk.client.patch(f"{NODES}/{name}", json={"labels": {"disk": None, "floor": None, "none": None}})
    assert taken.json()["labels"] == {}

    assert (await desk.client.post(f"{NODES}/{name}/drain")).json()["availability"] == "drain"
    assert f"gpio-bridge cluster activate {name}" in str((await desk.client.get(NODES)).json()["warnings"])
    assert (await desk.client.post(f"{NODES}/{name}/activate")).json()["availability"] == "active"
    assert (await desk.client.post(f"{NODES}/{name}/activate")).status_code == 200, "what is so already stays so"
    assert (await desk.client.post(f"{NODES}/{name}/promote")).json()["role"] == "manager"
    last = await desk.client.post(f"{NODES}/{name}/demote")
    assert (last.status_code, "last manager" in last.json()["detail"]) == (409, True)

    joined = [(await desk.client.get(JOIN, params={"role": role})).json() for role in ("worker", "manager")]
    assert all(one["command"].startswith("docker swarm join --token SWMTKN-1-") for one in joined)
    assert joined[0]["command"] != joined[1]["command"]
    assert (await desk.client.get(JOIN, params={"role": "king"})).status_code == 422

    target = f"{name} ({node['id']})"
    assert await what_was_done(desk) == [
        ("cluster node labelled", target, 200),
        ("cluster node labelled", target, 200),
        ("cluster node drained", target, 200),
        ("cluster node activated", target, 200),
        ("join command read", "worker", 200),
        ("join command read", "manager", 200),
    ]


@pytest.fixture
async def stand_in(tmp_path: Path) -> AsyncIterator[StandIn]:
    """An engine that says it manages a swarm of two."""
    stand_in = StandIn(tmp_path / "docker.sock")
    answers = {
        "/info": {"Name": "pi-1", "Swarm": {"LocalNodeState": "active", "ControlAvailable": True, "NodeID": "aaaa1"}},
        "/nodes": [
            {"ID": "aaaa1", "Spec": {"Role": "manager"}, "Description": {"Hostname": "pi-1"}},
            {"ID": "aaaa2", "Spec": {"Role": "worker"}, "Description": {"Hostname": "pi-2"}},
        ],
        "/services": [],
        "/tasks": [],
    }

    async def answer(request: web.Request) -> web.StreamResponse:
        found = answers.get(request.path.removeprefix("/v1.41"))
        return (
            web.json_response({"message": "no such thing"}, status=404) if found is None else web.json_response(found)
        )

    stand_in.answer = answer
    await stand_in.start()
    yield stand_in
    await stand_in.stop()


async def test_a_node_that_is_not_there_is_404_and_one_that_is_ambiguous_409(desk: Desk, stand_in: StandIn) -> None:
    await with_swarm(desk, f"unix://{stand_in.socket}").start()
    gone = await desk.client.post(f"{NODES}/pi-9/drain")
    assert (gone.status_code, gone.json()["detail"]) == (404, "there is no cluster node pi-9; there are pi-1, pi-2")
    assert (await desk.client.get(f"{NODES}/a")).status_code == 404
    both = await desk.client.get(f"{NODES}/aaaa")
    assert (both.status_code, "say one by its id" in both.json()["detail"]) == (409, True)
    assert await what_was_done(desk) == []


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"labels": {"disk": 5}}, "/labels/disk"),
        ({"labels": {"a/b": []}}, "/labels/a~1b"),
        ({"labels": {"": "x"}}, "/labels/"),
        ({"labels": ["disk"]}, "/labels"),
        ({"labels": None}, "/labels"),
        ({"role": "manager"}, "/role"),
    ],
)
async def test_labels_with_mistakes_are_refused_by_their_place(desk: Desk, body: object, pointer: str) -> None:
    await desk.start()
    answer = await desk.client.patch(f"{NODES}/pi-1", json=body)
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, pointer)


async def test_a_viewer_reads_and_changes_nothing(desk: Desk, stand_in: StandIn) -> None:
    await with_swarm(desk, f"unix://{stand_in.socket}").start()
    headers = {}
    for role in (Role.VIEWER, Role.OPERATOR):
        token = create_token(desk.settings.state_dir, role.value, role, "2026-11-22T12:00:00Z")
        headers = {"Authorization": f"Bearer {token}"}
        assert (await desk.client.get(NODES, headers=headers)).status_code == 200
        assert (await desk.client.get(f"{NODES}/pi-2", headers=headers)).json()["name"] == "pi-2"
        for path in (f"{NODES}/pi-2/promote", f"{NODES}/pi-2/drain"):
            assert (await desk.client.post(path, headers=headers)).status_code == 403
        assert (await desk.client.patch(f"{NODES}/pi-2", json={}, headers=headers)).status_code == 403
        assert (await desk.client.get(JOIN, headers=headers)).status_code == 403
    assert [request.method for request in stand_in.seen if request.method != "GET"] == []


async def test_an_engine_that_was_away_is_asked_again_by_the_next_request(desk: Desk, stand_in: StandIn) -> None:
    await with_swarm(desk, f"unix://{stand_in.socket}").start()
    assert (await desk.client.get(NODES)).status_code == 200
    await stand_in.stop()
    away = await desk.client.get(NODES)
    assert (away.status_code, "no such socket; is the engine running?" in away.json()["detail"]) == (503, True)
    assert (await desk.client.get("/readyz")).status_code == 200, "the mappings are served all the same"
    await stand_in.start()
    assert [one["name"] for one in (await desk.client.get(NODES)).json()["nodes"]] == ["pi-1", "pi-2"]


async def test_an_engine_outside_of_a_swarm_is_told(desk: Desk, stand_in: StandIn) -> None:
    async def answer(_: web.Request) -> web.StreamResponse:
        return web.json_response({"Name": "pi-1", "Swarm": {"LocalNodeState": "inactive"}})

    stand_in.answer = answer
    await with_swarm(desk, f"unix://{stand_in.socket}").start()
    refused = await desk.client.get(NODES)
    assert (refused.status_code, "is in no swarm; make one of it" in refused.json()["detail"]) == (503, True)
