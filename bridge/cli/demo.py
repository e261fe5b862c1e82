"""`gpio-bridge demo`: start everything, drive every virtual sensor once, see that its function runs, and stop."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bridge.cli.programs import LogLevel, set_up_logging
from bridge.cli.up import Broker, Config

if TYPE_CHECKING:
    from bridge.demo import Step


def demo(
    config: Config = None,
    broker: Annotated[
        Broker, typer.Option(help="An installed Mosquitto, else iotcore from pip; or the one that is named.")
    ] = Broker.AUTO,
    timeout: Annotated[
        float, typer.Option(min=0.1, help="How many seconds a function may take beyond what its sensor needs.")
    ] = 15.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print the outcome as JSON.")] = False,
    log_level: LogLevel = None,
) -> None:
    """Drive every sensor of the virtual Pis once and wait until the function it is mapped to has run.

    Uses free ports and a state folder that it removes. Exit code 0 only if every sensor has invoked a function.
    """
    from bridge.cli.exit_codes import FAILED, INTERRUPTED
    from bridge.cli.run import run_until_signal
    from bridge.demo import table

    set_up_logging(log_level, default="error")
    done: list[Step] = []
    with tempfile.TemporaryDirectory(prefix="gpio-bridge-demo-") as state:
        run_until_signal(lambda stop: _demo(stop, config, Path(state), broker, done, timeout, quiet=as_json))
    if not done:
        raise typer.Exit(INTERRUPTED)
    missing = [step for step in done if not step.passed]
    if as_json:
        _print_json(done)
    else:
        print(f"\n{table(done)}\n")
        if missing:
            print(
                f"{len(missing)} of {len(done)} sensors invoked nothing: {', '.join(step.sensor for step in missing)}"
            )
        else:
            print(f"all {len(done)} sensors invoked their functions")
    if missing:
        raise typer.Exit(FAILED)


async def _demo(
    stop: asyncio.Event,
    config: Path | None,
    state: Path,
    broker: Broker,
    done: list[Step],
    margin_s: float,
    *,
    quiet: bool,
) -> None:
    """Run the scenario into `done`; it stays empty when a signal came first."""
    from bridge import demo as scenario
    from bridge.clock import RealClock
    from bridge.local import Local, plan

    def told(step: Step) -> None:
        if not quiet:
            print(f"{'ok' if step.passed else 'MISSING':<8}{step.node}/{step.sensor}", flush=True)

    wanted = plan(config, state, "auto", broker.value)
    if not quiet:
        print("starting a broker, the functions, the dispatcher and the virtual Pis ...", flush=True)
    async with Local(wanted, clock=RealClock("always")) as local:
        running = asyncio.create_task(scenario.run(local, told, margin_s=margin_s), name="demo")
        ends = [running, *(asyncio.create_task(waiting) for waiting in (stop.wait(), local.failed()))]
        try:
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            if running.done():
                done.extend(running.result())
        finally:
            for task in ends:
                task.cancel()
            outcomes = await asyncio.gather(*ends, return_exceptions=True)
        if not running.done() or running.cancelled():
            for outcome in outcomes:
                if isinstance(outcome, Exception):
                    raise outcome


def _print_json(done: Sequence[Step]) -> None:
    import dataclasses
    import json

    rows = [
        {
            "node": step.node,
            "sensor": step.sensor,
            "kind": step.kind,
            "saw": step.value,
            "event": step.event or None,
            "passed": step.passed,
            "invoked": [dataclasses.asdict(answer) for answer in step.answers],
            "why_not": None if step.passed else step.why_not,
        }
        for step in done
    ]
    print(json.dumps(rows, indent=1))
