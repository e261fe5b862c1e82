"""Schemas of what is said of functions and their secrets."""

from __future__ import annotations

from typing import Any, Final

from bridge.manager.api.schemas.parts import COUNT, NAMES, TEXT, TEXTS, record, ref

SCHEMAS: Final[dict[str, Any]] = {
    "Function": record(
        {
            "name": TEXT,
            "image": TEXT,
            "replicas": COUNT,
            "available": COUNT,
            "invocations": COUNT,
            "created_at": TEXT,
            "labels": {"type": "object"},
            "annotations": {"type": "object"},
            "problem": TEXT,
        },
        description="A function as the gateway knows it; `replicas` are wanted, `available` can be called.",
    ),
    "Functions": record({"functions": {"type": "array", "items": ref("Function")}}),
    "FunctionDeployment": {
        "type": "object",
        "properties": {
            "service": {"type": "string", "description": "The function's name, as in the path."},
            "image": TEXT,
            "envProcess": TEXT,
            "envVars": TEXTS,
            "labels": TEXTS,
            "annotations": TEXTS,
            "secrets": NAMES,
            "constraints": NAMES,
            "readOnlyRootFilesystem": {"type": "boolean"},
        },
        "description": "As OpenFaaS' gateway takes it; other keys of its are passed over.",
        "example": {"image": "registry.local:5000/intruder-alert:1", "envVars": {"LEVEL": "high"}},
    },
    "DeployedFunction": record({"name": TEXT, "outcome": {"enum": ["deployed", "updated"]}}),
    "DeployedFunctions": record({"functions": {"type": "array", "items": ref("DeployedFunction")}}),
    "Secrets": record({"secrets": NAMES}, description="Their names; values are never shown."),
    "Secret": record({"name": TEXT}),
    "SecretValue": {
        "oneOf": [
            record({"value": {"type": "string", "minLength": 1}}, additionalProperties=False),
            record(
                {"value_base64": {"type": "string", "minLength": 1, "contentEncoding": "base64"}},
                additionalProperties=False,
            ),
        ],
        "example": {"value": "s3cret"},
    },
    "Scale": record(
        {"replicas": {"type": "integer", "minimum": 0, "maximum": 10_000}},
        additionalProperties=False,
        example={"replicas": 2},
    ),
    "Invoked": record(
        {"status": {"type": "integer"}, "content_type": TEXT, "duration_s": {"type": "number"}},
        {"body": TEXT, "body_base64": TEXT},
        description="What the function answered; `body_base64` where that is no text.",
    ),
}
