"""A load on the whole stack: an agent whose pins never rest, and the books of what became of each event."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from tests.lab import function_images
from tests.lab.machine import until
from tests.system.chaos.pins import Driver, Pins
from tests.system.chaos.tally import Count, Outbox, count
from tests.system.programs import Agent
from tests.system.stack.deployed import Deployed
from tests.system.stack.witness import HANDLER, Witness

RATE: Final = 40.0
"""Edges a second, of all sensors together."""
SENSORS: Final = {"s1": 5, "s2": 6, "s3": 13, "s4": 19}
WITH_DOUBLE, WITH_SINGLE = "double", "single"
"""Functions: one with two replicas on two cluster nodes, and one with a single replica; no volume keeps them there."""
MAPPINGS: Final = """\
version: 1
mappings:
  # As people write it: what is tried again, and how often, is what the program does by itself.
  most:
    select: [{sensor: s1}, {sensor: s2}, {sensor: s3}]
    invoke: double
    initial: always
  last:
    select: {sensor: s4}
    invoke: single
    initial: always
"""
_REST_S: Final = 150.0


@dataclass(frozen=True, slots=True)
class Ended:
    """What a time under load added to the books, and how long it took to come to rest."""

    count: Count
    rested_s: float

    def told(self) -> str:
        """In a line, for people."""
        it = self.count
        return (
            f"{it.accepted} accepted, {it.delivered} delivered, {it.duplicates} twice, {it.dead} dead, {it.dropped}"
            f" dropped, {it.missing} missing, {it.out_of_order} out of order, at rest after {self.rested_s:.1f} s"
        )


class Load:
    """A context manager: the agent runs for as long, its pins work `while working()`."""

    def __init__(self, deployed: Deployed, folder: Path) -> None:
        self.witness = Witness(deployed.lab.plan.machine_address)
        self._deployed = deployed
        password = str(deployed.secret("pi-1-password"))
        mqtt = {"host": deployed.lab.manager.address, "username": "pi-1", "password_file": password}
        sensors = {name: {"kind": "digital", "pin": pin, "debounce": "0s"} for name, pin in SENSORS.items()}
        self.agent = Agent(folder, "pi-1", mqtt, {"sensors": sensors})
        self._driver = Driver(self.agent, tuple(SENSORS))
        self._outbox = Outbox("pi-1", self.agent.state / "outbox.db")
        self._before = Count()

    def __enter__(self) -> Self:
        self.witness.__enter__()
        try:
            self._deploy_functions()
            self._deployed.apply(MAPPINGS)
            self.agent.start()
            self.agent.ready()
            with self.working():
                time.sleep(1)
            self.settled()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        self._driver.close()
        self.agent.kill()
        self.witness.__exit__(*exc)
        for name in (WITH_DOUBLE, WITH_SINGLE):
            self._deployed.gateway("DELETE", "/system/functions", {"functionName": name})

    @contextmanager
    def working(self) -> Iterator[None]:
        """Pins change for as long as this lasts, and so do calls come in when it begins."""
        pins = Pins(self._driver, RATE)
        began_at = time.time()
        pins.start()
        try:
            self.goes_on(began_at)
            yield
        finally:
            pins.end()

    def goes_on(self, since: float, within_s: float = 120.0) -> float:
        """Wait until functions of both mappings are called after a moment (wall time); how long after."""

        def found() -> bool:
            return all(self.witness.first(since, mapping) is not None for mapping in ("most", "last"))

        until(found, "functions are called", within_s, self.told)
        return max(call.at for mapping in ("most", "last") if (call := self.witness.first(since, mapping))) - since

    def settled(self) -> Ended:
        """Wait until nothing is under way any more, and open the books."""
        began_s = time.monotonic()
        until(lambda: self.agent.backlog() == 0, "everything is confirmed", _REST_S, self.agent.why_not)
        until(self._deployed.manager_answers, "the manager answers", _REST_S, self._deployed.told)
        until(lambda: self._count().complete, "everything is delivered, or a dead letter", _REST_S, self.told)
        now = self._count()
        ended = Ended(now.since(self._before), time.monotonic() - began_s)
        self._before = now
        return ended

    def nodes_of(self, function: str) -> list[str]:
        """Where a function's replicas run."""
        form = ("--filter", "desired-state=running", "--format", "{{.Node}} {{.CurrentState}}")
        lines = self._deployed.docker("service", "ps", function, *form).splitlines()
        return sorted(line.split()[0] for line in lines if line.split()[1] == "Running")

    def told(self) -> str:
        """What the agent and the stack have to say."""
        return f"{self._count()}\n{self.agent.why_not()}\n{self._deployed.told()}"

    def _count(self) -> Count:
        letters = self._deployed.manager("/deadletters?limit=1000")["dead_letters"]
        assert len(letters) < 1000, "there may be more dead letters than one answer holds"
        return count([self._outbox], self.witness.calls, letters)

    def _deploy_functions(self) -> None:
        lab = self._deployed.lab
        image = function_images.build_handler(lab, function_images.build_runtime(lab), "witnessed:1", HANDLER)
        for name, replicas in ((WITH_DOUBLE, "2"), (WITH_SINGLE, "1")):
            document = {
                "service": name,
                "image": image,
                "envVars": {"NAME": name, "WITNESS": self.witness.url},
                # No alert is to change what a test counts.
                "labels": {"com.openfaas.scale.min": replicas, "com.openfaas.scale.max": replicas},
                # The Pi with the data is not what these are about.
                "constraints": ["node.role == worker"],
            }
            status, body = self._deployed.gateway("POST", "/system/functions", document)
            assert status == 202, body
