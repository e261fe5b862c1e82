"""faas-cli's stack.yml."""

from __future__ import annotations

from pathlib import Path

import pytest

from bridge.errors import ConfigError
from bridge.openfaas.deployment import Deployment, Resources
from bridge.openfaas.stack_file import load_stack, load_stack_file

HEAD = "version: 1.0\nprovider:\n  name: openfaas\n  gateway: http://127.0.0.1:8080\n"


def stack(folder: Path, text: str, **environ: str) -> tuple[Deployment, ...]:
    (folder / "code").mkdir(exist_ok=True)
    (folder / "code" / "handler.py").touch()
    (folder / "stack.yml").write_text(HEAD + text, encoding="utf-8")
    return load_stack(folder / "stack.yml", environ)


def test_every_part_of_a_function_arrives_in_its_deployment(tmp_path: Path) -> None:
    (tmp_path / "env.yml").write_text("environment:\n  from_file: here\n  both: file\n", encoding="utf-8")
    found = stack(
        tmp_path,
        """
configuration:
  templates: [{name: python3-http}]
functions:
  full:
    lang: python3-http
    handler: ./code
    image: ghcr.io/me/full:1
    build_args: {A: b}
    environment: {both: entry, number: 30, yes: true}
    environment_file: [env.yml]
    secrets: [key]
    labels: {com.openfaas.scale.min: 2}
    annotations: {topic: motion}
    constraints: ["node.platform.os == linux"]
    limits: {memory: 20m, cpu: 0.5}
    requests: {memory: 10m}
    fprocess: python index.py
    readonly_root_filesystem: true
""",
    )
    assert found == (
        Deployment(
            "full",
            "ghcr.io/me/full:1",
            "python index.py",
            {"from_file": "here", "both": "file", "number": "30", "yes": "true"},
            ("node.platform.os == linux",),
            ("key",),
            {"com.openfaas.scale.min": "2"},
            {"topic": "motion", "io.gpio-bridge.handler": str(tmp_path / "code")},
            Resources("20m", "0.5"),
            Resources("10m", ""),
            True,
        ),
    )


def test_the_last_file_of_variables_wins_over_the_others_and_over_the_entry(tmp_path: Path) -> None:
    (tmp_path / "one.yml").write_text("environment: {a: one, b: one}\n", encoding="utf-8")
    (tmp_path / "two.yml").write_text("environment: {a: two}\n", encoding="utf-8")
    text = "functions:\n  f:\n    image: a\n    environment: {a: entry, b: entry, c: entry}\n"
    text += "    environment_file: [one.yml, two.yml]\n"
    (found,) = stack(tmp_path, text)
    assert found.env_vars == {"a": "two", "b": "one", "c": "entry"}


def test_what_every_image_gets_is_known(tmp_path: Path) -> None:
    (tmp_path / "common").mkdir()
    text = "configuration: {copy: [./common]}\nfunctions: {f: {image: a}}\n"
    (tmp_path / "stack.yml").write_text(HEAD + text, encoding="utf-8")
    (found,) = load_stack_file(tmp_path / "stack.yml", {}).functions
    assert found.copied == {"common": tmp_path / "common"}


@pytest.mark.parametrize("path", ["../secrets", "/etc", "nowhere", "''", "3", "{a: b}"])
def test_what_every_image_is_to_get_stands_below_the_stack_file(tmp_path: Path, path: str) -> None:
    with pytest.raises(ConfigError) as told:
        stack(tmp_path, f"configuration:\n  copy:\n    - {path}\nfunctions: {{}}\n")
    assert [(problem.line, problem.key) for problem in told.value.problems] == [(7, "configuration.copy.0")]


@pytest.mark.parametrize("spelling", ["1.10", "007", "0x1F", "1e3", "True", "20261127000000000000000", "on", "'1.10'"])
def test_a_value_keeps_its_spelling_where_text_is_wanted(tmp_path: Path, spelling: str) -> None:
    (tmp_path / "env.yml").write_text(f"environment:\n  from_file: {spelling}\n", encoding="utf-8")
    text = (
        f"functions:\n  f:\n    image: a\n    environment: {{version: {spelling}}}\n    environment_file: [env.yml]\n"
    )
    text += f"    labels: {{l: {spelling}}}\n    annotations: {{a: {spelling}}}\n    secrets: [{spelling}]\n"
    (found,) = stack(tmp_path, text)
    wanted = spelling.strip("'")
    assert found.env_vars == {"from_file": wanted, "version": wanted}
    assert (found.labels, found.annotations, found.secrets) == ({"l": wanted}, {"a": wanted}, (wanted,))


@pytest.mark.parametrize("spelling", ["1", "0.10", "100m"])
def test_limits_come_back_as_they_are_spelled(tmp_path: Path, spelling: str) -> None:
    (found,) = stack(tmp_path, f"functions:\n  f:\n    image: a\n    limits: {{cpu: {spelling}, memory: 10000000}}\n")
    assert found.limits == Resources("10000000", spelling)


def test_nothing_where_text_is_wanted_is_empty_text(tmp_path: Path) -> None:
    (found,) = stack(tmp_path, "functions:\n  f:\n    image: a\n    environment: {a: , b: null, c: '${UNSET}'}\n")
    assert found.env_vars == {"a": "", "b": "", "c": ""}


@pytest.mark.parametrize("part", ["environment", "labels", "annotations"])
def test_a_list_where_text_is_wanted_is_told_with_its_line(tmp_path: Path, part: str) -> None:
    with pytest.raises(ConfigError) as told:
        stack(tmp_path, f"functions:\n  f:\n    image: a\n    {part}: {{b: [1]}}\n")
    (problem,) = told.value.problems
    assert (problem.line, problem.key, problem.message) == (
        8,
        f"functions.f.{part}.b",
        "must be a single value, not a list",
    )


def test_variables_are_replaced_with_their_values_or_defaults(tmp_path: Path) -> None:
    text = "functions:\n  f:\n    image: ${REGISTRY:-local}/f:${TAG}\n    fprocess: ${EMPTY:-cat}\n"
    (found,) = stack(tmp_path, text, TAG="3", EMPTY="")
    assert (found.image, found.env_process) == ("local/f:3", "cat")


def test_a_variable_may_have_its_default_after_an_equals_sign_or_be_no_variable_at_all(tmp_path: Path) -> None:
    text = "functions:\n  f:\n    image: ${A:=x}/${B=y}\n    environment: {PATTERN: '$${NAME} $5 $$'}\n"
    (found,) = stack(tmp_path, text, A="", B="", NAME="no")
    assert (found.image, found.env_vars) == ("x/", {"PATTERN": "${NAME} $5 $$"})


def test_variables_are_replaced_before_the_file_is_read(tmp_path: Path) -> None:
    text = "functions:\n  ${NAME}:\n    image: a\n    readonly_root_filesystem: ${READONLY}\n    secrets: ${SECRETS}\n"
    text += "    labels: {com.openfaas.scale.min: ${MIN}}\n    environment: ${VARIABLES}\n"
    (found,) = stack(
        tmp_path, text, NAME="f", READONLY="true", SECRETS="[a, b]", MIN="2", VARIABLES="\n      A: 1\n      B: x"
    )
    assert (found.service, found.read_only_root_filesystem, found.secrets) == ("f", True, ("a", "b"))
    assert (found.labels, found.env_vars) == ({"com.openfaas.scale.min": "2"}, {"A": "1", "B": "x"})


def test_a_mistake_after_variables_is_told_where_it_stands_in_the_file(tmp_path: Path) -> None:
    text = "functions:\n  f:\n    image: ${LONG}\n    environment: ${LINES}\n    imaeg: b\n"
    text += "  g: {image: ${LONG}, lagn: x}\n"
    with pytest.raises(ConfigError) as told:
        stack(tmp_path, text, LONG="registry.example/" + 50 * "x", LINES="\n      A: 1\n      B: 2")
    places = [(problem.line, problem.column, problem.key) for problem in told.value.problems]
    assert places == [(9, 5, "functions.f.imaeg"), (10, 23, "functions.g.lagn")]


def test_a_value_that_breaks_the_yaml_is_told_where_its_variable_stands(tmp_path: Path) -> None:
    text = "functions:\n  f:\n    image: a\n    fprocess: ${BROKEN}\n"
    with pytest.raises(ConfigError, match="not valid YAML") as told:
        stack(tmp_path, text, BROKEN="'open")
    with pytest.raises(ConfigError, match="already given in line") as twice:
        stack(tmp_path, text, BROKEN="x\n    image: b")
    assert [problem.line for problem in twice.value.problems] == [8]
    assert all(problem.line <= 9 for problem in told.value.problems)


def test_what_an_image_is_built_of_is_known_with_its_place(tmp_path: Path) -> None:
    (tmp_path / "code").mkdir()
    text = "functions:\n  f:\n    lang: python3-http\n    handler: ./code\n    image: a\n    build_args: {A: 1.10}\n"
    text += "    build_options: [dev]\n  g: {image: b, skip_build: true}\n"
    (tmp_path / "stack.yml").write_text(HEAD + text, encoding="utf-8")
    found = load_stack_file(tmp_path / "stack.yml", {})
    first, second = found.functions
    assert (first.lang, first.handler, first.build_args) == ("python3-http", tmp_path / "code", {"A": "1.10"})
    assert (first.build_options, first.skip_build, second.skip_build) == (("dev",), False, True)
    assert first.place == f"{tmp_path / 'stack.yml'}:6"
    assert found.gateway == "http://127.0.0.1:8080"


def test_all_mistakes_are_told_at_once_with_their_lines(tmp_path: Path) -> None:
    text = "functions:\n  'no/name':\n    image: a\n  b:\n    imaeg: b\n    handler: ./missing\n"
    text += "  c:\n    handler: ./missing\n"
    with pytest.raises(ConfigError) as told:
        stack(tmp_path, text)
    lines = [(problem.line, problem.key) for problem in told.value.problems]
    assert lines == [(7, "functions.no/name"), (9, "functions.b.imaeg"), (12, "functions.c.handler")]
    assert "did you mean image?" in str(told.value)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "functions"),
        ("functions: [a]\n", "must be a map"),
        ("function: {}\nfunctions: {}\n", "unknown key"),
        ("functions:\n  f: {image: a, namespace: dev}\n", "namespace 'dev'"),
        ("functions:\n  f: {image: a, environment_file: [nowhere.yml]}\n", "nowhere.yml"),
    ],
)
def test_a_mistake_is_named(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        stack(tmp_path, text)


def test_a_file_without_a_provider_is_told_with_its_name(tmp_path: Path) -> None:
    file = tmp_path / "stack.yml"
    file.write_text("version: 1.0\nfunctions: {}\n", encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_stack(file, {})
    (problem,) = caught.value.problems
    assert (problem.file, problem.key) == (str(file), "provider")
