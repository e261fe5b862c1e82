"""Ports for programs that are started again and again on the same one."""

from __future__ import annotations

import os
import random
import socket
from typing import Final

_WORKER: Final = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
_WORKERS: Final = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
_RANGE: Final = range(15_000 + _WORKER, 32_000, _WORKERS)
"""Below those that the kernel gives to connections (ip_local_port_range): one of these would take the port of a program
that is dead for a moment. Of workers side by side each has its own."""
_given: set[int] = set()
_chance = random.SystemRandom()


def free_port(host: str = "127.0.0.1") -> int:
    """A TCP port that nobody listens on, and that was not given to anybody before."""
    while True:
        port = _chance.choice(_RANGE)
        with socket.socket() as probe:
            try:
                probe.bind((host, port))
            except OSError:
                continue
        if port not in _given:
            _given.add(port)
            return port
