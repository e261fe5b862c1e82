"""A dispatcher with `mappings: manager`: hears sets, keeps the last good one, refuses bad ones, says which it runs."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from bridge.clock import RealClock
from bridge.dispatcher.dispatcher import Dispatcher
from bridge.dispatcher.manager_mappings import ManagerMappings, NoMappings
from bridge.dispatcher.settings import DispatcherSettings, HttpSettings, StandbySettings
from bridge.mqtt.memory import MemoryBroker
from tests.dispatcher.conftest import TOPICS, Site, motion, until

TOPIC = TOPICS.mappings("home")
STATUS = TOPICS.dispatcher("home", "main", "status")


def published(version: str, *functions: str, **changed: Any) -> bytes:
    mappings = {name: {"select": {"sensor": "front-door"}, "invoke": name} for name in functions}
    document = {"version": 1, "mappings": mappings, **changed}
    return orjson.dumps({"version": 1, "mappings_version": version, "revision": 1, "later": 1, "document": document})


def managed(site: Site) -> None:
    site.settings = dataclasses.replace(site.settings, mappings="manager")


def status(site: Site) -> dict[str, Any]:
    message = site.broker.retained(STATUS)
    found: dict[str, Any] = orjson.loads(message.payload) if message else {}
    return found


def says(site: Site, version: str) -> Callable[[], bool]:
    return lambda: status(site).get("mappings", {}).get("version") == version


async def test_it_runs_what_the_manager_publishes_and_says_so(site: Site) -> None:
    managed(site)
    site.client.publish(TOPIC, published("v1", "first"), retain=True)
    await site.start()
    await until(says(site, "v1"), "it says which version it runs")
    assert status(site) == {
        "version": 1,
        "state": "active",
        "term": 0,
        "mappings": {"version": "v1", "from": "manager", "problem": None},
        "address": None,
        "http": {"host": "127.0.0.1", "port": site.dispatcher.port},
    }
    site.client.publish(TOPICS.event("home", "pi-1", "front-door"), motion(1))
    await until(lambda: site.invoker.calls, "it invokes")
    site.client.publish(TOPIC, published("v2", "second"), retain=True)
    await until(says(site, "v2"), "it runs the new one")
    site.client.publish(TOPICS.event("home", "pi-1", "front-door"), motion(2))
    await until(lambda: len(site.invoker.calls) == 2, "it invokes again")
    assert [function for _, function, _ in site.invoker.calls] == ["first", "second"]


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (b"{", "is no set of mappings"),
        (b"[]", "is no set of mappings"),
        (b'{"version": 1}', "is no set of mappings"),
        (published("v2"), "holds no mapping"),
        (published("v2", "a", unknown=1), "unknown"),
    ],
)
async def test_a_bad_set_is_refused_and_the_last_one_stays(site: Site, bad: bytes, reason: str) -> None:
    managed(site)
    site.client.publish(TOPIC, published("v1", "first"), retain=True)
    dispatcher = await site.start()
    site.client.publish(TOPIC, bad, retain=True)
    await until(lambda: dispatcher.mapping_problem, "it refuses")
    assert list(dispatcher.mappings.mappings) == ["first"]
    await until(lambda: reason in (status(site).get("mappings", {}).get("problem") or ""), "it says why")
    assert says(site, "v1")()
    assert reason in dispatcher.health.not_ready()["mappings"]
    site.client.publish(TOPIC, published("v1", "first"), retain=True)
    await until(lambda: status(site)["mappings"]["problem"] is None, "it is well again")


async def test_a_set_that_is_cleared_stays_in_force(site: Site) -> None:
    managed(site)
    site.client.publish(TOPIC, published("v1", "first"), retain=True)
    dispatcher = await site.start()
    site.client.publish(TOPIC, b"", retain=True)
    site.client.publish(TOPIC, published("v3", "third"))
    await until(says(site, "v3"), "it heard what came after")
    assert list(dispatcher.mappings.mappings) == ["third"]


async def test_the_last_good_set_survives_a_restart_without_the_manager(site: Site) -> None:
    managed(site)
    site.client.publish(TOPIC, published("v1", "first"), retain=True)
    await site.start()
    await site.stop()
    site.broker.forget()
    dispatcher = await site.start()
    assert list(dispatcher.mappings.mappings) == ["first"]


async def test_what_was_kept_of_a_file_is_in_force_until_the_manager_says_something(site: Site) -> None:
    site.write_mappings("version: 1\nmappings: {kept: {select: {sensor: s}, invoke: f}}\n")
    await site.start()
    await site.stop()
    managed(site)
    dispatcher = await site.start()
    assert list(dispatcher.mappings.mappings) == ["kept"]


async def test_kept_mappings_that_are_no_good_do_not_keep_it_from_what_the_manager_says(site: Site) -> None:
    managed(site)
    site.settings.state_dir.mkdir()
    (site.settings.state_dir / "mappings.last-good.yaml").write_text("version: 9\n", encoding="utf-8")
    site.client.publish(TOPIC, published("v1", "first"), retain=True)
    dispatcher = await site.start()
    assert list(dispatcher.mappings.mappings) == ["first"]


async def test_without_any_set_the_start_fails_and_says_what_is_missing(tmp_path: Path) -> None:
    clock = RealClock("always")
    source = ManagerMappings(
        "home",
        "main",
        tmp_path,
        clock=clock,
        connect=MemoryBroker(clock).connect,
        timezone="UTC",
        root="gpio-bridge",
        told=lambda: None,
        first_s=0.05,
    )
    async with source:
        with pytest.raises(NoMappings, match="start the manager"):
            await source.first()


async def test_a_dispatcher_that_stops_or_is_killed_is_offline(site: Site) -> None:
    site.write_mappings("version: 1\nmappings: {a: {select: {sensor: s}, invoke: f}}\n")
    dispatcher = await site.start()
    await until(lambda: status(site).get("state") == "active", "it is there")
    assert status(site)["mappings"] == {"version": dispatcher.mappings.version, "from": "file", "problem": None}
    site.broker.kill("gpio-bridge-home-dispatcher")
    await until(lambda: status(site)["state"] == "offline", "its will says that it is gone")
    await site.stop()
    await site.start()
    await until(lambda: status(site).get("state") == "active", "it is back")
    await site.stop()
    assert status(site)["state"] == "offline"


async def test_of_a_pair_the_one_at_work_says_which_set_it_runs(site: Site) -> None:
    from bridge.dispatcher.pair import PairedDispatcher

    site.client.publish(TOPIC, published("v1", "first"), retain=True)
    settings = DispatcherSettings(
        state_dir=site.folder / "pair",
        mappings="manager",
        id="one",
        http=HttpSettings(port=0),
        standby=StandbySettings(takeover_after_s=0.1),
    )

    def make() -> Dispatcher:
        return Dispatcher(settings, clock=site.clock, connect=site.broker.connect, invoker=site.invoker)

    def told() -> dict[str, Any]:
        message = site.broker.retained(TOPICS.dispatcher("home", "one", "status"))
        found: dict[str, Any] = orjson.loads(message.payload) if message else {}
        return found

    async with PairedDispatcher(settings, clock=site.clock, connect=site.broker.connect, make=make):
        await until(lambda: told().get("mappings", {}).get("version") == "v1", "it says what it runs")
        assert told()["state"] == "active"
        site.client.publish(TOPIC, published("v2", "second"), retain=True)
        await until(lambda: told().get("mappings", {}).get("version") == "v2", "it says what it runs now")
    assert told()["state"] == "offline"
