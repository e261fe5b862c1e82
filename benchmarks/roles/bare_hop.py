"""The hop: bytes of a QoS 1 publication written to a socket and nothing else; what is left is the broker's part.

It is the floor below which no program that publishes through this broker can be.
"""

from __future__ import annotations

import argparse
import itertools
import socket
import threading
from functools import partial

from benchmarks.roles.toggling import toggle
from bridge.mqtt.packet import encode_publish
from bridge.mqtt.transport import Message

_CONNECT = b"\x10\x14\x00\x04MQTT\x04\x02\x00\x3c\x00\x08bare-hop"
"""MQTT 3.1.1, which has no Receive Maximum to keep to."""
_EVENT_BYTES = 540
"""About what an event has."""


def main(port: int, topics: int) -> None:
    """Publish on so many topics in turn until the input ends."""
    connection = socket.create_connection(("127.0.0.1", port))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.sendall(_CONNECT)
    threading.Thread(target=_read, args=(connection,), daemon=True).start()
    packet_ids = itertools.cycle(range(1, 60_000))

    def publish(topic: str) -> None:
        connection.sendall(encode_publish(Message(topic, bytes(_EVENT_BYTES), qos=1), next(packet_ids), five=False))

    toggle([partial(publish, f"hop/{number}") for number in range(topics)])


def _read(connection: socket.socket) -> None:
    """Take the acknowledgements."""
    while connection.recv(65_536):
        pass


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("topics", type=int)
    arguments = parser.parse_args()
    main(arguments.port, arguments.topics)
