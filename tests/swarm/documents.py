"""Documents as an engine sends them, cut down to what is read."""

from __future__ import annotations

from typing import Any

NETWORK = "net1"


def service(name: str = "echo", **parts: Any) -> dict[str, Any]:
    """A replicated service; `labels`, `container`, `task`, `replicas`, and any key of the document itself."""
    container = {"Image": "example/echo:1", **parts.pop("container", {})}
    task = {"ContainerSpec": container, **parts.pop("task", {})}
    return {
        "ID": f"id-{name}",
        "Version": {"Index": 12},
        "CreatedAt": "2026-11-27T05:00:00.123456789Z",
        "UpdatedAt": "2026-11-27T05:00:01.5Z",
        "Spec": {
            "Name": name,
            "Labels": parts.pop("labels", {}),
            "TaskTemplate": task,
            "Mode": parts.pop("mode", {"Replicated": {"Replicas": parts.pop("replicas", 1)}}),
            "EndpointSpec": {"Mode": "dnsrr"},
        },
        **parts,
    }


def task(number: int = 1, **parts: Any) -> dict[str, Any]:
    """A task of the service echo that runs; later numbers are younger. `state`, `err`, and keys of the document."""
    status = {
        "Timestamp": f"2026-11-27T05:01:{number:02}.5Z",
        "State": parts.pop("state", "running"),
        "Message": "started",
        "ContainerStatus": {"ContainerID": f"c{number}", "PID": 10, "ExitCode": parts.pop("exit_code", 0)},
    }
    if "err" in parts:
        status["Err"] = parts.pop("err")
    return {
        "ID": f"task{number}",
        "CreatedAt": f"2026-11-27T05:01:{number:02}Z",
        "ServiceID": "id-echo",
        "Slot": 1,
        "NodeID": "node1",
        "Status": status,
        "DesiredState": "running",
        "NetworksAttachments": [
            {"Network": {"ID": "ingress", "Spec": {"Name": "ingress"}}, "Addresses": ["10.0.0.3/24"]},
            {"Network": {"ID": NETWORK, "Spec": {"Name": "functions"}}, "Addresses": [f"10.0.1.{number}/24"]},
        ],
        **parts,
    }
