"""What of the deployed stack has the engine's socket, and what the others get who ask there."""

from __future__ import annotations

import json
from typing import Final

from tests.system.stack.deployed import SERVICES, STACK, Deployed

_ABOUT: Final = """
import json, os
status = dict(line.split(":", 1) for line in open("/proc/self/status") if ":" in line)
print(json.dumps({"user": os.getuid(), "might": int(status["CapEff"], 16), "bounds": int(status["CapBnd"], 16)}))
"""
_ASK: Final = """
import http.client, socket, sys
connection = http.client.HTTPConnection("door")
connection.sock = socket.socket(socket.AF_UNIX)
connection.sock.connect("/run/engine-door/docker.sock")
connection.request(sys.argv[1], sys.argv[2], sys.argv[3] if len(sys.argv) > 3 else None)
answer = connection.getresponse()
print(answer.status, answer.read().decode())
"""


def assert_only_the_door_has_the_socket(deployed: Deployed) -> None:
    """Gateway and manager are nobody on their cluster node, and the door is root without any other might."""
    for service in ("gateway", "manager"):
        about = json.loads(deployed.inside(service, "python3", "-c", _ABOUT))
        assert about == {"user": 10001, "might": 0, "bounds": 0}, service
    about = json.loads(deployed.inside("engine-door", "python3", "-c", _ABOUT))
    assert about == {"user": 0, "might": 0, "bounds": 0}
    specs = {
        name: json.loads(deployed.docker("service", "inspect", f"{STACK}_{name}"))[0]["Spec"]["TaskTemplate"]
        for name in SERVICES
    }
    binds = {
        (name, mount["Source"])
        for name, task in specs.items()
        for mount in task["ContainerSpec"].get("Mounts") or ()
        if mount["Type"] == "bind"
    }
    assert binds == {("engine-door", "/var/run/docker.sock")}
    assert specs["engine-door"]["ContainerSpec"]["ReadOnly"] is True


def assert_the_door_refuses(deployed: Deployed) -> None:
    """What somebody would try who has got into the gateway or the manager."""
    broker = deployed.docker("service", "inspect", "--format", "{{.ID}}", f"{STACK}_broker")
    spy = {
        "Name": f"{STACK}_spy",
        "Labels": {"com.docker.stack.namespace": STACK},
        "TaskTemplate": {
            "ContainerSpec": {"Image": "x", "Mounts": [{"Type": "bind", "Source": "/", "Target": "/host"}]}
        },
    }
    for service, method, path, document, why in (
        ("gateway", "POST", "/containers/create", {"Image": "x"}, "ask for no POST /containers/create"),
        ("gateway", "GET", "/v1.44/nodes", None, "; the manager may"),
        ("gateway", "DELETE", f"/services/{broker}", None, f"{STACK}_broker is no function"),
        ("manager", "POST", "/services/create", spy, "the folder '/' of a cluster node is not allowed"),
        ("manager", "GET", "/swarm", None, "manager.join_tokens"),
    ):
        body = [] if document is None else [json.dumps(document)]
        answer = deployed.inside(service, "python3", "-c", _ASK, method, path, *body)
        assert answer.startswith("403 "), answer
        assert why in answer


def assert_the_manager_knows_the_swarm(deployed: Deployed) -> None:
    """Its API tells of cluster nodes and of the stack that it is a part of, which needs the engine."""
    nodes = deployed.manager("/cluster/nodes")["nodes"]
    assert "pi-1" in [node["name"] for node in nodes]
    assert f"{STACK}_engine-door" in next(node["tasks"] for node in nodes if node["name"] == "pi-1")
    assert STACK in [stack["name"] for stack in deployed.manager("/stacks")["stacks"]]
    deployed.eventually(lambda: deployed.manager(f"/stacks/{STACK}")["well"], "the manager finds the stack well")
    # Grafana is one, too, and stands still.
    assert set(SERVICES) <= {service["name"] for service in deployed.manager(f"/stacks/{STACK}")["services"]}
