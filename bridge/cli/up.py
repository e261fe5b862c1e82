"""`gpio-bridge up`: everything on this machine, with virtual Pis, and what happens in it on the terminal."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self

import typer

from bridge.cli.programs import LogLevel, set_up_logging
from bridge.cli.table import counted

if TYPE_CHECKING:
    from bridge.cli.story import Line
    from bridge.cli.whereabouts import Whereabouts
    from bridge.load import Load
    from bridge.local import Local
    from bridge.manager.mappings.store import Loaded

Show = Callable[["Line"], None]

_CATCH_UP = 1000
_FIGURES_S = 5.0
_PIS_SHOWN = 4
_NAMED = 5
_STYLES = {"event": "bold", "good": "green", "waiting": "yellow", "bad": "red", "dim": "dim"}


Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        "-c",
        help="The folder with agent-*.yaml or agent.yaml, mappings.yaml and the others; without it, config/,"
        " or this folder when the mappings are here.",
    ),
]


class Broker(StrEnum):
    """Which broker to start."""

    AUTO = "auto"
    MOSQUITTO = "mosquitto"
    IOTCORE = "iotcore"


class Ports(StrEnum):
    """Where everything listens."""

    DOCUMENTED = "documented"
    AUTO = "auto"


def up(
    config: Config = None,
    state: Annotated[
        Path | None, typer.Option(help="Where journals and queues are kept; without it, in ~/.local/state/gpio-bridge.")
    ] = None,
    ports: Annotated[
        Ports, typer.Option(help="The documented ports, those taken replaced by free ones; or any free ones.")
    ] = Ports.DOCUMENTED,
    broker: Annotated[
        Broker, typer.Option(help="An installed Mosquitto, else iotcore from pip; or the one that is named.")
    ] = Broker.AUTO,
    nodes: Annotated[
        int | None,
        typer.Option(min=1, max=500, help="So many virtual Pis: those of the files, and copies of them."),
    ] = None,
    rate: Annotated[
        float | None,
        typer.Option(
            min=0.01,
            max=10_000,
            help="Let sensors change so often a second, all together, and tell what became of it; exit code 1 if"
            " something did not arrive.",
        ),
    ] = None,
    demo: Annotated[bool, typer.Option("--demo", help="Once up, make every virtual sensor see something.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the dispatcher's feed as it is, one JSON a line.")
    ] = False,
    log_level: LogLevel = None,
) -> None:
    """Run everything on this machine: broker, functions, dispatcher and virtual Pis. No Pi and no Docker needed.

    Make something happen from a second terminal: `gpio-bridge simulate front-door motion`.
    """
    from bridge.cli import exit_codes, whereabouts
    from bridge.cli.run import run_until_signal
    from bridge.clock import RealClock
    from bridge.local import Local, plan
    from bridge.service import Notifier, serve

    # Calm by default: what happens is told by the feed, the log only has what is wrong.
    set_up_logging(log_level, default="warning")
    folder = (state or whereabouts.state_folder()).absolute()
    wanted = plan(config, folder, ports.value, broker.value, nodes=nodes)
    passed = True

    async def main(stop: asyncio.Event) -> None:
        nonlocal passed
        clock = RealClock("always")
        shown = _Shown(Local(wanted, clock=clock), as_json=as_json, demo=demo, rate=rate)
        await serve(shown, stop, clock, Notifier())
        passed = shown.passed

    code = run_until_signal(main)
    raise typer.Exit(code if passed else exit_codes.FAILED)


class _Shown:
    """`up` with its banner, its address for other terminals, and its feed on the terminal."""

    def __init__(self, local: Local, *, as_json: bool, demo: bool, rate: float | None) -> None:
        self.name = local.name
        self.health = local.health
        self._local = local
        self._as_json = as_json
        self._demo = demo
        self._rate = rate
        self._load: Load | None = None
        self.passed = True
        """Whether everything arrived that the load brought about."""
        self._show = _printer()
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        from bridge.cli.whereabouts import announced, token_file

        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self._local)
            following = asyncio.create_task(self._follow(), name="feed on the terminal")
            stack.push_async_callback(_ended, following)
            token = stack.enter_context(token_file(os.getpid(), self._local.manager.own_token))
            stack.enter_context(announced(self._whereabouts(token)))
            if not self._as_json:
                print(_banner(self._local), flush=True)
                self._tell_mappings(stack)
            if self._rate is not None:
                await self._begin_load(self._rate, stack)
            if self._demo:
                driving = asyncio.create_task(self._drive(), name="demo")
                stack.push_async_callback(_ended, driving)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *exc: object) -> None:
        if not self._as_json:
            print("stopping ...", flush=True)
        try:
            if self._load is not None:
                await self._end_load(self._load)
        finally:
            await self._stack.aclose()

    async def failed(self) -> None:
        """Wait until a program of it fails, and raise its error."""
        from bridge.service import first_failed

        await first_failed(self._local.failed, *([] if self._load is None else [self._load.failed]))

    def _tell_mappings(self, stack: AsyncExitStack) -> None:
        """Say it when another mapping set comes into force; what is wrong with one, the log says."""
        from datetime import datetime

        from bridge.cli.story import Line, time_of_day
        from bridge.cli.table import signed
        from bridge.manager.mappings.history import compared

        store = self._local.manager.store
        before = store.loaded.mappings

        def tell(loaded: Loaded) -> None:
            nonlocal before
            changes = signed(compared(before, loaded.mappings).document(), _NAMED) or "only its text has changed"
            before = loaded.mappings
            at = time_of_day(datetime.now().astimezone())
            self._show(Line("good", f"{at}  {Path(loaded.name).name} is in force as it stands now: {changes}"))

        store.changed.append(tell)
        stack.callback(store.changed.remove, tell)

    async def _begin_load(self, rate: float, stack: AsyncExitStack) -> None:
        from bridge.load import Load

        self._load = await stack.enter_async_context(Load(self._local, rate))
        if not self._as_json:
            telling = asyncio.create_task(self._tell_load(self._load), name="figures on the terminal")
            stack.push_async_callback(_ended, telling)

    async def _tell_load(self, load: Load) -> None:
        while True:
            await asyncio.sleep(_FIGURES_S)
            print(load.figures().text(), flush=True)

    async def _end_load(self, load: Load) -> None:
        figures = await load.drain()
        self.passed = figures.passed
        said = f"{'all arrived' if figures.passed else 'NOT all arrived'}: {figures.text()}"
        print(said, file=sys.stderr if self._as_json else sys.stdout, flush=True)

    async def _follow(self) -> None:
        import json

        from bridge.cli.story import tell

        feed = self._local.dispatcher.feed

        def show(document: dict[str, Any]) -> None:
            if self._as_json:
                print(json.dumps(document, separators=(",", ":")), flush=True)
            else:
                line = tell(document)
                # Under load, only what goes wrong is worth a line of its own.
                if line is not None and (self._rate is None or line.style == "bad"):
                    self._show(line)

        # What was said while the last programs still started, then what comes; nothing can come in between.
        for document in feed.recent(_CATCH_UP):
            show(document)
        async for lines in feed.follow():
            for document in lines:
                show(document)

    async def _drive(self) -> None:
        """Let every sensor see something once; the feed above tells what follows, the table what came of it."""
        from bridge import demo

        outcome = await demo.run(self._local)
        if not self._as_json:
            print(f"\n{demo.table(outcome)}\n\nStill up: try the command above, or Ctrl-C.\n", flush=True)

    def _whereabouts(self, token: Path) -> Whereabouts:
        from bridge.cli.whereabouts import Whereabouts

        local = self._local
        return Whereabouts(
            pid=os.getpid(),
            gateway=local.gateway.url,
            dispatcher=local.dispatcher.url,
            manager=local.manager.url,
            manager_token=str(token),
            control=local.control.url,
            mqtt_host=local.broker.host,
            mqtt_port=local.broker.port_5,
            root=local.plan.dispatcher.root,
            site=local.plan.dispatcher.site,
            state=str(local.plan.state),
        )


def _banner(local: Local) -> str:
    from bridge import __version__

    pis = [f"{node} ({', '.join(board.devices) or 'no sensors'})" for node, board in local.boards.items()]
    if len(pis) > _PIS_SHOWN:
        pis = [*pis[:_PIS_SHOWN], f"... {len(pis)} in all"]
    functions = len(local.gateway.backend.wanted()) if local.gateway.backend else 0
    rows = [
        ("broker", f"mqtt://{local.broker.host}:{local.broker.port}", local.broker.description),
        ("gateway", local.gateway.url, f"{counted(functions, 'function')}, with OpenFaaS' HTTP interface"),
        ("dispatcher", local.dispatcher.url, counted(len(local.dispatcher.mappings.mappings), "mapping")),
        ("manager", local.manager.url, "the mappings over HTTP"),
        ("virtual Pis", local.control.url, "; ".join(pis)),
        ("state", str(local.plan.state), ""),
    ]
    widths = [max(len(row[i]) for row in rows if i == 0 or row[2]) for i in (0, 1)]
    lines = [f"gpio-bridge {__version__} is up", ""]
    lines += [f"  {name:<{widths[0]}}  {address:<{widths[1]}}  {more}".rstrip() for name, address, more in rows]
    lines += [f"  note: {note}" for note in local.plan.taken]
    example = _example(local)
    if example:
        lines += ["", f"In a second terminal: {_command()} simulate {example}", "Ctrl-C stops everything.", ""]
    return "\n".join(lines)


def _command() -> str:
    """How a person calls this program here: by its name where the shell finds it, else by its path."""
    import shutil

    called = Path(sys.argv[0])
    if called.name != "gpio-bridge" or shutil.which(called.name) or not called.is_file():
        return "gpio-bridge"
    path = called.absolute()
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def _example(local: Local) -> str | None:
    """A sensor that is there and one word for it; a motion sensor where there is one."""
    found = [
        (name, device.accepts[0])
        for board in local.boards.values()
        for name, device in board.devices.items()
        if " " not in device.accepts[0]
    ]
    found.sort(key=lambda one: one[1] != "motion")
    return " ".join(found[0]) if found else None


def _printer() -> Show:
    """Prints lines: in colours on a terminal, plain elsewhere."""
    if not sys.stdout.isatty():
        return lambda line: print(line.text, flush=True)
    try:
        from rich.console import Console
        from rich.text import Text
    except ImportError:
        return lambda line: print(line.text, flush=True)
    console = Console(highlight=False, soft_wrap=True)
    return lambda line: console.print(Text(line.text, style=_STYLES[line.style]))


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
