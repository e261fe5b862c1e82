"""A lab is what it says: a swarm of several machines, of which one can be lost and come back."""

from __future__ import annotations

import contextlib
import http.client
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.__main__ import main
from tests.lab.cluster_node import ClusterNode, pids_of
from tests.lab.fixtures import require_lab
from tests.lab.lab import Lab, LabTaken
from tests.lab.machine import LabError, until
from tests.lab.network import namespaces
from tests.lab.wheels import ROOT

pytestmark = [pytest.mark.real("docker", "docker-registry", "debootstrap"), pytest.mark.timeout(400)]

SERVE = """
import http.server, socket
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(socket.gethostname().encode())
http.server.ThreadingHTTPServer(("", 8000), Handler).serve_forever()
"""
REACH_ALL = """
import socket, urllib.request
addresses = socket.gethostbyname_ex("here")[2]
print(*sorted(urllib.request.urlopen(f"http://{each}:8000", timeout=5).read().decode() for each in addresses))
"""
BRING_UP_AND_HANG = """
import time
from tests.lab.lab import Lab
lab = Lab.for_tests()
lab.up(1)
print(lab.number, flush=True)
time.sleep(600)
"""
NETWORK = "overlay"


@pytest.fixture(scope="module")
def here(three_pis: Lab) -> Iterator[Lab]:
    """Three replicas of a service that says its host's name, one on each node."""
    manager = three_pis.manager
    # A node is lost after three pauses of silence; each hears of the new pause with its next sign of life.
    manager.docker("swarm", "update", "--dispatcher-heartbeat", "1s")
    manager.docker("network", "create", "--driver", "overlay", "--attachable", NETWORK)
    service = ("--name", "here", "--hostname", "{{.Node.Hostname}}", "--network", NETWORK, "--endpoint-mode", "dnsrr")
    manager.docker(
        *("service", "create", "--detach", *service, "--replicas", "3", "--restart-delay", "0.2s"),
        *("--stop-grace-period", "1s", three_pis.base, "python3", "-c", SERVE),
    )
    until(lambda: len(running(three_pis)) == 3, "the service has three tasks", 120, lambda: tasks(three_pis))
    yield three_pis
    manager.docker("swarm", "update", "--dispatcher-heartbeat", "5s")
    manager.docker("service", "rm", "here")
    until(lambda: not manager.docker("ps", "--quiet"), "its tasks are gone", 30)
    until(lambda: removed(manager), "the network is gone", 60)


def removed(manager: ClusterNode) -> bool:
    """Swarm keeps a network for as long as it knows of a task in it, also of one that is about to go."""
    with contextlib.suppress(LabError):
        manager.docker("network", "rm", NETWORK)
    return NETWORK not in manager.docker("network", "ls", "--format", "{{.Name}}").split()


def tasks(lab: Lab) -> str:
    form = "{{.Node}} {{.CurrentState}} {{.Error}}"
    return lab.manager.docker("service", "ps", "here", "--no-trunc", "--format", form)


def running(lab: Lab) -> list[str]:
    """The nodes on which tasks run that are wanted."""
    form = ("--filter", "desired-state=running", "--format", "{{.Node}} {{.CurrentState}}")
    lines = lab.manager.docker("service", "ps", "here", *form).splitlines()
    return sorted(line.split()[0] for line in lines if " Running" in line)


def said_at(address: str) -> str:
    connection = http.client.HTTPConnection(address, 80, timeout=5)
    try:
        connection.request("GET", "/")
        return connection.getresponse().read().decode()
    except OSError as error:
        return str(error)
    finally:
        connection.close()


def test_replicas_spread_over_three_nodes_and_reach_each_other_on_the_overlay(here: Lab) -> None:
    assert here.states() == dict.fromkeys(("pi-1", "pi-2", "pi-3"), "ready")
    assert Counter(running(here)) == Counter(["pi-1", "pi-2", "pi-3"])
    for node in here.nodes:
        (container,) = node.docker("ps", "--quiet", "--filter", "label=com.docker.swarm.service.name=here").split()
        assert node.docker("exec", container, "python3", "-c", REACH_ALL) == "pi-1 pi-2 pi-3"


def test_the_machine_reaches_a_published_port_at_the_node_s_address(three_pis: Lab) -> None:
    node = three_pis.node("pi-2")
    published = ("--rm", "--detach", "--publish", "80:8000", "--hostname", "published")
    container = node.docker("run", *published, three_pis.base, "python3", "-c", SERVE)
    try:
        until(lambda: said_at(node.address) == "published", "the container answers", 30)
    finally:
        node.docker("rm", "--force", container)


@pytest.mark.long
def test_lost_nodes_are_down_and_their_tasks_move_and_the_nodes_come_back(here: Lab) -> None:
    killed, cut = here.node("pi-2"), here.node("pi-3")
    killed.kill()
    cut.cut()
    assert not killed.running
    assert cut.running, "a node that is cut off works on"
    for node in (killed, cut):
        here.wait_for(node.name, "down")
    until(lambda: running(here) == ["pi-1"] * 3, "all tasks are on the node that is left", 60, lambda: tasks(here))
    killed.start()
    cut.heal()
    for node in (killed, cut):
        here.wait_for(node.name, "ready")
    # The one that was cut off still runs a task that nobody wants any more.
    until(lambda: not cut.docker("ps", "--quiet"), "what moved away ends where it was", 30)


@pytest.mark.long
def test_what_a_killed_run_has_left_is_cleared_away_by_the_next_one() -> None:
    require_lab()
    left = subprocess.Popen([sys.executable, "-c", BRING_UP_AND_HANG], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    try:
        assert left.stdout is not None
        number = int(left.stdout.readline())
        with pytest.raises(LabTaken):
            Lab(number)
    finally:
        left.send_signal(signal.SIGKILL)
        left.communicate()
    with Lab(number) as lab:
        assert lab.is_up
        old = pids_of(lab.nodes[0].plan.namespace)
        assert old
        lab.up(1)
        assert lab.is_up
        assert not old & pids_of(lab.nodes[0].plan.namespace)
        folder, plan = lab.plan.folder, lab.plan
    assert not folder.exists()
    assert namespaces(plan) == []
    assert not Path("/sys/class/net", plan.name).exists()


def test_the_command_says_what_it_cannot_do(three_pis: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    def refused(*arguments: str) -> str:
        assert main(list(arguments)) != 0
        said = capsys.readouterr()
        return said.err + said.out

    with Lab.for_tests() as free:
        number = str(free.number)
    assert f"another process works with lab {three_pis.number}" in refused("--lab", str(three_pis.number), "status")
    assert f"lab {number} is not up" in refused("--lab", number, "status")
    assert f"lab {number} is not up" in refused("--lab", number, "env")
    assert f"lab {number} is not up" in refused("--lab", number, "images")
    assert f"lab {number} is not up" in refused("--lab", number, "kill", "pi-1")
    assert "not 10" in refused("--lab", number, "up", "10")
    assert "'many' is no number" in refused("--lab", number, "up", "many")
    assert "there is no lab 250" in refused("--lab", "250", "up")
