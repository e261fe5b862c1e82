"""Rule 14: what waited somewhere is backlog; `backlog: latest` keeps one event of it per lane."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import orjson

from bridge.clock import VirtualClock
from bridge.core.event import Event, parse
from bridge.dispatcher.backlog import LONGEST_S, Backlog
from tests.dispatcher.conftest import FRONT_DOOR, TOPICS, LaterClock, Site, motion, until

LATEST = """
version: 1
mappings:
  level:
    select: {sensor: front-door, event: motion.detected}
    invoke: hello
    backlog: latest
"""
PLACE = ("home", "pi-1")


def event(time: datetime, *, timesynced: bool = True) -> Event:
    document = orjson.loads(motion(1, time=time))
    document["timesynced"] = timesynced
    return parse(orjson.dumps(document), FRONT_DOOR)


async def test_until_the_marker_is_back_only_what_happened_before_is_backlog() -> None:
    clock = VirtualClock()
    ended: list[bool] = []
    backlog = Backlog(clock, lambda: ended.append(True))
    now = clock.now()
    assert not backlog.holds(event(now - timedelta(hours=1)))
    backlog.begin("m1")
    assert backlog.holds(event(now - timedelta(seconds=1)))
    assert not backlog.holds(event(now))
    assert backlog.holds(event(now, timesynced=False))
    backlog.returned("m0")
    assert ended == []
    backlog.returned("m1")
    assert backlog.over
    assert ended == [True]


async def test_a_node_is_behind_from_when_it_came_until_its_outbox_is_empty() -> None:
    clock = VirtualClock()
    ended: list[bool] = []
    backlog = Backlog(clock, lambda: ended.append(True))
    backlog.came(PLACE, 3)
    assert backlog.waits(PLACE)
    assert backlog.holds(event(clock.now() - timedelta(seconds=1)))
    assert not backlog.holds(event(clock.now() + timedelta(seconds=1)))
    backlog.caught_up(PLACE)
    backlog.caught_up(PLACE)
    assert backlog.over
    assert ended == [True]
    backlog.came(PLACE, 0)
    assert backlog.over


async def test_nothing_is_waited_for_longer_than_a_minute() -> None:
    clock = VirtualClock()
    backlog = Backlog(clock, lambda: None)
    backlog.begin("never back")
    backlog.came(PLACE, 1)
    over = []
    for seconds in (LONGEST_S - 1, 2):
        await clock.advance(seconds)
        over.append(backlog.over)
    assert over == [False, True]


async def test_rule_14_latest_fires_once_for_what_waited_in_the_broker(site: Site) -> None:
    site.write_mappings(LATEST)
    await site.start()
    await site.stop()
    old = datetime.now(UTC) - timedelta(minutes=5)
    for sequence in (1, 2, 3):
        site.client.publish(FRONT_DOOR.text, motion(sequence, time=old + timedelta(seconds=sequence)))
    dispatcher = await site.start()
    await until(lambda: site.invoker.calls, "the latest")
    site.client.publish(FRONT_DOOR.text, motion(4))
    await until(lambda: len(site.invoker.calls) == 2, "the live one")
    assert site.invoker.ids == ["event-3:level", "event-4:level"]
    dropped = dispatcher.registry.get_sample_value(
        "gpio_bridge_dispatcher_dropped_total", {"mapping": "level", "why": "backlog latest"}
    )
    assert dropped == 2
    await until(lambda: dispatcher.ledger.unacknowledged == 0, "all acknowledged")


async def test_rule_14_latest_fires_once_for_what_waited_in_a_node(site: Site) -> None:
    site.write_mappings(LATEST)
    dispatcher = await site.start()
    status = TOPICS.status(*PLACE)
    site.client.publish(status, b'{"version":1,"state":"online","session":"s","backlog":2}', retain=True)
    old = datetime.now(UTC) - timedelta(minutes=5)
    for sequence in (1, 2):
        site.client.publish(FRONT_DOOR.text, motion(sequence, time=old + timedelta(seconds=sequence)))
    await until(lambda: dispatcher.ledger.slots == {PLACE} and dispatcher.ledger.open_invocations == 1, "one slot")
    assert site.invoker.calls == []
    site.client.publish(status, b'{"version":1,"state":"online","session":"s","backlog":0}', retain=True)
    await until(lambda: site.invoker.calls, "the latest")
    assert site.invoker.ids == ["event-2:level"]


async def test_rule_14_a_live_event_takes_the_place_of_the_slot(site: Site) -> None:
    site.write_mappings(LATEST)
    await site.start()
    site.client.publish(TOPICS.status(*PLACE), b'{"version":1,"state":"online","session":"s","backlog":2}', retain=True)
    site.client.publish(FRONT_DOOR.text, motion(1, time=datetime.now(UTC) - timedelta(minutes=5)))
    site.client.publish(FRONT_DOOR.text, motion(2, time=datetime.now(UTC) + timedelta(seconds=5)))
    await until(lambda: site.invoker.calls, "the live one")
    assert site.invoker.ids == ["event-2:level"]


async def test_rule_15_after_a_restart_an_overdue_for_waits_for_the_backlog_which_may_call_it_off(
    site: Site, clock: LaterClock
) -> None:
    site.write_mappings(LATEST.replace("backlog: latest", "for: 1h"))
    await site.start()
    began = datetime.now(UTC)
    site.client.publish(FRONT_DOOR.text, motion(1, time=began))
    await until(lambda: site.client.messages, "stored")
    await site.stop()
    ended_at = began + timedelta(minutes=10)
    site.client.publish(FRONT_DOOR.text, motion(2, name="motion.ended", time=ended_at))
    clock.ahead_s = 2 * 3600
    dispatcher = await site.start()
    await until(lambda: dispatcher.ledger.open_events == 0, "decided")
    assert site.invoker.calls == []
