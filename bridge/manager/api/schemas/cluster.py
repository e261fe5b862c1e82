"""Schemas of what is said of cluster nodes and stacks."""

from __future__ import annotations

from typing import Any, Final

from bridge.manager.api.schemas.parts import COUNT, NAMES, TEXT, record, ref

SCHEMAS: Final[dict[str, Any]] = {
    "ClusterNode": record(
        {
            "id": TEXT,
            "name": TEXT,
            "role": {"enum": ["worker", "manager"]},
            "leader": {"type": "boolean"},
            "reachable": {"type": "boolean", "description": "Of a manager: whether the other managers reach it."},
            "state": TEXT,
            "availability": {"enum": ["active", "pause", "drain"]},
            "os": TEXT,
            "architecture": TEXT,
            "cpus": {"type": "number"},
            "memory_bytes": COUNT,
            "engine": TEXT,
            "address": TEXT,
            "labels": {"type": "object", "additionalProperties": TEXT},
            "tasks": {"type": "array", "items": TEXT, "description": "A service's name for each task of it that runs."},
            "message": TEXT,
        },
        description="A machine of the swarm.",
    ),
    "ClusterNodes": record(
        {"nodes": {"type": "array", "items": ref("ClusterNode")}, "warnings": NAMES},
        description="`warnings` say what would stop the cluster, and what to do about it.",
    ),
    "ClusterNodePatch": record(
        {},
        {"labels": {"type": "object", "additionalProperties": {"type": ["string", "null"]}}},
        additionalProperties=False,
        description="The labels to give; null takes one away.",
        example={"labels": {"disk": "ssd", "spare": None}},
    ),
    "JoinCommand": record({"role": {"enum": ["worker", "manager"]}, "command": TEXT}),
    "Stacks": record(
        {
            "stacks": {
                "type": "array",
                "items": record({"name": TEXT, "services": COUNT, "well": {"type": "boolean"}}),
            }
        }
    ),
    "Stack": record(
        {
            "name": TEXT,
            "well": {"type": "boolean", "description": "Whether as many tasks run as are wanted."},
            "services": {
                "type": "array",
                "items": record(
                    {
                        "name": TEXT,
                        "image": TEXT,
                        "mode": {"enum": ["replicated", "global"]},
                        "running": COUNT,
                        "wanted": COUNT,
                        "cluster_nodes": NAMES,
                        "update": TEXT,
                        "complaint": {"type": "string", "description": "Why not all of it runs; empty when it does."},
                    }
                ),
            },
        }
    ),
    "Deployment": record(
        {
            "stack": TEXT,
            "what": {"enum": ["deploy", "remove"]},
            "who": TEXT,
            "state": {"enum": ["running", "succeeded", "failed"]},
            "begun_at": TEXT,
            "ended_at": {"type": ["string", "null"]},
            "lines": {"type": "array", "items": record({"at": TEXT, "part": TEXT, "text": TEXT})},
            "errors": NAMES,
        },
        description="`lines` say what became of each part; `errors` why it failed.",
    ),
    "RolledBack": record({"services": {**NAMES, "description": "Those that go back."}}),
}
