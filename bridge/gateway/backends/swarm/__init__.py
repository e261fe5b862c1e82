"""Functions as services of a Docker Swarm, for a cluster of Pis."""

from bridge.gateway.backends.swarm.backend import SwarmBackend

__all__ = ["SwarmBackend"]
