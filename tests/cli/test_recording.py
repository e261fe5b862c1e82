"""`gpio-bridge record` on a real broker, and `gpio-bridge replay` of what it wrote."""

from __future__ import annotations

import json
import signal
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bridge.cli import exit_codes
from bridge.core.event import rfc3339
from bridge.testing.recording import Decided, Head, Recorded, RecordingFile, encode, read
from tests.cli.conftest import Command, Start
from tests.mosquitto import Mosquitto
from tests.ports import free_port
from tests.real_parts import find
from tests.system.processes import until

AT = datetime(2026, 11, 22, 23, 10, tzinfo=UTC)
OLD = """
version: 1
mappings:
  lamp: {select: {topic: "shelly/+"}, hours: "22:00-06:00", invoke: log}
  wall: {select: {topic: "shelly/wall"}, for: 1h, until: {topic: shelly/off}, invoke: log}
"""
UNKNOWN = "gpio-bridge: what fired then was not recorded; say --dispatcher to record\n"
NEW = OLD.replace("22:00-06:00", "22:00-23:30")


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, str, str]:
    """A recording of three messages in half an hour, and two mapping files."""
    head = Head("gpio-bridge", "home", "UTC", ("gpio-bridge/v1/home/nodes/+/status", "shelly/+"))
    recording, old, new = (tmp_path / name for name in ("night.jsonl", "old.yaml", "new.yaml"))
    with RecordingFile(recording, head) as file:
        for minutes, name in ((0, "hall"), (15, "wall"), (30, "hall")):
            file.write(Recorded(AT + timedelta(minutes=minutes), f"shelly/{name}", b"on"))
    old.write_text(OLD, encoding="utf-8")
    new.write_text(NEW, encoding="utf-8")
    return str(recording), str(old), str(new)


def test_replay_prints_what_fires_and_how_often(files: tuple[str, str, str], command: Command) -> None:
    recording, old, _ = files
    result = command("replay", recording, "--mappings", old)
    assert (result.returncode, result.stderr) == (exit_codes.OK, UNKNOWN)
    lines = result.stdout.splitlines()
    assert lines[0] == "3 messages from 2026-11-22 23:10:00 to 2026-11-22 23:40:00 UTC, 3 of them events"
    assert [line.split()[1:3] for line in lines[1:4]] == [
        ["23:10:00.000", "shelly/hall"],
        ["23:25:00.000", "shelly/wall"],
        ["23:40:00.000", "shelly/hall"],
    ]
    assert lines[4:] == [
        "",
        "mapping  fired",
        "lamp         3",
        "wall         0",
        f"{old}: 1 still waited for their `for` when the recording ended",
    ]


def test_replay_against_another_file_prints_the_difference_and_may_fail_on_it(
    files: tuple[str, str, str], command: Command
) -> None:
    recording, old, new = files
    result = command("replay", recording, "--mappings", new, "--against", old)
    assert result.returncode == exit_codes.OK
    assert f"\nonly with {old}: 1\n2026-11-22 23:40:00.000  shelly/hall  " in result.stdout
    assert "    lamp does not fire: hours wants 22:00-23:30 (UTC), found Sun 23:40 UTC\n" in result.stdout
    assert "only with " + new not in result.stdout
    failing = ("replay", recording, "--against", old, "--fail-on-difference", "--mappings")
    assert command(*failing, new).returncode == exit_codes.FAILED
    same = command(*failing, old)
    assert (same.returncode, same.stdout.splitlines()[-1]) == (exit_codes.OK, "no difference")


def test_replay_tells_what_a_shadow_would_have_fired(files: tuple[str, str, str], command: Command) -> None:
    recording, old, new = files
    Path(new).write_text(OLD.replace('hours: "22:00-06:00"', "shadow: true"), encoding="utf-8")
    lines = command("replay", recording, "--mappings", new).stdout.splitlines()
    assert [line.rpartition("→ ")[2] for line in lines[1:4]] == ["log (shadow)"] * 3
    assert lines[5:9] == [
        "mapping  fired",
        "lamp       (3)",
        "wall         0",
        "(in brackets: what a mapping with `shadow: true` would have fired)",
    ]
    document = json.loads(command("replay", recording, "--mappings", new, "--json").stdout)["mappings"][0]
    assert (document["counts"]["lamp"], document["would_count"], len(document["would_fire"])) == (0, {"lamp": 3}, 3)
    both = command("replay", recording, "--mappings", old, "--against", new).stdout
    assert "    lamp is a shadow: it would have invoked log\n" in both


def test_replay_as_json_says_the_same(files: tuple[str, str, str], command: Command) -> None:
    recording, old, new = files
    document = json.loads(command("replay", recording, "--mappings", new, "--against", old, "--json").stdout)
    assert (document["messages"], document["events"]) == (3, 3)
    assert [one["counts"] for one in document["mappings"]] == [{"lamp": 2, "wall": 0}, {"lamp": 3, "wall": 0}]
    (difference,) = document["differences"]
    assert difference["only"] == "old"
    assert difference["at"] == "2026-11-22T23:40:00.000000Z"
    assert difference["event_id"] in {one["event_id"] for one in document["mappings"][1]["fired"]}


def decided(recording: str) -> None:
    """Add what a dispatcher with the old mappings, but without `for`, decided about the three messages."""
    lines = []
    for minutes, name, mappings in ((0, "hall", ("lamp",)), (15, "wall", ("lamp", "wall")), (30, "hall", ("lamp",))):
        known = {"at": rfc3339(AT + timedelta(minutes=minutes, seconds=1)), "event_id": f"live-{minutes}"}
        lines.append(encode(Decided({"type": "event", "topic": f"shelly/{name}", **known})))
        lines += [encode(Decided({"type": "attempt", "mapping": one, "function": "log", **known})) for one in mappings]
    with Path(recording).open("ab") as file:
        file.write(b"".join(lines))


def test_replay_prints_the_difference_to_what_fired_then_and_may_fail_on_it(
    files: tuple[str, str, str], command: Command
) -> None:
    recording, _, new = files
    decided(recording)
    result = command("replay", recording, "--mappings", new)
    assert (result.returncode, result.stderr) == (exit_codes.OK, "")
    table, _, listed = result.stdout.partition("\nthen, and now")[2].partition("\n\n")
    assert table.splitlines() == [
        f" with {new}: 3 events that both have judged",
        "mapping  function  then and now  only then  only now",
        "lamp     log                  2          1         0",
        "wall     log                  0          1         0",
    ]
    lines = listed.splitlines()
    assert [line for line in lines if not line.startswith("2026")] == [
        "only then: lamp → log",
        "    lamp does not fire: hours wants 22:00-23:30 (UTC), found Sun 23:40 UTC",
        "",
        "only then: wall → log",
        "    wall waits 3600 s before it invokes log",
    ]
    assert command("replay", recording, "--mappings", new, "--fail-on-difference").returncode == exit_codes.FAILED
    document = json.loads(command("replay", recording, "--mappings", new, "--json").stdout)["then"]
    assert (document["events"], document["left_out"], document["missed"]) == (3, 0, 0)
    assert document["same"] == [{"mapping": "lamp", "function": "log", "count": 2}]
    assert [(one["only"], one["mapping"]) for one in document["differences"]] == [("then", "wall"), ("then", "lamp")]


def test_replay_says_when_nothing_differs_and_what_is_left_out(files: tuple[str, str, str], command: Command) -> None:
    recording, old, _ = files
    with Path(recording).open("ab") as file:
        known = {"at": rfc3339(AT), "event_id": "live"}
        file.write(encode(Decided({"type": "event", "topic": "shelly/hall", **known})))
        file.write(encode(Decided({"type": "attempt", "mapping": "lamp", "function": "log", **known})))
        file.write(encode(Decided({"type": "missed", "count": 9})))
    result = command("replay", recording, "--mappings", old, "--fail-on-difference")
    assert result.returncode == exit_codes.OK
    assert result.stdout.partition("\nthen, and now")[2].splitlines() == [
        f" with {old}: 1 events that both have judged",
        "2 events are left out: what the dispatcher decided about them was not recorded",
        "9 decisions came too fast to be recorded: what seems to fire only now may have fired then",
        "mapping  function  then and now  only then  only now",
        "lamp     log                  1          0         0",
        "no difference",
    ]


def test_of_many_that_differ_only_the_first_few_are_listed(tmp_path: Path, command: Command) -> None:
    recording, mappings = tmp_path / "night.jsonl", tmp_path / "mappings.yaml"
    mappings.write_text(OLD, encoding="utf-8")
    with RecordingFile(recording, Head("gpio-bridge", "home", "UTC", ("shelly/+",))) as file:
        for minute in range(8):
            at = AT + timedelta(minutes=minute)
            file.write(Recorded(at, "shelly/hall", b"on"))
            file.write(Decided({"type": "event", "at": rfc3339(at), "event_id": f"{minute}", "topic": "shelly/hall"}))
    lines = (
        command("replay", str(recording), "--mappings", str(mappings)).stdout.partition("\nonly now: ")[2].splitlines()
    )
    assert (lines[0], len(lines), lines[-1]) == ("lamp → log", 12, "... and 3 more")
    assert lines[2] == "    there was no mapping lamp then that selects it"


def test_a_decision_that_is_none_is_named_with_its_place(files: tuple[str, str, str], command: Command) -> None:
    recording, old, _ = files
    with Path(recording).open("ab") as file:
        file.write(b'{"decided": {"type": "attempt"}}\n')
    result = command("replay", recording, "--mappings", old)
    assert (result.returncode, result.stderr) == (exit_codes.CONFIG, f"{recording}:5:1: is no decision: it has no at\n")


def test_replay_says_which_topics_nobody_listened_to(files: tuple[str, str, str], command: Command) -> None:
    recording, _, new = files
    Path(new).write_text(NEW.replace("shelly/wall", "tasmota/wall"), encoding="utf-8")
    result = command("replay", recording, "--mappings", new)
    assert result.returncode == exit_codes.OK
    assert result.stderr == f"gpio-bridge: tasmota/wall was not recorded; say --mappings to record\n{UNKNOWN}"


def test_hours_without_a_zone_mean_that_of_the_recorded_house(tmp_path: Path, command: Command) -> None:
    recording, mappings = tmp_path / "night.jsonl", tmp_path / "mappings.yaml"
    mappings.write_text(OLD, encoding="utf-8")
    with RecordingFile(recording, Head("gpio-bridge", "home", "Asia/Tokyo", ("shelly/+",))) as file:
        file.write(Recorded(AT, "shelly/hall", b"on"))  # in Tokyo it is ten past eight in the morning
    result = command("replay", str(recording), "--mappings", str(mappings), "--json")
    assert json.loads(result.stdout)["mappings"][0]["counts"]["lamp"] == 0


def test_what_cannot_be_replayed_is_said(files: tuple[str, str, str], tmp_path: Path, command: Command) -> None:
    recording, old, _ = files
    assert command("replay", recording, "--mappings", old, "--fail-on-difference").returncode == exit_codes.USAGE
    bad = command("replay", old, "--mappings", old)
    assert (bad.returncode, bad.stderr.split(":")[1:3]) == (exit_codes.CONFIG, ["1", "1"])
    empty = tmp_path / "empty.jsonl"
    with RecordingFile(empty, Head("gpio-bridge", "home", "UTC", ())):
        pass
    assert command("replay", str(empty), "--mappings", old).stdout == f"{empty}: no message was recorded\n"


REPLAYED = Path(__file__).parent / "replayed"
"""A recording with events that come again, of unsynchronised clocks and torn, other devices' messages, tombstones,
nodes that come and go, a clock that was put back; and mappings with hours, cooldown, for, until and max_age. What is
expected was printed before the backtest was made quicker, but for what the shadow would have fired. test_backtest has
`backlog: latest` and retained messages."""


@pytest.mark.parametrize(
    ("outcome", "options"), [("fired.txt", ()), ("different.txt", ("--against", "old.yaml"))], ids=["one", "two"]
)
def test_a_replay_prints_to_the_letter_what_it_has_always_printed(
    outcome: str, options: tuple[str, ...], command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(REPLAYED)
    result = command("replay", "recording.jsonl", "--mappings", "new.yaml", *options)
    assert (result.returncode, result.stderr) == (exit_codes.OK, "")
    assert result.stdout == Path(outcome).read_text(encoding="utf-8")


@pytest.mark.real("mosquitto", "mosquitto-clients")
def test_record_writes_what_the_dispatcher_would_read_of_a_real_broker(
    tmp_path: Path, start: Start, command: Command
) -> None:
    publish = find("mosquitto_pub")
    assert publish is not None
    night, mappings = tmp_path / "night.jsonl", tmp_path / "mappings.yaml"
    mappings.write_text(OLD, encoding="utf-8")
    with Mosquitto(tmp_path) as broker:

        def say(topic: str, payload: bytes, *more: str) -> None:
            where = ("-h", broker.host, "-p", str(broker.port), "-q", "1", "-t", topic, "-s", *more)
            subprocess.run([publish, *where], input=payload, check=True, timeout=60)

        status, event = "gpio-bridge/v1/home/nodes/pi-1/status", "gpio-bridge/v1/home/nodes/pi-1/sensors/door/event"
        say(status, b'{"state": "online"}', "-r")
        options = ("-o", str(night), "--mappings", str(mappings), "--host", broker.host, "--port", str(broker.port))
        recorder = start("record", *options)
        recorder.wait_for("shelly/+")
        say(event, b"{}")
        say("shelly/hall", b"\xff\x00")
        say("other/hall", b"not ours")
        say("shelly/last", b"end")
        until(lambda: b"shelly/last" in night.read_bytes(), "the last message is in the file")
        assert [(line.topic, line.payload, line.retained) for line in read(night) if isinstance(line, Recorded)] == [
            (status, b'{"state": "online"}', True),
            (event, b"{}", False),
            ("shelly/hall", b"\xff\x00", False),
            ("shelly/last", b"end", False),
        ]
        assert recorder.stop(signal.SIGINT) == exit_codes.OK
        assert f"{night}: 4 messages recorded" in recorder.output
        assert "gap" not in recorder.output

        assert "is there already; say --append" in command("record", *options).stderr
        result = command("record", *options, "--append", "--for", "200ms")
        assert result.returncode == exit_codes.OK
        assert f"{night}: 1 messages recorded" in result.stdout
    assert next(line for line in read(night) if isinstance(line, Head)).filters[-1] == "shelly/+"
    replayed = command("replay", str(night), "--mappings", str(mappings), "--json")
    assert json.loads(replayed.stdout)["messages"] == 5


@pytest.mark.real("mosquitto")
def test_record_goes_on_after_the_broker_was_away_and_says_that_there_is_a_gap(tmp_path: Path, start: Start) -> None:
    night = tmp_path / "night.jsonl"
    with Mosquitto(tmp_path) as broker:
        recorder = start("record", "-o", str(night), "--host", broker.host, "--port", str(broker.port))
        recorder.wait_for("recording ")
        broker.restart()
        recorder.wait_for("the recording has a gap from ")
        assert recorder.stop(signal.SIGTERM) == exit_codes.OK


def test_record_without_a_broker_says_so(tmp_path: Path, command: Command) -> None:
    where = ("--host", "127.0.0.1", "--port", str(free_port()), "--timeout", "0.5")
    result = command("record", "-o", str(tmp_path / "night.jsonl"), *where)
    assert result.returncode == exit_codes.UNAVAILABLE
    assert "only the messages are recorded, not what fires; say --dispatcher for that\n" in result.stderr
    assert "no broker answers at 127.0.0.1:" in result.stderr


def test_a_dispatcher_that_was_asked_for_must_answer(tmp_path: Path, command: Command) -> None:
    where = f"http://127.0.0.1:{free_port()}"
    result = command("record", "-o", str(tmp_path / "night.jsonl"), "--dispatcher", where)
    assert result.returncode == exit_codes.UNAVAILABLE
    assert f"no dispatcher answers at {where} (" in result.stderr
    assert result.stderr.endswith("; without --dispatcher the messages alone are recorded\n")


def test_record_refuses_a_duration_that_is_none(tmp_path: Path, command: Command) -> None:
    result = command("record", "-o", str(tmp_path / "night.jsonl"), "--for", "soon")
    assert result.returncode == exit_codes.USAGE
    assert "'soon' is not a duration" in result.stderr
