"""How a driver's thread wakes up the loop: by a bell of its own, or as asyncio does it.

`call_soon_threadsafe` takes eight Python calls before it writes a byte, while a lone edge waits. But the loop of a
virtual clock must know of everything that is to be run, or it lets time pass.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Final, Protocol

_RINGS: Final = 16
"""More bytes than ever wait: nobody rings twice before the loop has hushed."""


class Waking(Protocol):
    """Calls something on the loop that made it."""

    def ring(self) -> None:
        """Let it be called soon, once; from any thread."""

    def hush(self) -> None:
        """It has been called; on the loop, before the next ring."""

    def close(self) -> None:
        """Call nothing any more; on the loop. A ring that is under way then does nothing."""


class Bell:
    """A byte through a pair of sockets, and nothing else."""

    def __init__(self, call: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._rope, self._ear = socket.socketpair()
        self._rope.setblocking(False)
        self._ear.setblocking(False)
        self._loop.add_reader(self._ear, call)

    def ring(self) -> None:
        try:
            self._rope.send(b"!")
        except OSError:
            if self._rope.fileno() >= 0:
                raise
            # closed while an edge was on its way

    def hush(self) -> None:
        if self._ear.fileno() >= 0:
            self._ear.recv(_RINGS)

    def close(self) -> None:
        if self._ear.fileno() >= 0:
            self._loop.remove_reader(self._ear)
            self._ear.close()
            self._rope.close()


class Soon:
    """A callback among the loop's own."""

    def __init__(self, call: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._call = call

    def ring(self) -> None:
        self._loop.call_soon_threadsafe(self._call)

    def hush(self) -> None:
        """A callback runs once."""

    def close(self) -> None:
        """Whoever is called knows."""
