"""Functions on a real swarm: what the contract of both backends does not say."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import dataclasses
import json
import os
import time
from typing import Any

import pytest

from bridge.gateway.settings import HealthSettings
from tests.docker_engine import HANDLERS
from tests.gateway.swarm.bench import NETWORK, SwarmBench
from tests.gateway.workbench import ECHO, Bench, on_swarm, until

pytestmark = on_swarm

VERSION = "def handle(event, context):\n    return {!r}\n"


@pytest.fixture
def swarm(bench: Bench) -> SwarmBench:
    assert isinstance(bench, SwarmBench)
    return bench


async def problem(swarm: SwarmBench, name: str, words: str, deadline_s: float = 60.0) -> str:
    """Wait until a function's problem holds these words."""
    found: list[str] = []

    async def told() -> bool:
        found[:] = [str((await swarm.status(name)).get("problem"))]
        return words in found[0]

    await until(told, f"the problem of {name} says {words!r}", deadline_s)
    return found[0]


async def available(swarm: SwarmBench, name: str, replicas: int) -> bool:
    return bool((await swarm.status(name))["availableReplicas"] == replicas)


async def test_a_service_has_what_was_asked_for_and_what_keeps_a_function_alive(swarm: SwarmBench) -> None:
    await swarm.deploy(
        "full",
        labels={"team": "a"},
        annotations={"topic": "t"},
        constraints=["node.role == manager"],
        limits={"memory": "64Mi", "cpu": "0.5"},
        requests={"memory": "20m"},
        readOnlyRootFilesystem=True,
        envProcess="cat",
    )
    spec = swarm.service("full")["Spec"]
    assert spec["Name"] == "full"
    assert (spec["Labels"]["team"], spec["Labels"]["com.openfaas.function"]) == ("a", "full")
    assert spec["EndpointSpec"] == {"Mode": "dnsrr"}
    assert (spec["UpdateConfig"]["Order"], spec["UpdateConfig"]["FailureAction"]) == ("start-first", "rollback")
    task = spec["TaskTemplate"]
    assert (task["RestartPolicy"]["Condition"], task["RestartPolicy"]["MaxAttempts"]) == ("any", 0)
    assert task["Resources"]["Limits"] == {"NanoCPUs": 500_000_000, "MemoryBytes": 64 * 1024**2}
    assert task["Resources"]["Reservations"] == {"MemoryBytes": 20 * 1024**2}
    assert task["Placement"]["Constraints"] == ["node.role == manager"]
    container = task["ContainerSpec"]
    assert "fprocess=cat" in container["Env"]
    assert container["Healthcheck"]["Test"][0] == "CMD-SHELL"
    assert container["ReadOnly"] is True
    # With a read-only root, what writes to /tmp works all the same: the handler was written there.
    assert await swarm.invoke("full", b"x") == (200, "x")

    async def healthy() -> bool:
        (container,) = swarm.containers("full")
        return swarm.engine.docker("inspect", "--format", "{{.State.Health.Status}}", container) == "healthy"

    await until(healthy, "the engine finds it healthy")


async def test_a_function_that_was_made_by_hand_appears_and_goes_and_names_are_compared_exactly(
    swarm: SwarmBench,
) -> None:
    swarm.engine.docker(
        *("service", "create", "--detach", "--quiet", "--name", "by-hand", "--label", "com.openfaas.function=by-hand"),
        *("--network", NETWORK, "--endpoint-mode", "dnsrr", "--env", f"handler_code={ECHO}", HANDLERS),
    )
    backend: Any = swarm.gateway.backend
    await until(lambda: "by-hand" in backend.wanted(), "its event was heard", 2.0)
    assert await swarm.invoke("by-hand", b"x") == (200, "x")
    found = await swarm.status("by-hand")
    assert (found["image"], found["replicas"], found["envVars"]) == (HANDLERS, 1, {"handler_code": ECHO})
    assert (await swarm.invoke("by-han"))[0] == 404
    assert (await swarm.call("GET", "/system/function/by-han"))[0] == 404
    scale = {"serviceName": "by-hand", "replicas": 2}
    assert (await swarm.call("POST", "/system/scale-function/by-hand", json=scale))[0] == 202
    swarm.engine.docker("service", "rm", "by-hand")
    await until(lambda: "by-hand" not in backend.wanted(), "it is gone", 2.0)


async def test_a_service_that_is_no_function_is_neither_shown_nor_replaced(swarm: SwarmBench) -> None:
    swarm.engine.docker("service", "create", "--detach", "--quiet", "--name", "database", "--replicas", "0", HANDLERS)
    assert await swarm.call("GET", "/system/functions") == (200, "[]")
    status, text = await swarm.call("POST", "/system/functions", json=swarm.deployment("database"))
    assert (status, "is no function" in text) == (400, True)
    for method, path, body in (
        ("DELETE", "/system/functions", {"functionName": "database"}),
        ("POST", "/system/scale-function/database", {"replicas": 1}),
    ):
        assert (await swarm.call(method, path, json=body))[0] == 404
    assert swarm.service("database")["Spec"]["Mode"]["Replicated"]["Replicas"] == 0


async def test_an_image_that_nobody_has_is_told_everywhere_and_is_made_good_for(swarm: SwarmBench) -> None:
    image = "127.0.0.1:5000/nobody/has-this:1"
    began = time.monotonic()
    status, _ = await swarm.call("POST", "/system/functions", json={"service": "late", "image": image})
    assert (status, time.monotonic() - began < 2) == (202, True)
    assert "No such image" in await problem(swarm, "late", "No such image")
    async with swarm.request("GET", "/system/functions") as answer:
        (listed,) = await answer.json()
    assert (listed["image"], listed["replicas"], listed["availableReplicas"]) == (image, 1, 0)
    async with swarm.request("POST", "/function/late") as answer:
        assert answer.status == 503
        assert "No such image" in await answer.text()
    assert "[swarm] No such image" in (await swarm.call("GET", "/system/logs?name=late"))[1]
    assert "No such image" in (await swarm.call("GET", "/readyz"))[1]
    assert (await swarm.call("PUT", "/system/functions", json=swarm.deployment("late")))[0] == 202
    assert await swarm.invoke("late", b"x") == (200, "x")

    async def well() -> bool:
        return "problem" not in await swarm.status("late")

    await until(well, "nothing is left of the problem")


BAD = (
    ({"secrets": ["none"]}, "create the secret none first"),
    ({"limits": {"memory": "lots"}}, "limits.memory"),
    ({"limits": {"cpu": "100x"}}, "limits.cpu"),
    ({"image": "UPPER/Case"}, "is not a valid repository/tag"),
    ({"image": ""}, "image: is missing"),
    ({"constraints": ["nonsense"]}, "constraint"),
    ({"registryAuth": "?"}, "registryAuth"),
)


async def test_a_deployment_that_cannot_be_is_refused_and_leaves_nothing(swarm: SwarmBench) -> None:
    for parts, words in BAD:
        status, text = await swarm.call("POST", "/system/functions", json=swarm.deployment("bad") | parts)
        assert (status, words in text) == (400, True), (parts, status, text)
    assert await swarm.call("GET", "/system/functions") == (200, "[]")
    assert (await swarm.call("PUT", "/system/functions", json=swarm.deployment("bad")))[0] == 404


async def test_a_replica_that_dies_is_replaced_told_and_counted(swarm: SwarmBench) -> None:
    code = "import os\ndef handle(event, context):\n    if event.body == b'die':\n        print('dying', flush=True)\n"
    await swarm.deploy("dies", code + "        os._exit(3)\n    return 'ok'\n")
    (before,) = swarm.containers("dies")
    assert (await swarm.invoke("dies", b"die"))[0] == 502
    assert await swarm.invoke("dies") == (200, "ok")
    assert before not in swarm.containers("dies")
    text = (await swarm.call("GET", "/system/logs?name=dies"))[1]
    assert "dying" in text
    assert "[swarm] task: non-zero exit (3)" in text

    async def counted() -> bool:
        return (
            'replica_restarts_total{function_name="dies.openfaas-fn"} 1.0' in (await swarm.call("GET", "/metrics"))[1]
        )

    await until(counted, "its end is counted")


async def test_a_replica_that_hangs_fails_its_health_check_and_is_replaced(swarm: SwarmBench) -> None:
    await swarm.stop()
    quick = HealthSettings(every_s=0.5, timeout_s=0.5, start_s=5.0, retries=1)
    await swarm.start(swarm=dataclasses.replace(swarm.settings.swarm, health=quick))
    await swarm.deploy("hangs", "import time\nasync def handle(event, context):\n    time.sleep(1000)\n")
    (before,) = swarm.containers("hangs")
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(0.5):
            await swarm.invoke("hangs")
    await until(lambda: swarm.containers("hangs") not in ([], [before]), "another container runs")


async def test_while_one_of_two_replicas_is_dead_the_other_gets_the_calls(swarm: SwarmBench) -> None:
    await swarm.deploy("pair", labels={"com.openfaas.scale.min": "2"})
    swarm.engine.docker("kill", swarm.containers("pair")[0])
    answers = [await swarm.invoke("pair", b"x") for _ in range(20)]
    assert set(answers) == {(200, "x")}
    await swarm.ready("pair", 2)


async def test_a_replica_that_is_told_to_end_finishes_what_it_has_and_no_call_fails(swarm: SwarmBench) -> None:
    await swarm.deploy("pair", labels={"com.openfaas.scale.min": "2"})
    seen: list[tuple[int, str]] = []
    done = asyncio.Event()

    async def load() -> None:
        while not done.is_set():
            seen.append(await swarm.invoke("pair", b"x"))

    workers = [asyncio.create_task(load()) for _ in range(4)]
    for _ in range(2):
        await until(lambda: len(seen) > 20, "there is load")
        # Those of now: on a busy machine Swarm may have taken one for unhealthy meanwhile.
        container = swarm.containers("pair")[0]
        await asyncio.to_thread(swarm.engine.docker, "kill", "--signal", "TERM", container)
        await until(lambda gone=container: gone not in swarm.containers("pair"), "it has ended")  # type: ignore[misc]
        await swarm.ready("pair", 2)
        seen.append(await swarm.invoke("pair", b"x"))
    done.set()
    await asyncio.gather(*workers)
    assert set(seen) == {(200, "x")}, [each for each in seen if each[0] != 200][:3]


async def test_an_update_under_load_fails_no_request_and_what_is_broken_is_rolled_back(swarm: SwarmBench) -> None:
    await swarm.stop()
    # Two seconds, as in other tests, can be too short for a process to end on a busy machine.
    await swarm.start(swarm=dataclasses.replace(swarm.settings.swarm, stop_grace_s=10.0))
    body = swarm.deployment("v", VERSION.format("one"), labels={"com.openfaas.scale.min": "2"})
    await swarm.call("POST", "/system/functions", json=body)
    await until(lambda: available(swarm, "v", 2), "it has its replicas")
    seen: list[tuple[int, str]] = []
    done = asyncio.Event()

    async def load() -> None:
        while not done.is_set():
            seen.append(await swarm.invoke("v"))

    workers = [asyncio.create_task(load()) for _ in range(4)]
    await until(lambda: len(seen) > 20, "there is load")
    assert (await swarm.call("PUT", "/system/functions", json=swarm.deployment("v", VERSION.format("two"))))[0] == 202
    state = "{{.UpdateStatus.State}}"
    await until(
        lambda: swarm.engine.docker("service", "inspect", "--format", state, "v") == "completed", "it is updated"
    )
    broken = swarm.deployment("v", "import nowhere\n")
    assert (await swarm.call("PUT", "/system/functions", json=broken))[0] == 202
    await problem(swarm, "v", "nowhere")
    await until(
        lambda: swarm.engine.docker("service", "inspect", "--format", state, "v") == "rollback_completed",
        "it is back",
    )
    told = await problem(swarm, "v", "the last update failed, the version before it serves: ")
    done.set()
    await asyncio.gather(*workers)
    assert {status for status, _ in seen} == {200}, [each for each in seen if each[0] != 200][:3]
    assert {text for _, text in seen} == {"one", "two"}
    assert seen[-1] == (200, "two")
    assert "nowhere" in told
    found = await swarm.status("v")
    assert (found["envVars"]["handler_code"], found["replicas"]) == (VERSION.format("two"), 2)


async def test_another_gateway_or_a_person_may_scale_and_it_is_seen(swarm: SwarmBench) -> None:
    await swarm.deploy("echo")
    swarm.engine.docker("service", "scale", "--detach", "echo=2")
    await swarm.ready("echo", 2)
    assert (await swarm.status("echo"))["replicas"] == 2
    assert 'gateway_service_count{function_name="echo.openfaas-fn"} 2.0' in (await swarm.call("GET", "/metrics"))[1]


async def test_logs_of_all_replicas_are_followed_with_what_becomes_of_them(swarm: SwarmBench) -> None:
    code = "import os\ndef handle(event, context):\n    print(event.body.decode(), flush=True)\n"
    await swarm.deploy("talks", code + "    if event.body == b'die':\n        os._exit(1)\n")
    await swarm.invoke("talks", b"before")
    async with swarm.request("GET", "/system/logs?name=talks&follow=true&since=2020-01-01T00:00:00Z") as answer:

        async def until_line(text: str) -> dict[str, str]:
            async with asyncio.timeout(60):
                while True:
                    line: dict[str, str] = json.loads(await answer.content.readline())
                    seen.append(line["text"])
                    if text in line["text"]:
                        return line

        seen: list[str] = []
        first = await until_line("before")
        assert first["instance"].startswith("talks.1.")
        await swarm.invoke("talks", b"during")
        await until_line("during")
        await swarm.invoke("talks", b"die")
        await until_line("[swarm] task: non-zero exit (1)")
        await swarm.invoke("talks", b"after")
        assert (await until_line("after"))["instance"] != first["instance"]
        assert seen.count("before") == seen.count("during") == 1


SECRET = """
import os
def handle(event, context):
    path = "/var/openfaas/secrets/key"
    state = os.stat(path)
    return f"{open(path).read()} {state.st_mode & 0o777:o} {state.st_uid} {state.st_gid}"
"""


async def test_a_changed_secret_reaches_its_functions_and_the_old_one_is_removed(swarm: SwarmBench) -> None:
    key = {"name": "key", "namespace": "openfaas-fn"}
    secrets = "/system/secrets"
    assert (await swarm.call("PUT", secrets, json=key | {"value": "v"}))[0] == 404
    assert (await swarm.call("POST", secrets, json=key | {"value": "first"}))[0] == 201
    assert (await swarm.call("POST", secrets, json=key | {"value": "again"}))[0] == 409
    await swarm.deploy("reader", SECRET, secrets=["key"])
    assert await swarm.invoke("reader") == (200, "first 444 0 0")
    raw = base64.b64encode(b"second").decode()
    assert (await swarm.call("PUT", secrets, json=key | {"rawValue": raw}))[0] == 202

    async def renewed() -> bool:
        return await swarm.invoke("reader") == (200, "second 444 0 0")

    await until(renewed, "the function has the new value")
    assert await swarm.call("GET", secrets) == (200, '[{"name":"key","namespace":"openfaas-fn"}]')
    names = ("secret", "ls", "--format", "{{.Name}}")
    await until(lambda: swarm.engine.docker(*names) == "key.v2", "the old one is removed")
    assert (await swarm.status("reader"))["secrets"] == ["key"]
    status, text = await swarm.call("DELETE", secrets, json=key)
    assert (status, "reader" in text) == (400, True)
    await swarm.call("DELETE", "/system/functions", json={"functionName": "reader"})
    assert (await swarm.call("DELETE", secrets, json=key))[0] == 202
    assert (await swarm.call("DELETE", secrets, json=key))[0] == 404
    assert swarm.engine.docker(*names) == ""


async def test_secrets_of_other_stacks_are_neither_shown_nor_given_to_functions(swarm: SwarmBench) -> None:
    swarm.engine.docker("secret", "create", "mqtt-password", "-", stdin=b"sesame")
    assert await swarm.call("GET", "/system/secrets") == (200, "[]")
    body = swarm.deployment("thief", secrets=["mqtt-password"])
    assert (await swarm.call("POST", "/system/functions", json=body))[0] == 400
    for name in ("mqtt-password", "mqtt-password.v1"):
        assert (await swarm.call("DELETE", "/system/secrets", json={"name": name}))[0] == 404
    # A name that Docker has already is no reason not to keep a secret of ours under it.
    swarm.engine.docker("secret", "create", "mqtt-password.v1", "-", stdin=b"other")
    assert (await swarm.call("POST", "/system/secrets", json={"name": "mqtt-password", "value": "mine"}))[0] == 201
    assert "mqtt-password.v2" in swarm.engine.docker("secret", "ls")


BAD_SECRETS = ({"name": "empty", "value": ""}, {"name": "large", "value": "x" * 600_000})


async def test_what_docker_keeps_in_no_secret_is_refused(swarm: SwarmBench) -> None:
    for body in BAD_SECRETS:
        status, text = await swarm.call("POST", "/system/secrets", json=body)
        assert (status, "Docker keeps" in text) == (400, True), body["name"]


async def test_functions_go_on_without_the_gateway_and_are_there_when_it_comes_back(swarm: SwarmBench) -> None:
    await swarm.deploy("echo", labels={"a": "b"})
    before = await swarm.status("echo")
    containers = swarm.containers("echo")
    await swarm.stop()
    assert swarm.containers("echo") == containers
    await swarm.start()
    assert await swarm.invoke("echo", b"x") == (200, "x")
    assert await swarm.status("echo") == before | {"invocationCount": 1}


async def test_a_stack_file_is_deployed_and_applied_again_only_where_it_has_changed(swarm: SwarmBench) -> None:
    await swarm.stop()
    file = swarm.folder / "stack.yml"

    def write(**images: str) -> None:
        functions = {name: {"image": image, "environment": {"handler_code": ECHO}} for name, image in images.items()}
        file.write_text(json.dumps({"version": 1.0, "provider": {"name": "openfaas"}, "functions": functions}))

    write(a=HANDLERS, b=HANDLERS, c="BAD")
    await swarm.start(functions=file)

    async def told() -> bool:
        return "c: " in (await swarm.call("GET", "/readyz"))[1]

    await until(told, "the one that cannot be deployed is told")
    for name in "ab":
        mine = {"service": name, "image": HANDLERS, "envVars": {"handler_code": ECHO, "MINE": "1"}}
        assert (await swarm.call("PUT", "/system/functions", json=mine))[0] == 202
        await swarm.call("POST", f"/system/scale-function/{name}", json={"replicas": 0})
    await swarm.stop()
    write(a=HANDLERS)
    await swarm.start()

    async def applied() -> bool:
        async with swarm.request("GET", "/system/functions") as answer:
            return [(each["name"], each["replicas"]) for each in await answer.json()] == [("a", 0)]

    await until(applied, "the other is removed, and what has not changed in the file is left alone")
    assert (await swarm.status("a"))["envVars"]["MINE"] == "1"


async def test_a_virtual_address_is_called_where_that_is_wanted(swarm: SwarmBench) -> None:
    """Without IPVS in this kernel nothing answers there; that it is chosen can be seen all the same."""
    await swarm.stop()
    await swarm.start(swarm=dataclasses.replace(swarm.settings.swarm, endpoint_mode="vip"))
    await swarm.deploy("echo")
    backend: Any = swarm.gateway.backend
    lease = await backend.acquire("echo")
    lease.release()
    endpoint = swarm.service("echo")["Endpoint"]
    assert endpoint["Spec"]["Mode"] == "vip"
    assert lease.host in {each["Addr"].partition("/")[0] for each in endpoint["VirtualIPs"]}


async def test_a_missing_network_is_made(swarm: SwarmBench) -> None:
    await swarm.stop()
    name = f"made-{os.getpid()}"
    await swarm.start(swarm=dataclasses.replace(swarm.settings.swarm, network=name))
    shape = "{{.Driver}} {{.Scope}} {{.Attachable}}"
    assert swarm.engine.docker("network", "inspect", "--format", shape, name) == "overlay swarm true"
    await swarm.stop()
    swarm.engine.docker("network", "rm", name)
