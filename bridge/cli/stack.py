"""`gpio-bridge stack ...`: everything on a Docker Swarm, from one compose file."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bridge.cli.on_engine import Host, on_engine
from bridge.cli.table import print_table

if TYPE_CHECKING:
    from bridge.manager.stack.document import ComposeFile
    from bridge.manager.stack.folder import Written
    from bridge.swarm.engine import Engine

app = typer.Typer(
    help="The stack: deploy a compose file to a Docker Swarm, look at it, read its logs, remove it.",
    no_args_is_help=True,
)

_NAME, _FILE = "gpio-bridge", Path("stack/gpio-bridge.yml")

Name = Annotated[str, typer.Argument(metavar="STACK", help="The stack's name.")]
File = Annotated[Path, typer.Option("--file", "-f", "-c", help="The compose file.", dir_okay=False)]
Ours = Annotated[
    Path | None,
    typer.Option(
        "--file",
        "-f",
        "-c",
        help=f"The compose file; without it {_FILE}, which is made, as by `stack init`, where it is missing.",
        dir_okay=False,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Timeout = Annotated[float, typer.Option(min=1, help="How many seconds all of it may take to run.")]


@app.command(short_help="Write the compose file of everything, and passwords.")
def init(
    folder: Annotated[Path, typer.Argument(help="Where the stack's files go.", file_okay=False)] = _FILE.parent,
    agents: Annotated[
        list[str] | None,
        typer.Option("--agent", metavar="NODE", help="A node whose agent gets a password; repeatable."),
    ] = None,
) -> None:
    """Write the compose file of everything, its configs and fresh passwords. What is there already stays as it is."""
    from bridge.manager.stack.folder import complete

    written = complete(folder, agents or ())
    _told(written)
    if not written.files:
        print(f"{folder}: nothing is missing")


@app.command()
def deploy(
    name: Name = _NAME,
    file: Ours = None,
    host: Host = None,
    timeout: Timeout = 300.0,
    settle: Annotated[float, typer.Option(min=0, help="So many seconds all must have run without a break.")] = 5.0,
    detach: Annotated[bool, typer.Option("--detach", help="Do not wait until it runs.")] = False,
    prune: Annotated[bool, typer.Option(help="Remove services that the file no longer has.")] = True,
    resolve: Annotated[
        bool, typer.Option("--resolve/--no-resolve", help="Ask registries for the images' digests.")
    ] = True,
    force: Annotated[bool, typer.Option("--force", help="Deploy in spite of what was found beforehand.")] = False,
) -> None:
    """Deploy a compose file, and wait until all of it runs. What is wrong is told before anything is changed."""
    from bridge.clock import RealClock
    from bridge.manager.stack.data_node import LABEL, ensure_data_node
    from bridge.manager.stack.deployment import DeployOptions, StackDeployment

    compose_file = _compose_file(_ours() if file is None else file)
    options = DeployOptions(
        prune=prune,
        resolve_images=resolve,
        timeout_s=None if detach else timeout,
        settle_s=settle,
        force=force,
    )

    async def run(engine: Engine) -> None:
        deployment = StackDeployment(engine, _checked(name), compose_file, options, _tell, RealClock())
        labelled = await ensure_data_node(engine, compose_file)
        if labelled is not None:
            _tell(labelled, f"gets the label {LABEL}=true: it holds the data from now on")
        await deployment.run()

    on_engine(host, run)
    print(f"{name}: deployed" if detach else f"{name}: all of it runs")


@app.command(short_help="Say what would keep a compose file from running.")
def check(name: Name = _NAME, file: File = _FILE, host: Host = None) -> None:
    """Say what would keep a compose file from running on this swarm; changes nothing."""
    from bridge.clock import RealClock
    from bridge.errors import StackError
    from bridge.manager.stack.deployment import DeployOptions, StackDeployment

    compose_file = _compose_file(file)

    async def run(engine: Engine) -> None:
        deployment = StackDeployment(engine, _checked(name), compose_file, DeployOptions(), _tell, RealClock())
        found = await deployment.findings()
        for each in found:
            if each.warning:
                _tell(each.where, f"warning: {each.message}")
        serious = [str(each) for each in found if not each.warning]
        if serious:
            raise StackError("\n".join(serious))

    on_engine(host, run)
    print(f"{file}: can be deployed")


@app.command()
def status(name: Name = _NAME, host: Host = None, as_json: AsJson = False) -> None:
    """Show a stack's services, where they run, and why one does not. Exit code 1 when something does not run."""
    from bridge.manager.stack.condition import stack_condition

    found = on_engine(host, lambda engine: stack_condition(engine, _checked(name)))
    if as_json:
        print(json.dumps([each.document() for each in found]))
    else:
        rows = [("SERVICE", "RUNNING", "CLUSTER NODES", "IMAGE")]
        rows += [
            (each.name, f"{each.running}/{each.wanted}", ", ".join(each.cluster_nodes), each.image) for each in found
        ]
        print_table(rows)
        for each in found:
            if each.complaint:
                print(f"{each.name}: {each.complaint}")
    if not all(each.well for each in found):
        raise typer.Exit(1)


@app.command(short_help="Print what a stack's services wrote.")
def logs(
    name: Name = _NAME,
    services: Annotated[list[str] | None, typer.Argument(help="Which services; without any, all.")] = None,
    follow: Annotated[bool, typer.Option("--follow", help="Go on until Ctrl-C.")] = False,
    tail: Annotated[int, typer.Option(min=0, help="How many of the newest lines of each to begin with.")] = 100,
    host: Host = None,
) -> None:
    """Print what a stack's services wrote, on whichever cluster nodes they run."""
    from bridge.manager.stack.output import output

    async def run(engine: Engine) -> None:
        async for line in output(engine, _checked(name), services or (), tail=tail, follow=follow):
            print(f"{line.at.isoformat(timespec='milliseconds')} {line.instance}  {line.text}", flush=True)

    on_engine(host, run)


@app.command()
def rollback(
    name: Name = _NAME,
    services: Annotated[list[str] | None, typer.Argument(help="Which services; without any, all.")] = None,
    host: Host = None,
) -> None:
    """Put services back to what they were before their last update."""
    from bridge.manager.stack.rollback import roll_back

    on_engine(host, lambda engine: roll_back(engine, _checked(name), services or (), _tell))


@app.command("rm")
def remove(
    name: Name = _NAME,
    host: Host = None,
    timeout: Timeout = 120.0,
    volumes: Annotated[
        bool, typer.Option("--volumes", help="Remove the volumes of this engine's machine, too, with all data.")
    ] = False,
) -> None:
    """Remove a stack: services, configs, secrets and networks. Volumes, which hold data, stay without `--volumes`."""
    from bridge.clock import RealClock
    from bridge.manager.stack.removal import remove_stack

    async def run(engine: Engine) -> bool:
        return await remove_stack(engine, _checked(name), _tell, RealClock(), volumes=volumes, timeout_s=timeout)

    found = on_engine(host, run)
    print(f"{name}: removed" if found else f"{name}: there is no such stack")


def _ours() -> Path:
    """The compose file of everything; what is missing of it is made, unless it is somebody's own by now."""
    from bridge.manager.stack.folder import complete, is_shipped

    if not _FILE.exists() or is_shipped(_FILE):
        _told(complete(_FILE.parent))
    return _FILE


def _told(written: Written) -> None:
    for file in written.files:
        _tell(str(file), "written")
    for node, file in written.agents.items():
        _tell(node, f"its agent's password is in {file}; in its settings: mqtt.username: {node}, mqtt.password_file")


def _compose_file(file: Path) -> ComposeFile:
    from bridge.manager.stack.document import load_compose_file

    return load_compose_file(file, os.environ)


def _checked(name: str) -> str:
    """A stack's name, which begins the names of all that is made for it."""
    import re

    from bridge.manager.stack.service import STACK_NAME

    if not re.fullmatch(STACK_NAME, name):
        raise typer.BadParameter(f"{name!r} is no name for a stack: lower-case letters, digits, - and _, at most 32")
    return name


def _tell(what: str, became: str) -> None:
    print(f"{what}: {became}", flush=True)
