"""The roles in which a token may be borne; a command names them before anything else is loaded."""

from __future__ import annotations

from enum import StrEnum


class Role(StrEnum):
    """What a token's bearer may do; each role may do what those before it may."""

    VIEWER = "viewer"
    """Read everything, and try out without saving."""
    OPERATOR = "operator"
    """Change mappings, scale and invoke functions, replay and purge dead letters."""
    ADMIN = "admin"
    """Read the audit, and change the swarm."""

    def includes(self, other: Role) -> bool:
        """Whether this one may do what the other may."""
        order = list(Role)
        return order.index(self) >= order.index(other)
