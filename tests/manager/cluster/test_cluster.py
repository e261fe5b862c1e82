"""A real swarm's machines, by the command that people type."""

from __future__ import annotations

import json

import pytest

from tests.docker_engine import DockerEngine
from tests.manager.command import Done, command


class Ground:
    """The command, on one swarm."""

    def __init__(self, engine: DockerEngine) -> None:
        self._engine = engine
        self.node = engine.name

    def run(self, arguments: str) -> Done:
        """`gpio-bridge cluster ARGUMENTS`."""
        return command(f"cluster {arguments} -H {self._engine.host}")


@pytest.fixture
def cluster(swarm_of_one: DockerEngine) -> Ground:
    return Ground(swarm_of_one)


def test_a_machine_that_is_in_a_swarm_begins_no_second(cluster: Ground) -> None:
    done = cluster.run("init --advertise-addr 10.79.0.1")
    assert (done.code, done.out) == (1, "")
    assert f"{cluster.node} is part of a swarm already (it says active)" in done.err


def test_workers_and_managers_join_with_tokens_of_their_own(cluster: Ground) -> None:
    worker, manager = cluster.run("join-command"), cluster.run("join-command --manager")
    assert worker.out.startswith("docker swarm join --token SWMTKN-1-")
    assert worker.out.endswith(" 10.79.0.1:2377\n")
    assert worker.out != manager.out


def test_the_nodes_are_shown_with_what_runs_and_a_warning_of_a_single_one(cluster: Ground) -> None:
    done = cluster.run("nodes")
    header, row = done.out.splitlines()
    assert header.split("  ")[0] == "CLUSTER NODE"
    assert row.startswith(f"{cluster.node}  ")
    assert "10.79.0.1" in row
    assert done.err == "warning: one cluster node is all there is: when it is away, everything is\n"
    (node,) = json.loads(cluster.run("nodes --json").out)
    assert (node["name"], node["role"], node["leader"], node["state"], node["availability"]) == (
        cluster.node,
        "manager",
        True,
        "ready",
        "active",
    )


def test_labels_are_given_and_taken_away(cluster: Ground) -> None:
    given = cluster.run(f"label {cluster.node} disk=ssd data=")
    assert (given.code, given.out) == (0, f"{cluster.node}: data=, disk=ssd\n")
    assert cluster.run(f"label {cluster.node} disk- data-").out == f"{cluster.node}: no labels\n"
    wrong = cluster.run(f"label {cluster.node} disk")
    assert (wrong.code, wrong.err) == (
        1,
        "gpio-bridge: 'disk' is no label; write KEY=VALUE to give one, KEY- to take it away\n",
    )


def test_a_node_is_drained_and_brought_back(cluster: Ground) -> None:
    assert cluster.run(f"drain {cluster.node}").out == f"{cluster.node} gives up its tasks\n"
    shown = cluster.run("nodes")
    assert "ready, drain" in shown.out
    assert f"bring it back with: gpio-bridge cluster activate {cluster.node}" in shown.err
    assert cluster.run(f"activate {cluster.node}").out == f"{cluster.node} takes tasks\n"
    assert cluster.run(f"activate {cluster.node}").code == 0


def test_the_last_manager_stays_one(cluster: Ground) -> None:
    done = cluster.run(f"demote {cluster.node}")
    assert done.code == 1
    assert "last manager" in done.err
    assert cluster.run(f"promote {cluster.node}").out == f"{cluster.node} is a manager\n"


def test_a_node_that_is_not_there_is_told(cluster: Ground) -> None:
    done = cluster.run("drain pi-9")
    assert (done.code, done.err) == (
        1,
        f"gpio-bridge: there is no cluster node pi-9; there are {cluster.node}\n",
    )
