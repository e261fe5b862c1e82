"""Clients that call a function again and again, and what they saw."""

from __future__ import annotations

import http.client
import threading
import time
from dataclasses import dataclass
from typing import Self

from tests.system.swarm.cluster import Cluster

_JOINED_S = 120.0


@dataclass(frozen=True, slots=True)
class Call:
    """One call: when it began, how long it took, and its status; 0 where there was no answer."""

    began_s: float
    took_s: float
    status: int
    body: bytes


class Load:
    """So many clients, each with a connection of its own, for as long as the context lasts."""

    def __init__(self, cluster: Cluster, name: str, clients: int, *, pause_s: float, method: str = "POST") -> None:
        self._cluster = cluster
        self._path = f"/function/{name}"
        self._method = method
        self._pause_s = pause_s
        self._stop = threading.Event()
        self._calls: list[Call] = []
        self._threads = [threading.Thread(target=self._run, name=f"client {each}") for each in range(clients)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(_JOINED_S)
        assert not any(thread.is_alive() for thread in self._threads), "a call has no end"

    @property
    def calls(self) -> list[Call]:
        """What was seen until now."""
        return list(self._calls)

    @property
    def failed(self) -> list[Call]:
        return [call for call in self._calls if call.status != 200]

    def told(self) -> str:
        """In a line, for people."""
        slowest_s = max((call.took_s for call in self._calls), default=0.0)
        return f"{len(self._calls)} calls, {len(self.failed)} failed, the slowest took {slowest_s:.2f} s"

    def _run(self) -> None:
        connection = self._cluster.connection()
        while not self._stop.is_set():
            began_s = time.monotonic()
            try:
                connection.request(self._method, self._path, b"hello")
                answer = connection.getresponse()
                status, body = answer.status, answer.read()
            except (OSError, http.client.HTTPException) as error:
                status, body = 0, repr(error).encode()
                connection.close()
            self._calls.append(Call(began_s, time.monotonic() - began_s, status, body))
            self._stop.wait(self._pause_s)
        connection.close()
