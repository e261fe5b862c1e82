"""Functions as supervised processes of this machine, for a laptop or a single Pi."""

from bridge.gateway.backends.local.backend import LocalBackend

__all__ = ["LocalBackend"]
