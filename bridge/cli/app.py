"""The tree of commands. The files of the commands import typer and nothing heavy before a command runs."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Annotated

import typer
import typer.main

from bridge import __version__
from bridge.cli import (
    audit,
    backup,
    check,
    cluster,
    deadletters,
    demo,
    events,
    explain,
    functions,
    mappings,
    programs,
    project,
    record,
    replay,
    scenarios,
    sensors,
    simulate,
    stack,
    tokens,
    trace,
    up,
)
from bridge.cli.exit_codes import HELP

app = typer.Typer(
    name="gpio-bridge",
    help="From the pins of Raspberry Pis to serverless functions.",
    epilog=HELP,
    no_args_is_help=True,
    # Plain text: quicker, the same in a pipe, and there is no rich on a Pi that only runs an agent.
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"gpio-bridge {__version__}")
        raise typer.Exit


@app.callback()
def _top(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    """From the pins of Raspberry Pis to serverless functions."""


app.command("init", short_help="Write a project to begin with, in an empty folder.")(project.init)
app.command("up", short_help="Run everything on this machine, with virtual Pis.")(up.up)
app.command("demo", short_help="Drive every virtual sensor once and see its function run.")(demo.demo)
# Unknown options pass, so that a temperature may be below zero.
app.command(
    "simulate", short_help="Make a virtual sensor see something.", context_settings={"ignore_unknown_options": True}
)(simulate.simulate)
app.command("events", short_help="Print the events of all sensors, live.")(events.events)
app.command("record", short_help="Write what the dispatcher reads into a file.")(record.record)
app.command("replay", short_help="Say what other mappings would have done with a recording.")(replay.replay)
app.command("explain", short_help="Say why an event fires or does not.")(explain.explain)
app.add_typer(sensors.app, name="sensors", short_help="What sensors told in the last hours.")
app.command("traces", short_help="List the newest events, and what became of each.")(trace.traces)
app.command("trace", short_help="Tell what happened to one event.")(trace.trace)
app.command("why", short_help="Show the last events a mapping did not fire for.")(trace.why)
app.command("audit", short_help="Name every gap, duplicate and drop.")(audit.audit)
app.command("check", short_help="Check configuration files.")(check.check)
app.command("test", short_help="Run scenarios of your house on a virtual clock.")(scenarios.run_scenarios)
app.add_typer(deadletters.app, name="deadletters", short_help="List, replay and purge what was given up.")
app.add_typer(mappings.app, name="mappings", short_help="List, plan, apply, roll back the manager's mappings.")
app.add_typer(functions.app, name="functions", short_help="List, deploy, invoke, start functions.")
app.add_typer(cluster.app, name="cluster", short_help="The machines of a Docker Swarm.")
app.add_typer(stack.app, name="stack", short_help="Everything on a Docker Swarm, from one compose file.")
app.add_typer(tokens.app, name="tokens", short_help="Make and revoke tokens of the manager's API.")
app.command("backup", short_help="Put the manager's state into one file.")(backup.backup)
app.command("restore", short_help="Bring a backup of the manager back.")(backup.restore)
app.command("agent", short_help="Run a node's agent.")(programs.agent)
app.command("dispatcher", short_help="Run the dispatcher.")(programs.dispatcher)
app.command("gateway", short_help="Run the gateway to the functions.")(programs.gateway)
app.command("manager", short_help="Run the manager.")(programs.manager)
app.command("engine-door", short_help="Run the door to the Docker Engine.")(programs.engine_door)


@cache
def tree() -> Callable[..., object]:
    """What typer makes of the commands: once, for who runs many in one process; it takes longer than most of them."""
    return typer.main.get_command(app)
