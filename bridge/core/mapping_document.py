"""The canonical form of a mapping set: one JSON document, which is a mapping file too, equal for equal mappings.

What may not live here: reading it (bridge/mapping_file).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from bridge.core.hours import DAYS, clock
from bridge.core.selector import FIELDS, Selector, TopicSelector

if TYPE_CHECKING:
    from bridge.core.mapping import Mapping, MappingSet


def render(mappings: MappingSet) -> bytes:
    """Canonical JSON: reading it as a mapping file gives an equal set; comments and defaults leave no trace."""
    document: dict[str, Any] = {"version": 1}
    if mappings.allow_empty:
        document["allow_empty"] = True
    document["mappings"] = {name: mapping_document(mapping) for name, mapping in mappings.mappings.items()}
    return orjson.dumps(document)


def mapping_document(mapping: Mapping) -> dict[str, Any]:
    """One mapping as it could stand in the file, every key written out unless it is not given."""
    payload = mapping.payload if isinstance(mapping.payload, str) else {"template": mapping.payload.text}
    document: dict[str, Any] = {
        "select": [_selector(selector) for selector in mapping.selectors],
        "when": mapping.when.text if mapping.when else None,
        "hours": {
            "from": clock(mapping.hours.start_min),
            "to": clock(mapping.hours.end_min),
            "days": [DAYS[day] for day in sorted(mapping.hours.days)],
            "timezone": str(mapping.hours.zone),
        }
        if mapping.hours
        else None,
        "for": _seconds(mapping.for_s),
        "until": [_selector(selector) for selector in mapping.until] or None,
        "on_fault": mapping.on_fault if mapping.for_s is not None else None,
        "cooldown": {
            "time": _seconds(mapping.cooldown.time_s),
            "per": mapping.cooldown.per,
            "from": mapping.cooldown.start,
        }
        if mapping.cooldown
        else None,
        "invoke": {
            "function": mapping.function,
            "mode": mapping.mode,
            "payload": payload,
            "timeout": _seconds(mapping.timeout_s),
            "headers": dict(mapping.headers),
        },
        "retry": {
            "attempts": mapping.retry.attempts,
            "first": _seconds(mapping.retry.first_s),
            "max": _seconds(mapping.retry.max_s),
            "total": _seconds(mapping.retry.total_s),
        },
        "on_failure": mapping.on_failure,
        "max_age": _seconds(mapping.max_age_s),
        "backlog": mapping.backlog,
        "order": mapping.order,
        "initial": mapping.initial,
        "shadow": mapping.shadow,
        "enabled": mapping.enabled,
    }
    return {key: value for key, value in document.items() if value is not None}


def _selector(selector: Selector) -> dict[str, str]:
    if isinstance(selector, TopicSelector):
        return {"topic": selector.topic}
    return {name: getattr(selector, name) for name in FIELDS if getattr(selector, name) != "*"} or {"sensor": "*"}


def _seconds(value_s: float | None) -> str | None:
    """A duration to the microsecond without an exponent, as the file wants it."""
    return None if value_s is None else f"{value_s:.6f}".rstrip("0").rstrip(".") + "s"
