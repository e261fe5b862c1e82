"""PUBLISH, the hot packet, decoded here: paho builds a dozen objects for the properties of each, even of none.

Source: MQTT 5.0, section 3.3 (and 3.1.1, section 3.3, which is the same without properties).
"""

from __future__ import annotations

import struct
from typing import Final, cast

from paho.mqtt import MQTTException
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from bridge.mqtt.transport import Message

PUBLISH: Final = 0x30
"""The upper half of a PUBLISH packet's first byte."""


def decode_publish(first: int, body: bytes, *, five: bool) -> tuple[Message, int]:
    """The message and its packet id (0 at QoS 0).

    Raises UndecodableTopic, and ValueError for what is no PUBLISH packet of QoS 0 or 1.
    """
    try:
        return _decode(first, body, five=five)
    except (LookupError, struct.error, MQTTException) as error:
        raise ValueError(f"not a PUBLISH packet: {error}") from error


def _decode(first: int, body: bytes, *, five: bool) -> tuple[Message, int]:
    at = 2 + (body[0] << 8 | body[1])
    raw_topic = body[2:at]
    qos = first >> 1 & 3
    if qos > 1 or len(raw_topic) != at - 2 or not raw_topic:
        raise ValueError("not a PUBLISH packet that we asked for")
    packet_id = 0
    if qos:
        packet_id = body[at] << 8 | body[at + 1]
        at += 2
    values: dict[str, object] = {}
    if five:
        if body[at]:
            found = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]  # paho leaves this class untyped
            _, length = found.unpack(body[at:])  # type: ignore[no-untyped-call]  # as above
            values = vars(found)
            at += length
        else:
            at += 1
    try:
        topic = raw_topic.decode()
    except UnicodeDecodeError as error:
        raise UndecodableTopic(packet_id) from error
    message = Message(
        topic,
        body[at:],
        1 if qos else 0,
        bool(first & 1),
        bool(first & 8),
        cast("str | None", values.get("ContentType")),
        cast("int | None", values.get("MessageExpiryInterval")),
        tuple(cast("list[tuple[str, str]]", values.get("UserProperty", ()))),
    )
    return message, packet_id


class UndecodableTopic(ValueError):
    """A message's topic is no UTF-8; `packet_id` is what to acknowledge to be rid of it."""

    def __init__(self, packet_id: int) -> None:
        super().__init__("a topic is no UTF-8")
        self.packet_id = packet_id


def pack_properties(message: Message, packet_type: int = PacketTypes.PUBLISH) -> Properties | None:
    """The MQTT 5 properties of a message or a will to send, in paho's form; None when it has none."""
    if message.content_type is None and message.expiry_s is None and not message.user_properties:
        return None
    found = Properties(packet_type)  # type: ignore[no-untyped-call]  # paho leaves this class untyped
    if message.content_type is not None:
        found.ContentType = message.content_type
    if message.expiry_s is not None:
        found.MessageExpiryInterval = message.expiry_s
    if message.user_properties:
        found.UserProperty = list(message.user_properties)
    return found
