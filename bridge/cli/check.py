"""`gpio-bridge check`: every mistake in the files a person wrote, before anything is started."""

from __future__ import annotations

import os
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from bridge.errors import ConfigError, Problem


class Kind(StrEnum):
    """What a file can be."""

    AGENT = "agent"
    DISPATCHER = "dispatcher"
    GATEWAY = "gateway"
    MANAGER = "manager"
    ENGINE_DOOR = "engine-door"
    MAPPINGS = "mappings"
    STACK = "stack"
    SCENARIO = "scenario"


_BY_KEY = (
    # The first key found in the file decides; each stands in one kind of file only, or is weaker than those before it.
    ("steps", Kind.SCENARIO),
    ("scenarios", Kind.SCENARIO),
    ("sensors", Kind.AGENT),
    ("outputs", Kind.AGENT),
    ("engine", Kind.ENGINE_DOOR),
    ("manager:map", Kind.ENGINE_DOOR),
    ("functions:map", Kind.STACK),
    ("functions:text", Kind.GATEWAY),
    ("history", Kind.MANAGER),
    ("sensor_history", Kind.MANAGER),
    ("auth", Kind.MANAGER),
    ("mappings:map", Kind.MAPPINGS),
    ("mappings:text", Kind.DISPATCHER),
    ("gateway", Kind.DISPATCHER),
    ("backend", Kind.GATEWAY),
    ("basic_auth", Kind.GATEWAY),
)


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
            met = f", {examples} example{'' if examples == 1 else 's'} met" if examples else ""
            print(f"{file}: ok ({_NAMES[what]}{met})")
    if problems:
        raise typer.Exit(CONFIG)


def recognise(file: Path) -> Kind:
    """What a file is, by its keys, else by its name. Raises ConfigError when neither tells."""
    from bridge.config import Node, read
    from bridge.testing import SCENARIO_SUFFIXES

    try:
        document = read(file)
    except ConfigError as error:
        if not isinstance(error.document, Node):
            raise
        document = error.document  # its mistakes are told by whoever reads it next
    keys = document.value if isinstance(document.value, dict) else {}
    for wanted, kind in _BY_KEY:
        key, _, shape = wanted.partition(":")
        if key in keys and (not shape or isinstance(keys[key].value, {"map": dict, "text": str}[shape])):
            # Both name a mapping file; a manager's own keys may all be left out.
            managers = key == "mappings" and file.name.startswith(Kind.MANAGER.value)
            return Kind.MANAGER if kind is Kind.DISPATCHER and managers else kind
    if file.name.endswith(SCENARIO_SUFFIXES):
        return Kind.SCENARIO
    for kind in Kind:
        if file.name.startswith(kind.value):
            return kind
    listed = ", ".join(kind.value for kind in Kind)
    message = f"neither its keys nor its name tell what it is; say --as with one of {listed}"
    raise ConfigError([Problem(str(file), 1, 1, "", message)])


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
    from bridge.config import load

    if kind is Kind.AGENT:
        from bridge.agent.settings import AgentSettings

        return lambda file: load(file, AgentSettings, environ=os.environ)
    if kind is Kind.DISPATCHER:
        from bridge.dispatcher.settings import DispatcherSettings

        return lambda file: load(file, DispatcherSettings, environ=os.environ)
    if kind is Kind.GATEWAY:
        from bridge.gateway.settings import GatewaySettings

        return lambda file: load(file, GatewaySettings, environ=os.environ)
    if kind is Kind.MANAGER:
        from bridge.manager.settings import ManagerSettings

        return lambda file: load(file, ManagerSettings, environ=os.environ)
    if kind is Kind.ENGINE_DOOR:
        from bridge.engine_door.settings import EngineDoorSettings

        return lambda file: load(file, EngineDoorSettings, environ=os.environ)
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
