"""What a cluster's owner should know before it happens. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bridge.swarm.cluster_nodes import ClusterNode


def warnings(nodes: Sequence[ClusterNode]) -> Iterator[str]:
    """What would stop the cluster, and what to do about it; a swarm decides while most of its managers are there."""
    managers = [node for node in nodes if node.manager]
    there = [node for node in managers if node.state == "ready" and node.reachable]
    needed = len(managers) // 2 + 1
    if len(managers) == 1:
        if len(nodes) == 1:
            yield "one cluster node is all there is: when it is away, everything is"
        else:
            advice = "make two more managers with: gpio-bridge cluster promote NODE"
            if len(nodes) < 3:
                advice = "three managers survive the loss of one; two do not"
            name = managers[0].name
            yield f"{name} is the only manager: while it is away nothing is moved, scaled or deployed; {advice}"
    elif len(managers) % 2 == 0:
        yield (
            f"{len(managers)} managers survive the loss of {(len(managers) - 1) // 2}, no more than"
            f" {len(managers) - 1} would: promote one more, for {len(managers) + 1}, or demote one"
        )
    if len(managers) > 1 and len(there) < len(managers):
        gone = ", ".join(node.name for node in managers if node not in there)
        left = len(there) - needed
        more = "one more lost and nothing can be decided" if left == 0 else f"{left} more may be lost"
        yield f"managers away: {gone}; {more}"
    for node in nodes:
        if not node.manager and node.state != "ready":
            yield f"{node.name} is {node.state}{f': {node.message}' if node.message else ''}"
        elif node.availability != "active":
            what = "gives up its tasks" if node.availability == "drain" else "takes no new tasks"
            yield f"{node.name} {what}; bring it back with: gpio-bridge cluster activate {node.name}"
