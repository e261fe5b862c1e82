"""The dispatcher as a whole, over a broker in memory."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import orjson
import pytest

from bridge.core.confirm import parse as parse_confirm
from bridge.core.mapping import MappingSet
from bridge.core.mapping_state import MAX_KEPT, cooldown_change
from bridge.core.retry import Verdict
from bridge.core.tombstone import Tombstone, encode_tombstone
from bridge.dispatcher.mappings import MappingFile
from bridge.errors import ConfigError
from tests.dispatcher.conftest import FRONT_DOOR, ONE, TOPICS, LaterClock, Site, failing, motion, until


async def test_an_event_invokes_the_function_its_mapping_names_and_is_confirmed(site: Site) -> None:
    site.write_mappings(ONE)
    await site.start()
    site.client.publish(FRONT_DOOR.text, motion(1))
    await until(lambda: site.client.messages, "a confirmation")
    assert site.invoker.calls == [("event-1:greet", "hello", 1)]
    (message,) = site.client.messages
    assert message.topic == TOPICS.confirm("home", "pi-1")
    assert parse_confirm(message.payload)["front-door"][:2] == ("abcd", 1)


async def test_rule_7_an_event_that_arrives_again_after_a_restart_is_not_invoked_again(site: Site) -> None:
    site.write_mappings(ONE)
    await site.start()
    site.client.publish(FRONT_DOOR.text, motion(1))
    await until(lambda: site.client.messages, "a confirmation")
    await site.stop()
    await site.start()
    site.client.messages.clear()
    site.client.publish(FRONT_DOOR.text, motion(1))
    site.client.publish(FRONT_DOOR.text, motion(2))
    await until(lambda: len(site.invoker.calls) == 2, "the second event")
    assert site.invoker.ids == ["event-1:greet", "event-2:greet"]
    await until(lambda: site.client.messages, "the first one is confirmed again, for who has not heard it")


async def test_rule_8_what_is_not_finished_survives_a_restart_and_its_pause_too(site: Site, clock: LaterClock) -> None:
    site.write_mappings(ONE.replace("first: 10ms, max: 20ms", "first: 1h, max: 1h"))
    site.invoker.answer = lambda invocation, attempt: failing(503)
    await site.start()
    site.client.publish(FRONT_DOOR.text, motion(1))
    await until(lambda: site.client.messages, "stored, hence confirmed")
    await site.stop()
    site.invoker.calls.clear()
    site.invoker.answer = lambda invocation, attempt: failing(200, Verdict.SUCCEEDED)
    await site.start()
    assert site.dispatcher.ledger.open_events == 1
    await site.stop()
    assert site.invoker.calls == []
    clock.ahead_s = 3600.0
    dispatcher = await site.start()
    await until(lambda: site.invoker.calls, "the attempt after its pause")
    assert site.invoker.calls == [("event-1:greet", "hello", 2)]
    await until(lambda: dispatcher.ledger.open_events == 0, "finished")


async def test_mapping_state_that_gives_way_to_newer_is_counted_and_told_once(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    once = "    cooldown: 1h\n"
    other = "  wave:\n    select: {sensor: front-door}\n    invoke: hello\n"
    site.write_mappings(ONE + once + other + once)
    dispatcher = await site.start()
    begun = (site.clock.now(),)
    dispatcher.ledger.state.apply(cooldown_change(f"greet|sensor-{at}", begun) for at in range(MAX_KEPT))
    site.client.publish(FRONT_DOOR.text, motion(1))
    await until(lambda: len(site.invoker.calls) == 2, "both invoked")
    assert len(dispatcher.ledger.state.cooldowns) == MAX_KEPT
    name = "gpio_bridge_dispatcher_mapping_state_forgotten_total"
    assert dispatcher.registry.get_sample_value(name, {"kind": "cooldown"}) == 2
    assert dispatcher.registry.get_sample_value(name, {"kind": "waiting"}) == 0
    told = [record for record in caplog.records if record.message.startswith("too much mapping state")]
    assert [vars(record)["what"] for record in told] == ["cooldown|greet|sensor-0"]


async def test_rule_11_a_function_the_gateway_does_not_know_is_parked_and_served_when_it_is_there(site: Site) -> None:
    site.write_mappings(ONE)
    known = False
    site.invoker.answer = lambda invocation, attempt: (
        failing(200, Verdict.SUCCEEDED) if known else failing(404, Verdict.PARKED)
    )
    dispatcher = await site.start()
    for sequence in (1, 2, 3):
        site.client.publish(FRONT_DOOR.text, motion(sequence))
    await until(lambda: "functions" in dispatcher.health.not_ready(), "parked")
    assert dispatcher.health.not_ready()["functions"] == "hello is parked: HTTP 404"
    await until(lambda: dispatcher.ledger.open_events == 3, "all have come")
    known = True
    await until(lambda: dispatcher.ledger.open_events == 0, "all served")
    assert list(dict.fromkeys(site.invoker.ids)) == ["event-1:greet", "event-2:greet", "event-3:greet"]
    assert "functions" not in dispatcher.health.not_ready()


async def test_rule_12_what_cannot_be_read_is_a_dead_letter_and_nothing_dies(site: Site) -> None:
    site.write_mappings(ONE)
    dispatcher = await site.start()
    for payload in (b"", b"rubbish", b"\xff\xfe", b"[" * 500, b'{"specversion": "1.0"}', b"x" * 70_000):
        site.client.publish(FRONT_DOOR.text, payload)
    forged = orjson.loads(motion(5))
    forged["source"] = "/sites/home/nodes/pi-2/sensors/front-door"
    site.client.publish(FRONT_DOOR.text, orjson.dumps(forged))
    site.client.publish(FRONT_DOOR.text, motion(1))
    await until(lambda: site.invoker.calls, "the event after the rubbish")
    assert site.invoker.ids == ["event-1:greet"]
    assert dispatcher.registry.get_sample_value("gpio_bridge_dispatcher_dead_letters_total") == 7
    await until(lambda: dispatcher.ledger.unacknowledged == 0, "all acknowledged")


async def test_rule_5_a_retained_message_never_fires(site: Site) -> None:
    site.write_mappings(ONE)
    site.client.publish(FRONT_DOOR.text, motion(1), retain=True)
    dispatcher = await site.start()
    site.client.publish(FRONT_DOOR.text, motion(2))
    await until(lambda: site.invoker.calls, "the live event")
    assert site.invoker.ids == ["event-2:greet"]
    ignored = dispatcher.registry.get_sample_value("gpio_bridge_dispatcher_ignored_total", {"why": "retained"})
    assert ignored == 1


async def test_rule_6_a_subscription_that_is_no_longer_wanted_is_given_up(site: Site) -> None:
    foreign = "version: 1\nmappings:\n  lamp:\n    select: {topic: zigbee2mqtt/+}\n    invoke: hello\n"
    site.write_mappings(foreign)
    await site.start()
    site.client.publish("zigbee2mqtt/lamp", b'{"on": true}')
    await until(lambda: len(site.invoker.calls) == 1, "the foreign message")
    await site.stop()
    site.write_mappings(ONE)
    dispatcher = await site.start()
    site.client.publish("zigbee2mqtt/lamp", b'{"on": false}')
    site.client.publish(FRONT_DOOR.text, motion(1))
    await until(lambda: len(site.invoker.calls) == 2, "the event")
    assert site.invoker.calls[1][0] == "event-1:greet"
    assert "zigbee2mqtt/+" not in dispatcher.wanted()


async def test_a_changed_mapping_file_is_in_force_without_a_restart(site: Site) -> None:
    site.write_mappings(ONE)
    dispatcher = await site.start()
    before = dispatcher.mappings.version
    site.write_mappings(ONE.replace("invoke: hello", "invoke: other"))
    await until(lambda: dispatcher.mappings.version != before, "the new version")
    site.client.publish(FRONT_DOOR.text, motion(1))
    await until(lambda: site.invoker.calls, "the invocation")
    assert site.invoker.calls == [("event-1:greet", "other", 1)]


async def test_a_mapping_file_that_changes_while_the_dispatcher_starts_is_in_force_soon(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.write_mappings(ONE)
    first = MappingFile.first

    async def first_and_then_another(self: MappingFile) -> MappingSet:
        found = await first(self)
        site.write_mappings(ONE.replace("invoke: hello", "invoke: other"))
        return found

    monkeypatch.setattr(MappingFile, "first", first_and_then_another)
    dispatcher = await site.start()
    await until(lambda: dispatcher.mappings.mappings["greet"].function == "other", "the new version")


async def test_a_dispatcher_is_not_ready_before_it_has_subscribed_to_what_a_changed_mapping_selects(
    site: Site,
) -> None:
    site.write_mappings(ONE)
    dispatcher = await site.start()
    site.write_mappings(ONE + "  lamp: {select: {topic: lamp}, invoke: hello}\n")
    async with asyncio.timeout(60):
        while "lamp" not in site.broker.subscriptions("gpio-bridge-home-dispatcher"):
            if "lamp" in dispatcher.mappings.mappings:
                assert "subscriptions" in dispatcher.health.not_ready()
            await asyncio.sleep(0)
    await until(lambda: "subscriptions" not in dispatcher.health.not_ready(), "ready again")


async def test_a_broken_mapping_file_keeps_the_old_set_and_says_why_also_after_a_restart(site: Site) -> None:
    site.write_mappings(ONE)
    dispatcher = await site.start()
    site.write_mappings(ONE.replace("invoke:", "invokes:"))
    await until(lambda: dispatcher.mapping_problem, "the refusal")
    assert "mappings.yaml:6" in dispatcher.health.not_ready()["mappings"]
    await site.stop()
    dispatcher = await site.start()
    assert "mappings" in dispatcher.health.not_ready()
    site.client.publish(FRONT_DOOR.text, motion(1))
    await until(lambda: site.invoker.calls, "the old mapping still serves")


@pytest.mark.parametrize("left", [b"", b"mappings: {caf\xe9: 1}", b"version: 9\n"])
async def test_a_start_with_a_broken_mapping_file_names_that_and_not_the_kept_one_which_a_power_cut_broke(
    site: Site, left: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    site.write_mappings(ONE.replace("invoke:", "invokes:"))
    site.settings.state_dir.mkdir()
    (site.settings.state_dir / "mappings.last-good.yaml").write_bytes(left)
    with pytest.raises(ConfigError, match=r"/mappings\.yaml:6:") as raised:
        await site.start()
    assert "last-good" not in str(raised.value)
    assert "mappings.kept" in {record.__dict__.get("op") for record in caplog.records}


async def test_a_good_mapping_file_is_in_force_also_when_the_state_folder_takes_no_copy(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    site.write_mappings(ONE)
    await site.start()
    kept = site.settings.state_dir / "mappings.last-good.new"
    kept.mkdir()  # for root, whom no permission stops
    site.write_mappings(ONE.replace("hello", "goodbye"))
    await until(lambda: "mappings.keep" in {record.__dict__.get("op") for record in caplog.records}, "told")
    await until(lambda: site.dispatcher.mappings.mappings["greet"].function == "goodbye", "in force")


async def test_rule_15_a_node_that_goes_offline_calls_off_what_waits_for_it_but_a_late_will_does_not(
    site: Site,
) -> None:
    site.write_mappings(ONE + "    for: 1h\n")
    dispatcher = await site.start()
    status = TOPICS.status("home", "pi-1")
    site.client.publish(status, b'{"version": 1, "state": "online", "session": "new"}', retain=True)
    site.client.publish(FRONT_DOOR.text, motion(1))
    await until(lambda: dispatcher.ledger.waiting == 1, "waiting")
    site.client.publish(status, b'{"version": 1, "state": "offline", "session": "old"}', retain=True)
    site.client.publish(FRONT_DOOR.text, motion(2, name="motion.detected"))
    await until(lambda: dispatcher.ledger.unacknowledged == 0, "read")
    assert dispatcher.ledger.waiting == 1
    site.client.publish(status, b'{"version": 1, "state": "offline", "session": "new"}', retain=True)
    await until(lambda: dispatcher.ledger.waiting == 0, "called off")


async def test_an_event_from_a_clock_in_1970_is_judged_by_its_receipt(site: Site) -> None:
    site.write_mappings(ONE + "    max_age: 1m\n")
    await site.start()
    stamped = orjson.loads(motion(1, time=datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=40)))
    stamped["timesynced"] = False
    site.client.publish(FRONT_DOOR.text, orjson.dumps(stamped))
    await until(lambda: site.invoker.calls, "fired")


async def test_rule_2_a_dispatcher_that_lost_its_disk_confirms_only_what_it_has_seen(site: Site) -> None:
    site.write_mappings(ONE)
    await site.start()
    site.client.publish(FRONT_DOOR.text, motion(4))
    await until(lambda: site.client.messages, "a confirmation")
    said = parse_confirm(site.client.messages[-1].payload)["front-door"]
    assert said.sequence == 0
    assert said.runs == ((4, 4),)
    for sequence in (1, 2, 3):
        site.client.publish(FRONT_DOOR.text, motion(sequence))
    await until(
        lambda: parse_confirm(site.client.messages[-1].payload)["front-door"].sequence == 4, "the gap is closed"
    )
    assert sorted(site.invoker.ids) == [f"event-{n}:greet" for n in (1, 2, 3, 4)]


async def test_a_tombstone_closes_the_gap_of_what_an_outbox_had_to_drop(site: Site) -> None:
    site.write_mappings(ONE)
    dispatcher = await site.start()
    site.client.publish(FRONT_DOOR.text, motion(1))
    stone = encode_tombstone(
        Tombstone(2, 5, "events"), at=FRONT_DOOR, epoch="abcd", time=datetime.now(UTC), timesynced=True
    )
    site.client.publish(FRONT_DOOR.text, stone)
    site.client.publish(FRONT_DOOR.text, motion(6))
    await until(
        lambda: site.client.messages and parse_confirm(site.client.messages[-1].payload)["front-door"].sequence == 6,
        "no gap",
    )
    assert site.invoker.ids == ["event-1:greet", "event-6:greet"]
    assert dispatcher.registry.get_sample_value("gpio_bridge_events_dropped_total", {"reason": "events"}) == 4
