"""The stage: one site with a cut-able network, pins that never rest, faults on top, and the books after each round."""

from __future__ import annotations

import http.client
import json
import random
import signal
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from tests.mosquitto import Mosquitto
from tests.system.chaos.proxy import Network
from tests.system.chaos.tally import Count, Outbox, count
from tests.system.processes import Program, ask, until
from tests.system.programs import Agent, Site

if TYPE_CHECKING:
    from tests.system.chaos.faults import Fault

NODE = "pi-1"
SENSORS = ("s1", "s2", "s3", "s4")
PINS = (5, 6, 13, 19)
QUIET_S = 90.0
_PATIENT = {"attempts": 100, "first": "50ms", "max": "500ms"}


@dataclass(frozen=True, slots=True)
class Row:
    """One round: its faults, what it added to the books, and how long the parts took to come to rest."""

    faults: str
    count: Count
    made: int
    settled_s: float
    stuck: str | None = None

    @property
    def passed(self) -> bool:
        return self.stuck is None and self.count.holds


class Pins(threading.Thread):
    """Toggles the sensors by turns, `rate` times a second; pauses while the agent is away."""

    def __init__(self, driver: Driver, rate: float) -> None:
        super().__init__(name="pins", daemon=True)
        self._pause_s = 1 / rate
        self._over = threading.Event()
        self._driver = driver

    def run(self) -> None:
        turn = 0
        while not self._over.wait(self._pause_s):
            self._driver.toggle(SENSORS[turn % len(SENSORS)])
            turn += 1

    def end(self) -> None:
        self._over.set()
        self.join(30)


class Driver:
    """Drives pins over one kept connection; what an agent that dies does not answer is no harm.

    `made` counts the edges that the agent said were made.
    """

    def __init__(self, agent: Agent) -> None:
        self.made = 0
        self._agent = agent
        self._lock = threading.Lock()
        self._levels: dict[tuple[int, str], bool] = {}
        self._connection: http.client.HTTPConnection | None = None

    def toggle(self, sensor: str) -> None:
        """Turn it on or off: one event. From any thread."""
        with self._lock:
            self._toggle(sensor)

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()

    def _toggle(self, sensor: str) -> None:
        if not self._agent.running:
            return
        key = (self._agent.pid, sensor)  # the board of a new process is off
        on = not self._levels.get(key, False)
        if self._connection is None:
            self._connection = http.client.HTTPConnection("127.0.0.1", self._agent.control_port, timeout=5)
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


class Stage:
    """A site under fire; a context manager. `rate` is of all sensors together, in events a second."""

    def __init__(self, folder: Path, *, seed: int, rate: float = 100.0, outbox: dict[str, Any] | None = None) -> None:
        self.random = random.Random(seed)
        self.seed = seed
        self.rate = rate
        self.network = Network()
        self.rules = folder / "acl"
        self.allow(publish=True)
        access = ("allow_anonymous true", f"acl_file {self.rules}")
        self._folder = folder
        self._outbox = {"resend": "2s", **(outbox or {})}
        self._broker = Mosquitto(folder, access=access)
        self._books = [Outbox(folder / f"agent-{NODE}" / "outbox.db")]
        self._before = Count()
        self.site: Site

    @property
    def broker(self) -> Mosquitto:
        return self._broker

    def __enter__(self) -> Self:
        self.network.__enter__()
        retry = {"invoke": {"function": "seen", "timeout": "1s"}, "retry": _PATIENT, "initial": "always"}
        sensors = {
            name: {"kind": "digital", "pin": pin, "debounce": "0s"} for name, pin in zip(SENSORS, PINS, strict=True)
        }
        mqtt = {"keepalive": "2s", "connect_timeout": "2s"}
        self.site = Site(
            self._folder,
            agents={NODE: {"sensors": sensors, "outbox": self._outbox}},
            mappings={
                "most": {"select": [{"sensor": name} for name in SENSORS[:-1]], **retry},
                "last": {"select": {"sensor": SENSORS[-1]}, **retry, "invoke": {"function": "other", "timeout": "1s"}},
            },
            functions=("seen", "other"),
            between=self.network.cable,
            broker=self._broker,
            mqtt=mqtt,
        )
        try:
            self.site.__enter__()
        except BaseException:
            self.network.__exit__()
            raise
        self._driver = Driver(self.site.agent)
        return self

    def __exit__(self, *exc: object) -> None:
        self._driver.close()
        self.site.__exit__()
        self.network.__exit__()

    def allow(self, *, publish: bool) -> None:
        """What the broker's access list lets agents and dispatcher do, from its next SIGHUP on."""
        self.rules.write_text(f"topic {'readwrite' if publish else 'read'} #\n", encoding="utf-8")
        self.rules.chmod(0o600)

    def reread_rules(self) -> None:
        self._broker._signal(signal.SIGHUP)

    def burst(self, events: int) -> None:
        """Toggle as quickly as it goes."""
        for i in range(events):
            self._driver.toggle(SENSORS[i % len(SENSORS)])

    def round(self, faults: Sequence[Fault], hold_s: float = 1.5) -> Row:
        """Let pins work, begin the faults one after the other, end them, and wait until all has come to rest."""
        made = self._driver.made
        pins = Pins(self._driver, self.rate)
        pins.start()
        try:
            time.sleep(0.3)
            plan = [(self.random.uniform(0, 0.3 * hold_s * (len(faults) > 1)), fault) for fault in faults]
            self._carry_out(plan, hold_s)
            until(
                lambda: ask(self.site.agent.control_port, "/v1/nodes")[0] == 200,
                "the pins can be driven",
                told=self.site.told,
            )
            time.sleep(0.5)
        finally:
            pins.end()
        return self.settle("+".join(fault.name for fault in faults) or "none", self._driver.made - made)

    def _carry_out(self, plan: Sequence[tuple[float, Fault]], hold_s: float) -> None:
        steps = [(at, 0, fault) for at, fault in plan]
        steps += [(at + fault.hold(hold_s * self.random.uniform(0.7, 1.3)), 1, fault) for at, fault in plan]
        began = time.monotonic()
        for at, end, fault in sorted(steps, key=lambda step: step[:2]):
            time.sleep(max(0.0, began + at - time.monotonic()))
            (fault.end if end else fault.begin)(self)

    def settle(self, name: str, made: int) -> Row:
        """Wait until nothing is under way, and open the books."""
        began = time.monotonic()
        stuck = None
        try:
            for program in self.site.programs:
                assert program.running, f"the {program.name} has ended by itself\n{program.last_words()}"
            until(self._at_rest, "all is confirmed and finished", QUIET_S, self.site.told)
        except AssertionError as error:
            stuck = str(error)
        settled_s = time.monotonic() - began
        now = count(self._books, self.site.calls(), self.site.dispatcher.dead_letters() if stuck is None else ())
        row = Row(name, now.since(self._before), made, settled_s, stuck)
        self._before = now
        return row

    def _at_rest(self) -> bool:
        return self.site.is_quiet() and self.site.dispatcher.gauge("unacknowledged") == 0

    def restart(self, program: Program) -> None:
        """Start it again after a kill."""
        if not program.running:
            program.start()
