"""The publisher: sends sensor events, or messages on foreign topics, at QoS 1; all at once, or at a pace.

It speaks just enough MQTT 3.1.1 for that, because it shares the machine with what is measured.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import select
import socket
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial

from benchmarks.roles.conversation import commands, say
from bridge.core.event import Observation, encode
from bridge.core.topics import SensorEventTopic, Topics

SITE, NODE = "home", "bench"
UNACKNOWLEDGED = 1000
_CHUNK = 32
_TIMEOUT_S = 60.0


class Publisher:
    """One MQTT connection that publishes and counts acknowledgements. Blocks."""

    def __init__(self, port: int, client_id: str = "benchmark-publisher") -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=_TIMEOUT_S)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._packet_ids = itertools.cycle(range(1, 65536))
        self._sent = 0
        self._acknowledged_bytes = 0
        # CONNECT: clean session, no keep-alive (MQTT 3.1.1, 3.1).
        body = _text("MQTT") + bytes([4, 2, 0, 0]) + _text(client_id)
        self._socket.sendall(b"\x10" + _length(len(body)) + body)
        answer = self._socket.recv(4, socket.MSG_WAITALL)
        if answer != b"\x20\x02\x00\x00":
            raise ConnectionError(f"the broker answered CONNECT with {answer.hex()}")

    def burst(self, messages: list[tuple[str, bytes]], *, retain: bool = False) -> int:
        """Send all as quickly as the broker takes them; when it began, in ns since the epoch."""
        packets = [self._packet(topic, payload, retain=retain) for topic, payload in messages]
        began_ns = time.time_ns()
        for start in range(0, len(packets), _CHUNK):
            chunk = packets[start : start + _CHUNK]
            self._socket.sendall(b"".join(chunk))
            self._sent += len(chunk)
            self._take(UNACKNOWLEDGED)
        self._take(0)
        return began_ns

    def pace(self, make: Callable[[], tuple[str, bytes]], count: int, interval_s: float) -> int:
        """Make and send one after another, each at its time; how many were more than an interval late."""
        due, late = time.monotonic(), 0
        for _ in range(count):
            pause_s = due - time.monotonic()
            if pause_s > 0:
                time.sleep(pause_s)
            late += pause_s < -interval_s
            self._socket.sendall(self._packet(*make()))
            self._sent += 1
            self._take(UNACKNOWLEDGED)
            due += interval_s
        self._take(0)
        return late

    def _packet(self, topic: str, payload: bytes, *, retain: bool = False) -> bytes:
        """PUBLISH at QoS 1 (MQTT 3.1.1, 3.3)."""
        body = _text(topic) + next(self._packet_ids).to_bytes(2, "big") + payload
        return (b"\x33" if retain else b"\x32") + _length(len(body)) + body

    def _take(self, at_most: int) -> None:
        """Read acknowledgements (PUBACK, four bytes each) until at most so many are missing."""
        deadline = time.monotonic() + _TIMEOUT_S
        while True:
            missing = self._sent - self._acknowledged_bytes // 4
            readable, _, _ = select.select([self._socket], [], [], 0 if missing <= at_most else 1.0)
            if readable:
                piece = self._socket.recv(65536)
                if not piece:
                    raise ConnectionError("the broker ended the connection")
                self._acknowledged_bytes += len(piece)
            elif missing <= at_most:
                return
            elif time.monotonic() > deadline:
                raise TimeoutError(f"the broker has not acknowledged {missing} messages")


def sensor_events(sensors: int, epoch: str) -> Iterator[tuple[str, bytes]]:
    """Events of so many sensors in turn, numbered from 1; each made, and timed, when it is asked for."""
    topics = Topics()
    at = [_topic(topics, f"sensor-{i}") for i in range(sensors)]
    for sequence in itertools.count(1):
        for place in at:
            on = bool(sequence % 2)
            seen = Observation(
                kind="digital", name="digital.on" if on else "digital.off", value=on, unit=None, initial=False,
                time=datetime.now(UTC), timesynced=True,
            )  # fmt: skip
            id_ = f"{epoch}-{place.sensor}-{sequence}"
            yield place.text, encode(seen, at=place, id=id_, epoch=epoch, sequence=sequence)


def foreign_messages(topics: int) -> Iterator[tuple[str, bytes]]:
    """Messages as a Zigbee bridge would send them, on so many topics in turn; JSON, with the time inside."""
    for number in itertools.count():
        now = datetime.now(UTC).isoformat()
        yield (
            f"zigbee2mqtt/device-{number % topics}",
            b'{"occupancy":true,"battery":87,"linkquality":120,"device":"%d","number":%d,"time":"%s"}'
            % (number % topics, number // topics, now.encode()),
        )


def _topic(topics: Topics, sensor: str) -> SensorEventTopic:
    topic = topics.parse(topics.event(SITE, NODE, sensor))
    assert isinstance(topic, SensorEventTopic)
    return topic


def _text(text: str) -> bytes:
    data = text.encode()
    return len(data).to_bytes(2, "big") + data


def _length(number: int) -> bytes:
    """A remaining length (MQTT 3.1.1, 2.2.3)."""
    out = bytearray()
    while True:
        number, digit = divmod(number, 128)
        out.append(digit | (128 if number else 0))
        if not number:
            return bytes(out)


def main(port: int) -> None:
    """`burst` and `pace` take `count`, `sensors` (or topics), `foreign` and an `epoch`."""
    publisher = Publisher(port)
    sources: dict[str, Iterator[tuple[str, bytes]]] = {}
    say(ready=True)
    for command in commands():
        epoch, number = command["epoch"], command["sensors"]
        key = f"{epoch} {command['foreign']}"
        if key not in sources:
            sources[key] = foreign_messages(number) if command["foreign"] else sensor_events(number, epoch)
        source = sources[key]
        if command["do"] == "burst":
            say(began_ns=publisher.burst(list(itertools.islice(source, command["count"]))))
        else:
            say(late=publisher.pace(partial(next, source), command["count"], command["interval_s"]))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    gc.disable()  # a collection would show up as somebody else's latency
    main(parser.parse_args().port)
