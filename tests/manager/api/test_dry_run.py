"""`/api/v1/mappings/dry-run`: what would be said to an event, however it is given."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from bridge.clock import RealClock
from bridge.dispatcher.dispatcher import Dispatcher
from bridge.dispatcher.settings import DispatcherSettings
from bridge.dispatcher.settings import HttpSettings as DispatcherHttp
from bridge.manager.settings import DispatcherAddress
from bridge.mqtt.memory import MemoryBroker
from tests.dispatcher.conftest import Client, RecordingInvoker, motion, until
from tests.manager.conftest import MAPPINGS, Desk

PATH = "/api/v1/mappings/dry-run"
EVENT = json.loads(motion(1))
TOPIC = "gpio-bridge/v1/home/nodes/pi-1/sensors/front-door/event"


async def judged(desk: Desk, body: dict[str, Any]) -> dict[str, str]:
    answer = await desk.client.post(PATH, json=body)
    assert answer.status_code == 200, answer.text
    return {one["mapping"]: one["result"] for one in answer.json()["judgements"]}


@pytest.mark.parametrize(
    "given",
    [
        {"event": EVENT},
        {"topic": TOPIC, "payload": EVENT},
        {"recorded": {"received_at": "2026-11-22T23:10:00Z", "topic": TOPIC, "payload": json.dumps(EVENT)}},
    ],
    ids=["event", "topic", "recorded"],
)
async def test_every_mapping_says_whether_it_would_fire(desk: Desk, given: dict[str, Any]) -> None:
    await desk.start()
    assert await judged(desk, given) == {"intruder": "fires", "frost": "rejected"}
    assert desk.file.read_text() == MAPPINGS


async def test_a_mapping_that_is_not_saved_can_be_asked(desk: Desk) -> None:
    await desk.start()
    mapping = {"name": "lamp", "select": {"topic": "zigbee2mqtt/+"}, "when": "payload.on", "invoke": "f"}
    given = {"topic": "zigbee2mqtt/lamp", "payload": {"on": False}, "mapping": mapping}
    assert await judged(desk, given) == {"lamp": "rejected"}
    assert await judged(desk, {**given, "payload": {"on": True}}) == {"lamp": "fires"}
    bad = await desk.client.post(PATH, json={**given, "mapping": {**mapping, "when": 1}})
    assert (bad.status_code, bad.json()["errors"][0]["pointer"]) == (422, "/mapping/when")


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"event": EVENT, "topic": "a"},
        {"event": {"specversion": "1.0", "data": {"site": "home", "node": "pi-1", "sensor": "front-door"}}},
        {"event": {"specversion": "1.0", "id": "e-1"}},
        {"event": 1},
        {"topic": TOPIC},
        {"recorded": 1},
        {"event_id": 1},
        {"nothing": 1},
    ],
)
async def test_what_is_no_event_is_refused(desk: Desk, body: dict[str, Any]) -> None:
    await desk.start()
    answer = await desk.client.post(PATH, json=body)
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json"), answer.text


async def test_an_event_that_the_dispatcher_has_seen_is_asked_of_it(desk: Desk, tmp_path: Path) -> None:
    clock = RealClock("always")
    broker = MemoryBroker(clock)
    settings = DispatcherSettings(state_dir=tmp_path / "dispatcher", mappings=desk.file, http=DispatcherHttp(port=0))
    async with Dispatcher(settings, clock=clock, connect=broker.connect, invoker=RecordingInvoker()) as dispatcher:
        await until(lambda: not dispatcher.health.not_ready(), "the dispatcher is ready")
        client = Client()
        client.transport = broker.connect("a-client", client)
        async with client.transport:
            await client.ready.wait()
            client.publish(TOPIC, motion(1))
            await until(lambda: dispatcher.feed.recent(10), "it has seen the event")
        desk.settings = dataclasses.replace(desk.settings, dispatcher=DispatcherAddress(dispatcher.url))
        await desk.start()
        assert await judged(desk, {"event_id": "event-1"}) == {"intruder": "fires", "frost": "rejected"}
        unknown = await desk.client.post(PATH, json={"event_id": "nobody"})
        assert unknown.status_code == 404
    away = await desk.client.post(PATH, json={"event_id": "event-1"})
    assert (away.status_code, "does not answer" in away.json()["detail"]) == (503, True)
