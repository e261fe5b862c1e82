"""PUBLISH packets decode to what paho encodes, and rubbish never passes for one."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.mqtt.packet import UndecodableTopic, decode_publish, pack_properties
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
        found = pack_properties(message)
        body += found.pack() if found is not None else b"\0"  # type: ignore[no-untyped-call]  # paho leaves it untyped
    return first, body + message.payload


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
