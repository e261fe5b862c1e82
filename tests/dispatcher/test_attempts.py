"""Attempts under way: they end in order, together or alone, break, or are given up when the dispatcher stops."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import pytest

from bridge.core.event import Event
from bridge.core.invocation import Invocation
from bridge.core.steps import Effect, Ended, Input, Instant
from bridge.dispatcher import attempts as attempts_module
from bridge.dispatcher.dispatcher import Dispatcher
from bridge.dispatcher.invoker import Done
from tests.dispatcher.conftest import FRONT_DOOR, OK, ONE, RecordingInvoker, Site, motion, until


class Held(RecordingInvoker):
    """Lets the test say when an attempt ends."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[Done] = []

    def invoke(self, invocation: Invocation, event: Event, attempt: int, done: Done) -> None:
        self.calls.append((invocation.id, invocation.function, attempt))
        self.told.append(done)


async def one_under_way(site: Site) -> tuple[Dispatcher, asyncio.Event]:
    """An attempt that ends when the event is set, and another event behind it in its lane."""
    site.write_mappings(ONE)
    hold = site.invoker.hold = asyncio.Event()
    dispatcher = await site.start()
    for sequence in (1, 2):
        site.client.publish(FRONT_DOOR.text, motion(sequence))
    await until(lambda: dispatcher.ledger.open_events == 2, "one under way, the other behind it in the lane")
    return dispatcher, hold


async def test_stopping_lets_an_attempt_under_way_end_and_records_it(site: Site) -> None:
    site.write_mappings(ONE)
    site.invoker.hold = asyncio.Event()
    await site.start()
    site.client.publish(FRONT_DOOR.text, motion(1))
    await until(lambda: site.invoker.calls, "under way")
    asyncio.get_running_loop().call_later(0.1, site.invoker.hold.set)
    await site.stop()
    dispatcher = await site.start()
    assert dispatcher.ledger.open_events == 0
    assert site.invoker.ids == ["event-1:greet"]


async def test_stopping_gives_up_an_attempt_that_does_not_end_and_the_next_life_makes_it_again(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempts_module, "DRAIN_S", 0.05)
    site.write_mappings(ONE)
    site.invoker.hold = asyncio.Event()
    await site.start()
    site.client.publish(FRONT_DOOR.text, motion(1))
    await until(lambda: site.invoker.calls, "under way")
    await site.stop()
    site.invoker.hold.set()
    dispatcher = await site.start()
    await until(lambda: dispatcher.ledger.open_events == 0, "finished")
    assert site.invoker.calls == [("event-1:greet", "hello", 1), ("event-1:greet", "hello", 2)]


async def test_stopping_begins_no_attempt_when_one_under_way_ends(site: Site) -> None:
    dispatcher, hold = await one_under_way(site)
    stopping = asyncio.create_task(site.stop())
    await until(lambda: not dispatcher.invoking, "stopping")
    hold.set()
    await stopping
    assert site.invoker.ids == ["event-1:greet"]
    dispatcher = await site.start()
    await until(lambda: dispatcher.ledger.open_events == 0, "finished in the next life")
    assert site.invoker.ids == ["event-1:greet", "event-2:greet"]


async def test_rule_17_a_fenced_dispatcher_hears_of_no_attempt_and_begins_none(site: Site) -> None:
    dispatcher, hold = await one_under_way(site)
    dispatcher.fence()
    hold.set()
    began = asyncio.get_running_loop().time()
    await site.stop()
    assert asyncio.get_running_loop().time() - began < attempts_module.DRAIN_S
    assert site.invoker.ids == ["event-1:greet"]
    assert dispatcher.ledger.open_events == 2


async def test_an_invoker_that_breaks_costs_an_attempt_and_nothing_else(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    class Breaking(RecordingInvoker):
        def invoke(self, invocation: Invocation, event: Event, attempt: int, done: Done) -> None:
            if attempt == 1:
                raise RuntimeError("no idea")
            super().invoke(invocation, event, attempt, done)

    site.write_mappings(ONE)
    site.invoker = Breaking()
    dispatcher = await site.start()
    site.client.publish(FRONT_DOOR.text, motion(1))
    await until(lambda: site.invoker.calls and dispatcher.ledger.open_events == 0, "finished")
    assert site.invoker.calls == [("event-1:greet", "hello", 2)]
    assert "attempt broke" in caplog.text


async def test_what_ends_in_one_turn_of_the_loop_is_one_step_in_its_order(site: Site) -> None:
    site.write_mappings(ONE + "    order: none\n")
    site.invoker.hold = asyncio.Event()
    dispatcher = await site.start()
    for sequence in range(1, 11):
        site.client.publish(FRONT_DOOR.text, motion(sequence))
    await until(lambda: len(site.invoker.calls) == 10, "under way")
    await asyncio.sleep(0)  # the last ones have begun to wait, too
    ended: list[list[str]] = []
    ledger = dispatcher.ledger
    step = ledger.step

    def watched(inputs: Iterable[Input], now: Instant) -> list[Effect]:
        effects = step(inputs, now)
        ended.append([effect.invocation.id for effect in effects if isinstance(effect, Ended)])
        return effects

    ledger.step = watched  # type: ignore[method-assign] # it looks on
    site.invoker.hold.set()
    await until(lambda: dispatcher.ledger.open_events == 0, "finished")
    assert [ids for ids in ended if ids] == [[f"event-{n}:greet" for n in range(1, 11)]]


async def test_what_ends_alone_is_stepped_at_once_and_lets_the_next_of_its_lane_begin(site: Site) -> None:
    site.write_mappings(ONE)
    held = site.invoker = Held()
    dispatcher = await site.start()
    for number in (1, 2):
        site.client.publish(FRONT_DOOR.text, motion(number))
    await until(lambda: dispatcher.ledger.open_invocations == 2, "one under way, one behind it")
    (done,) = held.told
    done(OK)  # as a connection does, from the loop
    assert dispatcher.ledger.open_invocations == 1
    assert site.invoker.ids == ["event-1:greet", "event-2:greet"]
    held.told[1](OK)
    assert dispatcher.ledger.open_invocations == 0
