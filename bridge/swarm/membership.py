"""Whether an engine can serve a swarm's managers, from what it says of itself. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Membership:
    """An engine's place in its swarm.

    `complaint` says why it does not serve a manager's purposes and what to do; None where it does. What is `passing`
    may become well by itself, such as a swarm whose managers still look for each other.
    """

    node_id: str
    complaint: str | None
    passing: bool = False


def read_membership(info: Mapping[str, Any], address: str) -> Membership:
    """From the engine's `/info`; `address` is how messages call the engine."""
    swarm: Mapping[str, Any] = info.get("Swarm") or {}
    state = swarm.get("LocalNodeState") or "inactive"
    name = info.get("Name") or "this machine"
    complaint = None
    if state == "inactive":
        complaint = (
            f"the Docker Engine at {address} is in no swarm; make one of it with `gpio-bridge cluster init`, or with"
            " `docker swarm init` (and --advertise-addr ADDRESS on a machine of several addresses), or join one as a"
            " manager"
        )
    elif state == "locked":
        complaint = f"the swarm of the Docker Engine at {address} is locked; open it with `docker swarm unlock`"
    elif state == "active" and not swarm.get("ControlAvailable"):
        complaint = (
            f"the Docker Engine at {address} is a worker of its swarm; name a manager's engine, or make this one a"
            f" manager with `docker node promote {name}` on a manager"
        )
    elif state != "active":
        detail = f": {swarm['Error']}" if swarm.get("Error") else ""
        complaint = f"the Docker Engine at {address} is not (yet) part of its swarm, it says {state}{detail}"
    return Membership(str(swarm.get("NodeID") or ""), complaint, state in ("pending", "error"))
