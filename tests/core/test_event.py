from __future__ import annotations

import contextlib
import dataclasses
import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bridge.core.event import (
    FOREIGN_TYPE,
    MAX_BYTES,
    MAX_DEPTH,
    MAX_SEQUENCE,
    SOURCES,
    Event,
    Form,
    Identity,
    Observation,
    _as_ours_are,
    _looked_at_closely,
    encode,
    parse,
    parse_any,
    parse_foreign,
    parse_source,
    readable,
    renumbered,
    restamp,
    rfc3339,
    source_of,
)
from bridge.core.topics import SensorEventTopic, Topics
from bridge.errors import EventError

NOW = datetime(2026, 11, 22, 17, 30, 0, 123456, tzinfo=UTC)
NAMES = st.from_regex(r"[a-z0-9][a-z0-9-]{0,10}", fullmatch=True)
TIMES = st.floats(0, 2.5e11).map(lambda seconds: datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds))
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
NUMBERS = st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)


def topic(site: str = "home", node: str = "pi-1", sensor: str = "front-door") -> SensorEventTopic:
    parsed = Topics().parse(Topics().event(site, node, sensor))
    assert isinstance(parsed, SensorEventTopic)
    return parsed


def seen(**changes: Any) -> Observation:
    given: dict[str, Any] = {"kind": "pir", "name": "motion.detected", "value": True, "unit": None, "initial": False}
    return Observation(**(given | {"time": NOW, "timesynced": True} | changes))


def document(**changes: Any) -> dict[str, Any]:
    made: dict[str, Any] = orjson.loads(encode(seen(), at=topic(), id="01J", epoch="k3v9", sequence=42))
    data = changes.pop("data", {})
    made |= changes
    if isinstance(data, dict) and isinstance(made["data"], dict):
        made["data"] |= data
    else:
        made["data"] = data
    return {name: value for name, value in made.items() if value is not ...}


@given(
    site=NAMES,
    node=NAMES,
    sensor=NAMES,
    kind=TEXT,
    name=NAMES,
    value=st.none() | st.booleans() | NUMBERS | TEXT,
    unit=st.none() | TEXT,
    initial=st.booleans(),
    time=TIMES,
    timesynced=st.booleans(),
    id_=TEXT.filter(bool),
    epoch=TEXT.filter(bool),
    sequence=st.integers(1, MAX_SEQUENCE),
)
def test_what_is_encoded_is_parsed_back(
    site: str, node: str, sensor: str, kind: str, name: str, value: Any, unit: str | None, initial: bool,
    time: datetime, timesynced: bool, id_: str, epoch: str, sequence: int,
) -> None:  # fmt: skip
    at = topic(site, node, sensor)
    told = Observation(kind=kind, name=name, value=value, unit=unit, initial=initial, time=time, timesynced=timesynced)

    event = parse(encode(told, at=at, id=id_, epoch=epoch, sequence=sequence), at)

    assert (event.site, event.node, event.sensor) == (site, node, sensor)
    assert (event.kind, event.name, event.time, event.timesynced) == (kind, name, time, timesynced)
    assert (event.id, event.epoch, event.sequence, event.initial) == (id_, epoch, sequence, initial)
    assert event.data["value"] == value
    assert event.data["unit"] == unit
    assert event.identity == Identity(source_of(site, node, sensor), epoch, sequence)
    assert event.key == id_
    assert event.payload is event.data
    assert parse_source(event.source) == (site, node, sensor)


@given(
    at=st.builds(SensorEventTopic, TEXT, TEXT, TEXT, TEXT),
    kind=TEXT,
    name=TEXT,
    value=st.none() | st.booleans() | NUMBERS | TEXT | st.just(float("nan")),
    unit=st.none() | TEXT,
    initial=st.booleans(),
    time=TIMES | st.just(NOW.astimezone(timezone(timedelta(hours=2)))),
    timesynced=st.booleans(),
    id_=TEXT | st.just("01J"),
    epoch=TEXT,
    sequence=st.integers(1, MAX_SEQUENCE),
)
@example(topic(), 'a "kind"', "motion\\ended\n", 1, "\u00b0C", True, NOW, False, '"', "é\x00", 1)
def test_what_a_form_encodes_is_its_document_in_json_to_the_byte(
    at: SensorEventTopic, kind: str, name: str, value: Any, unit: str | None, initial: bool,
    time: datetime, timesynced: bool, id_: str, epoch: str, sequence: int,
) -> None:  # fmt: skip
    told = Observation(kind=kind, name=name, value=value, unit=unit, initial=initial, time=time, timesynced=timesynced)

    body = Form(at, epoch, kind, name, unit).encode(told, id=id_, sequence=sequence)

    assert body == encode(told, at=at, id=id_, epoch=epoch, sequence=sequence)
    assert body == orjson.dumps(
        {
            "specversion": "1.0",
            "id": id_,
            "source": source_of(at.site, at.node, at.sensor),
            "type": f"io.gpio-bridge.{name}",
            "subject": at.sensor,
            "time": rfc3339(time),
            "datacontenttype": "application/json",
            "dataschema": "urn:gpio-bridge:event:1",
            "epoch": epoch,
            "sequence": f"{sequence:020d}",
            "timesynced": timesynced,
            "data": {
                "site": at.site,
                "node": at.node,
                "sensor": at.sensor,
                "kind": kind,
                "event": name,
                "value": value,
                "unit": unit,
                "initial": initial,
            },
        }
    )


@pytest.mark.parametrize("value", [2**64, "half of a pair: \ud800", object()])
def test_a_form_refuses_a_value_that_json_cannot_say_as_one_without_it_does(value: Any) -> None:
    form = Form(topic(), "k3v9", "pir", "motion.detected", None)

    with pytest.raises(TypeError):
        encode(seen(value=value), at=topic(), id="01J", epoch="k3v9", sequence=1)
    with pytest.raises(TypeError):
        form.encode(seen(value=value), id="01J", sequence=1)


def test_an_event_is_the_cloud_event_of_the_contract() -> None:
    assert document() == {
        "specversion": "1.0",
        "id": "01J",
        "source": "/sites/home/nodes/pi-1/sensors/front-door",
        "type": "io.gpio-bridge.motion.detected",
        "subject": "front-door",
        "time": "2026-11-22T17:30:00.123456Z",
        "datacontenttype": "application/json",
        "dataschema": "urn:gpio-bridge:event:1",
        "epoch": "k3v9",
        "sequence": "00000000000000000042",
        "timesynced": True,
        "data": {
            "site": "home",
            "node": "pi-1",
            "sensor": "front-door",
            "kind": "pir",
            "event": "motion.detected",
            "value": True,
            "unit": None,
            "initial": False,
        },
    }


@pytest.mark.parametrize(
    ("changes", "wrong"),
    [
        ({"specversion": "0.3"}, "specversion is '0.3'"),
        ({"specversion": [[1]]}, "specversion is a list"),
        ({"specversion": {"a": 1}}, "specversion is an object"),
        ({"source": ...}, "source is missing"),
        ({"source": 5}, "source is missing or not text"),
        ({"source": "/sites/home/nodes/pi-2/sensors/front-door"}, "its topic belongs to"),
        ({"source": "x" * 5000}, r"source is 'x{96}\.\.\., but"),
        ({"data": []}, "data is not an object"),
        ({"data": {"node": "pi-2"}}, "data.node is 'pi-2', but its topic says 'pi-1'"),
        ({"data": {"site": None}}, "data.site is None"),
        ({"data": {"sensor": 1}}, "data.sensor is 1"),
        ({"type": "io.gpio-bridge.motion.ended"}, "data.event is 'motion.detected'"),
        ({"type": ""}, "type is missing"),
        ({"data": {"event": 7}}, "data.event is 7"),
        ({"data": {"kind": None}}, "data.kind is missing or not text"),
        ({"id": ""}, "id is missing"),
        ({"time": "yesterday"}, "not an RFC 3339 time"),
        ({"time": "2026-13-22T17:30:00Z"}, "not an RFC 3339 time"),
        ({"time": "2026-11-22T17:30:00"}, "without an offset"),
        ({"time": 5}, "time is missing or not text"),
        ({"time": "0001-01-01T00:00:00+14:00"}, "its year must be from 1970 to 9899"),
        ({"time": "9999-12-31T23:59:59-14:00"}, "its year must be from 1970 to 9899"),
        ({"time": "9999-12-31T23:59:59Z"}, "its year must be from 1970 to 9899"),
        ({"epoch": None}, "epoch is missing"),
        ({"epoch": ""}, "epoch is missing"),
        ({"sequence": None}, "sequence is None"),
        ({"sequence": 42}, "sequence is 42"),
        ({"sequence": "0"}, "not a positive number"),
        ({"sequence": "-1"}, "not a positive number"),
        ({"sequence": "٤٢"}, "not a positive number"),
        ({"sequence": str(2**63)}, "not a positive number"),
        ({"sequence": "9" * 60_000}, "not a positive number"),
    ],
)
def test_a_payload_that_is_not_the_event_it_claims_to_be_is_told_why(changes: dict[str, Any], wrong: str) -> None:
    with pytest.raises(EventError, match=wrong) as caught:
        parse(orjson.dumps(document(**changes)), topic())
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("payload", [b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"a": NaN}', b'"\\ud800"', b"1" * 5000])
def test_a_payload_that_is_no_json_object_is_an_event_error(payload: bytes) -> None:
    with pytest.raises(EventError, match="not a JSON object"):
        parse(payload, topic())


def test_the_largest_payload_is_64_kib() -> None:
    made = document(filler="")
    room = MAX_BYTES - len(orjson.dumps(made))

    assert parse(orjson.dumps(made | {"filler": "x" * room}), topic()).id == "01J"
    with pytest.raises(EventError, match="65537 bytes; the limit is 65536"):
        parse(orjson.dumps(made | {"filler": "x" * (room + 1)}), topic())


def test_deep_nesting_is_refused_before_anything_breaks_on_it() -> None:
    def nested(levels: int) -> bytes:
        return orjson.dumps(document(deep="?")).replace(b'"?"', b"[" * levels + b"]" * levels)

    assert parse(nested(MAX_DEPTH - 2), topic()).id == "01J"
    assert parse(orjson.dumps(document(wide=[[]] * MAX_DEPTH)), topic()).id == "01J"
    for levels in (MAX_DEPTH + 1, 300, 1000, 1023):
        with pytest.raises(EventError, match="nested deeper than 64 levels"):
            parse(nested(levels), topic())


@pytest.mark.parametrize("time", ["1970-01-01T00:00:07Z", "2026-11-22t17:30:00+01:00", "9899-12-31T23:59:59Z"])
def test_a_clock_that_was_never_set_is_no_mistake(time: str) -> None:
    event = parse(orjson.dumps(document(time=time.upper(), timesynced=False)), topic())

    assert event.time.tzinfo is UTC
    assert event.timesynced is False


def test_what_an_event_may_leave_out_has_a_default() -> None:
    event = parse(orjson.dumps(document(epoch=..., sequence=..., timesynced=..., subject=7)), topic())

    assert event.subject is None
    assert event.timesynced is True
    assert event.identity == Identity("/sites/home/nodes/pi-1/sensors/front-door", "01J", 0)
    assert event.key != "01J"


def test_fields_nobody_knows_are_ignored() -> None:
    assert parse(orjson.dumps(document(extra=1, data={"more": 2})), topic()).data["more"] == 2


@given(TIMES)
@example(datetime(1970, 1, 1, tzinfo=UTC))
@example(datetime(1, 1, 1, tzinfo=UTC))
def test_a_time_is_written_so_that_it_is_read_back(time: datetime) -> None:
    text = rfc3339(time)

    assert len(text) == 27
    assert datetime.fromisoformat(text) == time
    assert rfc3339(time.replace(year=2000, day=1).astimezone(timezone(timedelta(hours=5)))).endswith("Z")


def test_a_corrected_time_changes_nothing_else_rule_4() -> None:
    event = parse(orjson.dumps(document(time="1970-01-01T00:00:07Z", timesynced=False)), topic())
    corrected = restamp(event, NOW)

    assert corrected.time == NOW
    assert corrected.timesynced is True
    assert parse(corrected.body, topic()) == corrected
    assert {
        name: value for name, value in orjson.loads(corrected.body).items() if name not in ("time", "timesynced")
    } == {name: value for name, value in orjson.loads(event.body).items() if name not in ("time", "timesynced")}


@given(JSON)
def test_a_foreign_message_carries_its_json_rule_16(value: Any) -> None:
    event = parse_foreign(orjson.dumps(value), "zigbee2mqtt/door", id="01K", received_at=NOW)

    assert event.type == FOREIGN_TYPE
    assert event.key == "01K"
    assert event.identity == Identity("/mqtt/zigbee2mqtt/door", "01K", 0)
    assert event.payload == value
    assert orjson.loads(event.body)["data"] == {"topic": "zigbee2mqtt/door", "payload": value}
    assert (event.node, event.sensor, event.time, event.initial) == (None, None, NOW, False)


@pytest.mark.parametrize(
    ("payload", "data"),
    [
        (b"", {"payload": ""}),
        (b"ON", {"payload": "ON"}),
        ("grün".encode(), {"payload": "grün"}),
        (b"NaN", {"payload": "NaN"}),
        (b"\xff\x00", {"payload_base64": "/wA="}),
        (b"[" * 300 + b"]" * 300, {"payload": "[" * 300 + "]" * 300}),
        (b"[" * 64 + b"]" * 64, {"payload": json.loads("[" * 64 + "]" * 64)}),
    ],
)
def test_a_foreign_payload_that_is_no_json_is_text_else_base64(payload: bytes, data: dict[str, Any]) -> None:
    event = parse_foreign(payload, "a/b", id="01K", received_at=NOW)

    assert event.data == {"topic": "a/b"} | data
    assert event.payload == data.get("payload", data.get("payload_base64"))
    assert orjson.loads(event.body)["data"] == event.data


def test_a_foreign_cloud_event_keeps_its_identity() -> None:
    theirs = {"specversion": "1.0", "id": "7", "source": "//x", "type": "com.x.y", "data": [1], "subject": "s"}
    event = parse_foreign(orjson.dumps(theirs), "a/b", id="01K", received_at=NOW)

    assert (event.id, event.source, event.type, event.time, event.subject) == ("7", "//x", "com.x.y", NOW, "s")
    assert event.data == {"value": [1]}
    assert event.identity == Identity("//x", "7", 0)
    assert len(event.key) == 32

    timed = theirs | {"time": "2026-01-01T00:00:00Z", "data": {"a": 1}, "subject": 5}
    event = parse_foreign(orjson.dumps(timed), "a/b", id="01K", received_at=NOW)
    assert event.time == datetime(2026, 1, 1, tzinfo=UTC)
    assert event.data == {"a": 1}
    assert event.subject is None


def test_a_foreign_cloud_event_cannot_take_the_identity_of_a_message_of_ours() -> None:
    theirs = {"specversion": "1.0", "id": "01J", "source": "//x", "type": FOREIGN_TYPE, "data": {}}
    event = parse_foreign(orjson.dumps(theirs), "a/b", id="01K", received_at=NOW)

    assert event.id == "01K"
    assert event.payload == theirs


@pytest.mark.parametrize(
    ("payload", "wrong"), [(b"x" * (MAX_BYTES + 1), "limit"), (b'{"time": "no", "data": 1, ', "RFC 3339")]
)
def test_a_foreign_message_too_large_or_with_a_broken_time_is_an_event_error(payload: bytes, wrong: str) -> None:
    if payload.startswith(b"{"):
        payload += b'"specversion": "1.0", "id": "7", "source": "//x", "type": "t"}'
    with pytest.raises(EventError, match=wrong):
        parse_foreign(payload, "a/b", id="01K", received_at=NOW)


def test_the_topic_decides_whose_event_it_is() -> None:
    body = encode(seen(), at=topic(), id="01J", epoch="k3v9", sequence=42)

    assert parse_any(body, topic(), id="01K", received_at=NOW).sensor == "front-door"
    status = Topics().parse(Topics().status("home", "pi-1"))
    assert status is not None
    assert parse_any(b"1", status, id="01K", received_at=NOW).topic == status.text
    assert parse_any(b"1", "a/b", id="01K", received_at=NOW).topic == "a/b"


def test_a_source_that_is_no_sensors_is_none() -> None:
    assert parse_source("/sites/home/nodes/pi-1") is None


def test_so_many_sources_are_remembered_and_no_more() -> None:
    for number in range(SOURCES + 10):
        assert parse_source(source_of("home", f"pi-{number}", "door")) == ("home", f"pi-{number}", "door")
    assert source_of.cache_info().currsize == parse_source.cache_info().currsize == SOURCES


def test_a_payload_for_people_is_json_or_text() -> None:
    assert readable(b'{"a": 1}') == {"a": 1}
    assert readable(b"\xff") == "\ufffd"
    assert readable(b"[" * 300 + b"]" * 300) == "[" * 300 + "]" * 300


FIELDS = ["specversion", "id", "source", "type", "subject", "time", "epoch", "sequence", "timesynced", "data"]
HOSTILE = JSON | st.sampled_from(["1" * 5000, "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59.9-23:59", "9" * 20])


def usable(event: Event) -> None:
    """What the dispatcher does with every event that it accepted."""
    assert event.time.tzinfo is UTC
    assert rfc3339(event.time)
    assert orjson.dumps({"data": {"event": event.data}})
    assert len(event.body) <= MAX_BYTES * 8
    assert event.key
    assert hash(event.identity)
    assert event.payload is event.payload


@given(st.dictionaries(st.sampled_from(FIELDS), HOSTILE, max_size=3), st.booleans())
def test_a_hostile_document_is_an_event_or_an_event_error(changes: dict[str, Any], foreign: bool) -> None:
    payload = orjson.dumps(document() | changes)
    with contextlib.suppress(EventError):
        usable(parse_any(payload, "a/b" if foreign else topic(), id="01K", received_at=NOW))


@given(st.binary(max_size=200) | st.text(max_size=50).map(lambda text: text.encode("utf-8", "surrogatepass")))
@example(b"[" * 40_000)
@example(b'{"a":' * 1000 + b"1" + b"}" * 1000)
@example(b'{"specversion": "1.0", "a": 1e999}')
@example(b"-" + b"9" * 400)
@example(b"\xef\xbb\xbf{}")
def test_hostile_bytes_never_raise_anything_else(payload: bytes) -> None:
    usable(parse_foreign(payload, "a/b", id="01K", received_at=NOW))
    with pytest.raises(EventError):
        parse(payload, topic())


@given(
    changes=st.dictionaries(
        st.sampled_from(
            ["id", "type", "time", "subject", "epoch", "sequence", "timesynced", "source", "specversion", "data"]
        ),
        JSON
        | st.sampled_from(
            (
                *(..., "1", "00000000000000000000", "0" * 19 + "7", "9" * 20, "٣" * 20, "2026-11-22T17:30:00Z"),
                *("2026-11-22", "2026-11-22T17:30:00.5+01:00", "9999-01-01T00:00:00Z", "0001-01-01T00:00:00Z", "Z"),
                *({"node": "pi-2"}, {"event": 1}, {"event": "motion.ended"}, {"kind": None}, {"site": "x"}),
            )
        ),
        max_size=2,
    )
)
def test_what_is_read_at_once_is_what_a_closer_look_finds(changes: dict[str, Any]) -> None:
    made = document(**changes)
    if not isinstance(made.get("data"), dict | None):
        assert _as_ours_are(made, b"", topic()) is None
        return
    at_once = _as_ours_are(made, b"", topic())
    if at_once is not None:
        assert at_once == _looked_at_closely(made, b"", topic())


def test_an_event_as_our_agents_make_it_is_read_at_once() -> None:
    assert _as_ours_are(document(), b"", topic()) == _looked_at_closely(document(), b"", topic())


def test_an_event_with_another_number_is_the_same_but_for_that() -> None:
    before = parse(encode(seen(), at=topic(), id="01J", epoch="k3v9", sequence=42), topic())
    after = parse(renumbered(before.body, "a000", 1), topic())
    assert (after.epoch, after.sequence) == ("a000", 1)
    assert dataclasses.replace(after, epoch=before.epoch, sequence=before.sequence, body=before.body) == before
