"""The faults of the broker in memory, on a virtual clock: what simulations of the ledger and the outbox stand on."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

import pytest

from bridge.clock import VirtualClock
from bridge.errors import TransportError
from bridge.mqtt.memory import MemoryBroker, MemoryTransport
from bridge.mqtt.transport import Message, Publication, Sent, Subscription
from tests.mqtt.recorder import Recorder


@contextlib.asynccontextmanager
async def client(
    broker: MemoryBroker, clock: VirtualClock, name: str, *filters: str, will: Message | None = None
) -> AsyncIterator[tuple[MemoryTransport, Recorder]]:
    recorder = Recorder()
    transport = broker.connect(name, recorder, will=will)
    recorder.transport = transport
    async with transport:
        await clock.settle()
        await transport.subscribe([Subscription(topic_filter) for topic_filter in filters])
        yield transport, recorder


async def test_a_cut_connection_loses_what_is_on_its_way_and_sends_the_will(
    broker: MemoryBroker, clock: VirtualClock
) -> None:
    async with (
        client(broker, clock, "watcher", "#") as (_, seen),
        client(broker, clock, "c", will=Message("will", b"gone")) as (transport, recorder),
    ):
        transport.publish(Message("a", b"1"), recorder.done("1"))
        broker.drop("c")
        await clock.settle()
        assert recorder.story == ["connected 1 new session", "1 lost", "disconnected 1"]
        assert seen.payloads == ["gone"]
        await clock.advance(0.3)
        assert recorder.story[-1] == "connected 2 old session"


async def test_a_lost_publication_may_have_arrived_nevertheless(broker: MemoryBroker, clock: VirtualClock) -> None:
    async with (
        client(broker, clock, "watcher", "#") as (_, seen),
        client(broker, clock, "c") as (transport, recorder),
    ):
        transport.publish(Message("a", b"1"), recorder.done("1"))
        broker.drop("c", arrived=True)
        await clock.settle()
        assert recorder.story[1:] == ["1 lost", "disconnected 1"]
        assert seen.payloads == ["1"]


async def test_a_stopped_broker_takes_nobody_until_it_is_started(broker: MemoryBroker, clock: VirtualClock) -> None:
    async with client(broker, clock, "c", "a") as (transport, recorder):
        transport.publish(Message("a", b"1"), recorder.done("1"))
        broker.stop()
        await clock.advance(100)
        assert recorder.story == ["connected 1 new session", "1 lost", "disconnected 1"]
        assert transport.status == "no connection to the broker in memory: the broker in memory is stopped"
        broker.start()
        await clock.advance(1)
        assert recorder.story[-1] == "connected 2 old session"
        assert recorder.payloads == []


async def test_a_broker_that_forgets_throws_everybody_out_and_knows_nobody(
    broker: MemoryBroker, clock: VirtualClock
) -> None:
    async with client(broker, clock, "c", "a") as (transport, recorder):
        transport.publish(Message("a", b"1", retain=True))
        await clock.settle()
        assert (broker.queued("c"), broker.subscriptions("c")) == (1, ("a",))
        assert broker.retained("a") == Message("a", b"1", retain=True)
        broker.forget()
        await clock.advance(1)
        assert recorder.story[-1] == "connected 2 new session"
        assert (broker.queued("c"), broker.subscriptions("c"), broker.retained("a")) == (0, (), None)


async def test_refused_topics_are_answered_with_a_code_until_they_are_allowed(
    broker: MemoryBroker, clock: VirtualClock
) -> None:
    async with client(broker, clock, "c", "#") as (transport, recorder):
        broker.refuse("a/#")
        answers: list[Publication] = []
        transport.publish(Message("a/b", b"1"), answers.append)
        transport.publish(Message("b", b"2"))
        await clock.settle()
        assert answers == [Publication(Sent.REFUSED, 0x87, "not authorized")]
        assert recorder.payloads == ["2"]
        broker.allow("a/#")
        transport.publish(Message("a/b", b"3"))
        await clock.settle()
        assert recorder.payloads == ["2", "3"]


async def test_a_message_expires_in_the_queue_and_tells_the_rest_of_its_life(
    broker: MemoryBroker, clock: VirtualClock
) -> None:
    async with client(broker, clock, "c", "a"):
        pass
    async with client(broker, clock, "d") as (transport, _):
        transport.publish(Message("a", b"short", expiry_s=5))
        transport.publish(Message("a", b"long", expiry_s=60))
        await clock.advance(10)
    async with client(broker, clock, "c") as (_, recorder):
        await clock.settle()
        assert recorder.messages == [Message("a", b"long", expiry_s=50)]


async def test_a_subscription_ends_with_the_connection_it_was_asked_on(
    broker: MemoryBroker, clock: VirtualClock
) -> None:
    async with client(broker, clock, "c") as (transport, _):
        broker.stop()
        with pytest.raises(TransportError, match="cannot subscribe now"):
            await transport.subscribe([Subscription("a")])


async def test_the_same_story_is_told_each_time() -> None:
    async def story() -> list[str]:
        clock = VirtualClock()
        broker = MemoryBroker(clock)
        async with client(broker, clock, "c", "a") as (transport, recorder):
            for i in range(20):
                transport.publish(Message("a", str(i).encode()), recorder.done(str(i)))
                if i % 7 == 3:
                    broker.drop("c")
                await clock.advance(0.1)
            return recorder.story + recorder.payloads

    assert await story() == await story()


async def test_a_client_without_its_cable_comes_back_when_it_is_in_again(
    broker: MemoryBroker, clock: VirtualClock
) -> None:
    async with (
        client(broker, clock, "watcher", "#") as (_, seen),
        client(broker, clock, "c", will=Message("will", b"gone")) as (transport, recorder),
    ):
        broker.unplug("c")
        await clock.advance(60)
        assert not transport.connected
        assert seen.payloads == ["gone"]
        broker.plug("c")
        await clock.advance(2)
        assert recorder.story == ["connected 1 new session", "disconnected 1", "connected 2 old session"]


async def test_a_killed_client_is_told_nothing_and_its_session_waits_for_the_next(
    broker: MemoryBroker, clock: VirtualClock
) -> None:
    async with (
        client(broker, clock, "watcher", "will") as (speaker, seen),
        client(broker, clock, "c", "a", will=Message("will", b"gone")) as (killed, recorder),
    ):
        killed.publish(Message("b", b"never sent"), recorder.done("b"))
        broker.kill("c")
        speaker.publish(Message("a", b"for the next"))
        await clock.advance(60)
        assert recorder.story == ["connected 1 new session"]
        assert seen.payloads == ["gone"]
        async with client(broker, clock, "c") as (_, after):
            await clock.settle()
            assert after.story[0] == "connected 1 old session"
            assert after.payloads == ["for the next"]
