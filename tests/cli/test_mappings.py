"""`gpio-bridge mappings`, as it is typed, against the manager of an `up`."""

from __future__ import annotations

import asyncio
import json
import os
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bridge.cli import exit_codes, whereabouts
from bridge.cli.whereabouts import Whereabouts
from bridge.clock import RealClock
from bridge.manager.manager import Manager
from bridge.manager.settings import FunctionGateway, HttpSettings, ManagerSettings, TopicAnnotationSettings
from bridge.manager.topic_annotations import KEPT
from bridge.mqtt.memory import MemoryBroker
from tests.cli.conftest import Command
from tests.manager.conftest import MAPPINGS


@pytest.fixture
def file(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """The mapping file of a manager that runs beside the command, and that `up` would have announced.

    A parameter is the topic annotations that it has kept from before; its gateway does not answer.
    """
    file = tmp_path / "manager" / "mappings.yaml"
    file.parent.mkdir()
    file.write_text(MAPPINGS, encoding="utf-8")
    kept: dict[str, str] = getattr(request, "param", {})
    settings = ManagerSettings(
        state_dir=tmp_path / "state",
        mappings=file,
        http=HttpSettings(port=0),
        gateway=FunctionGateway("http://127.0.0.1:9"),
        topic_annotations=TopicAnnotationSettings(enabled=bool(kept)),
    )
    settings.state_dir.mkdir()
    (settings.state_dir / KEPT).write_text(json.dumps({"version": 1, "functions": kept}), encoding="utf-8")
    running, stop = threading.Event(), threading.Event()
    found: list[Manager] = []

    async def main() -> None:
        clock = RealClock("always")
        async with Manager(settings, clock=clock, connect=MemoryBroker(clock).connect, own="up") as manager:
            found.append(manager)
            running.set()
            await asyncio.to_thread(stop.wait)

    thread = threading.Thread(target=lambda: asyncio.run(main()))
    thread.start()
    try:
        assert running.wait(30)
        with whereabouts.token_file(os.getpid(), found[0].own_token) as token:
            here = Whereabouts(
                pid=os.getpid(),
                gateway="",
                dispatcher="",
                manager=found[0].url,
                manager_token=str(token),
                control="",
                mqtt_host="",
                mqtt_port=0,
                root="",
                site="",
                state=str(tmp_path),
            )
            with whereabouts.announced(here):
                yield file
    finally:
        stop.set()
        thread.join(20)


def test_a_change_is_planned_applied_looked_up_and_rolled_back(command: Command, file: Path, tmp_path: Path) -> None:
    assert command("mappings", "list").stdout.splitlines() == [
        "NAME      FUNCTION        STATE",
        "intruder  intruder-alert  enabled",
        "frost     heat            enabled",
    ]
    wanted = tmp_path / "wanted.yaml"
    wanted.write_text(MAPPINGS.replace("5s", "7s").replace("  frost:", "  cold:"), encoding="utf-8")

    planned = command("mappings", "plan", str(wanted))
    assert planned.returncode == exit_codes.OK
    assert "-    cooldown: 5s    # not more often\n+    cooldown: 7s    # not more often\n" in planned.stdout
    assert planned.stdout.endswith("\n+cold  ~intruder  -frost\n")
    assert file.read_text() == MAPPINGS

    nobody = command("mappings", "apply", str(wanted))
    assert (nobody.returncode, "say --yes" in nobody.stderr) == (exit_codes.USAGE, True)
    applied = command("mappings", "apply", str(wanted), "--yes", "--why", "quieter")
    assert applied.stdout.endswith("\nrevision 2 is in force: 2 mappings\n")
    assert file.read_text() == wanted.read_text()
    assert command("mappings", "apply", str(wanted), "--yes").stdout == "nothing changes\n"

    (last, _) = command("mappings", "history").stdout.splitlines()
    assert last.startswith("   2  20")
    assert last.endswith("  up  applied: quieter  +cold  ~intruder  -frost")
    assert json.loads(command("mappings", "history", "cold", "--json").stdout)[0]["number"] == 2
    assert "+    cooldown: 7s" in command("mappings", "history", "--diff", "--limit", "1").stdout

    back = command("mappings", "rollback", "1", "--yes")
    assert back.stdout.endswith("\nrevision 3 is in force, as 1 was: 2 mappings\n")
    assert file.read_text() == MAPPINGS


def test_mistakes_are_told_with_their_place(command: Command, file: Path, tmp_path: Path) -> None:
    wanted = tmp_path / "wanted.yaml"
    wanted.write_text(MAPPINGS.replace("5s", "5"), encoding="utf-8")
    refused = command("mappings", "apply", str(wanted), "--yes")
    assert refused.returncode == exit_codes.CONFIG
    assert refused.stderr.startswith(f"{wanted}:10:15: mappings.intruder.cooldown: needs a unit")
    gone = command("mappings", "rollback", "99", "--yes")
    assert (gone.returncode, "there is no revision 99" in gone.stderr) == (exit_codes.FAILED, True)


def test_a_token_that_is_not_known_is_told(command: Command, file: Path, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("gpb_00000000_x", encoding="ascii")
    refused = command("mappings", "list", "--token-file", str(token))
    assert (refused.returncode, "401 this token is not known" in refused.stderr) == (exit_codes.FAILED, True)


def test_without_a_token_it_says_how_to_get_one(command: Command) -> None:
    refused = command("mappings", "list")
    assert (refused.returncode, "gpio-bridge tokens create" in refused.stderr) == (exit_codes.FAILED, True)


@pytest.mark.parametrize("file", [{"alarm": "alarms/+,#"}], indirect=True)
def test_what_functions_carry_is_listed_and_told_where_it_stands(command: Command, file: Path) -> None:
    assert command("mappings", "list").stdout.splitlines()[-1] == (
        "and 2 mappings of functions' topic annotations: gpio-bridge mappings annotated"
    )
    carried = command("mappings", "annotated")
    assert carried.stdout.splitlines() == [
        "FUNCTION  TOPIC       MAPPINGS                          PROBLEM",
        "alarm     alarms/+,#  events-of-alarm, topics-of-alarm",
    ]
    assert "not known now, this is what was good before: the gateway at http://127.0.0.1:9" in carried.stderr
    (alarm,) = json.loads(command("mappings", "annotated", "--json").stdout)["functions"]
    assert list(alarm["mappings"]) == ["events-of-alarm", "topics-of-alarm"]


def test_annotations_that_do_not_count_are_told_with_the_setting(command: Command, file: Path) -> None:
    assert "topic_annotations.enabled is false" in command("mappings", "annotated").stdout


def test_the_token_of_up_is_shown_to_no_other_address(command: Command, file: Path, tmp_path: Path) -> None:
    elsewhere = command("mappings", "list", "--url", "http://127.0.0.1:9")
    assert (elsewhere.returncode, "http://127.0.0.1:9 asks for a token" in elsewhere.stderr) == (
        exit_codes.FAILED,
        True,
    )
    token = tmp_path / "token"
    token.write_text("gpb_1_x", encoding="ascii")
    nonsense = command("mappings", "list", "--url", "localhost:9", "--token-file", str(token))
    assert (nonsense.returncode, "is no address; write one such as http://" in nonsense.stderr) == (
        exit_codes.FAILED,
        True,
    )


def test_a_file_that_was_broken_by_hand_is_told_of_with_its_line(command: Command, file: Path, tmp_path: Path) -> None:
    good = tmp_path / "good.yaml"
    good.write_text(MAPPINGS, encoding="utf-8")
    file.write_text(MAPPINGS + "  broken: [\n", encoding="utf-8")
    for words in (("list",), ("plan", str(good))):
        deadline = time.monotonic() + 60
        while not (done := command("mappings", *words)).stderr:
            assert time.monotonic() < deadline, "the manager has not seen that the file has changed"
            time.sleep(0.05)
        assert done.returncode == exit_codes.OK
        assert re.match(r"not in force is the mapping file as it stands: .*/mappings.yaml:\d+:\d+: ", done.stderr)


def test_the_history_names_only_some_of_many_changes(command: Command, file: Path, tmp_path: Path) -> None:
    wanted = tmp_path / "many.yaml"
    more = "".join(f"  m-{number}: {{select: {{sensor: a}}, invoke: f}}\n" for number in range(7))
    wanted.write_text(MAPPINGS + more, encoding="utf-8")
    assert command("mappings", "apply", str(wanted), "--yes").returncode == exit_codes.OK
    (newest, *_) = command("mappings", "history").stdout.splitlines()
    assert newest.endswith("+m-0  +m-1  +m-2  +m-3  +m-4  and 2 more")
