"""A decision that breaks ends the dispatcher; what broke it three times is not handled again."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest

from bridge.core.quarantine import CRASHES
from bridge.dispatcher.dispatcher import Dispatcher
from bridge.errors import BrokenDecision
from bridge.ulid import mint
from tests.dispatcher.conftest import FRONT_DOOR, Site, motion, until

MAPPINGS = """
version: 1
mappings:
  lamp:
    select: [{topic: lamp}, {sensor: front-door}]
    invoke: hello
"""


class Mint:
    """Makes ids; told so, it breaks when it is asked for the next one but as many as `good`."""

    def __init__(self) -> None:
        self.good: int | None = None

    def __call__(self) -> str:
        if self.good is not None:
            self.good -= 1
            if self.good < 0:
                raise RuntimeError("no more ids")
        return mint(datetime.now(UTC))


async def broken(dispatcher: Dispatcher) -> None:
    with pytest.raises(BrokenDecision):
        await asyncio.wait_for(dispatcher.failed(), 60)


async def ended_three_times(site: Site) -> Dispatcher:
    """A message on `lamp` has ended the dispatcher three times, and it is started for the fourth."""
    site.mint_id = Mint()
    dispatcher = await site.start()
    site.mint_id.good = 0
    site.client.publish("lamp", b"on")
    for _ in range(CRASHES):
        await broken(dispatcher)
        await site.stop()
        site.mint_id.good = 1  # the marker's; the message comes again, as nobody has acknowledged it
        dispatcher = await site.start(subscribed=False)
    # The fourth time it is not read: the id is that of its dead letter.
    site.mint_id.good = None
    await site.stop()
    return await site.start()


async def test_rule_12_what_ended_the_dispatcher_three_times_is_a_dead_letter(site: Site) -> None:
    site.write_mappings(MAPPINGS)
    dispatcher = await ended_three_times(site)
    await until(
        lambda: dispatcher.registry.get_sample_value("gpio_bridge_dispatcher_dead_letters_total") == 1, "quarantined"
    )
    assert site.invoker.calls == []
    site.client.publish(FRONT_DOOR.text, motion(1))
    await until(lambda: site.invoker.ids == ["event-1:lamp"], "others go on")
    (line,) = [line for line in dispatcher.feed.recent(10) if line["type"] == "deadletter"]
    assert line["reason"] == "quarantined: handling it has ended the dispatcher 3 times"


async def test_what_ended_the_dispatcher_once_and_is_handled_well_is_no_longer_suspect(site: Site) -> None:
    site.write_mappings(MAPPINGS)
    site.mint_id = Mint()
    dispatcher = await site.start()
    for number in range(1, CRASHES + 2):
        site.mint_id.good = 0
        site.client.publish("lamp", b"on")
        await broken(dispatcher)
        await site.stop()
        site.mint_id.good = None
        dispatcher = await site.start()
        await until(lambda number=number: len(site.invoker.calls) == number, "handled well")  # type: ignore[misc]


async def test_another_mapping_set_lifts_the_quarantine(site: Site) -> None:
    site.write_mappings(MAPPINGS)
    dispatcher = await ended_three_times(site)
    await until(lambda: dispatcher.feed.recent(10), "quarantined")
    site.write_mappings(MAPPINGS.replace("hello", "there"))
    await until(lambda: dispatcher.mappings.mappings["lamp"].function == "there", "in force")
    site.client.publish("lamp", b"on")
    await until(lambda: site.invoker.calls, "handled again")


async def test_a_decision_that_broke_keeps_nothing_and_the_event_comes_again(site: Site) -> None:
    site.write_mappings(MAPPINGS)
    site.mint_id = Mint()
    dispatcher = await site.start()

    def boom(row: tuple[object, ...]) -> None:
        raise RuntimeError("no more traces")

    dispatcher.feed.keep = boom
    site.client.publish(FRONT_DOOR.text, motion(1))
    await broken(dispatcher)
    assert dispatcher.step(()) == []
    await site.stop()
    dispatcher = await site.start()
    await until(lambda: site.invoker.ids == ["event-1:lamp"], "after the restart")
