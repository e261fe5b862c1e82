"""`gpio-bridge test`: scenarios, on a virtual clock or in a running house, and the examples of mappings."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from bridge.config import Node
    from bridge.errors import Problem
    from bridge.mapping_file import MappingFile
    from bridge.testing.scenarios.document import Scenario
    from bridge.testing.scenarios.run import Prepared, Result


@dataclass(frozen=True, slots=True)
class Ran:
    """What came of one scenario or example, and how many seconds it really took."""

    name: str
    node: Node
    """Where it begins."""
    failures: tuple[str, ...]
    took_s: float
    passed_s: float | None = None
    """How much time passed in a scenario."""
    story: str = ""
    live: bool = False
    notes: tuple[str, ...] = ()
    """What was not at rest when it began, in a running house."""


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
    live: Annotated[
        bool, typer.Option("--live", help="Run scenarios in real time in the house of the running `gpio-bridge up`.")
    ] = False,
    control: Annotated[
        str | None,
        typer.Option(help="With --live: the virtual Pis, http://HOST:8091, where it is not the running `up`."),
    ] = None,
    dispatcher: Annotated[
        str | None, typer.Option(help="With --live: their dispatcher, http://HOST:8089, in the same way.")
    ] = None,
) -> None:
    """Run scenarios and the examples of mappings, on a virtual clock, without broker and network; or scenarios --live.

    A scenario has a house of its own: your own agents and mappings in one process. What it does not name is looked for
    below this folder, as `docs/reference/testing.md` says. Exit code 0 when every expectation was met, 1 when one was
    not, 69 when nothing is running that --live could ask, 78 when a file has mistakes or wants what --live cannot do;
    then nothing is run.
    """
    import logging

    from bridge.cli.exit_codes import FAILED

    if not live and (control is not None or dispatcher is not None):
        raise typer.BadParameter("--control and --dispatcher say where to run --live", param_hint="--live")
    logging.getLogger("bridge").addHandler(logging.NullHandler())  # a broker that is stopped on purpose is no news
    ran: list[Ran] = []

    def note(one: Ran) -> None:
        _tell(one, verbose)
        ran.append(one)

    prepared, mappings = _prepared(files or [], only or [], live=live)
    if live:
        _run_live(prepared, control, dispatcher, note)
    else:
        for read in mappings:
            for one in _examples(read, only or []):
                note(one)
        for scenario in prepared:
            note(_scenario(scenario))
    failed = sum(bool(one.failures) for one in ran)
    print(f"\n{len(ran) - failed} passed, {failed} failed")
    if junit is not None:
        _write_junit(junit, ran)
    if failed:
        raise typer.Exit(FAILED)


def _prepared(paths: list[Path], only: list[str], *, live: bool) -> tuple[list[Prepared], list[MappingFile]]:
    """Everything that is meant; leaves with exit code 78, and every problem of all files, when there is any."""
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
        found, mapping_files = _found(paths, live=live)
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
    return prepared, mappings


def _run_live(
    prepared: list[Prepared], control: str | None, dispatcher: str | None, note: Callable[[Ran], None]
) -> None:
    """Run scenarios one after the other in the running house; leaves with exit code 130 on Ctrl-C."""
    from bridge.cli.client import control_url, dispatcher_url
    from bridge.cli.exit_codes import INTERRUPTED
    from bridge.cli.run import run_until_signal
    from bridge.errors import ConfigError

    where = control_url(control, option="--control"), dispatcher_url(dispatcher)
    interrupted = False

    async def main(stop: asyncio.Event) -> None:
        nonlocal interrupted
        running = asyncio.create_task(_live(prepared, *where, note))
        stopping = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait((running, stopping), return_when=asyncio.FIRST_COMPLETED)
            interrupted = not running.done()
            running.cancel()  # which puts the house back
            await asyncio.gather(running, return_exceptions=interrupted)
        finally:
            stopping.cancel()

    try:
        run_until_signal(main)
    except ConfigError as error:
        raise _mistakes(error.problems) from None
    if interrupted:
        raise typer.Exit(INTERRUPTED)


async def _live(prepared: list[Prepared], control: str, dispatcher: str, note: Callable[[Ran], None]) -> None:
    import time

    from bridge.clock import RealClock
    from bridge.errors import ConfigError
    from bridge.testing.scenarios.live import LiveHouse

    def say(text: str) -> None:
        typer.echo(text, err=True)

    async with LiveHouse(control, dispatcher, RealClock("always"), say) as house:
        problems = [problem for one in prepared for problem in await house.check(one)]
        if problems:
            raise ConfigError(problems)
        for one in prepared:
            began = time.perf_counter()
            result = await house.run(one)
            note(_ran(result, time.perf_counter() - began, live=True))


def _found(paths: list[Path], *, live: bool) -> tuple[list[Path], list[Path]]:
    """The files of scenarios, and those of mappings. Raises ConfigError where there is none."""
    from bridge.cli.recognition import Kind, recognise
    from bridge.testing import MAPPINGS, SCENARIO_SUFFIXES, may_have_examples
    from bridge.testing.scenarios.document import find_scenarios

    if not paths:
        here = [Path(place) for place in MAPPINGS if Path(place).is_file()][:1]
        here = [file for file in here if may_have_examples(file) and not live]
        return find_scenarios([Path()], there_must_be_one=not here), here
    mappings = [
        path
        for path in paths
        if path.is_file() and not path.name.endswith(SCENARIO_SUFFIXES) and recognise(path) is Kind.MAPPINGS
    ]
    if live and mappings:
        message = f"{mappings[0]} holds mappings, and examples of mappings need no running house"
        raise typer.BadParameter(message, param_hint="--live")
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
    return _ran(result, time.perf_counter() - began)


def _ran(result: Result, took_s: float, *, live: bool = False) -> Ran:
    scenario = result.scenario
    return Ran(scenario.name, scenario.node, result.failures, took_s, result.passed_s, result.story, live, result.notes)


def _tell(ran: Ran, verbose: bool) -> None:
    from bridge.config import duration

    verdict = "FAILED" if ran.failures else "ok    "
    passed = "" if ran.passed_s is None else f"  ({duration(ran.passed_s)} in {ran.took_s:.2f} s)"
    if ran.live:
        passed = f"  ({ran.passed_s:.1f} s live)"
    print(f"{verdict}  {ran.name}{passed}  {ran.node.file}:{ran.node.line}")
    for failure in ran.failures:
        print(_indented(failure))
    for note in ran.notes:
        print(_indented(f"note: {note}"))
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
            ET.SubElement(case, "system-out").text = text_of("\n".join((*one.notes, one.story)))
    suites = ET.Element("testsuites")
    suites.append(suite)
    try:
        ET.ElementTree(suites).write(file, encoding="utf-8", xml_declaration=True)
    except OSError as error:
        raise typer.BadParameter(f"{file} cannot be written: {error.strerror}", param_hint="--junit") from error
