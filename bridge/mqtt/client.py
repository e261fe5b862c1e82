"""paho's client over one stream, and what the broker's answers to it mean.

paho has the session (CONNECT and DISCONNECT), the subscriptions and the keep-alive; how it is told of them, and how it
says things, is only known here and in grants.py.
"""

from __future__ import annotations

import math
from typing import Final

from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from bridge.mqtt.ending import Cause, Ended, Version
from bridge.mqtt.packet import will_properties
from bridge.mqtt.packet_ids import PacketIds
from bridge.mqtt.settings import MqttSettings
from bridge.mqtt.stream import Stream
from bridge.mqtt.transport import Message

MAX_PACKET_BYTES: Final = 16 * 1024 * 1024
"""What we take (MQTT 5); the broker drops what is larger. In 3.1.1 the protocol's own limit of 256 MiB holds."""

ERROR: Final = 0x80  # MQTT 5.0, 2.4: reason codes from here on are failures
_UNSUPPORTED_VERSION: Final = 0x84
_NOT_ALLOWED: Final = (0x85, 0x86, 0x87, 0x8A, 0x8C)  # client id, user or password, not authorised, banned, method
_TAKEN_OVER: Final = 0x8E


class Client(paho.Client):
    """paho's client over our stream, with our packet ids."""

    def __init__(
        self,
        stream: Stream,
        packet_ids: PacketIds,
        client_id: str,
        settings: MqttSettings,
        version: Version,
        will: Message | None,
    ) -> None:
        five = version == "5"
        super().__init__(
            CallbackAPIVersion.VERSION2,
            client_id,
            clean_session=None if five else False,
            protocol=MQTTProtocolVersion.MQTTv5 if five else MQTTProtocolVersion.MQTTv311,
            reconnect_on_failure=False,
            manual_ack=True,
        )
        self._stream = stream
        self._packet_ids = packet_ids
        if settings.username is not None:
            self.username_pw_set(settings.username, settings.read_password())
        if will is not None:
            packed = will_properties(will) if five else None
            self.will_set(will.topic, will.payload, will.qos, will.retain, packed)

    def _create_socket(self) -> paho.SocketLike:  # the place where paho makes its sockets, since 2.0
        return self._stream  # what paho uses of a socket is what Stream has

    def _mid_generate(self) -> int:  # where paho takes the ids of subscriptions from
        return self._packet_ids.take()

    def await_no_pong(self) -> None:
        """Wait no more for the answer to a ping: one that we did not read is not one that is late."""
        self._ping_t = 0.0


def send_connect(client: Client, settings: MqttSettings, version: Version) -> None:
    """Send CONNECT: a session that is kept, and as many messages in flight as the settings say (MQTT 5)."""
    keepalive = min(math.ceil(settings.keepalive_s), 0xFFFF)
    if version == "5":
        wanted = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # paho leaves it untyped
        wanted.SessionExpiryInterval = min(int(settings.session_expiry_s), 0xFFFF_FFFF)
        wanted.ReceiveMaximum = settings.receive_maximum
        wanted.MaximumPacketSize = MAX_PACKET_BYTES
        client.connect(settings.host, settings.port, keepalive, clean_start=False, properties=wanted)
    else:
        client.connect(settings.host, settings.port, keepalive)


def refusal(code: ReasonCode, settings: MqttSettings, version: Version) -> Ended | None:
    """How a connection ends by the broker's answer to CONNECT; None when it accepts us."""
    if code.value < ERROR:
        return None
    said = words(code)
    if code.value == _UNSUPPORTED_VERSION:
        return Ended(Cause.UNSUPPORTED, f"it does not speak MQTT {version} ({said})")
    if code.value in _NOT_ALLOWED:
        who = f"user {settings.username!r}" if settings.username is not None else "a client without a username"
        return Ended(Cause.NOT_ALLOWED, f"it refused {who}: {said}; check username, password and the broker's users")
    return Ended(Cause.LOST, f"it refused the connection: {said}")


def ending(code: ReasonCode, *, said_by_broker: bool) -> Ended:
    """How a connection has ended that paho says is over: by a DISCONNECT of the broker, or without a word."""
    if not said_by_broker:
        return Ended(Cause.LOST, f"the connection was lost ({words(code)})")
    if code.value == _TAKEN_OVER:
        return Ended(Cause.TAKEN_OVER, "another client with the same client id took over the session")
    return Ended(Cause.LOST, f"it ended the connection: {words(code)}")


def words(code: ReasonCode) -> str:
    """What a reason code is called."""
    return code.getName().lower()
