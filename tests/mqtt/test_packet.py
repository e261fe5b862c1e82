"""Packets are read and written as the standard and paho say, and rubbish never passes for one."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from bridge.mqtt.packet import (
    Puback,
    UndecodableTopic,
    decode_puback,
    decode_publish,
    encode_pubacks,
    encode_publish,
)
from bridge.mqtt.transport import Message

texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=30)
messages = st.builds(
    Message,
    topic=st.text(st.characters(codec="utf-8", exclude_characters="\0+#"), min_size=1, max_size=30),
    payload=st.binary(max_size=300),
    qos=st.sampled_from([0, 1]),
    retain=st.booleans(),
    dup=st.booleans(),
    content_type=st.none() | texts,
    expiry_s=st.none() | st.integers(0, 2**32 - 1),
    user_properties=st.lists(st.tuples(texts, texts), max_size=3).map(tuple),
)


def encoded(message: Message, packet_id: int, *, five: bool) -> tuple[int, bytes]:
    """The first byte and the body, built from the standard's description."""
    first = 0x30 | message.dup << 3 | message.qos << 1 | message.retain
    topic = message.topic.encode()
    body = struct.pack("!H", len(topic)) + topic
    if message.qos:
        body += struct.pack("!H", packet_id)
    if five:
        found = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]  # paho leaves it untyped
        if message.expiry_s is not None:
            found.MessageExpiryInterval = message.expiry_s
        if message.content_type is not None:
            found.ContentType = message.content_type
        if message.user_properties:
            found.UserProperty = list(message.user_properties)
        body += found.pack()  # type: ignore[no-untyped-call]  # as above
    return first, body + message.payload


def body_of(packet: bytes) -> bytes:
    """What follows the first byte and the length."""
    at = 1
    while packet[at] > 0x7F:
        at += 1
    return packet[at + 1 :]


@given(messages, st.integers(1, 65_535))
def test_a_message_survives_the_wire_in_mqtt_5(message: Message, packet_id: int) -> None:
    first, body = encoded(message, packet_id, five=True)
    assert decode_publish(first, body, five=True) == (message, packet_id if message.qos else 0)


@given(messages, st.integers(1, 65_535))
def test_in_3_1_1_everything_but_the_properties_survives(message: Message, packet_id: int) -> None:
    first, body = encoded(message, packet_id, five=False)
    decoded, _ = decode_publish(first, body, five=False)
    assert (decoded.topic, decoded.payload, decoded.qos) == (message.topic, message.payload, message.qos)
    assert decoded.content_type is None


@given(messages, st.integers(1, 65_535), st.booleans())
def test_what_is_written_is_what_can_be_read(message: Message, packet_id: int, five: bool) -> None:
    packet = encode_publish(message, packet_id, five=five)
    decoded, found_id = decode_publish(packet[0], body_of(packet), five=five)
    bare = Message(message.topic, message.payload, message.qos, message.retain, message.dup)
    assert (decoded, found_id) == (message if five else bare, packet_id if message.qos else 0)


@given(messages, st.integers(1, 65_535), st.booleans())
def test_a_packet_is_written_as_paho_writes_its_properties(message: Message, packet_id: int, five: bool) -> None:
    packet = encode_publish(message, packet_id, five=five)
    first, body = encoded(message, packet_id, five=five)
    assert (packet[0], sorted(body_of(packet))) == (first, sorted(body))  # paho orders properties differently


@pytest.mark.parametrize(
    ("payload_bytes", "length"),
    [(0, b"\x04"), (123, b"\x7f"), (124, b"\x80\x01"), (16_379, b"\xff\x7f"), (16_380, b"\x80\x80\x01")],
)
def test_the_length_takes_one_byte_more_at_each_border_of_the_standard(payload_bytes: int, length: bytes) -> None:
    packet = encode_publish(Message("a", b"x" * payload_bytes, qos=0), 0, five=True)
    assert packet == b"\x30" + length + b"\0\1a\0" + b"x" * payload_bytes


@pytest.mark.parametrize(
    "message",
    [
        Message("a", b"", expiry_s=2**32),
        Message("a", b"", expiry_s=-1),
        Message("a", b"", content_type="x" * 65_536),
        Message("a", b"", user_properties=(("k", "x" * 65_536),)),
        Message("a", bytes(2**28)),
    ],
)
def test_what_fits_into_no_packet_is_an_error(message: Message) -> None:
    with pytest.raises(ValueError, match="MQTT can carry"):
        encode_publish(message, 1, five=True)


@pytest.mark.parametrize(
    ("body", "answer"),
    [
        (b"\1\2", Puback(258, 0, "")),
        (b"\0\7\x10", Puback(7, 0x10, "")),
        (b"\0\7\x87", Puback(7, 0x87, "not authorized")),
        (b"\0\7\x87\0", Puback(7, 0x87, "not authorized")),
        (b"\0\7\x97\6\x1f\0\3why", Puback(7, 0x97, "why")),
        (b"\0\7\x00\6\x1f\0\3why", Puback(7, 0, "")),
    ],
)
def test_an_answer_says_which_packet_and_why_it_was_refused(body: bytes, answer: Puback) -> None:
    assert decode_puback(body, five=True) == answer
    assert answer.refused == bool(answer.reason)


@pytest.mark.parametrize(
    ("body", "five"),
    [(b"", True), (b"\1", True), (b"\0\1\x42", True), (b"\0\1\x87\3\x1f\0\3", True), (b"\0\1\0", False)],
)
def test_an_answer_that_is_none_is_an_error(body: bytes, five: bool) -> None:
    with pytest.raises(ValueError, match="PUBACK"):
        decode_puback(body, five=five)


@given(st.binary(max_size=20), st.booleans())
def test_rubbish_is_an_error_or_an_answer(body: bytes, five: bool) -> None:
    try:
        answer = decode_puback(body, five=five)
    except ValueError:
        return
    assert 0 <= answer.packet_id <= 65_535


@given(st.integers(0x30, 0x3F), st.binary(max_size=40), st.booleans())
def test_rubbish_is_an_error_or_a_message_that_is_whole(first: int, body: bytes, five: bool) -> None:
    try:
        message, packet_id = decode_publish(first, body, five=five)
    except ValueError:
        return
    assert message.topic
    assert message.qos in (0, 1)
    assert 0 <= packet_id <= 65_535


@pytest.mark.parametrize("body", [b"", b"\0", b"\0\5a", b"\0\0\0\1x"])
def test_a_packet_that_is_too_short_or_has_no_topic_is_an_error(body: bytes) -> None:
    with pytest.raises(ValueError, match="PUBLISH"):
        decode_publish(0x32, body, five=False)


def test_a_topic_that_is_no_utf_8_says_which_packet_to_acknowledge() -> None:
    with pytest.raises(UndecodableTopic) as caught:
        decode_publish(0x32, b"\0\1\xff\0\7x", five=False)
    assert caught.value.packet_id == 7


@given(st.lists(st.integers(1, 65_535), max_size=5))
def test_acknowledgements_are_one_packet_each(packet_ids: list[int]) -> None:
    packets = encode_pubacks(packet_ids)
    bodies = [packets[at : at + 4] for at in range(0, len(packets), 4)]
    assert [decode_puback(body[2:], five=True).packet_id for body in bodies] == packet_ids
    assert {body[:2] for body in bodies} <= {b"\x40\x02"}


def test_a_length_of_more_than_four_bytes_is_none() -> None:
    with pytest.raises(ValueError, match="four bytes"):
        decode_publish(0x30, b"\0\1t" + b"\x80" * 5, five=True)
