"""`gpio-bridge test`: scenarios, each in a house of its own on a virtual clock, and the examples of mappings."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from bridge.config import Node
    from bridge.errors import Problem
    from bridge.mapping_file import MappingFile
    from bridge.testing.scenarios.document import Scenario
    from bridge.testing.scenarios.run import Prepared


@dataclass(frozen=True, slots=True)
class Ran:
    """What came of one scenario or example, and how many seconds it really took."""

    name: str
    node: Node
    """Where it begins."""
    failures: tuple[str, ...]
    took_s: float
    passed_s: float | None = None
    """How much virtual time passed, in a scenario."""
    story: str = ""


def run_scenarios(
    files: Annotated[
        list[Path] | None,
        typer.Argument(
            help="Scenario files, folders of them, or mapping files; without any, every *.scenario.yaml below this"
            " folder, and its mapping file."
        ),
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option(help="Run this scenario or example alone; may be given several times.")
    ] = None,
    junit: Annotated[
        Path | None, typer.Option(help="Write the results to this file as JUnit XML.", dir_okay=False)
    ] = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Print what happened in each house.")] = False,
) -> None:
    """Run scenarios and the examples of mappings, on a virtual clock, without broker and network.

    A scenario has a house of its own: your own agents and mappings in one process. What it does not name is looked for
    below this folder, as `docs/reference/testing.md` says. Exit code 0 when every expectation was met, 1 when one was
    not, 78 when a file has mistakes; then nothing is run.
    """
    import logging

    from bridge.cli.exit_codes import FAILED

    logging.getLogger("bridge").addHandler(logging.NullHandler())  # a broker that is stopped on purpose is no news
    ran = []
    for one in _runs(files or [], only or []):
        _tell(one, verbose)
        ran.append(one)
    failed = sum(bool(one.failures) for one in ran)
    print(f"\n{len(ran) - failed} passed, {failed} failed")
    if junit is not None:
        _write_junit(junit, ran)
    if failed:
        raise typer.Exit(FAILED)


def _runs(paths: list[Path], only: list[str]) -> Iterator[Ran]:
    """Everything that is meant, run; leaves with exit code 78, and every problem of all files, when there is any."""
    from bridge.errors import ConfigError
    from bridge.testing.examples import read_examples
    from bridge.testing.files import Files
    from bridge.testing.scenarios.document import read_scenarios
    from bridge.testing.scenarios.run import prepare

    problems: list[Problem] = []
    scenarios: list[Scenario] = []
    prepared: list[Prepared] = []
    mappings: list[MappingFile] = []
    try:
        found, mapping_files = _found(paths)
    except ConfigError as error:
        raise _mistakes(error.problems) from None
    for file in mapping_files:
        try:
            mappings.append(read_examples(file))
        except ConfigError as error:
            problems.extend(error.problems)
    for file in found:
        try:
            scenarios.extend(read_scenarios(file))
        except ConfigError as error:
            problems.extend(error.problems)
    names = [one.name for one in scenarios] + [one.name for file in mappings for one in file.examples]
    unknown = [name for name in only if name not in names]
    if unknown and not problems:
        there = "; ".join(names)
        raise typer.BadParameter(f"there is no {unknown[0]!r}; there are: {there}", param_hint="--only")
    for scenario in scenarios:
        if only and scenario.name not in only:
            continue
        try:
            prepared.append(prepare(scenario, Files(root=Path.cwd())))
        except ConfigError as error:
            problems.extend(error.problems)
    if problems:
        raise _mistakes(problems)
    for read in mappings:
        yield from _examples(read, only)
    yield from map(_scenario, prepared)


def _found(paths: list[Path]) -> tuple[list[Path], list[Path]]:
    """The files of scenarios, and those of mappings. Raises ConfigError where there is none."""
    from bridge.cli.check import Kind, recognise
    from bridge.testing import MAPPINGS, SCENARIO_SUFFIXES, may_have_examples
    from bridge.testing.scenarios.document import find_scenarios

    if not paths:
        here = [Path(place) for place in MAPPINGS if Path(place).is_file()][:1]
        here = [file for file in here if may_have_examples(file)]
        return find_scenarios([Path()], there_must_be_one=not here), here
    mappings = [
        path
        for path in paths
        if path.is_file() and not path.name.endswith(SCENARIO_SUFFIXES) and recognise(path) is Kind.MAPPINGS
    ]
    return find_scenarios([path for path in paths if path not in mappings]), mappings


def _examples(read: MappingFile, only: list[str]) -> Iterator[Ran]:
    """Hold each mapping of a file against its examples."""
    import time

    from bridge.testing.examples import failure

    for example in read.examples:
        if only and example.name not in only:
            continue
        began = time.perf_counter()
        problem = failure(example, read.mappings.mappings[example.mapping])
        failures = () if problem is None else (str(problem),)
        yield Ran(example.name, example.node, failures, time.perf_counter() - began)


def _scenario(prepared: Prepared) -> Ran:
    """Run a scenario in a house of its own."""
    import time

    from bridge.errors import ConfigError
    from bridge.testing.scenarios.run import run

    began = time.perf_counter()
    try:
        result = run(prepared)
    except ConfigError as error:
        raise _mistakes(error.problems) from None
    took_s = time.perf_counter() - began
    scenario = result.scenario
    return Ran(scenario.name, scenario.node, result.failures, took_s, result.passed_s, result.story)


def _tell(ran: Ran, verbose: bool) -> None:
    from bridge.config import duration

    verdict = "FAILED" if ran.failures else "ok    "
    passed = "" if ran.passed_s is None else f"  ({duration(ran.passed_s)} in {ran.took_s:.2f} s)"
    print(f"{verdict}  {ran.name}{passed}  {ran.node.file}:{ran.node.line}")
    for failure in ran.failures:
        print(_indented(failure))
    if verbose and ran.passed_s is not None:
        print(_indented(ran.story or "nothing happened"))


def _mistakes(problems: list[Problem] | tuple[Problem, ...]) -> typer.Exit:
    from bridge.cli.exit_codes import CONFIG

    for problem in dict.fromkeys(problems):
        typer.echo(str(problem), err=True)
    return typer.Exit(CONFIG)


def _indented(text: str) -> str:
    return "\n".join(f"        {line}" for line in text.splitlines())


def _write_junit(file: Path, ran: list[Ran]) -> None:
    """The format that CI servers read: one suite, one case for each scenario and example."""
    import re
    from xml.etree import ElementTree as ET

    def text_of(text: str) -> str:
        return re.sub(r"[^\t\n\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "?", text)  # XML 1.0, section 2.2

    suite = ET.Element(
        "testsuite",
        name="gpio-bridge",
        tests=str(len(ran)),
        failures=str(sum(bool(one.failures) for one in ran)),
        errors="0",
        skipped="0",
        time=f"{sum(one.took_s for one in ran):.3f}",
    )
    for one in ran:
        case = ET.SubElement(
            suite,
            "testcase",
            classname=text_of(one.node.file),
            name=text_of(one.name),
            file=text_of(one.node.file),
            line=str(one.node.line),
            time=f"{one.took_s:.3f}",
        )
        if one.failures:
            failure = ET.SubElement(case, "failure", message=text_of(one.failures[0].splitlines()[0]))
            failure.text = text_of("\n".join(one.failures))
            ET.SubElement(case, "system-out").text = text_of(one.story)
    suites = ET.Element("testsuites")
    suites.append(suite)
    try:
        ET.ElementTree(suites).write(file, encoding="utf-8", xml_declaration=True)
    except OSError as error:
        raise typer.BadParameter(f"{file} cannot be written: {error.strerror}", param_hint="--junit") from error
