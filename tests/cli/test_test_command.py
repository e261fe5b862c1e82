"""`gpio-bridge test`, as a real process on a small folder: what it prints, writes and leaves with."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from bridge.cli import exit_codes
from tests.cli.conftest import COMMAND, Command

AGENT = "version: 1\nnode: pi-1\nsensors:\n  front-door: {kind: pir, pin: 17}\n  doorbell: {kind: button, pin: 22}\n"
MAPPINGS = """
version: 1
timezone: UTC
mappings:
  intruder:
    select: {sensor: front-door, event: motion.detected}
    hours: "22:00-06:00"
    invoke: intruder-alert
"""
GOOD = """version: 1
name: by night
starts: 2026-11-22T23:10:00+00:00
steps:
  - {sensor: front-door, do: motion for 20s}
  - expect: intruder-alert within 2s
  - {broker: stop, at: 10m}
  - expect: none within 1m
"""
BAD = """version: 1
name: by day <"&>
starts: 2026-11-22T12:00:00+00:00
steps:
  - {sensor: front-door, do: motion}
  - expect: intruder-alert within 2s
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project, and where we stand."""
    project = tmp_path / "project"
    (project / "tests").mkdir(parents=True)
    (project / "agent.yaml").write_text(AGENT, encoding="utf-8")
    (project / "mappings.yaml").write_text(MAPPINGS, encoding="utf-8")
    (project / "good.scenario.yaml").write_text(GOOD, encoding="utf-8")
    monkeypatch.chdir(project)
    return project


def add_failing(folder: Path) -> None:
    (folder / "tests" / "bad.scenario.yaml").write_text(BAD, encoding="utf-8")


def timeless(text: str) -> list[str]:
    return re.sub(r"in [0-9.]+ s", "in X s", text).splitlines()


def test_every_scenario_below_the_folder_is_run(folder: Path) -> None:
    ran = subprocess.run([*COMMAND, "test"], cwd=folder, capture_output=True, text=True, check=False, timeout=60)
    assert (ran.returncode, ran.stderr) == (exit_codes.OK, "")
    assert timeless(ran.stdout) == ["ok      by night  (11m in X s)  good.scenario.yaml:2", "", "1 passed, 0 failed"]


def test_an_expectation_that_fails_is_exit_code_1_with_its_place_and_its_reason(folder: Path, command: Command) -> None:
    add_failing(folder)
    ran = command("test")
    assert (ran.returncode, ran.stderr) == (exit_codes.FAILED, "")
    assert timeless(ran.stdout) == [
        "ok      by night  (11m in X s)  good.scenario.yaml:2",
        'FAILED  by day <"&>  (2s in X s)  tests/bad.scenario.yaml:2',
        "        tests/bad.scenario.yaml:6: expected an invocation of intruder-alert within 2s, and there was none",
        "          intruder: hours wants 22:00-06:00 (UTC), found Sun 12:00 UTC",
        "",
        "1 passed, 1 failed",
    ]


def test_mistakes_of_all_files_are_exit_code_78_and_nothing_is_run(folder: Path, command: Command) -> None:
    (folder / "tests" / "a.scenario.yaml").write_text(GOOD.replace("steps", "stesp"), encoding="utf-8")
    (folder / "tests" / "b.scenario.yaml").write_text(GOOD.replace("front-door", "back-door"), encoding="utf-8")
    ran = command("test")
    assert (ran.returncode, ran.stdout) == (exit_codes.CONFIG, "")
    assert ran.stderr.splitlines() == [
        "tests/a.scenario.yaml:1:1: steps: is missing",
        "tests/a.scenario.yaml:4:1: stesp: unknown key; did you mean steps?",
        "tests/b.scenario.yaml:5:14: sensor: there is no sensor back-door; there are pi-1/front-door, pi-1/doorbell",
    ]


def test_a_mistake_in_a_file_of_the_house_is_told_once(folder: Path, command: Command) -> None:
    add_failing(folder)
    (folder / "mappings.yaml").write_text(MAPPINGS.replace("hours", "huors"), encoding="utf-8")
    result = command("test")
    assert result.returncode == exit_codes.CONFIG
    assert result.stderr == "mappings.yaml:7:5: mappings.intruder.huors: unknown key; did you mean hours?\n"


def test_what_turns_out_when_it_happens_is_exit_code_78_too(folder: Path, command: Command) -> None:
    twice = "  - {dispatcher: kill, at: 12m}\n  - {dispatcher: kill}\n"
    (folder / "good.scenario.yaml").write_text(GOOD + twice, encoding="utf-8")
    result = command("test")
    assert result.returncode == exit_codes.CONFIG
    assert result.stderr == "good.scenario.yaml:10:5: the dispatcher is not running\n"


def test_files_folders_and_names_choose(folder: Path, command: Command) -> None:
    add_failing(folder)
    assert command("test", "tests").returncode == exit_codes.FAILED
    assert command("test", "good.scenario.yaml").returncode == exit_codes.OK
    assert command("test", "--only", "by night").returncode == exit_codes.OK
    both = command("test", "--only", "by night", "--only", 'by day <"&>')
    assert (both.returncode, both.stdout.splitlines()[-1]) == (exit_codes.FAILED, "1 passed, 1 failed")


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (("--only", "by noon"), exit_codes.USAGE, "there is no 'by noon'; there are: by night"),
        (("tests",), exit_codes.CONFIG, "tests: holds no file whose name ends with .scenario.yaml"),
        (("away.scenario.yaml",), exit_codes.CONFIG, "away.scenario.yaml: cannot be read: No such file or directory"),
        (
            ("--junit", "away/results.xml"),
            exit_codes.USAGE,
            "away/results.xml cannot be written: No such file or directory",
        ),
    ],
)
def test_what_is_not_there_is_told_with_the_exit_code_of_its_kind(
    folder: Path, command: Command, arguments: tuple[str, ...], code: int, told: str
) -> None:
    result = command("test", *arguments)
    assert result.returncode == code
    assert told in result.stderr


EXAMPLES = """    examples:
      - {given: {at: "23:10"}, expect: intruder-alert}
      - {given: {at: "12:00"}, expect: none because hours}
"""


def test_the_examples_of_the_mapping_file_are_run_too(folder: Path, command: Command) -> None:
    (folder / "mappings.yaml").write_text(MAPPINGS + EXAMPLES.replace("12:00", "22:00"), encoding="utf-8")
    result = command("test", "--junit", "results.xml")
    assert result.returncode == exit_codes.FAILED
    unmet = (
        "mappings.yaml:11:9: mappings.intruder.examples[1]: expected no invocation because of hours,"
        " and intruder-alert was invoked at 22:00:00"
    )
    assert timeless(result.stdout) == [
        "ok      intruder[0]  mappings.yaml:10",
        "FAILED  intruder[1]  mappings.yaml:11",
        f"        {unmet}",
        "ok      by night  (11m in X s)  good.scenario.yaml:2",
        "",
        "2 passed, 1 failed",
    ]
    (suite,) = ET.parse(folder / "results.xml").getroot()
    assert [(case.get("name"), case.get("line"), len(case)) for case in suite] == [
        ("intruder[0]", "10", 0),
        ("intruder[1]", "11", 2),
        ("by night", "2", 0),
    ]


def test_examples_alone_are_enough_and_can_be_chosen(folder: Path, command: Command) -> None:
    (folder / "mappings.yaml").write_text(MAPPINGS + EXAMPLES, encoding="utf-8")
    (folder / "good.scenario.yaml").unlink()
    everything = command("test").stdout.splitlines()
    assert everything[-1] == "2 passed, 0 failed"
    assert command("test", "mappings.yaml").stdout.splitlines() == everything
    one = command("test", "--only", "intruder[1]", "-v")
    assert one.stdout.splitlines() == ["ok      intruder[1]  mappings.yaml:11", "", "1 passed, 0 failed"]


def test_a_mistake_in_an_example_is_told_once_beside_those_of_scenarios(folder: Path, command: Command) -> None:
    (folder / "mappings.yaml").write_text(MAPPINGS + EXAMPLES.replace("hours}", "huors}"), encoding="utf-8")
    result = command("test")
    assert result.returncode == exit_codes.CONFIG
    (told,) = result.stderr.splitlines()
    assert told.startswith("mappings.yaml:11:40: mappings.intruder.examples[1].expect: must be one of select, ")
    assert told.endswith("not 'huors'; did you mean hours?")


def test_the_story_is_printed_when_asked_for(folder: Path, command: Command) -> None:
    result = command("test", "-v")
    assert "        2026-11-22 23:10:00.000  pi-1/front-door motion.detected" in result.stdout.splitlines()
    assert "intruder → intruder-alert, attempt 1" in result.stdout


def test_the_results_are_written_for_a_ci_server(folder: Path, command: Command) -> None:
    add_failing(folder)
    assert command("test", "--junit", "results.xml").returncode == exit_codes.FAILED
    (suite,) = ET.parse(folder / "results.xml").getroot()
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("2", "1", "0")
    good, bad = suite
    assert (good.get("classname"), good.get("name"), list(good)) == ("good.scenario.yaml", "by night", [])
    assert (bad.get("name"), bad.get("line")) == ('by day <"&>', "2")
    failure = bad.find("failure")
    assert failure is not None
    assert failure.get("message") == (
        "tests/bad.scenario.yaml:6: expected an invocation of intruder-alert within 2s, and there was none"
    )
    assert "hours wants 22:00-06:00" in (failure.text or "")
    assert float(bad.get("time", "0")) > 0


def test_check_knows_scenarios(folder: Path, command: Command) -> None:
    result = command("check", ".")
    assert result.returncode == exit_codes.OK
    assert "good.scenario.yaml: ok (scenarios)" in result.stdout
    (folder / "good.scenario.yaml").write_text("version: 1\nname: it\n", encoding="utf-8")
    result = command("check", "good.scenario.yaml")
    assert (result.returncode, result.stdout) == (
        exit_codes.CONFIG,
        "good.scenario.yaml:1:1: steps: is missing\n",
    )
