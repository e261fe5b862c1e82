"""`/api/v1/stacks`: a stack on a real swarm, from its compose file to nothing left."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from bridge.manager.access.roles import Role
from bridge.manager.access.tokens import create_token
from bridge.manager.settings import SwarmSettings
from tests.docker_engine import HANDLERS, DockerEngine
from tests.manager.api.test_cluster import what_was_done, with_swarm
from tests.manager.conftest import Desk

STACKS = "/api/v1/stacks"
HOUSE = f"{STACKS}/house"
YAML = {"Content-Type": "application/yaml"}
QUICKLY = "{order: start-first, monitor: 1ms}"
QUICK = {"settle_s": "0", "resolve": "false", "timeout_s": "60"}


def compose(text: str) -> str:
    code = f'import time; print("{text}", flush=True); time.sleep(1000)'
    run = json.dumps(["-c", code])
    # Without the pauses that Swarm makes unless it is told otherwise.
    deploy = f"{{restart_policy: {{delay: 1ms}}, update_config: {{monitor: 1ms}}, rollback_config: {QUICKLY}}}"
    more = f"entrypoint: python3, command: {run}, stop_signal: SIGKILL, deploy: {deploy}"
    return f"services: {{echo: {{image: '{HANDLERS}', {more}}}}}"


async def ended(desk: Desk) -> Any:
    """The deployment once it has ended."""
    while True:
        found = (await desk.client.get(f"{HOUSE}/deployment")).json()
        if found["state"] != "running":
            return found
        await desk.clock.sleep(0.2)


async def test_a_stack_is_deployed_read_rolled_back_and_removed(desk: Desk, swarm_of_one: DockerEngine) -> None:
    await with_swarm(desk, swarm_of_one.host).start()
    client = desk.client
    assert (await client.get(HOUSE)).status_code == 404
    assert (await client.get(f"{HOUSE}/logs")).status_code == 404
    assert (await client.delete(HOUSE)).status_code == 404
    begun = await client.put(HOUSE, content=compose("one"), headers=YAML, params=QUICK)
    assert (begun.status_code, begun.headers["location"]) == (202, f"{HOUSE}/deployment")
    busy = await client.put(HOUSE, content=compose("two"), headers=YAML, params=QUICK)
    assert (busy.status_code, busy.json()["detail"]) == (409, "house is being deployed; wait for the end of it")
    assert (await client.delete(HOUSE)).status_code == 409, "also before there is anything of it"
    done = await ended(desk)
    assert (done["state"], done["errors"], done["who"]) == ("succeeded", [], "tester")
    assert ("echo", "service made") in [(line["part"], line["text"]) for line in done["lines"]]
    assert done["lines"][-1]["text"] == "1/1"

    (service,) = (await client.get(HOUSE)).json()["services"]
    assert (service["running"], service["wanted"], service["cluster_nodes"]) == (1, 1, [swarm_of_one.name])
    assert {"name": "house", "services": 1, "well": True} in (await client.get(STACKS)).json()["stacks"]
    async with client.stream("GET", f"{HOUSE}/logs", params={"follow": "true", "service": "echo"}) as log:
        assert log.headers["content-type"] == "application/x-ndjson"
        line = json.loads(await anext(log.aiter_lines()))
    assert (line["instance"], line["text"]) == ("echo.1", "one")
    unknown = await client.get(f"{HOUSE}/logs", params={"service": "oven"})
    assert (unknown.status_code, unknown.json()["detail"]) == (404, "the stack house has no service oven; it has echo")
    early = await client.post(f"{HOUSE}/rollback")
    assert (early.status_code, "it cannot go back" in early.json()["detail"]) == (409, True)

    wrong = compose("x").replace("python3", "no-such-program")
    await client.put(HOUSE, content=wrong, headers=YAML, params=QUICK)
    failed = await ended(desk)
    assert (failed["state"], "no-such-program" in failed["errors"][0]) == ("failed", True)
    complaint = (await client.get(HOUSE)).json()["services"][0]["complaint"]
    assert "no-such-program" in complaint, "why it does not run"
    back = await client.post(f"{HOUSE}/rollback", params={"service": "echo"})
    assert (back.status_code, back.json()) == (200, {"services": ["echo"]})

    assert (await client.delete(HOUSE)).status_code == 202
    removed = await ended(desk)
    assert (removed["what"], removed["state"]) == ("remove", "succeeded")
    assert (await client.get(HOUSE)).status_code == 404
    assert await what_was_done(desk) == [
        ("stack to be deployed", "house", 202),
        ("stack deployed", "house", 200),
        ("stack to be deployed", "house", 202),
        ("stack not deployed", "house", 409),
        ("stack rolled back", "house: echo", 200),
        ("stack to be removed", "house", 202),
        ("stack removed", "house", 200),
    ]


async def test_a_compose_file_with_mistakes_is_refused_with_their_lines(desk: Desk) -> None:
    await desk.start()
    text = "services:\n  echo:\n    image: echo:1\n    build: .\n    env_file: /etc/passwd\n"
    answer = await desk.client.put(HOUSE, content=text, headers=YAML)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["line"] == 5
    assert (await desk.client.put(HOUSE, content=compose("x"), headers={"Content-Type": "a/b"})).status_code == 415
    assert (await desk.client.put(HOUSE, content=compose("x"), headers=YAML)).status_code == 503, "no swarm"
    assert (await desk.client.get(f"{HOUSE}/deployment")).status_code == 404
    assert (await desk.client.put(f"{STACKS}/House", content=compose("x"), headers=YAML)).status_code == 422


async def test_the_stack_that_the_manager_is_a_part_of_is_left_to_the_command_line(desk: Desk) -> None:
    swarm = SwarmSettings("unix:///nowhere/docker.sock", own_stack="house")
    desk.settings = dataclasses.replace(desk.settings, swarm=swarm)
    await desk.start()
    deployed = await desk.client.put(HOUSE, content=compose("x"), headers=YAML)
    removed = await desk.client.delete(HOUSE)
    for answer, word in ((deployed, "deploy"), (removed, "rm")):
        assert answer.status_code == 409
        assert answer.json()["detail"].startswith("this manager is a part of house, and would end before it is ")
        assert answer.json()["detail"].endswith(f"type: gpio-bridge stack {word}")
    assert (await desk.client.delete(f"{STACKS}/other")).status_code == 503, "tried, and there is no engine"


async def test_only_an_admin_changes_stacks(desk: Desk) -> None:
    await desk.start()
    token = create_token(desk.settings.state_dir, "operator", Role.OPERATOR, "2026-11-22T12:00:00Z")
    headers = {"Authorization": f"Bearer {token}"}
    for method, path in (("PUT", HOUSE), ("DELETE", HOUSE), ("POST", f"{HOUSE}/rollback")):
        assert (await desk.client.request(method, path, headers=headers)).status_code == 403
    for path in (STACKS, HOUSE, f"{HOUSE}/logs"):
        assert (await desk.client.get(path, headers=headers)).status_code == 503, "let in, and there is no swarm"
