"""What one connection has been asked to publish, until each publication has been answered exactly once."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

from bridge.mqtt.ending import guard
from bridge.mqtt.packet import Puback, encode_publish
from bridge.mqtt.packet_ids import PacketIds
from bridge.mqtt.transport import Done, Message, Publication, Sent

WINDOW: Final = 1000
"""Publications sent and not yet answered, unless the broker's Receive Maximum is lower; more wait their turn."""
MAX_WAITING: Final = 10_000
"""Publications that wait their turn; a further one is told LOST at once."""

_TOO_LARGE: Final = 0x95
_ACCEPTED: Final = Publication(Sent.ACCEPTED)


class Publications:
    """Sends packets by `send` within the broker's limits, and keeps every `done` until it is told.

    Answers are noted down as they are read (`acknowledged`, `flushed`), and told by `tell`.
    """

    def __init__(self, send: Callable[[bytes], None], packet_ids: PacketIds, *, five: bool) -> None:
        self._send_packet = send
        self._packet_ids = packet_ids
        self._five = five
        self._window = WINDOW
        self._max_packet_bytes = 0
        self._open: dict[int, Done | None] = {}
        self._unflushed: list[Done | None] = []
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

    def acknowledged(self, puback: Puback) -> None:
        """The broker has answered a QoS 1 publication."""
        if puback.packet_id not in self._open:
            return  # a second answer, or one to something else: it says nothing
        self._packet_ids.release(puback.packet_id)
        publication = Publication(Sent.REFUSED, puback.code, puback.reason) if puback.refused else _ACCEPTED
        self._answers.append((self._open.pop(puback.packet_id), publication))

    def flushed(self) -> None:
        """The stream has handed everything to the kernel: that is all there is to know at QoS 0."""
        self._answers += [(done, _ACCEPTED) for done in self._unflushed]
        self._unflushed.clear()

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
        unanswered = [*self._unflushed, *self._open.values(), *(done for _, done in self._waiting)]
        for kept in (self._unflushed, self._open, self._waiting):
            kept.clear()
        self.tell()
        for done in unanswered:
            answer(done, lost)

    def _send(self, message: Message, done: Done | None) -> None:
        packet_id = self._packet_ids.take() if message.qos else 0
        too_large = ""
        try:
            packet = encode_publish(message, packet_id, five=self._five)
            if self._max_packet_bytes and len(packet) > self._max_packet_bytes:
                too_large = f"larger than the broker's limit of {self._max_packet_bytes} bytes"
        except ValueError as error:
            too_large = str(error)
        if too_large:
            self._packet_ids.release(packet_id)
            answer(done, Publication(Sent.REFUSED, _TOO_LARGE, too_large))
            return
        if message.qos:
            self._open[packet_id] = done
        else:
            self._unflushed.append(done)
        self._send_packet(packet)


def answer(done: Done | None, publication: Publication) -> None:
    """Tell what became of a publication; an error of the program must not reach the connection."""
    if done is not None:
        guard(done, publication)
