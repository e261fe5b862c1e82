"""One suite for both transports: what a program may rely on holds in memory and over paho with a real Mosquitto."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import pytest

from bridge.clock import RealClock
from bridge.errors import TopicError, TransportError
from bridge.mqtt.memory import MemoryBroker
from bridge.mqtt.paho import connector
from bridge.mqtt.transport import Connector, Message, Subscription, Transport
from tests.mosquitto import Mosquitto
from tests.mqtt.recorder import Recorder, until


class Bench(Protocol):
    """A broker and the way to it."""

    @property
    def connect(self) -> Connector: ...
    def stop(self) -> None: ...
    def start(self) -> None: ...
    def wipe(self) -> None: ...


class MemoryBench:
    def __init__(self) -> None:
        self.broker = MemoryBroker(RealClock(), receive_maximum=100)

    @property
    def connect(self) -> Connector:
        return self.broker.connect

    def stop(self) -> None:
        self.broker.stop()

    def start(self) -> None:
        self.broker.start()

    def wipe(self) -> None:
        self.broker.forget()


class MosquittoBench:
    def __init__(self, folder: Path) -> None:
        self.broker = Mosquitto(folder)
        self.connect = connector(replace(self.broker.settings, receive_maximum=100), RealClock())

    def stop(self) -> None:
        self.broker.stop()

    def start(self) -> None:
        self.broker.start()

    def wipe(self) -> None:
        self.broker.wipe()


@pytest.fixture(params=["memory", "mosquitto"])
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    if request.param == "memory":
        yield MemoryBench()
        return
    found = MosquittoBench(tmp_path)
    with found.broker:
        yield found


@contextlib.asynccontextmanager
async def client(
    bench: Bench, name: str, *subscriptions: Subscription, acknowledges: bool = True, will: Message | None = None
) -> AsyncIterator[tuple[Transport, Recorder]]:
    recorder = Recorder(acknowledges=acknowledges)
    transport = bench.connect(name, recorder, will=will)
    recorder.transport = transport
    async with transport:
        await recorder.up()
        if subscriptions:
            await transport.subscribe(subscriptions)
        yield transport, recorder


def text(topic: str, payload: str, *, retain: bool = False) -> Message:
    return Message(topic, payload.encode(), retain=retain)


def state(transport: Transport) -> tuple[bool, int, str | None]:
    """Connected, generation, status; read anew each time, which the type checker does not expect of properties."""
    return transport.connected, transport.generation, transport.status


async def test_a_message_reaches_a_subscriber_with_everything_it_carries(bench: Bench) -> None:
    sent = Message(
        "a/b", b'{"x": 1}', content_type="application/json", expiry_s=60, user_properties=(("k", "v"), ("k", "w"))
    )
    async with client(bench, "c", Subscription("a/+")) as (transport, recorder):
        transport.publish(sent, recorder.done("it"))
        await recorder.got(1)
        await until(lambda: "it accepted" in recorder.story, "the answer")
    assert recorder.messages == [sent]
    assert recorder.deliveries[0].generation == 1
    assert recorder.deliveries[0].packet_id > 0


async def test_qos_0_has_no_packet_id_and_is_accepted_when_it_is_written(bench: Bench) -> None:
    async with client(bench, "c", Subscription("a", qos=1)) as (transport, recorder):
        transport.publish(Message("a", b"x", qos=0), recorder.done("it"))
        await recorder.got(1)
        await until(lambda: "it accepted" in recorder.story, "the answer")
    assert recorder.deliveries[0].packet_id == 0
    assert recorder.messages[0].qos == 0


async def test_nothing_is_told_inside_the_call_of_publish_while_connected(bench: Bench) -> None:
    async with client(bench, "c", Subscription("a")) as (transport, recorder):
        transport.publish(text("a", "1"), recorder.done("it"))
        assert recorder.story == ["connected 1 new session"]
        assert recorder.payloads == []
        await recorder.got(1)


async def test_messages_and_answers_keep_their_order(bench: Bench) -> None:
    async with client(bench, "c", Subscription("a")) as (transport, recorder):
        for i in range(300):
            transport.publish(text("a", str(i)), recorder.done(str(i)))
        await recorder.got(300)
        await until(lambda: len(recorder.story) == 301, "all answers")
    assert recorder.payloads == [str(i) for i in range(300)]
    assert recorder.story[1:301] == [f"{i} accepted" for i in range(300)]


async def test_without_a_connection_a_publication_is_lost_at_once(bench: Bench) -> None:
    recorder = Recorder()
    transport = bench.connect("c", recorder)
    transport.publish(text("a", "1"), recorder.done("it"))
    assert recorder.story == ["it lost"]
    assert not transport.connected
    assert transport.generation == 0
    assert transport.status is not None


async def test_without_a_connection_subscribing_is_an_error(bench: Bench) -> None:
    transport = bench.connect("c", Recorder())
    with pytest.raises(TransportError, match="cannot subscribe now"):
        await transport.subscribe([Subscription("a")])


async def test_invalid_topics_and_filters_are_errors(bench: Bench) -> None:
    async with client(bench, "c") as (transport, _):
        with pytest.raises(TopicError):
            transport.publish(text("a/#", "1"))
        with pytest.raises(TopicError):
            await transport.subscribe([Subscription("a/#/b")])
        with pytest.raises(TopicError):
            await transport.unsubscribe([""])
        with pytest.raises(TopicError):
            transport.set_farewell(text("", "1"))


async def test_while_connected_the_status_is_none_and_after_the_end_it_is_not(bench: Bench) -> None:
    async with client(bench, "c") as (transport, recorder):
        assert state(transport) == (True, 1, None)
    assert state(transport) == (False, 1, "closed")
    assert recorder.story == ["connected 1 new session", "disconnected 1"]


async def test_what_is_not_acknowledged_comes_again_first_with_dup_and_in_order(bench: Bench) -> None:
    async with client(bench, "c", Subscription("a"), acknowledges=False) as (transport, recorder):
        for i in range(4):
            transport.publish(text("a", str(i)))
        await recorder.got(4)
        transport.acknowledge(recorder.deliveries[:2])
        await asyncio.sleep(0.05)
    async with client(bench, "other") as (other, _):
        other.publish(text("a", "4"))
        await asyncio.sleep(0.05)
    async with client(bench, "c", acknowledges=False) as (transport, recorder):
        assert await recorder.got(3) == ["2", "3", "4"]
    assert recorder.story[0] == "connected 1 old session"
    assert [message.dup for message in recorder.messages] == [True, True, False]


async def test_a_session_queues_while_its_client_is_away(bench: Bench) -> None:
    async with client(bench, "away", Subscription("a")):
        pass
    async with client(bench, "c") as (transport, _):
        for i in range(50):
            transport.publish(text("a", str(i)))
        await asyncio.sleep(0.1)
    async with client(bench, "away") as (_, recorder):
        assert await recorder.got(50) == [str(i) for i in range(50)]


async def test_qos_0_is_not_queued_for_a_client_that_is_away(bench: Bench) -> None:
    async with client(bench, "away", Subscription("a")):
        pass
    async with client(bench, "c") as (transport, recorder):
        transport.publish(Message("a", b"0", qos=0))
        transport.publish(text("a", "1"), recorder.done("1"))
        await until(lambda: "1 accepted" in recorder.story, "the answer")
    async with client(bench, "away") as (_, recorder):
        assert await recorder.got(1) == ["1"]


async def test_a_stale_acknowledgement_is_discarded_rule_8(bench: Bench) -> None:
    async with client(bench, "c", Subscription("a"), acknowledges=False) as (transport, recorder):
        transport.publish(text("a", "1"))
        await recorder.got(1)
        bench.stop()
        await until(lambda: not transport.connected, "the end of the connection")
        bench.start()
        await recorder.up(2)
        await recorder.got(2)
        transport.acknowledge(recorder.deliveries[:1])
        await asyncio.sleep(0.05)
    async with client(bench, "c") as (_, again):
        assert await again.got(1) == ["1"]
        assert again.messages[0].dup


async def test_no_more_than_the_receive_maximum_is_sent_unacknowledged(bench: Bench) -> None:
    async with client(bench, "c", Subscription("a"), acknowledges=False) as (transport, recorder):
        for i in range(130):
            transport.publish(text("a", str(i)))
        await recorder.got(100)
        await asyncio.sleep(0.1)
        assert len(recorder.deliveries) == 100
        transport.acknowledge(recorder.deliveries)
        await recorder.got(130)
    assert recorder.payloads == [str(i) for i in range(130)]


async def test_retained_messages_come_as_the_subscription_wishes_rule_5(bench: Bench) -> None:
    async with client(bench, "c") as (transport, recorder):
        transport.publish(text("a", "old", retain=True), recorder.done("old"))
        await until(lambda: "old accepted" in recorder.story, "the answer")
        await transport.subscribe([Subscription("a", retained="never")])
        await transport.subscribe([Subscription("a", retained="new")])
        await asyncio.sleep(0.05)
        assert recorder.payloads == []
        await transport.subscribe([Subscription("a", retained="always")])
        assert await recorder.got(1) == ["old"]
        assert recorder.messages[0].retain
        await transport.unsubscribe(["a"])
        await transport.subscribe([Subscription("a", retained="new")])
        assert await recorder.got(2) == ["old", "old"]


async def test_a_live_message_is_not_marked_retained_and_an_empty_one_clears(bench: Bench) -> None:
    async with client(bench, "c", Subscription("a")) as (transport, recorder):
        transport.publish(text("a", "now", retain=True))
        await recorder.got(1)
        transport.publish(text("a", "", retain=True))
        await recorder.got(2)
        await transport.subscribe([Subscription("a", retained="always")])
        await asyncio.sleep(0.05)
    assert [(m.payload, m.retain) for m in recorder.messages] == [(b"now", False), (b"", False)]


async def test_overlapping_filters_bring_a_copy_each(bench: Bench) -> None:
    async with client(bench, "c", Subscription("a/+"), Subscription("+/b")) as (transport, recorder):
        transport.publish(text("a/b", "1"))
        await recorder.got(2)
    assert recorder.payloads == ["1", "1"]


async def test_no_local_keeps_a_clients_own_messages_from_it(bench: Bench) -> None:
    async with (
        client(bench, "c", Subscription("a", no_local=True)) as (transport, recorder),
        client(bench, "d") as (other, _),
    ):
        transport.publish(text("a", "mine"))
        other.publish(text("a", "theirs"))
        assert await recorder.got(1) == ["theirs"]


async def test_after_unsubscribing_nothing_comes(bench: Bench) -> None:
    async with client(bench, "c", Subscription("a"), Subscription("b")) as (transport, recorder):
        await transport.unsubscribe(["a", "never-subscribed"])
        transport.publish(text("a", "a"))
        transport.publish(text("b", "b"))
        assert await recorder.got(1) == ["b"]


async def test_when_the_broker_dies_everything_open_is_lost_before_disconnected_is_told(bench: Bench) -> None:
    async with client(bench, "c", Subscription("a"), acknowledges=False) as (transport, recorder):
        for i in range(3):
            transport.publish(text("a", str(i)), recorder.done(str(i)))
        bench.stop()
        await until(lambda: "disconnected 1" in recorder.story, "the end of the connection")
        told = recorder.story[1:]
        assert told[-1] == "disconnected 1"
        assert {line.split()[0] for line in told[:-1]} == {"0", "1", "2"}
        assert len(told) == 4
        transport.publish(text("a", "3"), recorder.done("3"))
        assert recorder.story[-1] == "3 lost"
        assert "no connection to the broker" in str(transport.status)
        bench.start()
        await recorder.up(2)
        assert recorder.story[-1] == "connected 2 old session"
        assert state(transport) == (True, 2, None)
    assert len(recorder.story) == 8


async def test_a_broker_that_forgot_everything_says_that_the_session_is_new(bench: Bench) -> None:
    async with client(bench, "c", Subscription("a")) as (transport, recorder):
        bench.stop()
        bench.wipe()
        bench.start()
        await recorder.up(2)
        assert recorder.story[-1] == "connected 2 new session"
        await transport.subscribe([Subscription("a")])
        transport.publish(text("a", "1"))
        assert await recorder.got(1) == ["1"]


async def test_a_client_of_the_same_id_takes_over_and_soon_one_of_them_stops_fighting_rule_17(bench: Bench) -> None:
    async with client(bench, "one", acknowledges=False) as (first, of_first):
        await first.subscribe([Subscription("a")])
        first.publish(text("a", "1"))
        await of_first.got(1)
        async with client(bench, "one", acknowledges=False) as (second, of_second):
            assert of_second.story == ["connected 1 old session"]
            assert await of_second.got(1) == ["1"]
            assert of_second.messages[0].dup
            await until(lambda: "same client id" in str(first.status), "the first to understand")
            await until(lambda: second.connected, "the second to win")
            winner = second.generation
            await asyncio.sleep(0.4)
            assert state(second) == (True, winner, None)
            assert first.generation <= 2
            assert not first.connected


async def test_a_clean_end_says_the_farewell_and_no_will(bench: Bench) -> None:
    async with client(bench, "watcher", Subscription("w/#")) as (_, seen):
        async with client(bench, "c", will=text("w/c", "will")) as (transport, _):
            transport.set_farewell(text("w/c", "farewell"))
        async with client(bench, "d", will=text("w/d", "will")) as (transport, _):
            transport.set_farewell(text("w/d", "farewell"))
            transport.set_farewell(None)
        await seen.got(1)
        await asyncio.sleep(0.1)
    assert seen.payloads == ["farewell"]


async def test_a_take_over_sends_no_will_because_the_session_lives_on(bench: Bench) -> None:
    async with (
        client(bench, "watcher", Subscription("w")) as (_, seen),
        client(bench, "one", will=text("w", "will")) as (loser, _),
        client(bench, "one", will=text("w", "will")),
    ):
        await until(lambda: not loser.connected, "the loser to be told")
        await asyncio.sleep(0.1)
        assert seen.payloads == []


async def test_an_error_of_the_program_is_logged_and_the_connection_lives_on(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_: object) -> None:
        raise RuntimeError("the program's mistake")

    async with client(bench, "c", Subscription("a"), acknowledges=False) as (transport, recorder):
        recorder.acknowledges = True
        recorder.transport = None  # its assertion fails in `received`
        transport.publish(text("a", "1"), fail)
        await recorder.got(1)
        await until(lambda: len([r for r in caplog.records if r.exc_info]) == 2, "both errors in the log")
        recorder.transport = transport
        transport.publish(text("a", "2"), recorder.done("2"))
        await recorder.got(2)
        await until(lambda: "2 accepted" in recorder.story, "the answer")
        assert transport.generation == 1


async def test_five_thousand_messages_come_once_each_through_a_window_of_100(bench: Bench) -> None:
    async with (
        client(bench, "c", Subscription("a")) as (_, recorder),
        client(bench, "d") as (publisher, answers),
    ):
        for i in range(5000):
            publisher.publish(text("a", str(i)), answers.done(str(i)))
        await until(lambda: len(recorder.deliveries) >= 5000, "5000 messages")
        await until(lambda: len(answers.story) == 5001, "5000 answers")
    assert recorder.payloads == [str(i) for i in range(5000)]
    assert not any(message.dup for message in recorder.messages)
    assert answers.story[1:5001] == [f"{i} accepted" for i in range(5000)]
