"""The bus: the set goes out with its version, and the manager knows which dispatcher runs which."""

from __future__ import annotations

import time
from pathlib import Path

import httpx
import orjson
import pytest

from bridge.clock import RealClock
from bridge.core.topics import Topics
from bridge.dispatcher.dispatcher import Dispatcher
from bridge.dispatcher.settings import DispatcherSettings
from bridge.dispatcher.settings import HttpSettings as DispatcherHttp
from bridge.manager.manager import Manager
from bridge.mqtt.paho import connector
from tests.dispatcher.conftest import RecordingInvoker, until
from tests.manager.conftest import MAPPINGS, Desk
from tests.mosquitto import Mosquitto

TOPIC = Topics().mappings("home")


async def test_the_set_is_published_with_its_version_and_again_when_it_changes(desk: Desk) -> None:
    manager = await desk.start()
    await until(lambda: desk.broker.retained(TOPIC), "the set is published")
    message = desk.broker.retained(TOPIC)
    assert message is not None
    found = orjson.loads(message.payload)
    assert (found["version"], found["mappings_version"], found["revision"]) == (
        1,
        manager.store.loaded.mappings.version,
        1,
    )
    assert list(found["document"]["mappings"]) == ["intruder", "frost"]
    await desk.client.delete("/api/v1/mappings/frost", headers={"If-Match": "*"})

    def published() -> list[str]:
        later = desk.broker.retained(TOPIC)
        assert later is not None
        return list(orjson.loads(later.payload)["document"]["mappings"])

    await until(lambda: published() == ["intruder"], "the change is published")
    desk.broker.forget()
    await until(lambda: desk.broker.retained(TOPIC), "a broker that forgot is told again")


async def test_a_broker_that_refuses_the_set_is_a_reason_not_to_be_ready(desk: Desk) -> None:
    await desk.start()
    desk.broker.refuse(TOPIC)
    await desk.client.delete("/api/v1/mappings/frost", headers={"If-Match": "*"})
    await until(lambda: "mqtt" in desk.manager.health.not_ready(), "it says so")
    assert "the broker refuses gpio-bridge/v1/home/config/mappings" in desk.manager.health.not_ready()["mqtt"]


@pytest.mark.real("mosquitto")
async def test_a_change_over_the_api_is_in_force_in_a_dispatcher_within_a_second(desk: Desk, tmp_path: Path) -> None:
    clock = RealClock("always")
    settings = DispatcherSettings(state_dir=tmp_path / "dispatcher", mappings="manager", http=DispatcherHttp(port=0))
    with Mosquitto(tmp_path) as broker:
        connect = connector(broker.settings, clock)
        async with (
            Manager(desk.settings, clock=clock, connect=connect, own="tester") as manager,
            Dispatcher(settings, clock=clock, connect=connect, invoker=RecordingInvoker()) as dispatcher,
            httpx.AsyncClient(
                base_url=f"{manager.url}/api/v1",
                trust_env=False,
                timeout=60,
                headers={"Authorization": f"Bearer {manager.own_token}", "If-Match": "*"},
            ) as client,
        ):
            assert list(dispatcher.mappings.mappings) == ["intruder", "frost"]
            await until(lambda: "main" in manager.bus.dispatchers, "the manager has heard of the dispatcher")

            async def change(hours: int) -> float:
                """How many seconds it takes until a change is in force."""
                begun = time.monotonic()
                await client.patch("/mappings/intruder", json={"cooldown": f"{hours}h"})

                def in_force() -> bool:
                    cooldown = dispatcher.mappings.mappings["intruder"].cooldown
                    return cooldown is not None and cooldown.time_s == hours * 3600

                await until(in_force, "the change is in force")
                return time.monotonic() - begun

            hours = 1
            while await change(hours) >= 1.0:
                hours += 1
                assert hours < 20, "a busy machine is late now and then, what only looks now and then is each time"
            await until(
                lambda: manager.bus.document()["dispatchers"][0]["current"], "the manager knows that it is in force"
            )
            (shown,) = (await client.get("/dispatchers")).json()["dispatchers"]
            assert (shown["id"], shown["state"], shown["mappings"]["from"]) == ("main", "active", "manager")
    assert f"cooldown: {hours}h    # not more often" in desk.file.read_text()
    assert desk.file.read_text() != MAPPINGS
