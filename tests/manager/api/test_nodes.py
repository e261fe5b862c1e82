"""`/api/v1/nodes`: what retained messages say of nodes and sensors."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest

from bridge.clock import VirtualClock
from bridge.core.topics import NodeTopic, SensorStateTopic, Topics
from bridge.manager.api.nodes import age_s, of_node, of_sensor
from bridge.manager.nodes import NODES, SENSORS, Nodes, State
from bridge.manager.settings import HttpSettings, ManagerSettings
from bridge.manager.targets import Targets
from bridge.mqtt.memory import MemoryTransport
from bridge.mqtt.transport import Message
from tests.dispatcher.conftest import Client, until
from tests.manager.conftest import Desk

BASE = "gpio-bridge/v1/home/nodes"
AT = datetime(2026, 11, 22, 17, 30, tzinfo=UTC)


def status(state: str, time: str | None = "2026-11-22T17:30:00Z", session: str = "s1") -> dict[str, Any]:
    return {"version": 1, "state": state, "session": session, "backlog": 3, "started": "s", "time": time}


INFO = {
    "version": 1, "site": "home", "node": "pi-1", "software": "0.1.0", "python": "3.13.5", "board": "a board",
    "pin_factory": "mock", "configuration": "abc",
    "sensors": {"attic": {"kind": "thermometer", "unit": "Cel", "events": []}, "door": {"kind": "pir", "unit": None}},
    "outputs": {"lamp": {"kind": "led"}},
}  # fmt: skip


def state(value: object, **more: object) -> dict[str, Any]:
    known = {"event": "temperature.changed", "level": None, "since": "2026-11-22T17:30:00Z", "health": "ok"}
    return {"version": 1, "value": value, "reason": None, "time": "2026-11-22T17:31:00Z", **known, **more}


class Agents:
    """Speaks for nodes."""

    def __init__(self, transport: MemoryTransport) -> None:
        self._transport = transport

    def say(self, place: str, document: object) -> None:
        payload = b"" if document is None else orjson.dumps(document)
        self._transport.publish(Message(f"{BASE}/{place}", payload, retain=True))


@pytest.fixture
async def agents(desk: Desk) -> AsyncIterator[Agents]:
    client = Client()
    async with desk.broker.connect("some-agents", client) as transport:
        await client.ready.wait()
        yield Agents(transport)


def heard_of(desk: Desk) -> dict[str, State]:
    node = desk.manager.nodes.known.get("pi-1")
    return node.states if node is not None else {}


async def get(desk: Desk, path: str) -> dict[str, Any]:
    answer = await desk.client.get(f"/api/v1/nodes{path}")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def test_a_node_is_shown_with_what_it_said_before_the_manager_came(desk: Desk, agents: Agents) -> None:
    agents.say("pi-1/info", INFO)
    agents.say("pi-1/status", status("online"))
    await desk.start()
    await until(lambda: {node.state for node in desk.manager.nodes.known.values()} == {"online"}, "the node is heard")
    found = await get(desk, "/pi-1")
    assert found == {
        "name": "pi-1", "state": "online", "since": "2026-11-22T17:30:00Z", "backlog": 3, "session": "s1",
        "started": "s", "told_at": "2026-11-22T17:30:00Z", "software": "0.1.0", "python": "3.13.5", "board": "a board",
        "pin_factory": "mock", "configuration": "abc", "sensors": ["attic", "door"], "outputs": {"lamp": "led"},
        "metrics": {"target": None, "problem": "its version does not tell where its metrics are"},
    }  # fmt: skip
    assert (await get(desk, ""))["nodes"] == [found]


async def test_a_sensor_is_shown_with_its_value_its_age_and_its_health(desk: Desk, agents: Agents) -> None:
    await desk.start()
    agents.say("pi-1/info", INFO)
    agents.say("pi-1/status", status("online"))
    agents.say("pi-1/sensors/attic/state", state(21.5))
    agents.say("pi-1/sensors/gone/state", state(1))
    await until(lambda: len(heard_of(desk)) == 2, "the states are heard")
    found = await get(desk, "/pi-1/sensors")
    attic, door = found["sensors"]
    assert (found["total"], found["state"], found["node"]) == (2, "online", "pi-1")
    assert attic.pop("age_s") > 0
    assert attic == {
        "name": "attic", "kind": "thermometer", "value": 21.5, "unit": "Cel", "event": "temperature.changed",
        "level": None, "since": "2026-11-22T17:30:00Z", "health": "ok", "reason": None,
        "told_at": "2026-11-22T17:31:00Z",
    }  # fmt: skip
    assert (door["health"], door["reason"], door["value"], door["age_s"]) == (
        "stale",
        "it has told nothing yet",
        None,
        None,
    )


async def test_the_tag_of_sensors_changes_with_a_state_and_not_with_its_age(desk: Desk, agents: Agents) -> None:
    await desk.start()
    agents.say("pi-1/sensors/attic/state", state(21.5))
    await until(lambda: "pi-1" in desk.manager.nodes.known, "the state is heard")
    path = "/api/v1/nodes/pi-1/sensors"
    first = await desk.client.get(path)
    assert first.headers["etag"].startswith('W/"')
    same = {"If-None-Match": first.headers["etag"]}
    assert (await desk.client.get(path, headers=same)).status_code == 304
    agents.say("pi-1/sensors/attic/state", state(22.0))
    await until(lambda: heard_of(desk)["attic"].value == 22.0, "the change is heard")
    assert (await desk.client.get(path, headers=same)).json()["sensors"][0]["value"] == 22.0


async def test_nodes_come_in_pages_and_are_chosen_by_name_and_state(desk: Desk, agents: Agents) -> None:
    await desk.start()
    for number in range(5):
        agents.say(f"pi-{number}/status", status("online" if number else "offline"))
    await until(lambda: len(desk.manager.nodes.known) == 5, "they are heard")
    page = await desk.client.get("/api/v1/nodes", params={"limit": 2, "offset": 1})
    assert [one["name"] for one in page.json()["nodes"]] == ["pi-1", "pi-2"]
    assert page.headers["link"] == '</api/v1/nodes?offset=3&limit=2>; rel="next"'
    assert "link" not in (await desk.client.get("/api/v1/nodes", params={"offset": 3})).headers
    assert [one["name"] for one in (await get(desk, "?state=offline"))["nodes"]] == ["pi-0"]
    assert (await get(desk, "?name=pi-[34]"))["total"] == 2


@pytest.mark.parametrize("path", ["/nobody", "/nobody/sensors"])
async def test_a_node_that_nobody_knows_is_not_found(desk: Desk, path: str) -> None:
    await desk.start()
    answer = await desk.client.get(f"/api/v1/nodes{path}")
    assert (answer.status_code, "'nobody'" in answer.json()["detail"]) == (404, True)


async def test_a_node_whose_topics_were_cleared_is_forgotten(desk: Desk, agents: Agents) -> None:
    await desk.start()
    for place, said in (("status", status("online")), ("info", INFO), ("sensors/attic/state", state(1))):
        agents.say(f"pi-1/{place}", said)
    await until(lambda: desk.manager.nodes.known.get("pi-1"), "it is heard")
    for place in ("status", "info", "sensors/attic/state"):
        agents.say(f"pi-1/{place}", None)
    await until(lambda: not desk.manager.nodes.known, "nothing is left of it")


# Without a broker


def hear(nodes: Nodes, place: str, document: object, *, retained: bool = False) -> None:
    topic = Topics().parse(f"{BASE}/{place}")
    assert isinstance(topic, NodeTopic | SensorStateTopic)
    nodes.hear(topic, orjson.dumps(document), retained=retained)


def nowhere() -> Targets:
    """Targets of a manager whose other machines cannot reach what is on a loopback address."""
    settings = ManagerSettings(state_dir=Path("/nowhere"), mappings=Path("/nowhere"), http=HttpSettings("0.0.0.0"))
    return Targets(settings, VirtualClock(AT), lambda: 8088, lambda: None)


def quiet() -> Nodes:
    return Nodes(VirtualClock(AT), lambda what: pytest.fail(f"{what} was dropped"))


def test_since_is_when_the_state_began_and_not_when_it_was_told_again() -> None:
    nodes = quiet()
    hear(nodes, "pi-1/status", status("online"))
    hear(nodes, "pi-1/status", status("online", "2026-11-22T18:00:00Z"))
    assert of_node(nodes.known["pi-1"], nowhere())["since"] == "2026-11-22T17:30:00Z"
    hear(nodes, "pi-1/status", status("online", "2026-11-22T19:00:00Z", session="s2"))
    assert of_node(nodes.known["pi-1"], nowhere())["since"] == "2026-11-22T19:00:00Z"


def test_a_will_tells_no_time_so_it_is_when_it_was_heard_or_unknown() -> None:
    live, late = quiet(), quiet()
    hear(live, "pi-1/status", status("online"))
    hear(live, "pi-1/status", status("offline", None))
    hear(late, "pi-1/status", status("offline", None), retained=True)
    heard, kept = of_node(live.known["pi-1"], nowhere()), of_node(late.known["pi-1"], nowhere())
    assert (heard["since"], heard["backlog"]) == ("2026-11-22T17:30:00.000000Z", None)
    assert (kept["state"], kept["since"]) == ("offline", None)


def test_sensors_of_a_node_that_is_offline_are_stale_with_their_last_value() -> None:
    nodes = quiet()
    hear(nodes, "pi-1/sensors/attic/state", state(21.5))
    assert of_sensor(nodes.known["pi-1"], "attic")["health"] == "ok"
    hear(nodes, "pi-1/status", status("offline"))
    found = of_sensor(nodes.known["pi-1"], "attic")
    assert (found["value"], found["health"], found["reason"]) == (21.5, "stale", "pi-1 is offline")


@pytest.mark.parametrize("document", [1, [], {}, {"state": 1}, {"health": None}, "text"])
@pytest.mark.parametrize("place", ["pi-1/status", "pi-1/sensors/attic/state"])
def test_what_says_nothing_readable_is_as_if_it_were_not_there(place: str, document: object) -> None:
    nodes = quiet()
    hear(nodes, place, document)
    assert nodes.known == {}


def test_a_birth_with_parts_of_another_shape_is_read_as_far_as_it_goes() -> None:
    nodes = quiet()
    hear(nodes, "pi-1/info", {"software": 1, "sensors": {"a": 1, "b": {"kind": 2}}, "outputs": []})
    found = of_node(nodes.known["pi-1"], nowhere())
    assert (found["software"], found["sensors"], found["outputs"], found["state"]) == (None, ["b"], {}, "unknown")


def test_more_nodes_and_sensors_than_are_remembered_are_counted() -> None:
    dropped: list[str] = []
    nodes = Nodes(VirtualClock(AT), dropped.append)
    for number in range(SENSORS + 2):
        hear(nodes, f"pi/sensors/s-{number}/state", state(1))
    for number in range(NODES):
        hear(nodes, f"pi-{number}/status", status("online"))
    assert (len(nodes.known["pi"].states), len(nodes.known)) == (SENSORS, NODES)
    assert dropped == ["sensor", "sensor", "node"]


@pytest.mark.parametrize(
    ("told", "age"),
    [
        ("2026-11-22T17:29:30Z", 30.0),
        ("2026-11-22T17:31:00Z", 0.0),
        ("no time", None),
        ("2026-11-22T17:00:00", None),
        (None, None),
    ],
)
def test_an_age_is_never_below_zero_and_none_where_no_time_was_told(told: str | None, age: float | None) -> None:
    assert age_s(told, AT) == age
