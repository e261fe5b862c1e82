from __future__ import annotations

import json
from pathlib import Path

import pytest

from bridge.cli import exit_codes, run
from bridge.cli.recognition import Kind, recognise
from bridge.errors import ConfigError
from tests.cli.conftest import Command

AGENT = "version: 1\nnode: pi-1\npins: {factory: mock}\nsensors:\n  front-door: {kind: pir, pin: 17}\n"
DISPATCHER = "version: 1\nmappings: mappings.yaml\nstate_dir: /tmp/state\n"
GATEWAY = "version: 1\nstate_dir: /tmp/state\nbackend: local\n"
STACK = "version: 1.0\nprovider: {name: openfaas}\nfunctions:\n  echo: {lang: dockerfile, image: echo, fprocess: cat}\n"
MANAGER = (
    DISPATCHER
    + "mqtt: {host: broker}\ngateway: {url: http://gateway:8080}\ndispatcher: {url: http://dispatcher:8089}\n"
)
ENGINE_DOOR = "version: 1\ngateway: {sokcet: /run/door/docker.sock, user: gpio-bridge}\n"
MAPPINGS = "version: 1\nmappings:\n  alert: {select: {sensor: front-door}, invoke: intruder-alert}\n"


def written(folder: Path, name: str, text: str) -> Path:
    file = folder / name
    file.write_text(text, encoding="utf-8")
    return file


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (AGENT, Kind.AGENT),
        (DISPATCHER, Kind.DISPATCHER),
        (GATEWAY, Kind.GATEWAY),
        (MANAGER, Kind.MANAGER),
        (ENGINE_DOOR, Kind.ENGINE_DOOR),
        (STACK, Kind.STACK),
        (MAPPINGS, Kind.MAPPINGS),
    ],
)
def test_a_file_is_recognised_by_its_keys(tmp_path: Path, text: str, kind: Kind) -> None:
    assert recognise(written(tmp_path, "any.yaml", text)) is kind


def test_a_file_whose_keys_say_nothing_is_recognised_by_its_name(tmp_path: Path) -> None:
    assert recognise(written(tmp_path, "gateway-test.yaml", "version: 1\nport: 8080\n")) is Kind.GATEWAY


@pytest.mark.parametrize("kind", [Kind.DISPATCHER, Kind.MANAGER])
def test_a_file_that_could_be_two_is_the_one_that_its_name_says(tmp_path: Path, kind: Kind) -> None:
    assert recognise(written(tmp_path, f"{kind.value}-2.yaml", DISPATCHER)) is kind


def test_a_file_that_nothing_tells_of_is_a_problem_that_names_the_option(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="say --as with one of agent, dispatcher"):
        recognise(written(tmp_path, "any.yaml", "version: 1\n"))


def test_good_files_are_named_and_the_exit_code_is_0(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = [written(tmp_path, "a.yaml", AGENT), written(tmp_path, "s.yml", STACK)]
    assert run(["check", *map(str, files)]) == exit_codes.OK
    assert capsys.readouterr().out == f"{files[0]}: ok (settings of an agent)\n{files[1]}: ok (functions)\n"


def test_every_problem_of_every_file_is_printed_with_its_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    agent = written(tmp_path, "a.yaml", AGENT.replace("pin: 17", "pin: 99") + "  gate: {kind: lasr}\n")
    gateway = written(tmp_path, "g.yaml", GATEWAY + "prot: 1\n")
    assert run(["check", str(agent), str(gateway)]) == exit_codes.CONFIG
    out = capsys.readouterr().out
    assert f"{agent}:5:" in out
    assert f"{agent}:6:" in out
    assert f"{gateway}:4:" in out


def test_a_folder_means_its_yaml_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    written(tmp_path, "a.yaml", AGENT)
    written(tmp_path, "notes.txt", "no yaml")
    assert run(["check", str(tmp_path)]) == exit_codes.OK
    assert capsys.readouterr().out.count("\n") == 1


def test_problems_can_be_read_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = written(tmp_path, "a.yaml", AGENT + "nodde: x\n")
    assert run(["check", "--json", str(file)]) == exit_codes.CONFIG
    problem = json.loads(capsys.readouterr().out)["problems"][0]
    assert (problem["line"], problem["key"]) == (6, "nodde")


def test_a_file_that_is_not_there_is_a_problem(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["check", str(tmp_path / "none.yaml")]) == exit_codes.CONFIG
    assert "cannot be read" in capsys.readouterr().out


def test_a_duplicate_key_does_not_hide_the_other_mistakes(command: Command, tmp_path: Path) -> None:
    file = tmp_path / "pi.yaml"
    file.write_text("version: 1\nnode: Pi 1\nstate_dir: s\noutputs: {}\nnode: pi-1\n", encoding="utf-8")
    result = command("check", str(file))
    assert result.returncode == 78
    assert [line.split(": ")[0].removeprefix(str(file)) for line in result.stdout.splitlines()] == [":2:7", ":5:1"]


EXAMPLES = """    examples:
      - {given: {event: motion.detected}, expect: intruder-alert}
      - {given: {event: motion.detected, sensor: gate}, expect: none because select}
"""


def test_mappings_are_held_against_their_examples(command: Command, tmp_path: Path) -> None:
    mapping = "version: 1\nmappings:\n  alert:\n    select: {sensor: front-door}\n    invoke: intruder-alert\n"
    file = written(tmp_path, "any.yaml", mapping + EXAMPLES)
    result = command("check", str(file))
    assert (result.returncode, result.stdout) == (exit_codes.OK, f"{file}: ok (mappings, 2 examples met)\n")
    assert json.loads(command("check", "--json", str(file)).stdout)["good"][0]["examples"] == 2


def test_every_example_that_is_not_met_is_a_problem_with_its_line_and_clause(command: Command, tmp_path: Path) -> None:
    text = (
        "version: 1\nmappings:\n  alert:\n    select: {sensor: front-door}\n    when: data.value > 3\n    invoke: f\n"
    )
    examples = EXAMPLES.replace("motion.detected", "analog.changed, value: 2").replace("intruder-alert", "f")
    file = written(tmp_path, "any.yaml", text + examples)
    result = command("check", str(file), str(written(tmp_path, "a.yaml", AGENT)))
    assert result.returncode == exit_codes.CONFIG
    said = "expected f once, and nothing was invoked: when wants data.value > 3, found false for 2"
    assert result.stdout.splitlines() == [
        f"{file}:8:9: mappings.alert.examples[0]: {said}",
        f"{tmp_path}/a.yaml: ok (settings of an agent)",
    ]
