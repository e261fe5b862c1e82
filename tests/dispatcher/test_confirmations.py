from __future__ import annotations

from bridge.clock import RealClock
from bridge.core.confirm import parse
from bridge.core.dedup import SourceRow
from bridge.core.event import source_of
from bridge.core.topics import Topics
from bridge.dispatcher.confirmations import SOON, Confirmations
from bridge.mqtt.memory import MemoryBroker
from bridge.mqtt.transport import Subscription
from tests.dispatcher.conftest import Client, until


def row(node: str, last: int) -> SourceRow:
    return SourceRow(source_of("home", node, "door"), "e", ((1, last),))


async def test_rule_2_a_node_of_which_much_has_been_kept_is_told_at_once_and_the_others_wait() -> None:
    """Nothing runs here that would tell them once a second."""
    clock = RealClock("always")
    broker = MemoryBroker(clock)
    listener, dispatcher = Client(), Client()
    listener.transport = broker.connect("a-listener", listener)
    dispatcher.transport = broker.connect("a-dispatcher", dispatcher)
    async with listener.transport, dispatcher.transport:
        await listener.ready.wait()
        await dispatcher.ready.wait()
        await listener.transport.subscribe([_subscription()])
        confirmations = Confirmations(Topics(), clock, dispatcher.transport)
        confirmations.note([row("busy", SOON - 1), row("quiet", 1)])
        confirmations.note([row("busy", SOON)])
        confirmations.note([row("busy", SOON + 1), row("quiet", 2)])
        confirmations.note([row("busy", 2 * SOON)])
        await until(lambda: len(listener.messages) == 2, "told twice")

    topic = Topics().confirm("home", "busy")
    assert {message.topic for message in listener.messages} == {topic}
    assert [parse(message.payload)["door"].through(0) for message in listener.messages] == [SOON, 2 * SOON]


def _subscription() -> Subscription:
    return Subscription(Topics().confirm("home", "+"))
