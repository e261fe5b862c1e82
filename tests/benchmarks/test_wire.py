"""The wire is the kernel's: real packets on the loopback interface, and its own time stamps."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Callable, Iterator

import pytest

from benchmarks.wire import Wire, forbidden
from bridge.mqtt.packet import encode_publish
from bridge.mqtt.transport import Message
from tests.real_parts import require_none_missing

Broker = tuple[int, socket.socket, Callable[[int], None]]


@pytest.fixture
def broker() -> Iterator[Broker]:
    """The port of one who listens as a broker does, a connection to it, and the wait until so many bytes are there."""
    require_none_missing(forbidden())
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)) as connection, server.accept()[0] as theirs:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            theirs.settimeout(10)

            def heard(size_bytes: int) -> None:
                while size_bytes > 0:
                    size_bytes -= len(theirs.recv(size_bytes))

            yield port, connection, heard


def test_a_segment_that_is_sent_again_counts_once() -> None:
    wire = Wire(1883, "a/+/event")
    segments = [_segment(1000, b"one"), _segment(1003, b"two"), _segment(1000, b"one"), _segment(1006, b"three")]
    near_the_end = [_segment(2**32 - 2, b"wraps", 7), _segment(2**32 - 2, b"wraps", 7), _segment(3, b"on", 7)]

    assert [wire._fresh(each) for each in segments] == [b"one", b"two", b"", b"three"]
    assert [wire._fresh(each) for each in near_the_end] == [b"wraps", b"", b"on"]


def _segment(sequence: int, data: bytes, sender: int = 5) -> bytes:
    """TCP in IPv4, as far as anybody looks at it."""
    tcp = struct.pack("!HHIIBBHHH", sender, 1883, sequence, 0, 5 << 4, 0, 0, 0, 0)
    return struct.pack("!BBH16x", 0x45, 0, 20 + len(tcp) + len(data)) + tcp + data + b"padding"


def _published(topic: str, size_bytes: int = 300) -> bytes:
    return encode_publish(Message(topic, bytes(size_bytes)), 1, five=True)


def test_each_publication_on_the_topics_has_the_time_at_which_it_reached_the_broker(
    broker: Broker,
) -> None:
    port, connection, heard = broker

    with Wire(port, "a/+/event") as wire:
        began_ns = time.time_ns()
        connection.sendall(_published("a/1/event"))
        heard(len(_published("a/1/event")))
        between_ns = time.time_ns()
        connection.sendall(_published("a/2/event", size_bytes=20_000))
        heard(20_000)
        ended_ns = time.time_ns()
        first_ns, second_ns = wire.arrivals_ns()

    assert began_ns <= first_ns <= between_ns <= second_ns <= ended_ns


def test_what_goes_elsewhere_or_is_no_publication_on_the_topics_is_not_told(broker: Broker) -> None:
    port, connection, heard = broker
    said = b"\xc0\x00" + _published("a/1/state") + _published("a/1/event") + _published("a/2/event")

    with Wire(port, "a/+/event") as wire, Wire(port + 1, "a/+/event") as beside:
        connection.sendall(said)
        heard(len(said))

        assert len(wire.arrivals_ns()) == 2
        assert wire.arrivals_ns() == []
        assert beside.arrivals_ns() == []
