"""The pins of one node: toggled without rest at a rate, or as quickly as it goes."""

from __future__ import annotations

import http.client
import itertools
import json
import threading
from collections.abc import Sequence

from tests.system.programs import Agent

_ASK_S = 5.0
_END_S = 30.0


class Driver:
    """Drives pins over one kept connection; what an agent that dies does not answer is no harm.

    `made` counts the edges that the agent said were made.
    """

    def __init__(self, agent: Agent, sensors: Sequence[str]) -> None:
        self.made = 0
        self._agent = agent
        self._sensors = itertools.cycle(sensors)
        self._lock = threading.Lock()
        self._levels: dict[tuple[int, str], bool] = {}
        self._connection: http.client.HTTPConnection | None = None

    def toggle(self) -> None:
        """Turn the next sensor on or off: one event. From any thread."""
        with self._lock:
            self._toggle(next(self._sensors))

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()

    def _toggle(self, sensor: str) -> None:
        if not self._agent.running:
            return
        key = (self._agent.pid, sensor)  # the board of a new process is off
        on = not self._levels.get(key, False)
        if self._connection is None:
            self._connection = http.client.HTTPConnection("127.0.0.1", self._agent.control_port, timeout=_ASK_S)
        try:
            body = json.dumps({"sensor": sensor, "value": "on" if on else "off"})
            self._connection.request("POST", "/v1/simulate", body)
            answer = self._connection.getresponse()
            answer.read()
        except (OSError, http.client.HTTPException):
            self._connection.close()
            self._connection = None
            return
        self._levels[key] = on
        self.made += answer.status == 200


class Pins(threading.Thread):
    """Toggles by turns, `rate` times a second or without any pause, so often or until it is told to end."""

    def __init__(self, driver: Driver, rate: float | None, count: int | None = None) -> None:
        super().__init__(name="pins", daemon=True)
        self._pause_s = 0.0 if rate is None else 1 / rate
        self._turns = itertools.count() if count is None else range(count)
        self._over = threading.Event()
        self._driver = driver

    def run(self) -> None:
        for _ in self._turns:
            if self._over.wait(self._pause_s):
                break
            self._driver.toggle()

    def end(self) -> None:
        self._over.set()
        self.join(_END_S)
