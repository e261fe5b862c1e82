"""The format of a recording: what is written is read again, and a file is neither overwritten nor believed blindly."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.errors import ConfigError
from bridge.testing.recording import Head, NotRecorded, Recorded, RecordingFile, decode, encode, read

HEAD = Head("gpio-bridge", "home", "Europe/London", ("gpio-bridge/v1/home/nodes/+/status", "shelly/#"))
AT = datetime(2026, 11, 22, 23, 10, 0, 123456, UTC)
LAMP = Recorded(AT, "shelly/lamp", b"on")

TEXT = st.text(st.characters(exclude_categories=["Cs"]))


@given(
    st.builds(
        Recorded,
        st.datetimes(timezones=st.just(UTC)),
        TEXT,
        st.one_of(st.binary(), TEXT.map(str.encode)),
        st.booleans(),
    )
)
def test_every_message_is_one_line_that_is_read_as_the_same_message(message: Recorded) -> None:
    line = encode(message)
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    assert decode(line) == message


def test_a_head_is_read_as_the_same_head() -> None:
    assert decode(encode(HEAD)) == HEAD


def test_a_payload_that_is_text_can_be_read_in_the_file_and_another_is_base64() -> None:
    assert encode(LAMP) == b'{"received_at":"2026-11-22T23:10:00.123456Z","topic":"shelly/lamp","payload":"on"}\n'
    assert b'"payload_base64":"/w=="' in encode(Recorded(AT, "a", b"\xff"))


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("[]", "is no JSON object"),
        ("{", "unexpected end"),
        ('{"recording": 2}', "is of version 2; this program reads 1"),
        ('{"recording": 1, "root": "a"}', "is no head"),
        ('{"topic": "a", "payload": "b"}', "has no received_at"),
        ('{"received_at": "2026-11-22T23:10:00Z", "payload": "b"}', "has no topic"),
        ('{"received_at": "2026-11-22T23:10:00Z", "topic": "a"}', "has no payload"),
        ('{"received_at": "2026-11-22T23:10:00", "topic": "a", "payload": "b"}', "received_at has no zone"),
        ('{"received_at": "2026-11-22T23:10:00Z", "topic": 1, "payload": "b"}', "topic must be a text"),
        ('{"received_at": "2026-11-22T23:10:00Z", "topic": "a", "payload": 1}', "is no recorded message"),
        ('{"received_at": "2026-11-22T23:10:00Z", "topic": "a", "payload_base64": "?"}', "is no recorded message"),
        ('{"received_at": 1, "topic": "a", "payload": "b"}', "is no recorded message"),
        ('{"decided": 1}', "is no decision: it has no type"),
        ('{"decided": {"type": "event", "at": "2026-11-22T23:10:00Z"}}', "is no decision: it has no event_id"),
        ('{"decided": {"type": "event", "at": "2026-11-22T23:10:00", "event_id": "e"}}', "at has no zone"),
        ('{"decided": {"type": "event", "at": "soon", "event_id": "e"}}', "Invalid isoformat string"),
    ],
)
def test_a_line_that_is_none_says_what_is_wrong_with_it(text: str, wrong: str) -> None:
    with pytest.raises(ValueError, match=wrong):
        decode(text.encode())


def test_each_line_is_in_the_file_as_soon_as_it_is_written(tmp_path: Path) -> None:
    path = tmp_path / "night.jsonl"
    with RecordingFile(path, HEAD) as file:
        assert list(read(path)) == [HEAD]
        file.write(LAMP)
        assert list(read(path)) == [HEAD, LAMP]


def test_nobody_else_may_read_a_recording(tmp_path: Path) -> None:
    path = tmp_path / "night.jsonl"
    with RecordingFile(path, HEAD):
        assert path.stat().st_mode & 0o777 == 0o600


def test_a_file_that_is_there_is_gone_on_with_only_when_that_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "night.jsonl"
    with RecordingFile(path, HEAD) as file:
        file.write(LAMP)
    with pytest.raises(NotRecorded, match="is there already; say --append"):
        RecordingFile(path, HEAD).__enter__()
    with RecordingFile(path, HEAD, append=True) as file:
        file.write(LAMP)
    assert list(read(path)) == [HEAD, LAMP, HEAD, LAMP]


def test_append_begins_a_file_that_is_not_there(tmp_path: Path) -> None:
    path = tmp_path / "night.jsonl"
    with RecordingFile(path, HEAD, append=True):
        pass
    assert list(read(path)) == [HEAD]


@pytest.mark.parametrize("torn", [b'{"received_at":"2026', b"x" * 100_000])
def test_what_a_kill_cut_off_is_not_read_and_makes_room_for_what_is_appended(tmp_path: Path, torn: bytes) -> None:
    path = tmp_path / "night.jsonl"
    path.write_bytes(encode(HEAD) + encode(LAMP) + torn)
    assert list(read(path)) == [HEAD, LAMP]
    with RecordingFile(path, HEAD, append=True) as file:
        file.write(LAMP)
    assert list(read(path)) == [HEAD, LAMP, HEAD, LAMP]


def test_a_recording_of_other_topics_and_a_file_of_another_kind_are_not_appended_to(tmp_path: Path) -> None:
    path = tmp_path / "night.jsonl"
    path.write_bytes(encode(HEAD))
    with pytest.raises(NotRecorded, match="is of topics below gpio-bridge, and these are below farm"):
        RecordingFile(path, Head("farm", "home", "UTC", ()), append=True).__enter__()
    path.write_text("my notes", encoding="utf-8")
    with pytest.raises(ConfigError, match="1:1"):
        RecordingFile(path, HEAD, append=True).__enter__()
    assert path.read_text(encoding="utf-8") == "my notes"


def test_a_bad_line_is_named_with_its_place(tmp_path: Path) -> None:
    path = tmp_path / "night.jsonl"
    path.write_bytes(encode(HEAD) + b"{}\n" + encode(LAMP))
    with pytest.raises(ConfigError, match=r"night\.jsonl:2:1: has no received_at"):
        list(read(path))


@pytest.mark.parametrize(
    ("content", "wrong"), [(encode(LAMP), "is no head"), (b"", "is empty"), (None, "cannot be read: No such file")]
)
def test_a_file_that_is_no_recording_is_refused(tmp_path: Path, content: bytes | None, wrong: str) -> None:
    path = tmp_path / "night.jsonl"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=wrong):
        list(read(path))


def test_a_folder_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(NotRecorded, match="cannot be written: No such file or directory"):
        RecordingFile(tmp_path / "none" / "night.jsonl", HEAD).__enter__()


def test_a_disk_that_is_full_is_said() -> None:
    with pytest.raises(NotRecorded, match="cannot be written: No space left on device"):
        RecordingFile(Path("/dev/full"), HEAD, append=True).__enter__()
