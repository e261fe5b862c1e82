"""What one connection has been asked to publish, until each publication has been answered exactly once."""

from __future__ import annotations

from collections import deque
from typing import Final

from paho.mqtt import client as paho
from paho.mqtt.enums import MQTTErrorCode

from bridge.mqtt.ending import guard
from bridge.mqtt.packet import pack_properties
from bridge.mqtt.transport import Done, Message, Publication, Sent

WINDOW: Final = 1000
"""Publications sent and not yet answered, unless the broker's Receive Maximum is lower; more wait their turn."""
MAX_WAITING: Final = 10_000
"""Publications that wait their turn; a further one is told LOST at once."""

_ERROR: Final = 0x80  # MQTT 5.0, 2.4: reason codes from here on are failures
_TOO_LARGE: Final = 0x95
_HEADER_BYTES: Final = 16  # at most, without properties: fixed header, two lengths, packet id


class Publications:
    """Sends through a paho client within the broker's limits, and keeps every `done` until it is told.

    Answers are noted down while paho calls (`acknowledged`, `written`), and told by `tell` after paho has returned.
    """

    def __init__(self, client: paho.Client, *, five: bool) -> None:
        self._client = client
        self._five = five
        self._window = WINDOW
        self._max_packet_bytes = 0
        self._open: dict[int, Done | None] = {}
        self._unwritten: dict[int, Done | None] = {}
        self._written: list[Done | None] = []
        self._waiting: deque[tuple[Message, Done | None]] = deque()
        self._answers: list[tuple[Done | None, Publication]] = []

    @property
    def answered(self) -> bool:
        """Whether `tell` has something to tell."""
        return bool(self._answers)

    def limit(self, receive_maximum: int | None, max_packet_bytes: int | None) -> None:
        """Keep to what the broker said in its CONNACK (MQTT 5.0, 3.2.2.3.3 and 3.2.2.3.6)."""
        self._window = min(WINDOW, receive_maximum or WINDOW)
        self._max_packet_bytes = max_packet_bytes or 0

    def publish(self, message: Message, done: Done | None) -> None:
        """Send now, or when earlier publications have been answered."""
        if not self._waiting and len(self._open) < self._window:
            self._send(message, done)
        elif len(self._waiting) < MAX_WAITING:
            self._waiting.append((message, done))
        else:
            answer(done, Publication(Sent.LOST, reason=f"{MAX_WAITING} publications are waiting already"))

    def acknowledged(self, packet_id: int, code: int, reason: str) -> None:
        """The broker has answered a QoS 1 publication."""
        sent = Sent.REFUSED if code >= _ERROR else Sent.ACCEPTED
        publication = Publication(sent, code, reason if sent is Sent.REFUSED else "")
        self._answers.append((self._open.pop(packet_id, None), publication))

    def written(self, packet_id: int) -> None:
        """A QoS 0 publication has gone from paho to the stream."""
        self._written.append(self._unwritten.pop(packet_id, None))

    def flushed(self) -> None:
        """The stream has handed everything to the kernel."""
        self._answers += [(done, Publication(Sent.ACCEPTED)) for done in self._written]
        self._written.clear()

    def tell(self) -> None:
        """Tell the answers that came."""
        answers, self._answers = self._answers, []
        for done, publication in answers:
            answer(done, publication)

    def send_waiting(self) -> None:
        """Send what waits, as far as the window allows now."""
        while self._waiting and len(self._open) < self._window:
            self._send(*self._waiting.popleft())

    def lose(self, reason: str) -> None:
        """The connection is over: tell the answers that came, and LOST for everything else."""
        lost = Publication(Sent.LOST, reason=reason)
        unanswered = [
            *self._written,
            *self._unwritten.values(),
            *self._open.values(),
            *(done for _, done in self._waiting),
        ]
        for kept in (self._written, self._unwritten, self._open, self._waiting):
            kept.clear()
        self.tell()
        for done in unanswered:
            answer(done, lost)

    def _send(self, message: Message, done: Done | None) -> None:
        size_bytes = len(message.payload) + len(message.topic.encode()) + _HEADER_BYTES
        if self._max_packet_bytes and size_bytes > self._max_packet_bytes:
            reason = f"larger than the broker's limit of {self._max_packet_bytes} bytes"
            answer(done, Publication(Sent.REFUSED, _TOO_LARGE, reason))
            return
        packed = pack_properties(message) if self._five else None
        sent = self._client.publish(message.topic, message.payload, message.qos, message.retain, packed)
        if sent.rc != MQTTErrorCode.MQTT_ERR_SUCCESS:  # paho may have kept it even so; it goes with this client
            answer(done, Publication(Sent.LOST, reason=paho.error_string(sent.rc)))
        elif message.qos:
            self._open[sent.mid] = done
        else:
            self._unwritten[sent.mid] = done


def answer(done: Done | None, publication: Publication) -> None:
    """Tell what became of a publication; an error of the program must not reach the connection."""
    if done is not None:
        guard(done, publication)
