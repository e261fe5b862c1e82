"""The audit as people and Prometheus see it."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import aiohttp
import orjson
import pytest

from bridge.core.audit import GRACE_S
from bridge.core.confirm import parse as parse_confirm
from bridge.core.tombstone import Tombstone, encode_tombstone
from tests.damage import damage, everything, set_aside
from tests.dispatcher.conftest import FRONT_DOOR, OK, LaterClock, Site, failing, motion, until

MAPPING = """
version: 1
mappings:
  greet:
    select: {sensor: front-door, event: motion.detected}
    invoke: hello
"""
SOURCE = "/sites/home/nodes/pi-1/sensors/front-door"
MISSING = "gpio_bridge_events_missing_total"
DROPPED = "gpio_bridge_events_dropped_total"


async def audit(site: Site, *, accept: bool = False) -> Any:
    url = site.dispatcher.url + ("/v1/audit/accept" if accept else "/v1/audit")
    async with aiohttp.ClientSession() as session, session.request("POST" if accept else "GET", url) as answer:
        assert answer.status == 200
        return orjson.loads(await answer.read())


async def arrived(site: Site, *sequences: int) -> None:
    for sequence in sequences:
        site.client.publish(FRONT_DOOR.text, motion(sequence))
    await until(lambda: f"event-{sequences[-1]}:greet" in site.invoker.ids, "invoked")
    await until(lambda: site.dispatcher.kept and site.dispatcher.ledger.open_events == 0, "kept")


def confirmed_to(site: Site) -> int:
    return parse_confirm(site.client.messages[-1].payload)["front-door"].sequence if site.client.messages else 0


def drop(first: int, last: int, reason: str = "age") -> bytes:
    return encode_tombstone(
        Tombstone(first, last, reason), at=FRONT_DOOR, epoch="abcd", time=datetime.now(UTC), timesynced=True
    )


async def test_everything_that_arrived_is_accounted_for(site: Site) -> None:
    site.write_mappings(MAPPING)
    dispatcher = await site.start()
    await arrived(site, 1, 2, 3)
    document = await audit(site)
    assert (document["missing"], document["gaps"], document["late"], document["drops"]) == (0, [], [], [])
    assert document["sources"] == [
        {"source": SOURCE, "epoch": "abcd", "first": 1, "last": 3, "count": 3, "begun_before": False}
    ]
    assert dispatcher.registry.get_sample_value(MISSING) == 0


async def test_a_gap_is_late_then_missing_then_closed_by_what_arrives(site: Site, clock: LaterClock) -> None:
    site.write_mappings(MAPPING)
    dispatcher = await site.start()
    await arrived(site, 1, 5)
    document = await audit(site)
    assert document["missing"] == 0
    (late,) = document["late"]
    assert (late["source"], late["epoch"], late["first"], late["last"], late["count"]) == (SOURCE, "abcd", 2, 4, 3)
    clock.ahead_s = GRACE_S + 1
    document = await audit(site)
    assert (document["missing"], document["late"], document["gaps"]) == (3, [], [late])
    assert dispatcher.registry.get_sample_value(MISSING) == 3
    await arrived(site, 2, 3, 4)
    await until(lambda: dispatcher.registry.get_sample_value(MISSING) == 0, "closed")


async def test_a_gap_is_known_after_a_restart(site: Site, clock: LaterClock) -> None:
    site.write_mappings(MAPPING)
    await site.start()
    await arrived(site, 1, 3)
    await site.stop()
    await site.start()
    clock.ahead_s = GRACE_S + 1
    assert [(gap["first"], gap["last"]) for gap in (await audit(site))["gaps"]] == [(2, 2)]


async def test_a_gap_that_a_person_accepts_is_a_drop_from_then_on_also_after_a_restart(
    site: Site, clock: LaterClock
) -> None:
    site.write_mappings(MAPPING)
    dispatcher = await site.start()
    await arrived(site, 1, 4)
    assert (await audit(site, accept=True))["accepted"] == []  # it may still close
    clock.ahead_s = GRACE_S + 1
    answer = await audit(site, accept=True)
    assert [(gap["source"], gap["first"], gap["last"]) for gap in answer["accepted"]] == [(SOURCE, 2, 3)]
    assert answer["missing"] == 0
    assert dispatcher.registry.get_sample_value(MISSING) == 0
    lines = [line for line in dispatcher.feed.recent(100) if line["type"] == "lost"]
    assert [(line["first"], line["last"], line["reason"]) for line in lines] == [(2, 3, "accepted")]
    await site.stop()
    dispatcher = await site.start()
    clock.ahead_s += GRACE_S + 1
    document = await audit(site)
    assert document["missing"] == 0
    assert [(one["source"], one["reason"], one["count"]) for one in document["drops"]] == [(SOURCE, "accepted", 2)]
    await arrived(site, 2, 5)  # what comes all the same is a duplicate
    assert "event-2:greet" not in site.invoker.ids


async def test_rule_7_duplicates_are_counted_per_source(site: Site) -> None:
    site.write_mappings(MAPPING)
    dispatcher = await site.start()
    await arrived(site, 1, 1, 1, 2)
    assert (await audit(site))["duplicates"] == [{"source": SOURCE, "count": 2}]
    assert dispatcher.registry.get_sample_value("gpio_bridge_events_duplicate_total") == 2


async def test_what_an_outbox_dropped_is_named_once_and_after_a_restart(site: Site) -> None:
    site.write_mappings(MAPPING)
    await site.start()
    await arrived(site, 1, 3)
    site.client.publish(FRONT_DOOR.text, drop(2, 5))
    site.client.publish(FRONT_DOOR.text, drop(2, 5))
    site.client.publish(FRONT_DOOR.text, drop(6, 6, "bytes"))
    site.client.publish(FRONT_DOOR.text, drop(1, 6))
    await arrived(site, 7)
    assert site.dispatcher.registry.get_sample_value("gpio_bridge_dispatcher_outbox_dropped_total") == 4
    for _ in range(2):
        document = await audit(site)
        drops = {one["reason"]: one for one in document["drops"]}
        assert {reason: one["count"] for reason, one in drops.items()} == {"age": 3, "bytes": 1}
        assert drops["age"]["latest"] == "2-5 of epoch abcd"
        assert document["late"] == []
        value = site.dispatcher.registry.get_sample_value("gpio_bridge_events_dropped_total", {"reason": "age"})
        assert value == 3
        await site.stop()
        await site.start()


async def test_what_a_rule_of_a_mapping_dropped_is_named_after_a_restart(site: Site, clock: LaterClock) -> None:
    site.write_mappings(MAPPING + "    retry: {attempts: 9, first: 1h, max: 1h}\n    max_age: 1m\n")
    site.invoker.hold = asyncio.Event()
    dispatcher = await site.start()
    site.client.publish(FRONT_DOOR.text, motion(1))
    site.client.publish(FRONT_DOOR.text, motion(2))
    await until(lambda: site.invoker.calls and dispatcher.ledger.open_events == 2, "the lane is held")
    clock.ahead_s = 61
    site.invoker.hold.set()
    await until(lambda: dispatcher.ledger.open_events == 0, "the second is dropped")
    await site.stop()
    await site.start()
    (one,) = (await audit(site))["drops"]
    assert (one["source"], one["reason"], one["count"]) == (SOURCE, "max_age", 1)
    assert one["latest"] == "event-2 for greet"


async def test_a_dispatcher_that_is_new_to_a_sensor_says_nothing_is_missing_before_it(
    site: Site, clock: LaterClock
) -> None:
    site.write_mappings(MAPPING)
    await site.start()
    await arrived(site, 100, 101)
    clock.ahead_s = GRACE_S + 1
    document = await audit(site)
    assert document["missing"] == 0
    assert document["sources"][0]["begun_before"] is True


@pytest.mark.parametrize("known", [True, False])
async def test_what_was_stored_in_a_damaged_journal_is_set_aside_counted_and_named_also_after_a_restart(
    site: Site, known: bool, caplog: pytest.LogCaptureFixture
) -> None:
    site.write_mappings(MAPPING)
    site.invoker.answer = lambda invocation, attempt: failing(503)
    dispatcher = await site.start()
    for sequence in (1, 2, 3):
        site.client.publish(FRONT_DOOR.text, motion(sequence))
    await until(lambda: dispatcher.ledger.open_events == 3 and dispatcher.kept, "stored")
    await until(lambda: confirmed_to(site) == 3, "and confirmed")
    await site.stop()
    file = site.settings.state_dir / "ledger.sqlite"
    if known:
        damage(file, "ids")
    else:
        everything(file)
    site.invoker.answer = lambda invocation, attempt: OK

    for _ in range(2):
        dispatcher = await site.start()
        drops = [(drop["source"], drop["reason"], drop["count"]) for drop in (await audit(site))["drops"]]
        assert drops == ([(SOURCE, "journal damaged", 3)] if known else [])
        value = dispatcher.registry.get_sample_value(DROPPED, {"reason": "journal damaged"})
        assert value == (3 if known else 0)
        await site.stop()
    assert set_aside(file) == [file.with_name("ledger.sqlite.corrupt-1")]
    (told,) = [record for record in caplog.records if record.__dict__.get("op") == "dispatcher.lost"]
    assert told.__dict__["all_known"] is known
    dispatcher = await site.start()
    await arrived(site, 4)


async def test_that_a_journal_was_set_aside_is_a_metric_until_the_next_start(site: Site) -> None:
    site.write_mappings(MAPPING)
    site.settings.state_dir.mkdir()
    (site.settings.state_dir / "ledger.sqlite").write_bytes(b"damaged" * 4096)
    for value in (1, 0):
        dispatcher = await site.start()
        assert dispatcher.registry.get_sample_value("gpio_bridge_dispatcher_quarantined") == value
        await site.stop()
