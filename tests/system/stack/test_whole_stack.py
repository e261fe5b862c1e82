"""From a new swarm to an event of a Pi that invokes a function there: one command, and what comes after."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from tests.lab import function_images
from tests.ports import free_port
from tests.system.processes import Program, ask
from tests.system.stack.deployed import SERVICES, STACK, VOLUMES, Deployed
from tests.system.stack.engine_door import (
    assert_only_the_door_has_the_socket,
    assert_the_door_refuses,
    assert_the_manager_knows_the_swarm,
)

pytestmark = [
    pytest.mark.real(
        "docker", "docker-registry", "debootstrap", "mosquitto", "mosquitto-clients", "prometheus",
        "prometheus-alertmanager",
    ),
    pytest.mark.timeout(400, func_only=True),  # to come up, a lab and a stack have deadlines of their own
]  # fmt: skip

JOBS = ("gateway", "dispatcher", "manager", "engine-door")
SEEN = """
import pathlib
calls = []
def handle(event, context):
    if event.method == "POST":
        calls.append(event.body.decode())
    return "\\n".join(calls)
"""
MAPPINGS = """\
version: 1
mappings:
  gate-seen:
    select: {sensor: gate, event: digital.on}
    invoke: seen
"""


def test_one_command_brings_up_everything_and_an_event_invokes_a_function(deployed: Deployed, tmp_path: Path) -> None:
    told = deployed.first
    print(f"deployed in {deployed.first_s:.1f} s")
    assert {f"{service}: 1/1" for service in SERVICES} <= set(told), told
    assert told[-1] == f"{STACK}: all of it runs"
    assert "pi-1: gets the label gpio-bridge.data=true: it holds the data from now on" in told
    deployed.deploy()  # it takes away what other tests' deployments could have gone back to
    before = deployed.tasks()

    again = deployed.deploy()
    assert {f"{service}: service unchanged" for service in SERVICES} <= set(again), again
    assert not [line for line in again if "written" in line or "made" in line or "removed" in line]
    assert deployed.tasks() == before

    # A config that is changed is rolled out, to the one service that has it.
    settings = deployed.stack / "dispatcher.yaml"
    settings.write_text(settings.read_text(encoding="utf-8") + "traces: {max_size: 8MiB}\n", encoding="utf-8")
    changed = deployed.deploy()
    assert [line for line in changed if "service updated" in line] == ["dispatcher: service updated"], changed
    after = deployed.tasks()
    assert {name for name in SERVICES if after[name] != before[name]} == {"dispatcher"}

    deployed.apply(MAPPINGS)
    lab = deployed.lab
    image = function_images.build_handler(lab, function_images.build_runtime(lab), "seen:1", SEEN)
    labels = {"com.openfaas.scale.max": "3", "com.openfaas.scale.factor": "50"}
    seen = {"service": "seen", "image": image, "labels": labels}
    assert deployed.gateway("POST", "/system/functions", seen)[0] == 202
    agent = agent_of(deployed, tmp_path)
    try:
        agent.start()
        agent.ready()
        simulate(agent, 1)
        deployed.eventually(lambda: b"digital.on" in deployed.gateway("GET", "/function/seen")[1], "it is invoked")
    finally:
        agent.kill()
    assert deployed.gateway("GET", "/function/seen")[1].count(b'"subject":"gate"') == 1
    deployed.eventually(lambda: deployed.targets() == dict.fromkeys(JOBS, "up"), "all are scraped")
    assert_only_the_door_has_the_socket(deployed)
    assert_the_door_refuses(deployed)
    assert_the_manager_knows_the_swarm(deployed)
    # The manager shows both.
    (node,) = deployed.manager("/nodes")["nodes"]
    assert node["name"] == "pi-1"
    # Prometheus is not given an address that means another machine to it.
    assert "loopback" in node["metrics"]["problem"]
    assert [function["name"] for function in deployed.manager("/functions")["functions"]] == ["seen"]
    # Prometheus counts the calls, Alertmanager tells the gateway, which has Swarm start more replicas; and then fewer.
    began_s = time.monotonic()
    deployed.eventually(lambda: busy(deployed) and replicas(deployed) == 3, "the alert scales it up", 120)
    print(f"scaled up after {time.monotonic() - began_s:.1f} s")
    began_s = time.monotonic()
    deployed.eventually(lambda: replicas(deployed) == 1, "it is scaled down when the alert is over", 120)
    print(f"scaled down after {time.monotonic() - began_s:.1f} s")

    removed = deployed.remove()
    assert "seen: function removed" in removed
    nothing: dict[str, list[str]] = {"service": [], "secret": [], "config": [], "network": []}
    assert deployed.left() == {**nothing, "volume": VOLUMES}
    assert {f"{name}: volume stays, with the data in it" for name in VOLUMES} <= set(removed)
    removed = deployed.remove("--volumes")
    assert {f"{name}: volume removed, with the data in it" for name in VOLUMES} <= set(removed)
    assert deployed.left() == {**nothing, "volume": []}
    for cluster_node in deployed.lab.nodes[1:]:
        assert cluster_node.docker("volume", "ls", "--quiet") == "", cluster_node.name


def busy(deployed: Deployed) -> bool:
    """More calls than the alert lets pass, if this is asked several times a second."""
    return all(deployed.gateway("GET", "/function/seen")[0] == 200 for _ in range(10))


def replicas(deployed: Deployed) -> int:
    status, body = deployed.gateway("GET", "/system/function/seen")
    assert status == 200, body
    return int(json.loads(body)["replicas"])


def agent_of(deployed: Deployed, folder: Path) -> Program:
    """An agent outside of the swarm, with virtual pins and the password that was made for it."""
    mqtt = {
        "host": deployed.lab.manager.address,
        "username": "pi-1",
        "password_file": str(deployed.secret("pi-1-password")),
    }
    port, control = free_port(), free_port()
    settings = {
        "node": "pi-1",
        "mqtt": mqtt,
        "pins": {"factory": "mock"},
        "sensors": {"gate": {"kind": "digital", "pin": 17}},
        "http": {"port": port},
    }
    agent = Program(folder, "agent", settings, port)
    agent.arguments = ("--control-port", str(control))
    return agent


def simulate(agent: Program, value: int) -> None:
    status, answer = ask(int(agent.arguments[1]), "/v1/simulate", {"sensor": "gate", "value": value})
    assert status == 200, answer
