"""An onlooker hears what the dispatcher hears, says when it could not, and ends when what it hears cannot be kept."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from bridge.clock import RealClock
from bridge.errors import NotRunning, TransportError
from bridge.mqtt.memory import MemoryBroker
from bridge.mqtt.transport import Connector, Listener, Message, Subscription, Transport
from bridge.testing.onlooker import Onlooker
from bridge.testing.recording import NotRecorded

FILTERS = ("shelly/+",)


def full(_: Message) -> None:
    raise NotRecorded("night.jsonl cannot be written: No space left on device")


def refusing(broker: MemoryBroker) -> Connector:
    """Connects to this broker, which refuses every subscription."""

    def connect(client_id: str, listener: Listener, *, will: Message | None = None) -> Transport:
        transport = broker.connect(client_id, listener, will=will)

        async def refuse(subscriptions: Sequence[Subscription]) -> None:
            raise TransportError(f"the broker refuses {subscriptions[0].filter}")

        transport.subscribe = refuse  # type: ignore[method-assign] # this one transport refuses
        return transport

    return connect


async def test_what_cannot_be_kept_ends_it() -> None:
    clock = RealClock("always")
    broker = MemoryBroker(clock)
    onlooker = Onlooker(broker.connect, clock, FILTERS, heard=full, gap=print)
    speaker = broker.connect("speaker", _Silent())

    def started() -> None:
        speaker.publish(Message("shelly/hall", b"on"))

    async with speaker:
        with pytest.raises(NotRecorded, match="No space left"):
            async with asyncio.timeout(60):
                await onlooker.run(asyncio.Event(), started, address="memory", timeout_s=10)


async def test_a_subscription_that_is_refused_is_said_and_tried_until_the_time_is_over() -> None:
    clock = RealClock("always")
    gaps: list[str] = []
    onlooker = Onlooker(refusing(MemoryBroker(clock)), clock, FILTERS, heard=full, gap=gaps.append)
    with pytest.raises(NotRunning, match=r"no broker answers at memory \(it grants no subscription\)"):
        await onlooker.run(asyncio.Event(), lambda: None, address="memory", timeout_s=0.3)
    assert gaps == ["the broker refuses shelly/+"]


async def test_told_to_stop_before_a_broker_answers_it_stops() -> None:
    clock = RealClock("always")
    broker = MemoryBroker(clock)
    broker.stop()
    stop = asyncio.Event()
    stop.set()
    onlooker = Onlooker(broker.connect, clock, FILTERS, heard=full, gap=print)
    await onlooker.run(stop, lambda: pytest.fail("it has not subscribed"), address="memory", timeout_s=10)


class _Silent:
    """A listener that does nothing."""

    def connected(self, generation: int, *, session_present: bool) -> None:
        pass

    def disconnected(self, generation: int, reason: str) -> None:
        pass

    def received(self, batch: Sequence[object]) -> None:
        pass
