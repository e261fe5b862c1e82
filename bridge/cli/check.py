"""`gpio-bridge check`: every mistake in the files a person wrote, before anything is started."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from bridge.cli.recognition import SETTINGS, Kind, recognise, settings_of
from bridge.cli.table import counted
from bridge.errors import ConfigError, Problem


def check(
    files: Annotated[list[Path], typer.Argument(help="Files, or folders whose .yaml and .yml files are meant.")],
    kind: Annotated[
        Kind | None, typer.Option("--as", help="What the files are; without it their names and keys tell.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the problems as JSON.")] = False,
) -> None:
    """Check configuration files: print every problem with its file and line.

    Knows the files of agents, dispatchers, gateways, managers and engine doors, mapping files, OpenFaaS stack files and
    scenarios. Mappings are held against their examples. Exit code 78 when there is any problem.
    """
    from bridge.cli.exit_codes import CONFIG

    problems: list[Problem] = []
    good: list[tuple[Path, Kind, int]] = []
    for file in _files(files):
        try:
            what = kind or recognise(file)
            read = _loader(what)(file)
            good.append((file, what, read if isinstance(read, int) else 0))
        except ConfigError as error:
            problems.extend(error.problems)
    if as_json:
        _print_json(problems, good)
    else:
        for problem in problems:
            print(problem)
        for file, what, examples in good:
            met = f", {counted(examples, 'example')} met" if examples else ""
            print(f"{file}: ok ({_NAMES[what]}{met})")
    if problems:
        raise typer.Exit(CONFIG)


_NAMES = {
    Kind.AGENT: "settings of an agent",
    Kind.DISPATCHER: "settings of a dispatcher",
    Kind.GATEWAY: "settings of a gateway",
    Kind.MANAGER: "settings of a manager",
    Kind.ENGINE_DOOR: "settings of an engine door",
    Kind.MAPPINGS: "mappings",
    Kind.STACK: "functions",
    Kind.SCENARIO: "scenarios",
}


def _loader(kind: Kind) -> Callable[[Path], object]:
    if kind in SETTINGS:
        from bridge.config import load

        return lambda file: load(file, settings_of(kind), environ=os.environ)
    if kind is Kind.MAPPINGS:
        return _mappings
    if kind is Kind.SCENARIO:
        from bridge.testing.scenarios.document import read_scenarios

        return read_scenarios
    from bridge.openfaas.stack_file import load_stack

    return lambda file: load_stack(file, os.environ)


def _mappings(file: Path) -> int:
    """How many examples the mappings of a file meet. Raises ConfigError, also when they do not meet one."""
    from bridge.testing.examples import failures, read_examples

    read = read_examples(file)
    unmet = tuple(failures(read))
    if unmet:
        raise ConfigError(unmet)
    return len(read.examples)


def _files(given: list[Path]) -> list[Path]:
    found: list[Path] = []
    for path in given:
        if path.is_dir():
            inside = sorted(file for file in path.iterdir() if file.suffix in (".yaml", ".yml"))
            if not inside:
                raise ConfigError([Problem(str(path), 0, 0, "", "holds no .yaml or .yml file")])
            found.extend(inside)
        else:
            found.append(path)
    return found


def _print_json(problems: list[Problem], good: list[tuple[Path, Kind, int]]) -> None:
    import dataclasses
    import json

    document = {
        "problems": [dataclasses.asdict(problem) for problem in problems],
        "good": [
            {"file": str(file), "kind": kind.value} | ({"examples": examples} if kind is Kind.MAPPINGS else {})
            for file, kind, examples in good
        ],
    }
    print(json.dumps(document, indent=1))
