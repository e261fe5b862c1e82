"""A lane that does not get on waits on the disk, and nothing else waits for it."""

from __future__ import annotations

from dataclasses import replace

from bridge.core.invocation import Invocation
from bridge.core.retry import Outcome, Verdict
from bridge.dispatcher.settings import LimitSettings
from tests.dispatcher.conftest import FRONT_DOOR, OK, Site, failing, motion, until

MAPPINGS = """
version: 1
mappings:
  stuck:
    select: {sensor: front-door}
    invoke: away
  lamp:
    select: {topic: lamp}
    invoke: there
"""
EVENTS = 300


async def test_rule_9_a_function_that_is_away_holds_up_only_its_own_lane_also_over_a_restart(site: Site) -> None:
    site.settings = replace(site.settings, limits=LimitSettings(open_events=20))
    site.write_mappings(MAPPINGS)
    away = True

    def answer(invocation: Invocation, attempt: int) -> Outcome:
        return failing(404, Verdict.PARKED) if away and invocation.function == "away" else OK

    site.invoker.answer = answer
    dispatcher = await site.start()
    for number in range(1, EVENTS + 1):
        site.client.publish(FRONT_DOOR.text, motion(number))
    await until(lambda: dispatcher.ledger.stored_events > EVENTS / 2, "on the disk")
    site.client.publish("lamp", b"on")
    await until(lambda: any(function == "there" for _, function, _ in site.invoker.calls), "the lamp's function")
    came = "gpio_bridge_dispatcher_events_total"
    await until(lambda: dispatcher.registry.get_sample_value(came) == EVENTS + 1, "all have come")
    await until(lambda: dispatcher.ledger.unacknowledged == 0, "all acknowledged")
    assert (
        dispatcher.registry.get_sample_value("gpio_bridge_dispatcher_stored_events") == dispatcher.ledger.stored_events
    )
    await until(lambda: dispatcher.ledger.open_events == EVENTS, "the lamp's event is finished")

    await site.stop()
    site.invoker.calls.clear()
    dispatcher = await site.start()
    assert dispatcher.ledger.open_events == EVENTS
    away = False
    await until(lambda: dispatcher.ledger.open_events == 0, "all delivered")
    first_attempts = list(dict.fromkeys(site.invoker.ids))
    assert first_attempts == [f"event-{number}:stuck" for number in range(1, EVENTS + 1)]
