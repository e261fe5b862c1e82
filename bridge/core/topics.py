"""Every MQTT topic of gpio-bridge, built and parsed; and MQTT's own matching of topic filters.

Source: MQTT 5.0, section 4.7 (topic names and filters); the same rules as MQTT 3.1.1.
What may not live here: payloads.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, TypeAlias

from bridge.errors import TopicError

VERSION: Final = "v1"
DEFAULT_ROOT: Final = "gpio-bridge"
DEFAULT_SITE: Final = "home"
MAX_BYTES: Final = 65_535

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")


@dataclass(frozen=True, slots=True)
class NodeTopic:
    """`<base>/nodes/<node>/<leaf>`; leaf is status, info, confirm or config."""

    text: str
    site: str
    node: str
    leaf: str


@dataclass(frozen=True, slots=True)
class SensorEventTopic:
    """`<base>/nodes/<node>/sensors/<sensor>/event`: one event, never retained."""

    text: str
    site: str
    node: str
    sensor: str


@dataclass(frozen=True, slots=True)
class SensorStateTopic:
    """`<base>/nodes/<node>/sensors/<sensor>/state`, retained."""

    text: str
    site: str
    node: str
    sensor: str


@dataclass(frozen=True, slots=True)
class OutputTopic:
    """`<base>/nodes/<node>/outputs/<output>/<leaf>`; leaf is set or state."""

    text: str
    site: str
    node: str
    output: str
    leaf: str


@dataclass(frozen=True, slots=True)
class MappingsTopic:
    """`<base>/config/mappings`, retained: the active mapping set."""

    text: str
    site: str


@dataclass(frozen=True, slots=True)
class DispatcherTopic:
    """`<base>/dispatchers/<id>/<leaf>`; leaf is status or marker."""

    text: str
    site: str
    dispatcher: str
    leaf: str


Topic: TypeAlias = NodeTopic | SensorEventTopic | SensorStateTopic | OutputTopic | MappingsTopic | DispatcherTopic


@dataclass(frozen=True, slots=True)
class Topics:
    """Builds and parses the topics under one root."""

    root: str = DEFAULT_ROOT

    def __post_init__(self) -> None:
        check_topic(self.root)

    def base(self, site: str) -> str:
        """What every topic of a site starts with, without a slash at its end."""
        return f"{self.root}/{VERSION}/{site}"

    def status(self, site: str, node: str) -> str:
        return f"{self.base(site)}/nodes/{node}/status"

    def info(self, site: str, node: str) -> str:
        return f"{self.base(site)}/nodes/{node}/info"

    def confirm(self, site: str, node: str) -> str:
        return f"{self.base(site)}/nodes/{node}/confirm"

    def event(self, site: str, node: str, sensor: str) -> str:
        return f"{self.base(site)}/nodes/{node}/sensors/{sensor}/event"

    def state(self, site: str, node: str, sensor: str) -> str:
        return f"{self.base(site)}/nodes/{node}/sensors/{sensor}/state"

    def output_set(self, site: str, node: str, output: str) -> str:
        return f"{self.base(site)}/nodes/{node}/outputs/{output}/set"

    def output_state(self, site: str, node: str, output: str) -> str:
        return f"{self.base(site)}/nodes/{node}/outputs/{output}/state"

    def mappings(self, site: str) -> str:
        return f"{self.base(site)}/config/mappings"

    def dispatcher(self, site: str, dispatcher: str, leaf: str) -> str:
        return f"{self.base(site)}/dispatchers/{dispatcher}/{leaf}"

    def parse(self, topic: str) -> Topic | None:
        """Which of our topics this is, or None when it is not one of ours."""
        prefix = f"{self.root}/{VERSION}/"
        if not topic.startswith(prefix):
            return None
        site, *rest = topic[len(prefix) :].split("/")
        names = _names(rest)
        if not _NAME.fullmatch(site) or names is None:
            return None
        match rest:
            case ["nodes", node, "sensors", sensor, "event"]:
                return SensorEventTopic(topic, site, node, sensor)
            case ["nodes", node, "sensors", sensor, "state"]:
                return SensorStateTopic(topic, site, node, sensor)
            case ["nodes", node, "outputs", output, ("set" | "state") as leaf]:
                return OutputTopic(topic, site, node, output, leaf)
            case ["nodes", node, ("status" | "info" | "confirm" | "config") as leaf]:
                return NodeTopic(topic, site, node, leaf)
            case ["config", "mappings"]:
                return MappingsTopic(topic, site)
            case ["dispatchers", dispatcher, ("status" | "marker") as leaf]:
                return DispatcherTopic(topic, site, dispatcher, leaf)
            case _:
                return None


def client_id(site: str, program: str, node: str | None = None) -> str:
    """The fixed MQTT client id of a program, e.g. `gpio-bridge-home-agent-pi-1`."""
    return "-".join(part for part in ("gpio-bridge", site, program, node) if part)


@lru_cache(maxsize=1024)  # programs publish on the same topics again and again
def check_topic(topic: str) -> None:
    """Raise TopicError unless `topic` may be published to."""
    _check(topic, "topic")
    if "+" in topic or "#" in topic:
        raise TopicError(f"the topic {topic!r} holds a wildcard")


def check_filter(topic_filter: str) -> None:
    """Raise TopicError unless `topic_filter` may be subscribed to (MQTT 5.0, 4.7.1)."""
    _check(topic_filter, "topic filter")
    levels = topic_filter.split("/")
    for i, level in enumerate(levels):
        if "#" in level and (level != "#" or i != len(levels) - 1):
            raise TopicError(f"in the topic filter {topic_filter!r}, # must stand alone as the last level")
        if "+" in level and level != "+":
            raise TopicError(f"in the topic filter {topic_filter!r}, + must stand alone in its level")


def matches(topic_filter: str, topic: str) -> bool:
    """Whether a valid filter matches a valid topic. `$SYS/...` is not matched by a leading wildcard (4.7.2)."""
    if topic_filter == topic:
        return True
    if topic.startswith("$") and topic_filter[0] in "+#":
        return False
    wanted, levels = topic_filter.split("/"), topic.split("/")
    for i, level in enumerate(wanted):
        if level == "#":
            return True
        if i >= len(levels) or level not in ("+", levels[i]):
            return False
    return len(wanted) == len(levels)


def overlap(one: str, other: str) -> bool:
    """Whether some topic is matched by both filters."""
    for a, b in ((one, other), (other, one)):
        if a.startswith("$") and b[0] in "+#":
            return False
    levels, others = one.split("/"), other.split("/")
    for a, b in zip(levels, others, strict=False):
        if "#" in (a, b):
            return True
        if a != b and "+" not in (a, b):
            return False
    shorter, longer = sorted((levels, others), key=len)
    return len(longer) == len(shorter) or longer[len(shorter) :] == ["#"]


def cover(filters: Iterable[str]) -> tuple[str, ...]:
    """A cover of the filters in which no two match the same topic (PROTOCOL.md, rule 6).

    In MQTT 5 a broker may send a message once for every subscription that matches it (3.3.4), and a message without an
    identity of its own would then count twice. What one filter covers is left out; two that overlap otherwise
    (`a/+` and `+/b`) are replaced by the narrowest that covers both (`+/+`): what it matches beyond them is judged
    and selected by nothing.
    """
    kept: list[str] = []
    for wanted in filters:
        candidate = wanted
        while met := next((other for other in kept if overlap(other, candidate)), None):
            kept.remove(met)
            candidate = _join(met, candidate)
        kept.append(candidate)
    return tuple(kept)


def _join(one: str, other: str) -> str:
    """The narrowest filter that covers both."""
    joined: list[str] = []
    levels, others = one.split("/"), other.split("/")
    for a, b in zip(levels, others, strict=False):
        if "#" in (a, b):
            return "/".join((*joined, "#"))
        joined.append(a if a == b else "+")
    return "/".join(joined if len(levels) == len(others) else (*joined, "#"))


def _check(text: str, what: str) -> None:
    if not text:
        raise TopicError(f"the {what} is empty")
    if "\0" in text:
        raise TopicError(f"the {what} {text!r} holds a null character")
    try:
        size_bytes = len(text.encode())
    except UnicodeEncodeError as error:  # half of a surrogate pair
        raise TopicError(f"the {what} {text!r} is no Unicode text") from error
    if size_bytes > MAX_BYTES:
        raise TopicError(f"the {what} is longer than {MAX_BYTES} bytes")


def _names(parts: list[str]) -> list[str] | None:
    """The names among the levels after the site, or None when one of them is no valid name."""
    names = parts[1::2]
    return names if all(_NAME.fullmatch(name) for name in names) else None
