"""`/api/v1/mappings/dry-run`: what mappings would say to an event; nothing is invoked, saved or remembered."""

from __future__ import annotations

import asyncio
import base64
import binascii
from datetime import datetime
from typing import Any, Final
from urllib.parse import quote

import orjson
from fastapi import APIRouter, Request, Response

from bridge.clock import Clock
from bridge.core.event import Event, Observation, encode
from bridge.core.event_names import kind_of
from bridge.core.judgement import told
from bridge.core.mapping import MappingSet
from bridge.core.mapping_state import MappingState
from bridge.core.plan import explain
from bridge.core.sample import read_event
from bridge.core.topics import SensorEventTopic, Topics
from bridge.errors import ConfigError, EventError, TopicError
from bridge.manager.access.roles import Role
from bridge.manager.api import ROOT, places
from bridge.manager.api.bodies import read_object
from bridge.manager.api.caller import Desk
from bridge.manager.api.entity import answer
from bridge.manager.api.mappings import Shelf
from bridge.manager.api.schemas import BODY, EVERYWHERE, gives, takes
from bridge.manager.dispatcher import DispatcherApi
from bridge.manager.mappings.edit import NotEdited
from bridge.manager.mappings.in_force import InForce
from bridge.manager.mappings.store import with_entries
from bridge.manager.problems import Place, Refusal
from bridge.manager.settings import ManagerSettings

_WAYS: Final = ("event", "topic", "recorded", "event_id")


def routes(
    shelf: Shelf, in_force: InForce, settings: ManagerSettings, dispatcher: DispatcherApi, clock: Clock, desk: Desk
) -> APIRouter:
    """The path of this file."""
    router = APIRouter(prefix=f"{ROOT}/mappings", tags=["mapping file"])
    topics = Topics(settings.root)

    @router.post(
        "/dry-run",
        dependencies=[desk.of(Role.VIEWER)],
        summary="What the mappings would say to an event, as if nothing had happened before.",
        responses=gives("Judgements", *EVERYWHERE, *BODY, 404, 409, 502, 503),
        openapi_extra=takes(("application/json", "DryRun")),
    )
    async def dry_run(request: Request) -> Response:
        body = await read_object(request)
        unknown = body.keys() - {*_WAYS, "payload", "mapping"}
        ways = [way for way in _WAYS if way in body]
        if len(ways) != 1 or unknown:
            known = "give an event in one way: `event`, `topic` and `payload`, `recorded`, or `event_id`"
            errors = [Place("is not known here", pointer=f"/{key}") for key in sorted(unknown)]
            raise Refusal(422, known, errors=errors)
        given = body.get("mapping")
        mappings = in_force.mappings if given is None else await _sent(shelf, given)
        now = clock.now()
        try:
            event = await _event(body, ways[0], topics, settings.site, dispatcher, now)
        except (EventError, TopicError) as error:
            raise Refusal(422, str(error), errors=[Place(str(error), pointer=f"/{ways[0]}")]) from error
        judged = await asyncio.to_thread(explain, event, mappings, MappingState(), received_at=now)
        return answer(
            {"event_id": event.id, "version": mappings.version, "judgements": [told(judgement) for judgement in judged]}
        )

    return router


async def _sent(shelf: Shelf, given: object) -> MappingSet:
    """The one mapping that was sent, which is not saved."""
    loaded = shelf.store.loaded
    if not isinstance(given, dict) or not isinstance(given.get("name"), str):
        raise Refusal(422, "mapping: must be a mapping with its name", errors=[Place("needs a name", "/mapping/name")])
    name = given["name"]
    entry = {key: value for key, value in given.items() if key != "name"}
    try:
        text = await asyncio.to_thread(with_entries, loaded, {name: entry})
        return (await asyncio.to_thread(shelf.store.understand, text, "the mapping that was sent")).mappings
    except ConfigError as error:
        raise places.of_mapping(error, name, inside="/mapping") from error
    except NotEdited as error:
        raise Refusal(409, str(error)) from error


async def _event(
    body: dict[str, Any], way: str, topics: Topics, site: str, dispatcher: DispatcherApi, now: datetime
) -> Event:
    if way == "event":
        return read_event(orjson.dumps(body["event"]), topics, now)
    if way == "topic":
        return read_event(orjson.dumps({key: body[key] for key in ("topic", "payload") if key in body}), topics, now)
    if way == "recorded":
        return _recorded(body["recorded"], topics, now)
    return _rebuilt(await _story(dispatcher, body["event_id"]), topics, site, now)


def _recorded(line: object, topics: Topics, now: datetime) -> Event:
    """The event in a line that `gpio-bridge record` wrote."""
    if not isinstance(line, dict) or not isinstance(line.get("topic"), str):
        raise EventError("this is no line of a recording with a message in it")
    payload = line.get("payload")
    if "payload_base64" in line:
        try:
            payload = base64.b64decode(str(line["payload_base64"]), validate=True).decode()
        except (binascii.Error, UnicodeDecodeError) as error:
            raise EventError(f"payload_base64 cannot be read as text: {error}") from error
    return read_event(orjson.dumps({"topic": line["topic"], "payload": payload}), topics, now)


async def _story(dispatcher: DispatcherApi, event_id: object) -> dict[str, Any]:
    """What the dispatcher's trace says of an event."""
    if not isinstance(event_id, str) or not 0 < len(event_id) <= 200:
        raise Refusal(422, "event_id: must be text", errors=[Place("must be text", pointer="/event_id")])
    found = await dispatcher.ask("GET", f"/v1/traces/{quote(event_id, safe='')}")
    try:
        line: dict[str, Any] = next(line for line in found["story"] if line["type"] == "event")
    except (KeyError, TypeError, StopIteration) as error:
        raise Refusal(404, f"the dispatcher's trace does not tell what the event {event_id!r} was") from error
    return line


def _rebuilt(line: dict[str, Any], topics: Topics, site: str, now: datetime) -> Event:
    """A sensor's event from its trace, which has all that mappings look at but the kind, told by the event's name."""
    place = topics.parse(topics.event(site, str(line.get("node")), str(line.get("sensor"))))
    name = line.get("event")
    if line.get("topic") is not None or not isinstance(place, SensorEventTopic) or not isinstance(name, str):
        raise EventError("the trace of a message from another device does not hold it; send its topic and payload")
    seen = Observation(
        kind=kind_of(name),
        name=name,
        value=line.get("value"),
        unit=line.get("unit"),
        initial=line.get("initial") is True,
        time=datetime.fromisoformat(str(line["time"])),
        timesynced=line.get("timesynced") is True,
    )
    raw = encode(seen, at=place, id=str(line["event_id"]), epoch="replayed", sequence=1)
    return read_event(raw, topics, now)
