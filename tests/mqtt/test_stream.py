"""The stream under paho, on a pair of real sockets."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from bridge.mqtt.stream import Stream

Ends = tuple[Stream, socket.socket]


@pytest.fixture
def ends() -> Iterator[Ends]:
    """A stream, and the other end of it."""
    here, there = socket.socketpair()
    with here, there:
        there.setblocking(False)
        yield Stream(here), there


def _read(there: socket.socket) -> bytes:
    found = b""
    while True:
        try:
            found += there.recv(1 << 20)
        except BlockingIOError:
            return found


def test_packets_are_at_the_other_end_when_they_are_written(ends: Ends) -> None:
    stream, there = ends

    stream.write(b"one")

    assert there.recv(100) == b"one"
    assert stream.unsent == 0


def test_what_the_kernel_does_not_take_waits_and_leaves_before_what_comes_later(ends: Ends) -> None:
    stream, there = ends
    packets = [bytes([number]) * 300_000 for number in range(8)]

    stream.put(b"before")
    for packet in packets:
        stream.write(packet)
    assert stream.unsent > 0
    assert stream.end is None
    found = b""
    while stream.unsent:
        found += _read(there)
        stream.flush()
    found += _read(there)

    assert found == b"".join((b"before", *packets))


def test_a_peer_that_is_gone_shows_in_the_end_and_nothing_is_raised(ends: Ends) -> None:
    stream, there = ends
    there.close()

    stream.write(b"one")
    stream.flush()

    assert stream.end == "broken pipe"
    assert stream.unsent == 3
