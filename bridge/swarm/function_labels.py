"""Which Swarm services are functions: those that carry one of OpenFaaS' labels, or whose containers do. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from bridge.swarm.services import container_of

FUNCTION_LABEL: Final = "com.openfaas.function"
"""On our services, and on those made by hand; `faas_function` and, with the service's name, `function: true` do too."""
NAMING_LABELS: Final = (FUNCTION_LABEL, "faas_function")
MARK: Final = "function"


def claimed_name(spec: Mapping[str, Any]) -> str | None:
    """What function a service's document says that it is, whether or not a function may be called so; else None."""
    for labels in (spec.get("Labels") or {}, container_of(spec).get("Labels") or {}):
        for label in NAMING_LABELS:
            if label in labels:
                return str(labels[label])
        if str(labels.get(MARK, "")).lower() in ("1", "true"):
            return str(spec.get("Name") or "")
    return None
