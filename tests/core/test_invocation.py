from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.core.event import Event, Observation, encode, parse, parse_foreign
from bridge.core.invocation import (
    DeadLetter,
    Invocation,
    call,
    from_plain,
    letter_document,
    to_plain,
    traceparent,
)
from bridge.core.retry import RetryPolicy
from bridge.core.topics import SensorEventTopic, Topics

NOW = datetime(2026, 11, 22, 17, 30, 0, 123456, tzinfo=UTC)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


def event(id_: str = "01J") -> Event:
    at = Topics().parse(Topics().event("home", "pi-1", "front-door"))
    assert isinstance(at, SensorEventTopic)
    seen = Observation(
        kind="pir", name="motion.detected", value=True, unit=None, initial=False, time=NOW, timesynced=False
    )
    return parse(encode(seen, at=at, id=id_, epoch="k3v9", sequence=42), at)


def invocation(**changes: Any) -> Invocation:
    return Invocation(**({"id": "01J:intruder", "mapping": "intruder", "function": "f", "lane": "l"} | changes))


def test_by_default_the_cloud_event_is_posted_as_it_came() -> None:
    made = call(invocation(), event(), 1)

    assert made.body == event().body
    assert made.headers == {
        "X-Event-Id": "01J",
        "Idempotency-Key": "01J:intruder",
        "traceparent": traceparent("01J:intruder", 1),
        "Content-Type": "application/cloudevents+json",
    }


def test_data_is_posted_alone_with_the_attributes_as_headers() -> None:
    made = call(invocation(payload="data"), event(), 1)

    assert orjson.loads(made.body) == event().data
    assert made.headers["Content-Type"] == "application/json"
    assert {name: value for name, value in made.headers.items() if name.startswith("ce-")} == {
        "ce-specversion": "1.0",
        "ce-id": "01J",
        "ce-source": "/sites/home/nodes/pi-1/sensors/front-door",
        "ce-type": "io.gpio-bridge.motion.detected",
        "ce-subject": "front-door",
        "ce-time": "2026-11-22T17:30:00.123456Z",
        "ce-epoch": "k3v9",
        "ce-sequence": "00000000000000000042",
        "ce-timesynced": "false",
    }


@pytest.mark.parametrize(("text", "body"), [("grün", "grün".encode()), (None, b"")])
def test_a_templates_text_is_posted_as_text(text: str | None, body: bytes) -> None:
    made = call(invocation(payload="text", text=text), event(), 1)

    assert made.body == body
    assert made.headers["Content-Type"] == "text/plain; charset=utf-8"


def test_a_foreign_message_has_no_sequence_in_its_headers() -> None:
    foreign = parse_foreign(b'{"a": 1}', "a b/\u00fc", id="01K", received_at=NOW)
    headers = call(invocation(payload="data"), foreign, 1).headers

    assert headers["ce-source"] == "/mqtt/a%20b/%C3%BC"
    assert "ce-sequence" not in headers
    assert "ce-subject" not in headers


def test_a_mappings_header_takes_the_place_of_ours_whatever_its_case() -> None:
    headers = call(invocation(headers=(("content-type", "text/x"), ("X-Mine", "1"))), event(), 1).headers

    assert headers["Content-Type"] == "text/x"
    assert headers["X-Mine"] == "1"
    assert "content-type" not in headers


@given(TEXT)
def test_header_values_are_printable_ascii_and_can_be_read_back(id_: str) -> None:
    value = call(invocation(id=f"x{id_}"), event(), 1).headers["Idempotency-Key"]

    assert value.isascii()
    assert value.isprintable()
    assert not set(value) & set(' "')
    assert unquote(value) == f"x{id_}"


def test_an_invocation_is_one_trace_and_each_attempt_a_span_of_it() -> None:
    first, again, second = traceparent("a", 1), traceparent("a", 1), traceparent("a", 2)

    assert first == again
    assert first[:35] == second[:35]
    assert first != second
    version, trace, span, flags = first.split("-")
    assert (version, len(trace), len(span), flags) == ("00", 32, 16, "01")


@pytest.mark.parametrize(
    ("payload", "shown"),
    [(b'{"a": 1}', {"a": 1}), (b"\xff!", "\ufffd!"), (b"[" * 300 + b"]" * 300, "[" * 300 + "]" * 300)],
)
def test_a_dead_letter_shows_what_arrived_rule_12(payload: bytes, shown: Any) -> None:
    letter = DeadLetter(id="01J", reason="no JSON", at=NOW, event_id="01J", topic="a/b", event=payload)

    assert orjson.loads(letter_document(letter)) == {
        "id": "01J",
        "reason": "no JSON",
        "at": "2026-11-22T17:30:00.123456Z",
        "event_id": "01J",
        "topic": "a/b",
        "event": shown,
        "mapping": None,
        "function": None,
        "status": None,
        "body": "",
        "attempts": 0,
    }


@given(
    st.builds(
        Invocation,
        id=TEXT,
        mapping=TEXT,
        function=TEXT,
        lane=TEXT,
        mode=st.sampled_from(["sync", "async"]),
        payload=st.sampled_from(["event", "data", "text"]),
        text=st.none() | TEXT,
        headers=st.lists(st.tuples(TEXT, TEXT), max_size=3).map(tuple),
        retry=st.builds(RetryPolicy, attempts=st.integers(1, 9), total_s=st.none() | st.floats(0, 9)),
        on_failure=st.none() | TEXT,
        max_age_s=st.none() | st.floats(0, 9),
        due_at=st.none() | st.datetimes(timezones=st.just(UTC)),
        cooldown_key=st.none() | TEXT,
    )
)
def test_what_the_journal_keeps_is_read_back(kept: Invocation) -> None:
    assert from_plain(orjson.loads(orjson.dumps(to_plain(kept)))) == kept


def test_what_a_newer_version_wrote_is_read_without_what_is_not_known() -> None:
    plain = to_plain(invocation())
    plain["later"] = 1
    plain["retry"]["later"] = 2

    assert from_plain(plain) == invocation()
