"""The seam between programs and MQTT: what a transport takes and tells.

A transport keeps one connection alive and hands messages through. It resends nothing and remembers nothing: who sends
again is the outbox (PROTOCOL.md, rule 3), who subscribes again is the program, in `Listener.connected`.
Everything here is called and calls on the event loop's thread.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Literal, Protocol, Self


@dataclass(slots=True)
class Message:
    """One MQTT application message. `expiry_s` and `content_type` exist in MQTT 5 only and are dropped below it."""

    topic: str
    payload: bytes
    qos: Literal[0, 1] = 1
    retain: bool = False
    dup: bool = False
    content_type: str | None = None
    expiry_s: int | None = None
    user_properties: tuple[tuple[str, str], ...] = ()


@dataclass(slots=True)
class Delivery:
    """A message received. `generation` names the connection, `packet_id` the message in it (0 at QoS 0)."""

    message: Message
    generation: int
    packet_id: int


class Delivered(Protocol):
    """What names a delivery to be acknowledged: itself, or what somebody has kept of it."""

    @property
    def generation(self) -> int:
        """The connection."""

    @property
    def packet_id(self) -> int:
        """The message in it; 0 at QoS 0, which needs no acknowledgement."""


@dataclass(frozen=True, slots=True)
class Subscription:
    """What to subscribe to. `retained` says when the broker sends what it retains (MQTT 5, 3.8.3.1; 3.1.1: always)."""

    filter: str
    qos: Literal[0, 1] = 1
    retained: Literal["always", "new", "never"] = "new"
    no_local: bool = False


class Sent(Enum):
    """What became of a publication; told exactly once for each."""

    ACCEPTED = "accepted"
    """The broker acknowledged it (QoS 1), or it was written to the socket (QoS 0)."""
    REFUSED = "refused"
    """The broker answered with an error code (0x80 and up): not authorised, quota exceeded, ..."""
    LOST = "lost"
    """The connection ended before the answer, or there was none: the broker may or may not have it."""


@dataclass(frozen=True, slots=True)
class Publication:
    """The answer to one publication; `code` and `reason` are the broker's where it gave any."""

    sent: Sent
    code: int = 0
    reason: str = ""


Done = Callable[[Publication], None]


class Listener(Protocol):
    """What a transport tells its program. Calls must return quickly and must not raise."""

    def connected(self, generation: int, *, session_present: bool) -> None:
        """A connection stands; the broker still had (or had not) our session. Subscribe here."""

    def disconnected(self, generation: int, reason: str) -> None:
        """The connection of this generation is gone; every open publication of it has been told LOST before."""

    def received(self, batch: Sequence[Delivery]) -> None:
        """Messages, in the order of their receipt; one call for all that one wake-up brought."""


class Transport(Protocol):
    """One MQTT client: an async context manager that connects, reconnects with backoff, and ends cleanly."""

    @property
    def connected(self) -> bool:
        """Whether a connection stands now."""

    @property
    def generation(self) -> int:
        """The number of the current or last connection; 0 before the first. Rises by one for each."""

    @property
    def status(self) -> str | None:
        """None while connected, else in words why not (for /readyz)."""

    @property
    def local_address(self) -> str | None:
        """Our own address in the current connection: where this machine is for the broker's. None without one."""

    async def __aenter__(self) -> Self:
        """Start connecting in the background; returns at once, also when no broker answers."""

    async def __aexit__(self, *exc: object) -> None:
        """Publish the farewell, if one was given, disconnect cleanly (no last will), within seconds."""

    def publish(self, message: Message, done: Done | None = None) -> None:
        """Hand one message to the connection; `done` is called exactly once, possibly before this returns.

        Never queues for a later connection. Raises TopicError for an invalid topic.
        """

    async def subscribe(self, subscriptions: Sequence[Subscription]) -> None:
        """Subscribe on the current connection; returns when the broker has granted all.

        Raises TransportError, naming the filter, when one is refused or the connection ends before the answer.
        """

    async def unsubscribe(self, filters: Sequence[str]) -> None:
        """Unsubscribe on the current connection. Raises TransportError as `subscribe` does."""

    def acknowledge(self, deliveries: Sequence[Delivered]) -> None:
        """Acknowledge QoS 1 deliveries to the broker, in the given order.

        One whose generation is not the current connection's is discarded: the broker will deliver it again.
        """

    def set_farewell(self, message: Message | None) -> None:
        """What to publish just before a clean disconnect, such as a node's explicit `offline`."""


class Connector(Protocol):
    """Makes transports to one broker: what programs take, so that they run over paho or in memory alike."""

    def __call__(self, client_id: str, listener: Listener, *, will: Message | None = None) -> Transport:
        """A transport that is not connected yet; enter it to connect. Sessions are persistent (fixed client id)."""
