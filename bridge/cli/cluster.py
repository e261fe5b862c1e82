"""`gpio-bridge cluster ...`: the machines of the swarm."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from bridge.cli.on_engine import Host, on_engine
from bridge.cli.table import print_table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bridge.swarm.cluster_nodes import ClusterNode
    from bridge.swarm.engine import Engine

app = typer.Typer(
    help="The cluster: begin a swarm, let machines join, look at them, give them roles and labels.",
    no_args_is_help=True,
)

Given = Annotated[str, typer.Argument(metavar="NODE", help="A cluster node, by its name or id.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command(short_help="Make a swarm of this machine alone.")
def init(
    advertise_addr: Annotated[
        str, typer.Option(help="The address or interface at which the others reach this machine.")
    ] = "",
    listen_addr: Annotated[str, typer.Option(help="Where to listen for them.")] = "0.0.0.0:2377",
    host: Host = None,
) -> None:
    """Make a swarm of this machine alone, and print how others join."""
    from bridge.manager.cluster.cluster import begin, join_command

    async def run(engine: Engine) -> str:
        await begin(engine, advertise_addr, listen_addr)
        return await join_command(engine, manager=False)

    command = on_engine(host, run)
    print(f"this machine is a swarm now; on each further one type:\n\n    {command}\n")


@app.command("join-command")
def join_command_(
    manager: Annotated[bool, typer.Option("--manager", help="To join as a manager.")] = False, host: Host = None
) -> None:
    """Print what is to be typed on a machine that joins."""
    from bridge.manager.cluster.cluster import join_command

    print(on_engine(host, lambda engine: join_command(engine, manager=manager)))


@app.command(short_help="Show the cluster nodes and what runs on each.")
def nodes(host: Host = None, as_json: AsJson = False) -> None:
    """Show the cluster nodes and what runs on each; warnings go to stderr."""
    from bridge.manager.cluster.cluster import cluster_nodes, counted, running_tasks, shown
    from bridge.manager.cluster.warnings import warnings

    async def run(engine: Engine) -> tuple[list[ClusterNode], Mapping[str, Sequence[str]]]:
        return await cluster_nodes(engine), await running_tasks(engine)

    found, tasks = on_engine(host, run)
    if as_json:
        print(json.dumps([shown(node, tasks.get(node.id, ())) for node in found]))
        return
    rows = [("CLUSTER NODE", "STATE", "ROLE", "PLATFORM", "MEMORY", "ENGINE", "ADDRESS", "LABELS", "RUNS")]
    for node in found:
        state = node.state if node.availability == "active" else f"{node.state}, {node.availability}"
        role = "leader" if node.leader else node.role
        memory = f"{node.memory_bytes // 1024**2} MiB"
        labels = ",".join(f"{key}={value}" for key, value in sorted(node.labels.items()))
        platform = f"{node.os}/{node.architecture}"
        runs = counted(tasks.get(node.id, ()))
        rows.append((node.name, state, role, platform, memory, node.engine, node.address, labels, runs))
    print_table(rows)
    for warning in warnings(found):
        print(f"warning: {warning}", file=sys.stderr)


@app.command()
def promote(node: Given, host: Host = None) -> None:
    """Make a cluster node a manager."""
    _change(host, node, "Role", "manager", "is a manager")


@app.command()
def demote(node: Given, host: Host = None) -> None:
    """Make a manager a worker; the last one cannot be."""
    _change(host, node, "Role", "worker", "is a worker")


@app.command(short_help="Move everything away from a cluster node.")
def drain(node: Given, host: Host = None) -> None:
    """Move everything away from a cluster node, before it is switched off."""
    _change(host, node, "Availability", "drain", "gives up its tasks")


@app.command()
def activate(node: Given, host: Host = None) -> None:
    """Let a cluster node take tasks again."""
    _change(host, node, "Availability", "active", "takes tasks")


@app.command(short_help="Give a cluster node labels, or take them away.")
def label(
    node: Given,
    labels: Annotated[list[str], typer.Argument(help="KEY=VALUE to give a label, KEY- to take it away.")],
    host: Host = None,
) -> None:
    """Give a cluster node labels, which placement constraints of services ask for."""
    from bridge.manager.cluster.cluster import change, labelled

    found = on_engine(host, lambda engine: change(engine, node, labelled(labels)))
    shown = ", ".join(f"{key}={value}" for key, value in sorted(found.labels.items()))
    print(f"{found.name}: {shown or 'no labels'}")


def _change(host: str | None, node: str, key: str, value: str, told: str) -> None:
    from bridge.manager.cluster.cluster import change, with_value

    found = on_engine(host, lambda engine: change(engine, node, with_value(key, value)))
    print(f"{found.name} {told}")
