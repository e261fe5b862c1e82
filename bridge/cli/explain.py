"""`gpio-bridge explain`: what every mapping says to an event, and why, without anything being invoked."""

from __future__ import annotations

import json
import sys
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer


def explain(
    event: Annotated[
        Path | None, typer.Argument(help="A file with an event as JSON, or `-` for standard input.", allow_dash=True)
    ] = None,
    sensor: Annotated[str | None, typer.Option(help="Instead of a file: the sensor.")] = None,
    name: Annotated[str | None, typer.Option("--event", help="... and what it says, such as motion.detected.")] = None,
    value: Annotated[str, typer.Option(help="... with this value, as JSON.")] = "true",
    node: Annotated[str | None, typer.Option(help="... on this node; without it, the one of the running `up`.")] = None,
    kind: Annotated[str | None, typer.Option(help="... of this kind; without it, as the event's name tells.")] = None,
    site: Annotated[str, typer.Option(help="... of this site.")] = "home",
    at: Annotated[
        datetime | None,
        typer.Option(
            metavar="time",
            help="... at this local time, 23:30 or 2026-11-22T23:30, to try hours and conditions.",
            formats=["%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M", "%H:%M"],
        ),
    ] = None,
    mappings: Annotated[
        Path | None, typer.Option(help="Ask this mapping file, and not the running dispatcher.", dir_okay=False)
    ] = None,
    url: Annotated[str | None, typer.Option(help="The dispatcher; without it, that of the running `up`.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the judgements as JSON.")] = False,
) -> None:
    """Say of every mapping whether an event would fire it, and if not, which clause says no.

    `gpio-bridge explain --sensor front-door --event motion.detected --at 23:30`
    """
    if (event is None) == (sensor is None):
        raise typer.BadParameter("give a file with an event, or --sensor and --event")
    if sensor is not None:
        if name is None:
            raise typer.BadParameter("--sensor needs --event, such as --event motion.detected")
        payload = _made(sensor, name, value, node, kind, site, at)
    else:
        assert event is not None
        payload = _given(event)
    judgements = _offline(payload, mappings) if mappings is not None else _asked(payload, url)
    if as_json:
        print(json.dumps(judgements, indent=1))
        return
    if not judgements:
        print("there are no mappings")
    for judgement in judgements:
        print(f"{judgement['result']:<8}  {judgement['text']}")


def _given(file: Path) -> bytes:
    if str(file) == "-":
        return sys.stdin.buffer.read()
    try:
        return file.read_bytes()
    except OSError as error:
        raise typer.BadParameter(f"{file} cannot be read: {error.strerror}") from error


def _made(
    sensor: str, name: str, value: str, node: str | None, kind: str | None, site: str, at: datetime | None
) -> bytes:
    """The event a sensor would send, as its agent would write it."""
    from datetime import UTC

    from bridge.core.event import Observation, encode
    from bridge.core.event_names import kind_of
    from bridge.core.topics import SensorEventTopic, Topics

    node = node or _node_of(sensor) or "pi-1"
    topics = Topics()
    where = topics.parse(topics.event(site, node, sensor))
    if not isinstance(where, SensorEventTopic):
        raise typer.BadParameter("names of sites, nodes and sensors are a-z, 0-9 and - (not first)")
    try:
        content = json.loads(value)
    except ValueError:
        content = value
    if isinstance(content, dict | list):
        raise typer.BadParameter("--value is a number, text, true, false or null")
    seen = Observation(
        kind=kind or kind_of(name),
        name=name,
        value=content,
        unit=None,
        initial=False,
        time=_moment(at).astimezone(UTC),
        timesynced=True,
    )
    return encode(seen, at=where, id="explained", epoch="explained", sequence=1)


def _moment(at: datetime | None) -> datetime:
    """The time meant: `23:30` is today's."""
    now = datetime.now().astimezone()
    if at is None:
        return now
    if at.year == 1900:  # what strptime fills in where only a time was given
        at = datetime.combine(now.date(), at.time())
    return at.astimezone()


def _node_of(sensor: str) -> str | None:
    """The node of the running `up` that has such a sensor."""
    from bridge.cli import whereabouts
    from bridge.cli.client import ask

    here = whereabouts.find()
    if here is None:
        return None
    answer = ask("GET", f"{here.control}/v1/nodes", program="virtual Pi")
    found = (node["name"] for node in answer.json()["nodes"] for known in node["sensors"] if known["name"] == sensor)
    return next(found, None)


def _asked(payload: bytes, url: str | None) -> list[dict[str, Any]]:
    from bridge.cli.client import ask, dispatcher_url, granted

    answer = ask(
        "POST",
        f"{dispatcher_url(url)}/v1/explain",
        program="dispatcher",
        content=payload,
        headers={"Content-Type": "application/json"},
    )
    judgements: list[dict[str, Any]] = granted(answer, "explaining the event").json()["judgements"]
    return judgements


def _offline(payload: bytes, file: Path) -> list[dict[str, Any]]:
    """What the mappings of a file say, as if nothing had happened before."""
    from datetime import UTC

    from bridge.core.judgement import told
    from bridge.core.mapping_state import MappingState
    from bridge.core.plan import explain as judge
    from bridge.core.sample import read_event
    from bridge.core.topics import Topics
    from bridge.mapping_file import load_mappings
    from bridge.mapping_file.timezone import local_timezone

    loaded = load_mappings(file, local_timezone=local_timezone())
    now = datetime.now(UTC)
    seen = read_event(payload, Topics(), now)
    return [told(judgement) for judgement in judge(seen, loaded, MappingState(), received_at=now)]
