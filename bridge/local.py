"""`up`: all programs in one process on one machine, with virtual Pis instead of real ones.

Order of starting: the broker; the gateway, so that functions are there; the manager, so that mappings are there; the
dispatcher, so that it has subscribed before anything is said; the virtual Pis' control, so that a sensor can be driven
as soon as its agent lives; the agents.
Before all of it, the state folder is locked: two of these on the same journals would undo each other's work.
Stopping is the way back: the agents first, while the broker is still there to take their farewell, and the broker last.
"""

from __future__ import annotations

import dataclasses
import itertools
import socket
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal, Self, TypeVar

from bridge.agent.agent import Agent
from bridge.agent.settings import AgentSettings
from bridge.agent.settings import HttpSettings as AgentHttp
from bridge.broker import EmbeddedBroker, Kind
from bridge.clock import Clock
from bridge.config import load
from bridge.dispatcher.dispatcher import Dispatcher
from bridge.dispatcher.invoker import HttpInvoker
from bridge.dispatcher.settings import DispatcherSettings
from bridge.dispatcher.settings import GatewaySettings as GatewayAddress
from bridge.errors import ConfigError, Problem
from bridge.gateway.gateway import Gateway
from bridge.gateway.settings import GatewaySettings
from bridge.manager.manager import Manager
from bridge.manager.settings import FunctionGateway, ManagerSettings
from bridge.mqtt.paho import connector
from bridge.mqtt.settings import MqttSettings
from bridge.service import Health, first_failed
from bridge.testing.faults import Faults
from bridge.testing.foreign_device import ForeignDevice
from bridge.testing.stand_ins import StandIns
from bridge.virtual.board import VirtualBoard
from bridge.virtual.control import Control
from bridge.virtual.folder import emptied, held
from bridge.virtual.sessions import Sessions

HOST = "127.0.0.1"
CONTROL_PORT = 8091
MAPPINGS_FILE, DISPATCHER_FILE, GATEWAY_FILE = "mappings.yaml", "dispatcher.yaml", "gateway.yaml"
MANAGER_FILE = "manager.yaml"
AGENT_FILES = ("agent-*.yaml", "agent.yaml")
"""Of which the first that finds any says what the nodes are."""

PortChoice = Literal["documented", "auto"]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Plan:
    """What is going to run: the settings of every program, with addresses and state folders of this machine."""

    broker_port: int
    gateway: GatewaySettings
    dispatcher: DispatcherSettings
    manager: ManagerSettings
    agents: tuple[AgentSettings, ...]
    control_port: int
    state: Path
    taken: tuple[str, ...]
    """Which documented ports were not free, for people."""
    broker: Kind = "auto"


def plan(
    given: Path | None,
    state: Path,
    ports: PortChoice = "documented",
    broker: Kind = "auto",
    *,
    nodes: int | None = None,
) -> Plan:
    """Read a folder of configuration: `agent-*.yaml`, `mappings.yaml`, and the files of the other programs.

    Those are `dispatcher.yaml`, `gateway.yaml` and `manager.yaml`; each may be missing. Without a folder it is
    `config/`, or where we stand when the mappings are there. The functions' `functions/stack.yml` is in it or beside
    it.

    With `nodes` there are so many of them, made after those of the files.

    Every agent becomes a virtual Pi, whatever pin driver its file names; broker, gateway address, ports and state
    folders of the files are replaced. The environment is not asked: a variable means one program, and here are several.
    Raises ConfigError with the problems of all files.
    """
    config = given or (Path() if Path(MAPPINGS_FILE).is_file() else Path("config"))
    if not config.is_dir():
        message = "there is no such folder; run this where the project's config/ is, or say --config FOLDER"
        raise ConfigError([Problem(str(config), 0, 0, "", message)])
    problems: list[Problem] = []

    def read(file: Path, cls: type[T]) -> T | None:
        try:
            return load(file, cls)
        except ConfigError as error:
            problems.extend(error.problems)
            return None

    mappings = config / MAPPINGS_FILE
    if not mappings.is_file():
        problems.append(Problem(str(mappings), 0, 0, "", "is missing: it says which event invokes which function"))
    files = next((found for pattern in AGENT_FILES if (found := sorted(config.glob(pattern)))), [])
    if not files:
        problems.append(
            Problem(str(config / AGENT_FILES[0]), 0, 0, "", "is missing: there is no node to be a virtual Pi")
        )
    agents = [agent for file in files if (agent := read(file, AgentSettings)) is not None]
    dispatcher = DispatcherSettings(state_dir=state, mappings=mappings)
    if (config / DISPATCHER_FILE).is_file():
        dispatcher = read(config / DISPATCHER_FILE, DispatcherSettings) or dispatcher
    stacks = (place / "functions" / "stack.yml" for place in (config, config.parent))
    gateway = GatewaySettings(state_dir=state, functions=next((stack for stack in stacks if stack.is_file()), None))
    if (config / GATEWAY_FILE).is_file():
        gateway = read(config / GATEWAY_FILE, GatewaySettings) or gateway
    own = mappings if dispatcher.mappings == "manager" else dispatcher.mappings
    manager = ManagerSettings(state_dir=state, mappings=own, root=dispatcher.root, site=dispatcher.site)
    if (config / MANAGER_FILE).is_file():
        manager = read(config / MANAGER_FILE, ManagerSettings) or manager
    problems.extend(_twice(agents, files))
    if problems:
        raise ConfigError(problems)
    if nodes is not None:
        agents = multiplied(agents, nodes)
    placed = _placed(gateway, dispatcher, manager, agents, state, _Ports(ports))
    return dataclasses.replace(placed, broker=broker)


def multiplied(agents: Sequence[AgentSettings], nodes: int) -> list[AgentSettings]:
    """So many agents: those that were configured, and copies of them in turn, named `virtual-N`."""
    made = list(agents[:nodes])
    names = {agent.node for agent in agents}
    numbers = (f"virtual-{number}" for number in itertools.count(1))
    for template in itertools.islice(itertools.cycle(agents), nodes - len(made)):
        name = next(name for name in numbers if name not in names)
        made.append(dataclasses.replace(template, node=name))
    return made


class Local:
    """Everything of `up`, running; a program (bridge.service.Program)."""

    name = "up"

    def __init__(self, plan: Plan, *, clock: Clock) -> None:
        self.plan = plan
        self.health = Health()
        self._clock = clock
        self._stack = AsyncExitStack()
        self.broker = EmbeddedBroker(plan.broker, HOST, plan.broker_port, plan.state / "broker")
        self.boards: dict[str, VirtualBoard] = {}
        self._sessions: dict[str, Sessions] = {}
        self.functions: StandIns
        self.gateway: Gateway
        self.dispatcher: Dispatcher
        self.manager: Manager
        self.control: Control

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            state = self.plan.state
            stack.enter_context(
                held(
                    state / "lock",
                    f"another gpio-bridge up works in {state}; stop it,"
                    " or give this one a folder of its own with --state",
                )
            )
            boards = emptied(state / "virtual")
            await stack.enter_async_context(self.broker)
            # iotcore speaks MQTT 5 on a port of its own; with Mosquitto both are the same.
            mqtt = MqttSettings(host=HOST, port=self.broker.port_5, protocol="5")
            self.gateway = await stack.enter_async_context(Gateway(self.plan.gateway, clock=self._clock))
            made_manager = Manager(
                dataclasses.replace(self.plan.manager, mqtt=mqtt, gateway=FunctionGateway(self.gateway.url)),
                clock=self._clock,
                connect=connector(mqtt, self._clock),
                eager=False,
                own="up",
                dispatcher_url=lambda: self.dispatcher.url,
            )
            self.manager = await stack.enter_async_context(made_manager)
            settings = dataclasses.replace(
                self.plan.dispatcher, mqtt=mqtt, gateway=GatewayAddress(url=self.gateway.url)
            )
            real = HttpInvoker(settings.gateway, self._clock, connections=settings.limits.total)
            self.functions = StandIns(real, self._clock)
            self.dispatcher = await stack.enter_async_context(
                Dispatcher(settings, clock=self._clock, connect=connector(mqtt, self._clock), invoker=self.functions)
            )
            for agent in self.plan.agents:
                board = VirtualBoard(dataclasses.replace(agent, mqtt=mqtt), within=boards)
                stack.callback(board.close)
                self.boards[agent.node] = board
            device = await stack.enter_async_context(ForeignDevice(connector(mqtt, self._clock)))
            faults = Faults(self.broker, device, self.functions, self.restart_agent)
            self.control = await stack.enter_async_context(
                Control(self.boards, self.plan.control_port, faults.posts, agent=self._tell)
            )
            for node, board in self.boards.items():
                self._sessions[node] = await stack.enter_async_context(Sessions(partial(self._agent, board)))
            self._check_health()
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._stack.aclose()

    @property
    def agents(self) -> Mapping[str, Agent]:
        """The agents that run now, by their nodes."""
        return {node: one.agent for node, one in self._sessions.items()}

    async def failed(self) -> None:
        """Wait until one of the programs fails, and raise its error."""
        agents = [one.failed for one in self._sessions.values()]
        servers = (self.gateway.failed, self.dispatcher.failed, self.manager.failed)
        await first_failed(self.broker.failed, *servers, *agents)

    async def restart_agent(self, node: str) -> None:
        """Stop a node's agent and start it again: the same pins, the same state folder.

        Raises LookupError that says which nodes there are.
        """
        if node not in self.boards:
            raise LookupError(f"there is no node {node}; there are {', '.join(self.boards)}")
        self.boards[node].start()
        await self._sessions[node].restart()

    def _tell(self, node: str) -> dict[str, object]:
        """What its control tells of a node besides its pins; nothing of an agent that has not started yet."""
        if node not in self._sessions:
            return {}
        agent = self._sessions[node].agent
        return {"backlog": agent.backlog, "not_ready": _joined(agent.health.not_ready)}

    def _agent(self, board: VirtualBoard) -> Agent:
        return Agent(
            board.settings, clock=self._clock, connect=connector(board.settings.mqtt, self._clock), board=board
        )

    def _check_health(self) -> None:
        def require(name: str, health: Callable[[], Health]) -> None:
            self.health.require_alive(name, lambda: _joined(health().not_alive))
            self.health.require_ready(name, lambda: _joined(health().not_ready))

        require("gateway", lambda: self.gateway.health)
        require("dispatcher", lambda: self.dispatcher.health)
        require("manager", lambda: self.manager.health)
        for node, sessions in self._sessions.items():
            require(f"agent {node}", partial(_health, sessions))


class _Ports:
    """Chooses ports: the documented one where it is free, else 0, which makes a program take any that is free."""

    def __init__(self, choice: PortChoice) -> None:
        self._auto = choice == "auto"
        self.taken: list[str] = []

    def port(self, what: str, documented: int) -> int:
        if self._auto or documented == 0:
            return 0
        if _free(documented):
            return documented
        self.taken.append(f"port {documented} is taken, so the {what} listens on another one")
        return 0


def _placed(
    gateway: GatewaySettings,
    dispatcher: DispatcherSettings,
    manager: ManagerSettings,
    agents: list[AgentSettings],
    state: Path,
    ports: _Ports,
) -> Plan:
    """The settings with this machine's ports and state folders."""
    broker_port = ports.port("broker", 1883)
    metrics = gateway.metrics
    if metrics.enabled:
        metrics = dataclasses.replace(metrics, port=ports.port("gateway's metrics", metrics.port))
    gateway = dataclasses.replace(
        gateway, state_dir=state / "gateway", host=HOST, port=ports.port("gateway", gateway.port), metrics=metrics
    )
    http = dataclasses.replace(dispatcher.http, host=HOST, port=ports.port("dispatcher", dispatcher.http.port))
    dispatcher = dataclasses.replace(dispatcher, state_dir=state / "dispatcher", http=http)
    address = dataclasses.replace(manager.http, host=HOST, port=ports.port("manager", manager.http.port))
    manager = dataclasses.replace(manager, state_dir=state / "manager", http=address)
    placed = []
    for i, agent in enumerate(agents):
        # One of several agents on this machine can have the documented port; the others take any.
        port = ports.port(f"agent {agent.node}", agent.http.port) if i == 0 and agent.http else 0
        placed.append(
            dataclasses.replace(
                agent,
                state_dir=state / "agents" / agent.node,
                pins=dataclasses.replace(agent.pins, factory="mock"),
                http=AgentHttp(HOST, port),
            )
        )
    control = ports.port("virtual Pis", CONTROL_PORT)
    return Plan(broker_port, gateway, dispatcher, manager, tuple(placed), control, state, tuple(ports.taken))


def _twice(agents: list[AgentSettings], files: list[Path]) -> list[Problem]:
    names: dict[tuple[str, str], Path] = {}
    problems = []
    for agent, file in zip(agents, files, strict=False):
        first = names.setdefault((agent.site, agent.node), file)
        if first != file:
            problems.append(Problem(str(file), 0, 0, "node", f"{agent.node} is already the node of {first.name}"))
    return problems


def _health(sessions: Sessions) -> Health:
    return sessions.agent.health


def _joined(reasons: Callable[[], Mapping[str, str]]) -> str | None:
    return "; ".join(f"{name}: {reason}" for name, reason in reasons().items()) or None


def _free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True
