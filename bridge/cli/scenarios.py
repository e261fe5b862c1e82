"""`gpio-bridge test`: scenarios, each in a house of its own on a virtual clock, and what came of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from bridge.errors import Problem
    from bridge.testing.scenarios.document import Scenario
    from bridge.testing.scenarios.run import Prepared, Result


def run_scenarios(
    files: Annotated[
        list[Path] | None,
        typer.Argument(help="Scenario files, or folders; without any, every *.scenario.yaml below this folder."),
    ] = None,
    only: Annotated[list[str] | None, typer.Option(help="Run this scenario alone; may be given several times.")] = None,
    junit: Annotated[
        Path | None, typer.Option(help="Write the results to this file as JUnit XML.", dir_okay=False)
    ] = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Print what happened in each house.")] = False,
) -> None:
    """Run scenarios: your own agents and mappings in one process on a virtual clock, without broker and network.

    What a scenario does not name is looked for below this folder, as `docs/reference/testing.md` says. Exit code 0 when
    every expectation was met, 1 when one was not, 78 when a file has mistakes; then nothing is run.
    """
    import logging

    from bridge.cli.exit_codes import FAILED

    logging.getLogger("bridge").addHandler(logging.NullHandler())  # a broker that is stopped on purpose is no news
    results = [_tell(prepared, verbose) for prepared in _prepared(files or [Path()], only or [])]
    failed = sum(not result.passed for result, _ in results)
    print(f"\n{len(results) - failed} passed, {failed} failed")
    if junit is not None:
        _write_junit(junit, results)
    if failed:
        raise typer.Exit(FAILED)


def _prepared(paths: list[Path], only: list[str]) -> list[Prepared]:
    """Every scenario that is meant; leaves with exit code 78, and every problem of all files, when there is any."""
    from bridge.errors import ConfigError
    from bridge.testing.files import Files
    from bridge.testing.scenarios.document import find_scenarios, read_scenarios
    from bridge.testing.scenarios.run import prepare

    problems: list[Problem] = []
    scenarios: list[Scenario] = []
    prepared: list[Prepared] = []
    try:
        found = find_scenarios(paths)
    except ConfigError as error:
        raise _mistakes(error.problems) from None
    for file in found:
        try:
            scenarios.extend(read_scenarios(file))
        except ConfigError as error:
            problems.extend(error.problems)
    unknown = [name for name in only if name not in {one.name for one in scenarios}]
    if unknown and not problems:
        there = "; ".join(one.name for one in scenarios)
        raise typer.BadParameter(f"there is no scenario {unknown[0]!r}; there are: {there}", param_hint="--only")
    for scenario in scenarios:
        if only and scenario.name not in only:
            continue
        try:
            prepared.append(prepare(scenario, Files(root=Path.cwd())))
        except ConfigError as error:
            problems.extend(error.problems)
    if problems:
        raise _mistakes(problems)
    return prepared


def _tell(prepared: Prepared, verbose: bool) -> tuple[Result, float]:
    """Run a scenario and print what came of it; the result, and how many seconds it really took."""
    import time

    from bridge.config import duration
    from bridge.errors import ConfigError
    from bridge.testing.scenarios.run import run

    began = time.perf_counter()
    try:
        result = run(prepared)
    except ConfigError as error:
        raise _mistakes(error.problems) from None
    took_s = time.perf_counter() - began
    verdict = "ok    " if result.passed else "FAILED"
    name = prepared.scenario.name
    print(f"{verdict}  {name}  ({duration(result.passed_s)} in {took_s:.2f} s)  {prepared.scenario.place}")
    for failure in result.failures:
        print(_indented(failure))
    if verbose:
        print(_indented(result.story or "nothing happened"))
    return result, took_s


def _mistakes(problems: list[Problem] | tuple[Problem, ...]) -> typer.Exit:
    from bridge.cli.exit_codes import CONFIG

    for problem in dict.fromkeys(problems):
        typer.echo(str(problem), err=True)
    return typer.Exit(CONFIG)


def _indented(text: str) -> str:
    return "\n".join(f"        {line}" for line in text.splitlines())


def _write_junit(file: Path, results: list[tuple[Result, float]]) -> None:
    """The format that CI servers read: one suite, one case for each scenario."""
    import re
    from xml.etree import ElementTree as ET

    def text_of(text: str) -> str:
        return re.sub(r"[^\t\n\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "?", text)  # XML 1.0, section 2.2

    suite = ET.Element(
        "testsuite",
        name="gpio-bridge",
        tests=str(len(results)),
        failures=str(sum(not result.passed for result, _ in results)),
        errors="0",
        skipped="0",
        time=f"{sum(took_s for _, took_s in results):.3f}",
    )
    for result, took_s in results:
        scenario = result.scenario
        case = ET.SubElement(
            suite,
            "testcase",
            classname=text_of(scenario.node.file),
            name=text_of(scenario.name),
            file=text_of(scenario.node.file),
            line=str(scenario.node.line),
            time=f"{took_s:.3f}",
        )
        if not result.passed:
            failure = ET.SubElement(case, "failure", message=text_of(result.failures[0].splitlines()[0]))
            failure.text = text_of("\n".join(result.failures))
            ET.SubElement(case, "system-out").text = text_of(result.story)
    suites = ET.Element("testsuites")
    suites.append(suite)
    try:
        ET.ElementTree(suites).write(file, encoding="utf-8", xml_declaration=True)
    except OSError as error:
        raise typer.BadParameter(f"{file} cannot be written: {error.strerror}", param_hint="--junit") from error
