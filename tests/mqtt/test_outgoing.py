"""Our packets on their way into the stream: at once or together, whole, and told when they have left."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest

from bridge.mqtt.client import Client
from bridge.mqtt.outgoing import Outgoing
from bridge.mqtt.packet_ids import PacketIds
from bridge.mqtt.settings import MqttSettings
from bridge.mqtt.stream import Stream


class Wire:
    """Both ends of a connection, and what was told of each flush."""

    def __init__(self) -> None:
        ours, self._peer = socket.socketpair()
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        self._peer.setblocking(False)
        self._stream = Stream(ours)
        self.flushed: list[bool] = []
        client = Client(self._stream, PacketIds(), "c", MqttSettings(), "5", None)
        self.outgoing = Outgoing(self._stream, client, self.flushed.append)

    def arrived(self) -> bytes:
        """What has come at the other end since the last time."""
        try:
            return self._peer.recv(1 << 20)
        except BlockingIOError:
            return b""

    async def all_arrived(self) -> bytes:
        """Read at the other end until everything has left here."""
        found = [self.arrived()]
        async with asyncio.timeout(10):
            while not self.flushed[-1]:
                await asyncio.sleep(0)
                found.append(self.arrived())
        return b"".join([*found, self.arrived()])

    def close(self) -> None:
        self.outgoing.end()
        self._stream.abort()
        self._peer.close()


@pytest.fixture
async def wire() -> AsyncIterator[Wire]:
    made = Wire()
    yield made
    made.close()


async def turn() -> None:
    """One turn of the loop, and what it called."""
    await asyncio.sleep(0)
    await asyncio.sleep(0)


async def test_one_that_is_alone_leaves_at_once_and_is_told_in_the_next_turn(wire: Wire) -> None:
    wire.outgoing.send(b"one")
    assert (wire.arrived(), wire.flushed) == (b"one", [])
    await turn()
    assert wire.flushed == [True]


async def test_those_that_follow_in_the_same_turn_leave_together_and_are_told_once(wire: Wire) -> None:
    for packet in (b"one", b"two", b"three"):
        wire.outgoing.send(packet)
    assert wire.arrived() == b"one"
    await turn()
    assert (wire.arrived(), wire.flushed) == (b"twothree", [True])


async def test_one_that_nobody_waits_for_leaves_at_once_and_costs_no_turn(wire: Wire) -> None:
    wire.outgoing.write(b"one")
    assert wire.arrived() == b"one"
    await turn()
    assert wire.flushed == []


async def test_one_that_nobody_waits_for_overtakes_nothing(wire: Wire) -> None:
    wire.outgoing.put(b"one")
    wire.outgoing.write(b"two")
    assert wire.arrived() == b""
    await turn()
    assert wire.arrived() == b"onetwo"


async def test_what_the_kernel_does_not_take_leaves_when_it_does_in_order_and_whole(wire: Wire) -> None:
    large = bytes(range(256)) * 4096
    wire.outgoing.send(large)
    wire.outgoing.write(b"one")
    wire.outgoing.send(b"two")
    await turn()
    assert wire.flushed == [False]
    wire.outgoing.send(b"three")
    assert await wire.all_arrived() == large + b"onetwothree"
    assert wire.flushed[-1]


async def test_after_its_end_nothing_leaves(wire: Wire) -> None:
    wire.outgoing.put(b"one")
    wire.outgoing.end()
    await turn()
    assert (wire.arrived(), wire.flushed) == (b"", [])
