"""A running house, asked and driven over HTTP: the control of its virtual Pis, and its dispatcher's API."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self

import httpx

from bridge.config import Node
from bridge.errors import BridgeError, NotRunning, Problem
from bridge.testing.scenarios.happenings import Answers, Happening, OfBroker, OfDispatcher, OfNode, Publishes, Sees
from bridge.testing.scenarios.run import Prepared
from bridge.testing.scenarios.timeline import Expectation
from bridge.virtual.contact import read_bounces
from bridge.virtual.devices.level import MOST_BOUNCES_S

_TIMEOUT: Final = httpx.Timeout(30.0, connect=5.0)
_STARTS = "a running house has the clock of the world, and cannot begin at another time"
_JUMP = "the clock of a running house cannot jump"
_CABLE = "the cable of a running virtual Pi cannot be pulled; `broker: stop` is the same for all of them"
_RETAINED = "a retained message would stay at the broker of a running house"
_AGENT = "an agent of a running house shares its process with everything else, and cannot be killed; it can `restart`"
_DISPATCHER = (
    "the dispatcher of a running house stays: what it tells decides whether expectations are met;"
    " a killed one is for scenarios on the virtual clock"
)


@dataclass(frozen=True, slots=True)
class There:
    """What a running house has."""

    nodes: Mapping[str, Mapping[str, Any]]
    """The virtual Pis, as their control lists them."""
    posts: frozenset[str]
    """What their control can be told."""
    functions: Mapping[str, str]
    """The mappings in force, and what each invokes."""

    def sensors(self) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Every sensor as the control lists it, with its node."""
        for name, node in self.nodes.items():
            for sensor in node["sensors"]:
                yield name, sensor


class RunningHouse:
    """Asks and drives a running house; an async context manager. Raises NotRunning where nobody answers."""

    def __init__(self, control: str, dispatcher: str) -> None:
        self.control = control
        self.dispatcher = dispatcher
        self._client = httpx.AsyncClient(timeout=_TIMEOUT, trust_env=False)

    async def __aenter__(self) -> Self:
        await self._client.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        where: TracebackType | None = None,
    ) -> None:
        await self._client.__aexit__(kind, error, where)

    async def look(self) -> There:
        """What is there now."""
        nodes = await self._ask("GET", f"{self.control}/v1/nodes", "virtual Pi")
        mappings = await self._ask("GET", f"{self.dispatcher}/v1/mappings", "dispatcher")
        return There(
            {node["name"]: node for node in nodes["nodes"]},
            frozenset(nodes["posts"]),
            {one["name"]: one["function"] for one in mappings["mappings"]},
        )

    async def let(self, what: Happening) -> None:
        """Let something happen. Raises BridgeError with what the house says when it does not."""
        if isinstance(what, Sees) and what.burst and not what.first:
            return  # the device bounces by itself: no request is as quick as a contact
        path, wanted = _posted(what)
        await self.post(path, **wanted)

    async def post(self, path: str, **wanted: Any) -> None:
        """Tell the control something."""
        await self._ask("POST", f"{self.control}{path}", "virtual Pi", json=wanted)

    async def _ask(self, method: str, url: str, program: str, json: dict[str, Any] | None = None) -> Any:
        try:
            answer = await self._client.request(method, url, json=json)
            document = answer.json()
        except httpx.TimeoutException as error:
            raise NotRunning(f"the {program} at {url} did not answer within {_TIMEOUT.read:g} s") from error
        except (httpx.TransportError, httpx.InvalidURL) as error:
            raise NotRunning(f"no {program} answers at {url} ({error}); start it with `gpio-bridge up`") from error
        except ValueError as error:
            raise NotRunning(f"what answers at {url} is no {program}") from error
        if not answer.is_success:
            raise BridgeError(str(document.get("error", answer.status_code)))
        return document


def _posted(what: Happening) -> tuple[str, dict[str, Any]]:
    """Where the control is told of it, and how. Raises BridgeError for what it cannot be told."""
    match what:
        case Sees():
            return "/v1/simulate", {"node": what.node, "sensor": what.sensor, "value": what.burst or what.word}
        case Publishes(retain=True):
            raise BridgeError(_RETAINED)
        case Publishes():
            return "/v1/publish", {"topic": what.topic, "payload": what.payload, "qos": what.qos}
        case Answers():
            return "/v1/functions", {"function": what.function, "answers": what.words}
        case OfBroker():
            return "/v1/broker", {"do": what.do}
        case OfNode(do="restart"):
            return "/v1/restart", {"node": what.node}
        case OfNode(do="kill"):
            raise BridgeError(_AGENT)
        case OfNode():
            raise BridgeError(_CABLE)
        case OfDispatcher():
            raise BridgeError(_DISPATCHER)
        case _:
            raise BridgeError(_JUMP)


def refused(prepared: Prepared, there: There) -> list[Problem]:
    """Everything in a scenario that cannot be had of this running house, each with its place and why."""
    scenario = prepared.scenario
    problems = [] if scenario.starts is None else [_problem(scenario.starts.node, "starts", _STARTS)]
    missing = [
        name for name, mapping in prepared.mappings.mappings.items() if there.functions.get(name) != mapping.function
    ]
    if missing:
        runs = f"it has {', '.join(there.functions) or 'none'}"
        message = f"the running dispatcher has no such mapping as {', '.join(missing)} of {prepared.plan.mappings_name}"
        problems.append(_problem(scenario.node, "mappings", f"{message}; {runs}"))
    sensors = {f"{node}/{sensor['name']}": sensor for node, sensor in there.sensors()}
    for moment in prepared.moments:
        why = None if isinstance(moment.what, Expectation) else _why_not(moment.what, there, sensors)
        if why is not None:
            problems.append(_problem(moment.node, "", why))
    return list(dict.fromkeys(problems))


def _why_not(what: Happening, there: There, sensors: Mapping[str, Mapping[str, Any]]) -> str | None:
    try:
        path, _ = _posted(what)
    except BridgeError as error:
        return str(error)
    if path not in there.posts:
        return f"what runs the virtual Pis is no `gpio-bridge up`, and takes no {path}"
    if isinstance(what, Sees):
        sensor = sensors.get(f"{what.node}/{what.sensor}")
        if sensor is None:
            return f"the running house has no {what.node}/{what.sensor}; it has {', '.join(sorted(sensors)) or 'none'}"
        if what.burst:
            return _why_not_bounce(what, sensor)
    if isinstance(what, OfNode) and what.node not in there.nodes:
        return f"the running house has no node {what.node}; it has {', '.join(there.nodes) or 'none'}"
    return None


def _why_not_bounce(what: Sees, sensor: Mapping[str, Any]) -> str | None:
    bounces = read_bounces(what.burst)
    assert bounces is not None
    if not any("bounce for" in word for word in sensor["accepts"]):
        return f"in a running house {what.node}/{what.sensor} is no contact that bounces"
    if bounces[1] > MOST_BOUNCES_S:
        return f"in a running house a contact bounces for at most {MOST_BOUNCES_S:g}s"
    return None


def _problem(node: Node, key: str, message: str) -> Problem:
    return Problem(node.file, node.line, node.column, key, message)
