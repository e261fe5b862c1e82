"""Subscribing: the broker is asked with each connection, and again after a refusal, which is told once."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence

import pytest

from bridge.clock import VirtualClock
from bridge.errors import TransportError
from bridge.mqtt.memory import MemoryBroker
from bridge.mqtt.subscribing import SUBSCRIBE_AGAIN_S, Subscribing
from bridge.mqtt.transport import Delivery, Subscription

CLIENT = "c"
FORBIDDEN = "the broker refused to subscribe to a (not authorized)"


class Program:
    """A listener that wants to hear `wanted`; while `refusal` is there, it is the broker's answer."""

    def __init__(self, broker: MemoryBroker, clock: VirtualClock) -> None:
        self.transport = broker.connect(CLIENT, self)
        self.subscribing = Subscribing(self.transport, clock, self._ask, self.told)
        self.wanted = "a"
        self.refusal: Exception | None = None
        self.asked = 0
        self.refused: list[str] = []
        self.answering = asyncio.Event()
        self.answering.set()

    async def _ask(self) -> None:
        self.asked += 1
        wanted, refusal = self.wanted, self.refusal
        await self.answering.wait()
        if refusal is not None:
            raise refusal
        await self.transport.subscribe([Subscription(wanted)])

    def told(self, why: str) -> None:
        self.refused.append(why)

    def connected(self, generation: int, *, session_present: bool) -> None:
        self.subscribing.connected()

    def disconnected(self, generation: int, reason: str) -> None:
        """The transport's status says it."""

    def received(self, batch: Sequence[Delivery]) -> None:
        """Nothing is sent here."""


@contextlib.asynccontextmanager
async def running(
    broker: MemoryBroker, clock: VirtualClock, refusal: str | None = None
) -> AsyncIterator[tuple[Program, asyncio.Task[None]]]:
    program = Program(broker, clock)
    program.refusal = TransportError(refusal) if refusal is not None else None
    task = asyncio.create_task(program.subscribing.run())
    async with program.transport:
        await clock.settle()
        yield program, task
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_what_is_wanted_is_heard_once_the_broker_agrees(broker: MemoryBroker, clock: VirtualClock) -> None:
    async with running(broker, clock) as (program, _):
        assert broker.subscriptions(CLIENT) == ("a",)
        assert program.subscribing.problem is None
        await clock.advance(10 * SUBSCRIBE_AGAIN_S)
        assert (program.asked, program.refused) == (1, [])


async def test_each_connection_is_asked_anew(broker: MemoryBroker, clock: VirtualClock) -> None:
    async with running(broker, clock) as (program, _):
        broker.forget()
        await clock.advance(2)
        assert broker.subscriptions(CLIENT) == ("a",)
        assert (program.asked, program.subscribing.problem) == (2, None)


async def test_before_there_is_an_answer_health_says_why(broker: MemoryBroker, clock: VirtualClock) -> None:
    broker.stop()
    async with running(broker, clock) as (program, _):
        assert program.subscribing.problem == "no connection to the broker in memory: the broker in memory is stopped"
        program.answering.clear()
        broker.start()
        await clock.advance(2)
        assert program.subscribing.problem == "not subscribed yet"
        program.answering.set()
        await clock.settle()
        assert program.subscribing.problem is None


async def test_a_refusal_is_told_once_and_the_broker_asked_again_until_it_agrees(
    broker: MemoryBroker, clock: VirtualClock
) -> None:
    async with running(broker, clock, FORBIDDEN) as (program, _):
        assert (program.asked, program.subscribing.problem) == (1, FORBIDDEN)
        await clock.advance(SUBSCRIBE_AGAIN_S - 0.1)
        assert program.asked == 1
        await clock.advance(0.2)
        assert (program.asked, program.refused) == (2, [FORBIDDEN])
        program.refusal = None
        await clock.advance(SUBSCRIBE_AGAIN_S)
        assert (program.asked, program.subscribing.problem) == (3, None)
        assert broker.subscriptions(CLIENT) == ("a",)


async def test_another_reason_is_told_too_and_the_same_one_on_another_connection(
    broker: MemoryBroker, clock: VirtualClock
) -> None:
    async with running(broker, clock, FORBIDDEN) as (program, _):
        program.refusal = TransportError("quota exceeded")
        await clock.advance(SUBSCRIBE_AGAIN_S)
        broker.drop(CLIENT)
        await clock.advance(2)
        assert program.refused == [FORBIDDEN, "quota exceeded", "quota exceeded"]


async def test_a_new_connection_does_not_wait_for_the_refusal_of_the_last_one(
    broker: MemoryBroker, clock: VirtualClock
) -> None:
    async with running(broker, clock, FORBIDDEN) as (program, _):
        broker.drop(CLIENT)
        program.refusal = None
        await clock.advance(2)
        assert clock.monotonic() < SUBSCRIBE_AGAIN_S
        assert (program.asked, program.subscribing.problem) == (2, None)
        await clock.advance(2 * SUBSCRIBE_AGAIN_S)
        assert program.asked == 2


async def test_a_connection_that_ends_before_the_answer_is_no_refusal(
    broker: MemoryBroker, clock: VirtualClock
) -> None:
    async with running(broker, clock) as (program, _):
        program.answering.clear()
        broker.drop(CLIENT)
        await clock.advance(2)
        assert program.asked == 2
        broker.stop()
        await clock.settle()
        program.answering.set()
        await clock.advance(2 * SUBSCRIBE_AGAIN_S)
        assert (program.asked, program.refused) == (2, [])
        assert "stopped" in (program.subscribing.problem or "")


async def test_an_answer_to_the_connection_before_says_nothing_of_this_one(
    broker: MemoryBroker, clock: VirtualClock
) -> None:
    async with running(broker, clock) as (program, _):
        program.answering.clear()
        program.refusal = TransportError("the connection ended before the broker answered")
        broker.drop(CLIENT)
        await clock.advance(2)
        program.refusal = None
        broker.drop(CLIENT)
        await clock.advance(2)
        assert (program.asked, program.transport.generation) == (2, 3)
        program.answering.set()
        await clock.settle()
        assert (program.asked, program.refused, program.subscribing.problem) == (3, [], None)


async def test_what_is_wanted_meanwhile_is_asked_for_after_the_answer(
    broker: MemoryBroker, clock: VirtualClock
) -> None:
    async with running(broker, clock) as (program, _):
        program.answering.clear()
        program.subscribing.again()
        await clock.settle()
        program.wanted = "b"
        program.subscribing.again()
        program.answering.set()
        await clock.settle()
        assert set(broker.subscriptions(CLIENT)) == {"a", "b"}
        assert program.asked == 3


async def test_what_is_wanted_while_nobody_is_there_waits_for_the_connection(
    broker: MemoryBroker, clock: VirtualClock
) -> None:
    async with running(broker, clock) as (program, _):
        broker.stop()
        await clock.settle()
        program.wanted = "b"
        program.subscribing.again()
        await clock.advance(2 * SUBSCRIBE_AGAIN_S)
        assert program.refused == []
        broker.start()
        await clock.advance(2)
        assert "b" in broker.subscriptions(CLIENT)


async def test_a_mistake_in_what_is_asked_for_ends_it(broker: MemoryBroker, clock: VirtualClock) -> None:
    async with running(broker, clock) as (program, task):
        program.refusal = ValueError("a mistake")
        program.subscribing.again()
        await clock.settle()
        with pytest.raises(ValueError, match="a mistake"):
            task.result()


async def test_one_that_was_cancelled_asks_no_more(broker: MemoryBroker, clock: VirtualClock) -> None:
    async with running(broker, clock, FORBIDDEN) as (program, task):
        task.cancel()
        await clock.advance(2 * SUBSCRIBE_AGAIN_S)
        assert (task.cancelled(), program.asked) == (True, 1)
