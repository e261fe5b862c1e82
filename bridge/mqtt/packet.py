"""PUBLISH and PUBACK, the hot packets, read and written here: paho builds a dozen objects for each, and takes locks.

Sources: MQTT 5.0, sections 3.3 and 3.4 (and those of 3.1.1, which are the same without properties and reason codes).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from functools import lru_cache
from typing import Final, NamedTuple, TypeAlias, cast

from paho.mqtt import MQTTException
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from bridge.mqtt.transport import Message

PUBLISH: Final = 0x30
"""The upper half of a PUBLISH packet's first byte."""
PUBACK: Final = 0x40

_LONGEST: Final = 2**28 - 1  # MQTT 5.0, 1.5.5
_LONGEST_EXPIRY_S: Final = 2**32 - 1
_EXPIRY, _CONTENT_TYPE, _USER = b"\x02", b"\x03", b"\x26"  # MQTT 5.0, 2.2.2.2
_PUBACK_OK: Final = b"\x40\x02"
_NOBODY_THERE: Final = 0x10  # no matching subscribers: good, and frequent
_ERROR: Final = 0x80  # MQTT 5.0, 2.4: reason codes from here on are failures


class Puback(NamedTuple):
    """The broker's answer to a publication of QoS 1; `reason` is what it said, or its code in words, of a refusal."""

    packet_id: int
    code: int
    reason: str

    @property
    def refused(self) -> bool:
        """Whether the broker does not take it."""
        return self.code >= _ERROR


def encode_publish(message: Message, packet_id: int, *, five: bool) -> bytes:
    """The whole packet. Raises ValueError for a message that does not fit into one."""
    topic = _topic(message.topic)
    identifier = packet_id.to_bytes(2, "big") if message.qos else b""
    properties = b""
    if five:
        properties = _properties(message.content_type, message.expiry_s, message.user_properties)
    payload = message.payload
    size_bytes = len(topic) + len(identifier) + len(properties) + len(payload)
    first = PUBLISH | message.dup << 3 | message.qos << 1 | message.retain
    return b"".join((_head(first, size_bytes), topic, identifier, properties, payload))


@lru_cache(maxsize=256)
def _head(first: int, size_bytes: int) -> bytes:
    """The fixed header. Kept, as the two below, because a program's messages have the same few."""
    return bytes((first,)) + _length(size_bytes)


@lru_cache(maxsize=256)
def _topic(text: str) -> bytes:
    """The topic behind its length."""
    topic = text.encode()
    return len(topic).to_bytes(2, "big") + topic


@lru_cache(maxsize=64)
def _properties(content_type: str | None, expiry_s: int | None, user: tuple[tuple[str, str], ...]) -> bytes:
    """The properties behind their length."""
    found = b""
    if expiry_s is not None:
        if not 0 <= expiry_s <= _LONGEST_EXPIRY_S:
            raise ValueError(f"an expiry of {expiry_s} s is not one that MQTT can carry")
        found += _EXPIRY + expiry_s.to_bytes(4, "big")
    if content_type is not None:
        found += _CONTENT_TYPE + _text(content_type)
    for name, value in user:
        found += _USER + _text(name) + _text(value)
    return _length(len(found)) + found


def _text(text: str) -> bytes:
    raw = text.encode()
    if len(raw) > 0xFFFF:
        raise ValueError(f"a property has {len(raw)} bytes, more than MQTT can carry")
    return len(raw).to_bytes(2, "big") + raw


def _length(size_bytes: int) -> bytes:
    """A length as MQTT writes it: seven bits a byte, the lowest first (1.5.5)."""
    if size_bytes > _LONGEST:
        raise ValueError(f"a message of {size_bytes} bytes is larger than MQTT can carry")
    found = bytearray()
    while size_bytes > 0x7F:
        found.append(size_bytes & 0x7F | 0x80)
        size_bytes >>= 7
    found.append(size_bytes)
    return bytes(found)


def decode_puback(body: bytes, *, five: bool) -> Puback:
    """What the broker answers. Raises ValueError for what is no PUBACK packet."""
    size = len(body)
    if size == 2:  # in MQTT 5 too, when all is well and there is nothing to say (3.4.2.1)
        return Puback(body[0] << 8 | body[1], 0, "")
    if size == 3 and five and body[2] == _NOBODY_THERE:
        return Puback(body[0] << 8 | body[1], _NOBODY_THERE, "")
    if not five or size < 2:
        raise ValueError(f"not a PUBACK packet: it has {size} bytes")
    try:
        code = ReasonCode(PacketTypes.PUBACK, identifier=body[2])
        said = ""
        if size > 3 and body[3]:
            found = Properties(PacketTypes.PUBACK)  # type: ignore[no-untyped-call]  # paho leaves this class untyped
            found.unpack(body[3:])  # type: ignore[no-untyped-call]  # as above
            said = vars(found).get("ReasonString", "")
    except (LookupError, struct.error, MQTTException) as error:
        raise ValueError(f"not a PUBACK packet: {error}") from error
    refusal = (said or code.getName().lower()) if code.value >= _ERROR else ""
    return Puback(body[0] << 8 | body[1], code.value, refusal)


def decode_publish(first: int, body: bytes, *, five: bool) -> tuple[Message, int]:
    """The message and its packet id (0 at QoS 0).

    Raises UndecodableTopic, and ValueError for what is no PUBLISH packet of QoS 0 or 1.
    """
    told = _UNTOLD
    packet_id = 0
    qos = first >> 1 & 3
    try:
        at = 2 + (body[0] << 8 | body[1])
        raw_topic = body[2:at]
        if qos > 1 or len(raw_topic) != at - 2 or not raw_topic:
            raise ValueError("not a PUBLISH packet that we asked for")
        if qos:
            packet_id = body[at] << 8 | body[at + 1]
            at += 2
        if five:
            if body[at]:
                length, size = read_length(body, at)
                told = _told(body[at : at + size + length])
                at += size + length
            else:
                at += 1
    except (LookupError, struct.error, MQTTException) as error:
        raise ValueError(f"not a PUBLISH packet: {error}") from error
    try:
        topic = raw_topic.decode()
    except UnicodeDecodeError as error:
        raise UndecodableTopic(packet_id) from error
    return Message(topic, body[at:], 1 if qos else 0, bool(first & 1), bool(first & 8), *told), packet_id


_Told: TypeAlias = "tuple[str | None, int | None, tuple[tuple[str, str], ...]]"
_UNTOLD: Final[_Told] = (None, None, ())


@lru_cache(maxsize=256)
def _told(properties: bytes) -> _Told:
    """What a PUBLISH packet's properties tell us. Kept, because a sender's messages have the same ones."""
    found = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]  # paho leaves this class untyped
    found.unpack(properties)  # type: ignore[no-untyped-call]  # as above
    values = vars(found)
    return (
        values.get("ContentType"),
        values.get("MessageExpiryInterval"),
        tuple(cast("list[tuple[str, str]]", values.get("UserProperty", ()))),
    )


def read_length(body: bytes, at: int) -> tuple[int, int]:
    """A length as MQTT writes it, and how many bytes that takes. Raises ValueError for one that is none (1.5.5)."""
    length = 0
    for i in range(4):
        length |= (body[at + i] & 0x7F) << 7 * i
        if body[at + i] < 0x80:
            return length, i + 1
    raise ValueError("a length has more than four bytes")


def encode_pubacks(packet_ids: Sequence[int]) -> bytes:
    """One packet each, which says that all is well (3.4.2.1)."""
    if len(packet_ids) == 1:
        return _PUBACK_OK + packet_ids[0].to_bytes(2, "big")
    return b"".join([_PUBACK_OK + packet_id.to_bytes(2, "big") for packet_id in packet_ids])


class UndecodableTopic(ValueError):
    """A message's topic is no UTF-8; `packet_id` is what to acknowledge to be rid of it."""

    def __init__(self, packet_id: int) -> None:
        super().__init__("a topic is no UTF-8")
        self.packet_id = packet_id


def will_properties(will: Message) -> Properties | None:
    """The MQTT 5 properties of a last will, in paho's form; None when it has none."""
    if will.content_type is None and will.expiry_s is None and not will.user_properties:
        return None
    found = Properties(PacketTypes.WILLMESSAGE)  # type: ignore[no-untyped-call]  # paho leaves this class untyped
    if will.content_type is not None:
        found.ContentType = will.content_type
    if will.expiry_s is not None:
        found.MessageExpiryInterval = will.expiry_s
    if will.user_properties:
        found.UserProperty = list(will.user_properties)
    return found
