"""The stream under paho, on a pair of real sockets."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from bridge.mqtt.settings import MqttSettings, TlsSettings
from bridge.mqtt.stream import Stream, connect
from tests.authority import make_authority

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


def test_a_connection_that_comes_when_nobody_waits_for_it_is_closed_also_when_the_loop_has_ended(
    tmp_path: Path,
) -> None:
    authority = make_authority(tmp_path)
    answering = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    answering.load_cert_chain(authority / "localhost.crt", authority / "localhost.key")
    loop = asyncio.new_event_loop()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        settings = MqttSettings(host="localhost", port=port, tls=TlsSettings(ca=authority / "ca.crt"))
        connecting = loop.create_task(connect(settings))
        loop.run_until_complete(asyncio.sleep(0))
        (thread,) = [one for one in threading.enumerate() if one.name == f"connect to {settings.address}"]
        connecting.cancel()
        with pytest.raises(asyncio.CancelledError):
            loop.run_until_complete(connecting)
        with answering.wrap_socket(listener.accept()[0], server_side=True) as there:
            thread.join(60)
            with warnings.catch_warnings(record=True) as told:
                warnings.simplefilter("always", ResourceWarning)
                loop.close()
            assert [str(one.message) for one in told] == []
            assert there.recv(1) == b""
