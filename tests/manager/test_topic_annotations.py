"""Topic annotations: a function that carries one is invoked, and nothing that goes away by accident takes it back."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from bridge.dispatcher.dispatcher import Dispatcher
from bridge.dispatcher.settings import DispatcherSettings, GatewaySettings
from bridge.dispatcher.settings import HttpSettings as DispatcherHttp
from bridge.manager.settings import FunctionGateway, TopicAnnotationSettings
from tests.dispatcher.conftest import Client, motion, until
from tests.gateway.workbench import Bench
from tests.manager.conftest import Desk

PATH = "/api/v1/topic-annotations"
DOOR = "gpio-bridge/v1/home/nodes/pi-1/sensors/front-door/event"
KEEPING = """
def handle(event, context):
    with open({path!r}, "ab") as file:
        file.write(event.body + b"\\n")
    return {{"statusCode": 200}}
"""


class ListedFunctions:
    """A gateway that lists what it is told to."""

    def __init__(self) -> None:
        self.functions: object = []
        self.status = 200
        self.asked = 0
        self.url = ""

    async def answer(self, request: web.Request) -> web.Response:
        self.asked += 1
        return web.json_response(self.functions, status=self.status)

    def carry(self, **topics: str) -> None:
        self.functions = [{"name": name, "annotations": {"topic": topic}} for name, topic in topics.items()]

    async def heard(self) -> None:
        """Return when what is told now has been asked for, and understood."""
        asked = self.asked
        await until(lambda: self.asked >= asked + 2, "the gateway is asked again")


@pytest.fixture
async def listed(desk: Desk) -> AsyncIterator[ListedFunctions]:
    """The gateway that the manager asks."""
    gateway = ListedFunctions()
    app = web.Application()
    app.router.add_get("/system/functions", gateway.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    gateway.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    annotations = TopicAnnotationSettings(enabled=True, every_s=0.02)
    desk.settings = dataclasses.replace(
        desk.settings, gateway=FunctionGateway(gateway.url), topic_annotations=annotations
    )
    try:
        yield gateway
    finally:
        await runner.cleanup()


def documents(desk: Desk) -> dict[str, Any]:
    """The mappings that are published, as they stand there."""
    message = desk.broker.retained("gpio-bridge/v1/home/config/mappings")
    found: dict[str, Any] = {} if message is None else json.loads(message.payload)["document"]["mappings"]
    return found


def published(desk: Desk) -> list[str]:
    return list(documents(desk))


async def test_a_function_gets_what_is_published_on_the_topics_that_it_carries(desk: Desk, tmp_path: Path) -> None:
    got = tmp_path / "got"
    bench = Bench(tmp_path / "gateway")
    async with aiohttp.ClientSession() as bench.session:
        await bench.start()
        url = bench.gateway.url
        desk.settings = dataclasses.replace(
            desk.settings,
            gateway=FunctionGateway(url),
            topic_annotations=TopicAnnotationSettings(enabled=True, every_s=1),
        )
        settings = DispatcherSettings(
            state_dir=tmp_path / "dispatcher",
            mappings="manager",
            http=DispatcherHttp(port=0),
            gateway=GatewaySettings(url),
        )
        client = Client()
        client.transport = desk.broker.connect("a-client", client)
        try:
            await bench.deploy("keep", KEEPING.format(path=str(got)), annotations={"topic": f"alarms/+,{DOOR}"})
            manager = await desk.start()
            async with (
                Dispatcher(settings, clock=desk.clock, connect=desk.broker.connect) as dispatcher,
                client.transport,
            ):
                await until(lambda: "topics-of-keep" in dispatcher.mappings.mappings, "the annotation is in force")
                await until(lambda: "subscriptions" not in dispatcher.health.not_ready(), "it is subscribed to")
                assert desk.file.read_text().count("keep") == 0
                client.publish("alarms/kitchen", b"smoke")
                await until(lambda: got.exists() and got.read_bytes() == b"smoke\n", "the message arrives as it was")
                client.publish(DOOR, motion(1))
                await until(lambda: got.read_bytes().count(b"\n") == 2, "the sensor's event arrives")
                event = json.loads(got.read_bytes().splitlines()[1])
                assert (event["id"], event["data"]["event"]) == ("event-1", "motion.detected")
                shown = (await desk.client.get("/api/v1/dispatchers")).json()
                await until(lambda: manager.bus.document()["dispatchers"][0]["current"], "it runs what is in force")
                assert shown["version"] == dispatcher.mappings.version != manager.store.loaded.mappings.version
                dry = await desk.client.post("/api/v1/mappings/dry-run", json={"topic": "alarms/attic", "payload": "x"})
                assert {one["mapping"]: one["result"] for one in dry.json()["judgements"]}["topics-of-keep"] == "fires"
                assert (await bench.call("DELETE", "/system/functions", json={"functionName": "keep"}))[0] == 202
                await until(lambda: list(dispatcher.mappings.mappings) == ["intruder", "frost"], "it is gone")
        finally:
            await bench.stop()


async def test_they_do_not_count_unless_the_settings_say_so(desk: Desk, listed: ListedFunctions) -> None:
    desk.settings = dataclasses.replace(desk.settings, topic_annotations=TopicAnnotationSettings())
    listed.carry(alarm="alarms/+")
    manager = await desk.start()
    await asyncio.wait_for(manager.annotations.watch(), 60)  # it has nothing to wait for
    await until(lambda: published(desk) == ["intruder", "frost"], "the mappings of the file")
    assert listed.asked == 0
    assert (await desk.client.get(PATH)).json() == {"enabled": False, "problem": None, "functions": []}


async def test_a_gateway_that_goes_away_takes_nothing_back_and_neither_does_a_restart(
    desk: Desk, listed: ListedFunctions
) -> None:
    listed.carry(alarm="alarms/+")
    manager = await desk.start()
    await until(lambda: published(desk) == ["intruder", "frost", "topics-of-alarm"], "it is in force")
    for functions, status in (("no list", 200), ({"a": 1}, 200), ([1], 200), ([], 500), ([], 401), (None, 200)):
        listed.functions, listed.status = functions, status
        await listed.heard()
        assert "topic_annotations" in manager.health.not_ready(), functions
        assert published(desk)[-1] == "topics-of-alarm", functions
    await desk.stop()
    desk.broker.forget()
    manager = await desk.start()
    await until(lambda: published(desk) == ["intruder", "frost", "topics-of-alarm"], "it was kept for a restart")
    shown = (await desk.client.get(PATH)).json()
    assert "the gateway" in shown["problem"]
    assert [one["function"] for one in shown["functions"]] == ["alarm"]
    listed.functions, listed.status = [], 200
    await until(lambda: published(desk) == ["intruder", "frost"], "a function that is gone is")
    assert "topic_annotations" not in manager.health.not_ready()
    await desk.stop()
    (desk.settings.state_dir / "topic-annotations.json").write_text("{", encoding="utf-8")
    await desk.start()
    await until(lambda: published(desk) == ["intruder", "frost"], "a damaged file is no reason not to start")


async def test_an_annotation_that_cannot_be_read_is_told_and_the_last_good_one_stays(
    desk: Desk, listed: ListedFunctions, caplog: pytest.LogCaptureFixture
) -> None:
    listed.carry(alarm="alarms/+", bad="a/#/b")
    manager = await desk.start()
    await until(lambda: "topics-of-alarm" in published(desk), "the good one is in force")
    listed.carry(alarm="gpio-bridge/v1/home/nodes/pi-1/status", bad="a/#/b")
    await listed.heard()
    await listed.heard()
    assert manager.annotations.counts == (1, 2)
    alarm, bad = (await desk.client.get(PATH)).json()["functions"]
    assert list(alarm["mappings"]) == ["topics-of-alarm"]
    assert "own topics" in alarm["problem"]
    assert (alarm["topic"], bad["mappings"]) == ("gpio-bridge/v1/home/nodes/pi-1/status", {})
    assert "# must stand alone" in bad["problem"]
    told = [record for record in caplog.records if record.getMessage() == "a topic annotation is refused"]
    assert len(told) == 2, "each once, however often it is read"
    listed.carry(alarm="other/+")
    await until(lambda: manager.annotations.counts == (1, 0), "it is mended")


async def test_a_mapping_of_the_file_wins_over_one_of_the_same_name(desk: Desk, listed: ListedFunctions) -> None:
    listed.carry(alarm="alarms/+")
    await desk.start()
    await until(lambda: "topics-of-alarm" in published(desk), "it is in force")
    own = {"select": {"topic": "mine"}, "invoke": "other"}
    answer = await desk.client.put("/api/v1/mappings/topics-of-alarm", json=own)
    assert answer.status_code == 201, answer.text
    await until(
        lambda: documents(desk)["topics-of-alarm"]["invoke"]["function"] == "other", "the one of the file is in force"
    )
    (alarm,) = (await desk.client.get(PATH)).json()["functions"]
    assert alarm["mappings"] == {}
    assert "the mapping file has topics-of-alarm too" in alarm["problem"]
