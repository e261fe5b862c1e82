"""Which cluster node holds a stack's data: the one with the label that the shipped compose file asks for."""

from __future__ import annotations

from typing import Final

from bridge.manager.cluster.cluster import change, labelled
from bridge.manager.stack.document import ComposeFile
from bridge.manager.stack.preflight import fits
from bridge.swarm.cluster_nodes import read_cluster_node
from bridge.swarm.engine import Engine
from bridge.swarm.membership import read_membership

LABEL: Final = "gpio-bridge.data"
_CONSTRAINT: Final = f"node.labels.{LABEL} == true"


async def ensure_data_node(engine: Engine, file: ComposeFile) -> str | None:
    """Give the label to the engine's own cluster node where services ask for it and no cluster node has it.

    The name of the cluster node that got it, or None. A manager's engine it must be; on any other nothing is done, and
    what comes next says why. Raises EngineError.
    """
    constraints = [each for service in file.services.values() for each in service.deploy.placement.constraints]
    if not any(each.replace(" ", "") == _CONSTRAINT.replace(" ", "") for each in constraints):
        return None
    own = read_membership(await engine.get("/info"), engine.address.host)
    if own.complaint is not None:
        return None
    cluster_nodes = [read_cluster_node(document) for document in await engine.get("/nodes")]
    if any(fits(machine, _CONSTRAINT) for machine in cluster_nodes):
        return None
    return (await change(engine, own.node_id, labelled([f"{LABEL}=true"]))).name
