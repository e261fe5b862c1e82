"""The stage: one site with a cut-able network, pins that never rest, faults on top, and the books after each round."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from tests.mosquitto import Mosquitto
from tests.system.chaos import disks
from tests.system.chaos.clocks import WallClock
from tests.system.chaos.disks import Disk
from tests.system.chaos.pins import Driver, Pins
from tests.system.chaos.proxy import Network
from tests.system.chaos.tally import Count, Identity, Outbox, Twice, count, identity_of, letters_kept
from tests.system.processes import Program, ask, until
from tests.system.programs import Agent, Dispatcher, Site

if TYPE_CHECKING:
    from tests.system.chaos.faults import Fault

NODES = ("pi-1", "pi-2", "pi-3")
SENSORS = ("s1", "s2", "s3", "s4")
PINS = (5, 6, 13, 19)
QUIET_S = 90.0
_PATIENT = {"attempts": 100, "first": "50ms", "max": "500ms"}
_LOST = 'gpio_bridge_events_dropped_total{reason="journal damaged"}'
_EPSILON_S = 2.0
"""What a fault has begun shows this late: a call's time-out is a second."""


@dataclass(frozen=True, slots=True)
class Row:
    """One round: its faults, what it added to the books, and how long the parts took to come to rest."""

    faults: str
    count: Count
    made: int
    settled_s: float
    stuck: str | None = None
    disk_lost: bool = False
    """The promise is given to programs that come back with their disk: without it, nothing is promised of the order."""

    @property
    def passed(self) -> bool:
        return self.stuck is None and (self.count.complete if self.disk_lost else self.count.holds)


@dataclass(slots=True)
class Span:
    """A fault, and when it went on (wall time, as the functions note it)."""

    name: str
    began_at: float
    ended_at: float

    def explains(self, twice: Twice) -> bool:
        """Whether it went on between an answer and the call that repeats it."""
        return self.began_at - _EPSILON_S <= twice.again_at and twice.first_at <= self.ended_at + _EPSILON_S


class Stage:
    """A site under fire; a context manager. `rate` is of all sensors together, in events a second.

    Faults of an agent strike the `victim`, another one each round; the others go on. With `pair` two dispatchers are
    there, one at work. With `clocks` wall clocks can jump; it makes programs several times slower, so it is asked for.
    """

    def __init__(
        self,
        folder: Path,
        *,
        seed: int,
        rate: float = 100.0,
        outbox: dict[str, Any] | None = None,
        nodes: Sequence[str] = NODES,
        pair: bool = False,
        clocks: bool = False,
    ) -> None:
        self.random = random.Random(seed)
        self.rate = rate
        self.pair = pair
        self._jumping = clocks
        self.network = Network()
        self.rules = folder / "acl"
        self.allow(publish=True)
        self.lost = 0
        self.spans: list[Span] = []
        self.clocks: dict[str, WallClock] = {}
        self.disks: dict[str, Disk] = {}
        access = ("allow_anonymous true", f"acl_file {self.rules}")
        self._folder = folder
        self._nodes = tuple(nodes)
        self._outbox = {"resend": "2s", **(outbox or {})}
        self._broker = Mosquitto(folder, access=access)
        self._books = {node: Outbox(node, folder / f"agent-{node}" / "outbox.db") for node in nodes}
        self._letters: dict[Identity, dict[str, Any]] = {}
        self._before = Count()
        self._stack = ExitStack()
        self._failed = False
        self.site: Site
        self.victim: Agent

    @property
    def broker(self) -> Mosquitto:
        return self._broker

    @property
    def made(self) -> int:
        """The edges that agents said were made."""
        return sum(driver.made for driver in self._drivers.values())

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            if disks.why_not() is None:
                self._mount(stack)
            stack.enter_context(self.network)
            self.site = self._make_site()
            for program in (*self.site.dispatchers, *self.site.agents.values()) if self._jumping else ():
                program.variables |= self.clocks[program.name].variables
            stack.enter_context(self.site)
            self._drivers = {node: Driver(agent, SENSORS) for node, agent in self.site.agents.items()}
            for driver in self._drivers.values():
                stack.callback(driver.close)
            self._stack = stack.pop_all()
        self.victim = self.site.agent
        return self

    def __exit__(self, *exc: object) -> None:
        self._failed = self._failed or exc[0] is not None
        self._stack.close()

    def _mount(self, stack: ExitStack) -> None:
        names = ("gateway", "dispatcher", *(["dispatcher-standby"] if self.pair else []))
        for name in (*names, *(f"agent-{node}" for node in self._nodes)):
            self.disks[name] = disk = Disk(self._folder / name)
            stack.callback(lambda disk=disk: disk.close(keep=self._failed))  # type: ignore[misc] # mypy infers no defaults

    def _make_site(self) -> Site:
        retry = {"invoke": {"function": "seen", "timeout": "1s"}, "retry": _PATIENT, "initial": "always"}
        sensors = {
            name: {"kind": "digital", "pin": pin, "debounce": "0s"} for name, pin in zip(SENSORS, PINS, strict=True)
        }
        programs = ("dispatcher", "dispatcher-standby", *(f"agent-{node}" for node in self._nodes))
        self.clocks = {name: WallClock(self._folder, name) for name in programs}
        return Site(
            self._folder,
            agents={
                node: {"sensors": sensors, "outbox": self._outbox, **self.clocks[f"agent-{node}"].settings}
                for node in self._nodes
            },
            mappings={
                "most": {"select": [{"sensor": name} for name in SENSORS[:-1]], **retry},
                "last": {"select": {"sensor": SENSORS[-1]}, **retry, "invoke": {"function": "other", "timeout": "1s"}},
            },
            functions=("seen", "other"),
            dispatcher={"traces": {"max_size": "4MiB"}, **self.clocks["dispatcher"].settings},
            between=self.network.cable,
            broker=self._broker,
            mqtt={"keepalive": "2s", "connect_timeout": "2s"},
            pair=self.pair,
        )

    # What faults ask for.

    def program(self, name: str) -> Program:
        """The program of that name; `agent` is the victim."""
        match name:
            case "agent":
                return self.victim
            case "dispatcher":
                return self.site.dispatcher
            case "standby":
                return self.site.dispatchers[1]
            case _:
                return self.site.gateway

    def cable(self, name: str) -> str:
        """The cable of that name; `agent-broker` is the victim's."""
        return f"{self.victim.node}-broker" if name == "agent-broker" else name

    def allow(self, *, publish: bool) -> None:
        """What the broker's access list lets agents and dispatcher do, from its next SIGHUP on."""
        self.rules.write_text(f"topic {'readwrite' if publish else 'read'} #\n", encoding="utf-8")
        self.rules.chmod(0o600)

    def reread_rules(self) -> None:
        self._broker._signal(signal.SIGHUP)

    def burst(self, events: int) -> None:
        """Toggle as quickly as it goes, on all nodes at once."""
        pins = [Pins(driver, rate=None, count=events // len(self._drivers)) for driver in self._drivers.values()]
        for one in pins:
            one.start()
        for one in pins:
            one.join()

    def restart(self, program: Program) -> None:
        """Start it again after a kill."""
        if not program.running:
            program.start()

    def outbox_damaged(self) -> None:
        """The victim's outbox is going to be damaged: see what is in it."""
        self._books[self.victim.node].renewed()

    def count_lost(self, program: Program) -> None:
        """A program was started on a damaged file: add what it says is lost with it."""
        until(program.metrics, f"the {program.name} answers", told=program.why_not)
        name = "gpio_bridge_agent_outbox_lost_total" if isinstance(program, Agent) else _LOST
        self.lost += int(program.metrics().get(name, 0))

    # Rounds.

    def round(self, faults: Sequence[Fault], hold_s: float = 1.5) -> Row:
        """Let pins work, begin the faults one after the other, end them, and wait until all has come to rest."""
        made = self.made
        self.victim = self.random.choice(list(self.site.agents.values()))
        pins = [Pins(driver, self.rate / len(self._drivers)) for driver in self._drivers.values()]
        for one in pins:
            one.start()
        stuck = None
        try:
            time.sleep(0.3)
            plan = [(self.random.uniform(0, 0.3 * hold_s * (len(faults) > 1)), fault) for fault in faults]
            self._carry_out(plan, hold_s)
            until(self._pins_answer, "the pins can be driven", told=self.site.told)
            time.sleep(0.5)
        except AssertionError as error:
            stuck = str(error)
        finally:
            for one in pins:
                one.end()
        name = "+".join(fault.name for fault in faults) or "none"
        return self.settle(name, self.made - made, stuck, disk_lost=any(fault.disk_lost for fault in faults))

    def settle(self, name: str, made: int, stuck: str | None = None, *, disk_lost: bool = False) -> Row:
        """Wait until nothing is under way, and open the books; `stuck` says that there is no sense in waiting."""
        began = time.monotonic()
        try:
            for program in self.site.programs:
                assert program.running, f"the {program.name} has ended by itself\n{program.last_words()}"
            if stuck is None:
                until(self._at_rest, "all is confirmed and finished", QUIET_S, self.site.told)
        except AssertionError as error:
            stuck = stuck or str(error)
        settled_s = time.monotonic() - began
        if stuck is None:
            self.remember_letters()
        now = count(self._books.values(), self.site.calls(), self._letters.values(), self.lost)
        row = Row(name, now.since(self._before), made, settled_s, stuck, disk_lost)
        self._before = now
        self._failed = self._failed or not row.passed
        return row

    def remember_letters(self) -> None:
        """Dead letters stay in the books when the journal that held them is damaged, or is a standby's."""
        for dispatcher in self.site.dispatchers:
            for letter in dispatcher.dead_letters() if dispatcher.at_work else letters_kept(dispatcher.state):
                self._letters[identity_of(letter["event"])] = letter

    def causes(self, twice: Twice) -> str:
        """The faults that went on between a function's answer and its repetition."""
        return " + ".join(sorted({span.name for span in self.spans if span.explains(twice)})) or "none of them"

    def _carry_out(self, plan: Sequence[tuple[float, Fault]], hold_s: float) -> None:
        steps = [(at, 0, fault) for at, fault in plan]
        steps += [(at + fault.hold(hold_s * self.random.uniform(0.7, 1.3)), 1, fault) for at, fault in plan]
        began = time.monotonic()
        spans: dict[str, Span] = {}
        for at, end, fault in sorted(steps, key=lambda step: step[:2]):
            time.sleep(max(0.0, began + at - time.monotonic()))
            if end:
                fault.end(self)
                spans[fault.name].ended_at = time.time()
            else:
                spans[fault.name] = Span(fault.name, time.time(), time.time() + QUIET_S)
                self.spans.append(spans[fault.name])
                fault.begin(self)

    def _pins_answer(self) -> bool:
        return all(ask(agent.control_port, "/v1/nodes")[0] == 200 for agent in self.site.agents.values())

    def _at_work(self) -> list[Dispatcher]:
        return [dispatcher for dispatcher in self.site.dispatchers if dispatcher.at_work]

    def _at_rest(self) -> bool:
        return self.site.is_quiet() and all(one.gauge("unacknowledged") == 0 for one in self._at_work())
