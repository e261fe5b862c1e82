"""A lab's network: a bridge, and for each node a namespace whose cable is plugged into it."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Final

from tests.lab.machine import LabError, run, until
from tests.lab.plan import LabPlan, NodePlan, clash

_GONE_S: Final = 10.0


def check_free(plan: LabPlan) -> None:
    """Raises LabError when the machine itself has routes into the lab's network."""
    routes = json.loads(run("ip", "-4", "-json", "route"))
    found = clash(plan.network, ((each["dst"], each.get("dev", "")) for each in routes), plan.name)
    if found:
        raise LabError(f"{plan.network} is in use on this machine ({found}); give the lab another number")


def build(plan: LabPlan) -> None:
    """The bridge, with the machine's own address in the lab."""
    run("ip", "link", "add", plan.name, "type", "bridge")
    run("ip", "address", "add", f"{plan.machine_address}/24", "dev", plan.name)
    run("ip", "link", "set", plan.name, "up")
    for traffic in _let_through(plan):
        run("iptables", "--wait", "-I", *traffic)


def plug_in(node: NodePlan) -> None:
    """A node's namespace and cable, as they are after its machine was switched on."""
    run("ip", "netns", "add", node.namespace)
    run("ip", "link", "add", node.link, "type", "veth", "peer", "name", "eth0", "netns", node.namespace)
    run("ip", "link", "set", node.link, "master", node.lab.name, "up")
    inside = ("ip", "-n", node.namespace)
    run(*inside, "address", "add", f"{node.address}/24", "dev", "eth0")
    # No default route: what is not in the lab is refused at once, instead of waiting for an answer.
    run(*inside, "link", "set", "lo", "up")
    run(*inside, "link", "set", "eth0", "up")


def pull_out(node: NodePlan) -> None:
    """Unplug a node's cable: nobody is told, packets are lost."""
    run("ip", "link", "set", node.link, "down")


def put_back(node: NodePlan) -> None:
    """Plug it in again."""
    run("ip", "link", "set", node.link, "up")


def remove_link(name: str) -> None:
    """Take away a cable. A namespace that goes takes its cables along a moment later, and may be faster than we."""
    link = Path("/sys/class/net", name)
    if link.exists():
        try:
            run("ip", "link", "delete", name)
        except LabError:
            until(lambda: not link.exists(), f"the link {name} is gone", _GONE_S)


def remove_namespace(name: str) -> None:
    """Take away a namespace in which nothing runs any more; another process may clear the same one away."""
    file = Path("/run/netns", name)
    if file.exists():
        try:
            run("ip", "netns", "delete", name)
        except LabError:
            if file.exists():
                raise


def namespaces(plan: LabPlan) -> list[str]:
    """The namespaces of all nodes that this lab has or had."""
    known = (line.split()[0] for line in run("ip", "netns", "list").splitlines() if line)
    return sorted(name for name in known if name.startswith(f"{plan.name}-"))


def demolish(plan: LabPlan) -> None:
    """Take away what `build` has made, or the parts of it that are there."""
    if Path("/sys/class/net", plan.name).exists():
        for port in list(Path("/sys/class/net", plan.name, "brif").iterdir()):
            remove_link(port.name)
        run("ip", "link", "delete", plan.name)
    for traffic in _let_through(plan):
        with contextlib.suppress(LabError):  # no such traffic is let through (any more)
            while True:
                run("iptables", "--wait", "-D", *traffic)


def _let_through(plan: LabPlan) -> list[tuple[str, ...]]:
    # A Docker Engine of the machine's own drops what is forwarded, and bridged frames count as forwarded.
    return [("FORWARD", way, plan.name, "-j", "ACCEPT") for way in ("-i", "-o")]
