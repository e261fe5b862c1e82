"""Whom Prometheus is told to ask: as nodes and dispatchers say, in a file, and over HTTP with a token."""

from __future__ import annotations

import dataclasses
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from bridge.config import load
from bridge.errors import ConfigError
from bridge.manager.access.roles import Role
from bridge.manager.access.tokens import mint_token
from bridge.manager.settings import AuthSettings, HttpSettings, ManagerSettings, TargetSettings
from bridge.manager.targets import LOOPBACK, NO_METRICS, NOWHERE, OLD, Whereabouts, reach, read_whereabouts
from bridge.mqtt.memory import MemoryTransport
from bridge.mqtt.transport import Message
from tests.dispatcher.conftest import Client, until
from tests.manager.conftest import Desk

BASE = "gpio-bridge/v1/home"
AGENT = "nodes/pi-1/info"
DISPATCHER = "dispatchers/main/status"


def info(host: str | None = "192.168.1.12", port: int = 8090, address: str | None = None) -> dict[str, Any]:
    return {"version": 1, "address": address or host, "http": {"host": host, "port": port}}


class Speaker:
    """Says what programs say."""

    def __init__(self, transport: MemoryTransport) -> None:
        self._transport = transport

    @property
    def connected(self) -> bool:
        return self._transport.connected

    def say(self, place: str, document: object) -> None:
        payload = b"" if document is None else orjson.dumps(document)
        self._transport.publish(Message(f"{BASE}/{place}", payload, retain=True))


@pytest.fixture
async def speaker(desk: Desk) -> AsyncIterator[Speaker]:
    client = Client()
    async with desk.broker.connect("some-programs", client) as transport:
        await client.ready.wait()
        yield Speaker(transport)


def in_a_stack(desk: Desk, **more: Any) -> None:
    """Other machines reach this manager, so a loopback address means nothing to them."""
    http = HttpSettings("0.0.0.0", 0, advertise="manager")
    desk.settings = dataclasses.replace(
        desk.settings, http=http, gateway=dataclasses.replace(desk.settings.gateway, url="http://gateway:8080"), **more
    )


def listed(file: Path) -> dict[str, str]:
    """The addresses in the file by program and instance; none while there is no file."""
    if not file.exists():
        return {}
    return {
        f"{one['labels']['program']} {one['labels']['instance']}": one["targets"][0]
        for one in orjson.loads(file.read_bytes())
    }


async def test_every_program_is_a_target_with_labels_in_a_file_that_prometheus_may_read(
    desk: Desk, speaker: Speaker
) -> None:
    in_a_stack(desk)
    file = desk.settings.state_dir / "targets.json"
    manager = await desk.start()
    speaker.say(AGENT, info())
    speaker.say(DISPATCHER, {"version": 1, "state": "active", "address": "10.0.1.7", "http": {
        "host": "dispatcher", "port": 8089}})  # fmt: skip
    await until(lambda: len(listed(file)) == 4, "all four are in the file")
    port = manager.url.rpartition(":")[2]
    assert orjson.loads(file.read_bytes()) == [
        {
            "targets": ["192.168.1.12:8090"],
            "labels": {"program": "agent", "instance": "pi-1", "site": "home", "node": "pi-1"},
        },
        {
            "targets": ["dispatcher:8089"],
            "labels": {"program": "dispatcher", "instance": "main", "site": "home", "role": "active"},
        },
        {"targets": ["gateway:8080"], "labels": {"program": "gateway", "instance": "gateway", "site": "home"}},
        {"targets": [f"manager:{port}"], "labels": {"program": "manager", "instance": "manager", "site": "home"}},
    ]
    assert stat.S_IMODE(file.stat().st_mode) == 0o644
    answer = await desk.client.get("/api/v1/targets")
    assert (answer.status_code, answer.json()) == (200, orjson.loads(file.read_bytes()))
    assert answer.headers["content-type"] == "application/json"


async def test_a_dispatcher_that_is_gone_stays_a_target_and_one_whose_status_was_cleared_does_not(
    desk: Desk, speaker: Speaker
) -> None:
    in_a_stack(desk)
    file = desk.settings.state_dir / "targets.json"
    await desk.start()
    speaker.say(DISPATCHER, {"version": 1, "state": "standby", **info("10.0.1.7", 8089)})
    await until(lambda: "dispatcher main" in listed(file), "it is found")
    speaker.say(DISPATCHER, {"version": 1, "state": "offline", "term": 0})
    speaker.say("dispatchers/spare/status", {"version": 1, "state": "active", **info("10.0.1.8", 8089)})
    await until(lambda: "dispatcher spare" in listed(file), "the other one is found")
    assert listed(file)["dispatcher main"] == "10.0.1.7:8089"
    speaker.say(DISPATCHER, None)
    await until(lambda: "dispatcher main" not in listed(file), "it is gone for good")


async def test_a_node_stays_over_restarts_of_manager_and_broker_and_goes_when_its_birth_is_cleared(
    desk: Desk, speaker: Speaker
) -> None:
    in_a_stack(desk)
    file = desk.settings.state_dir / "targets.json"
    await desk.start()
    speaker.say(AGENT, info())
    await until(lambda: "agent pi-1" in listed(file), "it is found")
    await desk.stop()
    desk.broker.forget()
    manager = await desk.start()
    assert "agent pi-1" in {
        " ".join((g["labels"]["program"], g["labels"]["instance"])) for g in manager.targets.groups()
    }
    await until(lambda: speaker.connected, "the broker is there again")
    speaker.say(AGENT, info("192.168.1.99"))
    await until(lambda: listed(file)["agent pi-1"] == "192.168.1.99:8090", "it has another address")
    speaker.say(AGENT, None)
    await until(lambda: "agent pi-1" not in listed(file), "it is gone for good")


async def test_an_agent_on_its_loopback_address_is_no_target_and_the_node_says_why(
    desk: Desk, speaker: Speaker
) -> None:
    in_a_stack(desk)
    file = desk.settings.state_dir / "targets.json"
    await desk.start()
    speaker.say(AGENT, info())
    await until(lambda: "agent pi-1" in listed(file), "it is found")
    speaker.say(AGENT, info("127.0.0.1", address="192.168.1.12"))
    await until(lambda: "agent pi-1" not in listed(file), "it cannot be asked any more")
    node = (await desk.client.get("/api/v1/nodes/pi-1")).json()
    assert node["metrics"] == {"target": None, "problem": LOOPBACK}
    metrics = (await desk.client.get("/metrics")).text
    assert 'gpio_bridge_manager_node_watched{node="pi-1"} 0.0' in metrics


async def test_on_one_machine_loopback_addresses_are_targets(desk: Desk, speaker: Speaker) -> None:
    file = desk.settings.state_dir / "targets.json"
    await desk.start()
    speaker.say(AGENT, info("127.0.0.1"))
    speaker.say("nodes/far/info", info("127.0.0.1", address="192.168.1.77"))
    await until(lambda: len(listed(file)) == 4, "all are found")
    assert listed(file) == {
        "agent pi-1": "127.0.0.1:8090",
        "dispatcher main": "127.0.0.1:8089",
        "gateway gateway": "127.0.0.1:8080",
        "manager manager": desk.manager.url.removeprefix("http://"),
    }


async def test_several_gateways_are_several_targets_and_https_is_asked_by_https(desk: Desk) -> None:
    urls = ("http://10.0.0.5:8080", "https://pi-2.local")
    in_a_stack(desk, targets=TargetSettings(file=desk.folder / "shared" / "gpio-bridge.json", gateways=urls))
    file = desk.folder / "shared" / "gpio-bridge.json"
    await desk.start()
    await until(lambda: "gateway pi-2.local" in listed(file), "both are found")
    groups = [one for one in orjson.loads(file.read_bytes()) if one["labels"]["program"] == "gateway"]
    assert [one["targets"][0] for one in groups] == ["10.0.0.5:8080", "pi-2.local:443"]
    assert groups[1]["labels"]["__scheme__"] == "https"


async def test_a_file_that_cannot_be_written_is_a_reason_not_to_be_ready_and_a_damaged_one_is_made_anew(
    desk: Desk,
) -> None:
    desk.settings.state_dir.mkdir()
    (desk.settings.state_dir / "targets.json").write_text('[{"targets": []', encoding="utf-8")
    await desk.start()
    await until(lambda: "manager manager" in listed_or_none(desk.settings.state_dir), "it is written anew")
    await desk.stop()
    blocked = desk.folder / "blocked"
    blocked.write_text("", encoding="utf-8")
    desk.settings = dataclasses.replace(desk.settings, targets=TargetSettings(file=blocked / "targets.json"))
    await desk.start()
    await until(lambda: "targets" in desk.manager.health.not_ready(), "it says so")
    assert f"cannot write {blocked}/targets.json" in desk.manager.health.not_ready()["targets"]


def listed_or_none(folder: Path) -> dict[str, str]:
    try:
        return listed(folder / "targets.json")
    except orjson.JSONDecodeError:
        return {}


async def test_a_viewer_may_bring_a_token_along_and_nobody_sees_targets_without_one(desk: Desk) -> None:
    token = desk.folder / "prometheus-token"
    _, text = mint_token("prometheus", Role.VIEWER, "")
    token.write_text(f"{text}\n", encoding="utf-8")
    desk.settings = dataclasses.replace(desk.settings, auth=AuthSettings(viewers={"prometheus": token}))
    await desk.start()
    bearer = {"Authorization": f"Bearer {text}"}
    assert (await desk.client.get("/api/v1/targets", headers={"Authorization": ""})).status_code == 401
    assert (await desk.client.get("/api/v1/targets", headers=bearer)).status_code == 200
    refused = await desk.client.delete("/api/v1/mappings/frost", headers={**bearer, "If-Match": "*"})
    assert (refused.status_code, "prometheus is viewer" in refused.json()["detail"]) == (403, True)


def test_a_file_without_a_token_is_told_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "bad").write_text("secret", encoding="utf-8")
    file = tmp_path / "manager.yaml"
    file.write_text(
        "version: 1\nstate_dir: s\nmappings: m.yaml\nauth:\n  viewers: {prometheus: bad, other: none}\n"
        "targets:\n  gateways: [ftp://a]\n",
        encoding="utf-8",
    )
    with pytest.raises(ConfigError) as raised:
        load(file, ManagerSettings)
    told = [f"{problem.line}: {problem.key}: {problem.message}" for problem in raised.value.problems]
    assert told == [
        f"5: auth.viewers.prometheus: {tmp_path}/bad holds no token such as `gpio-bridge tokens create` prints",
        f"5: auth.viewers.other: cannot read {tmp_path}/none: No such file or directory",
        "7: targets.gateways[0]: must be such as http://127.0.0.1:8080, without credentials, not 'ftp://a'",
    ]


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        ({}, OLD),
        ({"http": None}, NO_METRICS),
        ({"http": {"host": None, "port": 8090}}, NOWHERE),
        ({"http": {"host": "a b", "port": 8090}}, NOWHERE),
        ({"http": {"host": "a/b", "port": 8090}}, NOWHERE),
        ({"http": {"host": "pi-1", "port": "8090"}}, OLD),
        ({"http": {"host": "pi-1", "port": True}}, OLD),
        ({"http": {"host": "pi-1", "port": 70000}}, OLD),
        ({"http": {"host": "localhost", "port": 8090}}, LOOPBACK),
    ],
)
def test_what_cannot_be_asked_says_why(document: dict[str, Any], problem: str) -> None:
    assert reach(read_whereabouts(document), loopback=False) == (None, problem)


def test_an_address_of_ip_version_6_stands_in_brackets() -> None:
    assert reach(Whereabouts("fd00::1", 8090), loopback=False) == ("[fd00::1]:8090", None)
