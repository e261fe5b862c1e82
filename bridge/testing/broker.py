"""The broker of a house, and what can happen to it."""

from __future__ import annotations

from collections.abc import Callable

from bridge.mqtt.memory import MemoryBroker

RECONNECT_S = 2.0
"""Longer than the longest pause of a client between two attempts to reach the broker in memory."""


class Broker:
    """The broker of a house: stop it, start it, let it forget.

    `do` runs a call on the house's loop, `pass_` lets seconds pass.
    """

    def __init__(
        self, memory: MemoryBroker, do: Callable[[Callable[[], object]], None], pass_: Callable[[float], None]
    ) -> None:
        self.memory = memory
        self._do = do
        self._pass = pass_

    @property
    def running(self) -> bool:
        """Whether clients find it."""
        return self.memory.running

    def stop(self) -> None:
        """It is gone: every connection is lost, no will is sent. What it has stored stays."""
        self._do(self.memory.stop)

    def start(self, *, wait: bool = True) -> None:
        """It is there again; returns when every client has had the time to find it, unless told not to wait."""
        self._do(self.memory.start)
        self._reconnect(wait=wait)

    def forget(self, *, wait: bool = True) -> None:
        """It loses its store, with sessions, queues and retained messages; its clients come back at once."""
        self._do(self.memory.forget)
        self._reconnect(wait=wait)

    def unplug(self, client_id: str) -> None:
        """A client's cable is out."""
        self._do(lambda: self.memory.unplug(client_id))

    def plug(self, client_id: str, *, wait: bool = True) -> None:
        """A client's cable is in again; returns when it has had the time to notice, unless told not to wait."""
        self._do(lambda: self.memory.plug(client_id))
        self._reconnect(wait=wait)

    def _reconnect(self, *, wait: bool) -> None:
        if wait:
            self._pass(RECONNECT_S)
