"""The wire is the kernel's: real packets on the loopback interface, and its own time stamps."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import pytest

from benchmarks.wire import Wire, forbidden
from bridge.mqtt.packet import encode_publish
from bridge.mqtt.transport import Message
from tests.real_parts import require_none_missing


@pytest.fixture
def broker() -> Iterator[tuple[int, socket.socket]]:
    """The port of one who listens as a broker does, and a connection to it."""
    require_none_missing(forbidden())
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)) as connection, server.accept()[0]:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            yield port, connection


def _published(topic: str, size_bytes: int = 300) -> bytes:
    return encode_publish(Message(topic, bytes(size_bytes)), 1, five=True)


def test_each_publication_on_the_topics_has_the_time_at_which_it_reached_the_broker(
    broker: tuple[int, socket.socket],
) -> None:
    port, connection = broker

    with Wire(port, "a/+/event") as wire:
        began_ns = time.time_ns()
        connection.sendall(_published("a/1/event"))
        between_ns = time.time_ns()
        connection.sendall(_published("a/2/event", size_bytes=20_000))
        ended_ns = time.time_ns()
        first_ns, second_ns = wire.arrivals_ns()

    assert began_ns <= first_ns <= between_ns <= second_ns <= ended_ns


def test_what_goes_elsewhere_or_is_no_publication_on_the_topics_is_not_told(broker: tuple[int, socket.socket]) -> None:
    port, connection = broker

    with Wire(port, "a/+/event") as wire, Wire(port + 1, "a/+/event") as beside:
        connection.sendall(b"\xc0\x00" + _published("a/1/state") + _published("a/1/event") + _published("a/2/event"))

        assert len(wire.arrivals_ns()) == 2
        assert wire.arrivals_ns() == []
        assert beside.arrivals_ns() == []
