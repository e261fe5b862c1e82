"""The `topic` annotation of functions, as the OpenFaaS connectors read it, made into mappings.

`topic: alarms/+,gpio-bridge/v1/home/nodes/pi-1/sensors/door/event` on a function invokes it with what is published
there: a message of another device with its payload, an event of our own sensors as the CloudEvent that it is. Such
mappings stand in no file; the rest of the set is put together with them by in_force.py.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping as Map
from collections.abc import Sequence
from typing import Final

from bridge.config import NAME
from bridge.core.conditions import compile_template
from bridge.core.mapping import Mapping
from bridge.core.selector import Selector, SensorSelector, TopicSelector
from bridge.core.topics import Topics, check_filter
from bridge.errors import TopicError
from bridge.mapping_file.examples import FUNCTION

ANNOTATION: Final = "topic"
"""Its name with the connectors."""
MAX_TOPICS: Final = 100
"""So many filters in one annotation."""
_PAYLOAD: Final = "${payload}"
_SHORT: Final = re.compile(r"[a-z0-9-]{1,40}")


def annotated_mappings(function: str, annotation: str, root: str) -> tuple[Mapping, ...]:
    """The mappings that a function's annotation means: topic filters, with commas between them.

    One mapping for our own sensors' events and one for messages of other devices, as far as the filters reach; `root`
    is what our own topics start with. Raises TopicError for what is no topic filter, or reaches neither.
    """
    if not re.fullmatch(FUNCTION.regex, function):
        raise TopicError(f"{function!r} cannot be invoked by a mapping: it is not {FUNCTION.text}")
    filters = list(dict.fromkeys(one.strip() for one in annotation.split(",")))
    if len(filters) > MAX_TOPICS:
        raise TopicError(f"names {len(filters)} topics; the limit is {MAX_TOPICS}")
    sensors: list[Selector] = []
    foreign: list[Selector] = []
    for one in filters:
        check_filter(one)
        ours = _sensors(one, root)
        theirs = one != root and not one.startswith(f"{root}/")
        if ours is None and not theirs:
            raise TopicError(
                f"{one!r} is one of gpio-bridge's own topics, but not that of a sensor's events, which is"
                f" {Topics(root).event('SITE', 'NODE', 'SENSOR')}"
            )
        if ours is not None:
            sensors.append(ours)
        if theirs:
            foreign.append(TopicSelector(topic=one))
    name = _name(function)
    found = []
    if sensors:
        found.append(Mapping(name=f"events-of-{name}", selectors=tuple(sensors), function=function))
    if foreign:
        payload = compile_template(_PAYLOAD)
        found.append(Mapping(name=f"topics-of-{name}", selectors=tuple(foreign), function=function, payload=payload))
    return tuple(found)


def carried_topics(functions: Sequence[Map[str, object]]) -> dict[str, str]:
    """Which functions carry the annotation, of what a gateway lists (`GET /system/functions`)."""
    found: dict[str, str] = {}
    for function in functions:
        name, carried = function.get("name"), function.get("annotations")
        text = carried.get(ANNOTATION) if isinstance(carried, dict) else None
        if isinstance(name, str) and isinstance(text, str):
            found[name] = text
    return dict(sorted(found.items()))


def _sensors(topic_filter: str, root: str) -> SensorSelector | None:
    """Which of our sensors' events are published where the filter reaches; None for none."""
    # The names of places cannot hold what marks them here.
    template = Topics(root).event("<site", "<node", "<sensor").split("/")
    levels = topic_filter.split("/")
    if levels[-1] == "#":
        levels = [*levels[:-1], *["+"] * (len(template) - len(levels) + 1)]
    fields: dict[str, str] = {}
    if len(levels) != len(template):
        return None
    for level, part in zip(levels, template, strict=True):
        if part.startswith("<") and (level == "+" or re.fullmatch(NAME.regex, level)):
            fields[part[1:]] = "*" if level == "+" else level
        elif level not in ("+", part):
            return None
    return SensorSelector(**fields)


def _name(function: str) -> str:
    """What the mappings' names end with: the function's name, or where no mapping can have it, one made of it."""
    if _SHORT.fullmatch(function):
        return function
    short = re.sub(r"[^a-z0-9-]+", "-", function.lower())[:30]
    return f"{short}-{hashlib.sha256(function.encode()).hexdigest()[:8]}"
