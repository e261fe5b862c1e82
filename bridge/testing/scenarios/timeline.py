"""The time line of a scenario in one house: everything that happens, at its moment, checked against the house's files.

What a step does takes no time of its own: a `ramp` goes on while later steps begin. At one moment expectations end
first, then others begin, and then things happen: what happens at a moment is awaited by what begins with it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from bridge.agent.models import ModelSettings
from bridge.agent.sensors import SensorSettings
from bridge.config import Node, compose, duration
from bridge.core.mapping import MappingSet
from bridge.core.topics import matches
from bridge.errors import ConfigError, Problem
from bridge.mapping_file import decode_mappings
from bridge.mapping_file.timezone import local_timezone
from bridge.testing.files import HousePlan
from bridge.testing.scenarios.document import Scenario
from bridge.testing.scenarios.happenings import Answers, Happening, OfBroker, OfDispatcher, OfNode, Publishes, Sees
from bridge.testing.scenarios.steps import ExpectMap, Step, StepMap, TopicEntry, scheduled
from bridge.testing.scenarios.words import drives
from bridge.virtual.contact import Contact

_END, _BEGIN, _HAPPEN = range(3)
_SAME_S: Final = 1e-9
"""Two moments nearer than this are one: they are sums of decimal fractions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """What is expected, from when to when, in seconds since the start."""

    wanted: ExpectMap
    begins_s: float
    node: Node
    """Where it stands."""

    @property
    def ends_s(self) -> float:
        """When it is over."""
        return self.begins_s + self.wanted.within_s


@dataclass(frozen=True, slots=True)
class Moment:
    """One thing on the time line: something happens, or an expectation begins, or ends."""

    at_s: float
    order: int
    what: Happening | Expectation
    node: Node

    @property
    def ends(self) -> bool:
        """Whether an expectation ends here."""
        return self.order == _END


@dataclass(slots=True)
class _Busy:
    """Until when a sensor is busy with a step."""

    until_s: float
    node: Node


@dataclass(slots=True)
class _Plan:
    """Fits steps to a house, and gathers what does not fit."""

    house: HousePlan
    mappings: MappingSet
    problems: list[Problem] = field(default_factory=list)
    _busy: dict[tuple[str, str], _Busy] = field(default_factory=dict)
    _contacts: dict[tuple[str, str], Contact] = field(default_factory=dict)

    def moments(self, at_s: float, step: Step) -> Iterator[Moment]:
        said = step.said
        if said.expect is not None:
            self._known(said.expect.wanted, step.node)
            expectation = Expectation(wanted=said.expect.wanted, begins_s=at_s, node=step.node)
            yield Moment(at_s, _BEGIN, expectation, step.node)
            yield Moment(expectation.ends_s, _END, expectation, step.node)
        elif said.sensor is not None:
            yield from self._driven(at_s, said, step.node)
        else:
            does = self._does(said)
            if does is not None:
                yield Moment(at_s, _HAPPEN, does, step.node)

    def _driven(self, at_s: float, said: StepMap, node: Node) -> Iterator[Moment]:
        assert said.sensor is not None
        assert said.do is not None
        found = self._sensor(said.sensor.text)
        if isinstance(found, str):
            self._problem(said.sensor.node, "sensor", found)
            return
        (where, sensor), settings, model = found
        try:
            contact = self._contacts.setdefault((where, sensor), Contact(sensor))
            series = drives(settings, said.do.text, contact, model)
        except ValueError as error:
            self._problem(said.do.node, "do", str(error))
            return
        busy = self._busy.get((where, sensor))
        if busy is not None and at_s <= busy.until_s:
            self._problem(
                node,
                "sensor",
                f"{sensor} is still at what line {busy.node.line} says, until {duration(round(busy.until_s, 6))};"
                " begin later, with at or after",
            )
        self._busy[where, sensor] = _Busy(at_s + series[-1].after_s, node)
        for number, drive in enumerate(series):
            sees = Sees(where, sensor, drive.word, drive.burst, first=number == 0)
            yield Moment(at_s + drive.after_s, _HAPPEN, sees, node)

    def _does(self, said: StepMap) -> Happening | None:
        if said.topic is not None:
            return self._published(said, said.topic)
        if said.function is not None:
            assert said.answers is not None
            name = said.function.text
            if name not in self.mappings.functions:
                self._problem(said.function.node, "function", self._no_function(name))
            return Answers(name, said.answers.words, said.answers.tell)
        if said.node is not None:
            assert said.do is not None
            return self._of_node(said.node.text, said.do.text, said.node.node)
        if said.clock is not None:
            return said.clock
        if said.broker is not None:
            return OfBroker(said.broker)
        assert said.dispatcher is not None
        return OfDispatcher(said.dispatcher)

    def _published(self, said: StepMap, at: TopicEntry) -> Publishes:
        assert said.payload is not None
        wanted = self.mappings.foreign_filters()
        ours = at.text.startswith(f"{self.house.root}/")
        if not ours and not any(matches(one, at.text) for one in wanted):
            listed = f"they select {', '.join(wanted)}" if wanted else "they select sensors' events alone"
            self._problem(at.node, "topic", f"no mapping selects {at.text}; {listed}")
        return Publishes(at.text, said.payload.text, 0 if said.qos == 0 else 1, retain=bool(said.retain))

    def _of_node(self, name: str, do: str, at: Node) -> OfNode | None:
        nodes = [agent.node for agent in self.house.agents]
        if name not in nodes:
            self._problem(at, "node", f"there is no node {name}; there are {', '.join(nodes)}")
            return None
        return OfNode(name, do)

    def _known(self, wanted: ExpectMap, node: Node) -> None:
        if wanted.function is not None and wanted.function not in self.mappings.functions:
            self._problem(node, "expect", self._no_function(wanted.function))
        if wanted.mapping is not None and wanted.mapping not in self.mappings.mappings:
            there = ", ".join(self.mappings.mappings)
            self._problem(node, "expect", f"there is no mapping {wanted.mapping}; there are {there}")
        sensors = [(agent.node, name) for agent in self.house.agents for name in agent.sensors]
        if wanted.sensor is not None and not any(wanted.sensor in (name, f"{at}/{name}") for at, name in sensors):
            listed = ", ".join("/".join(one) for one in sensors)
            self._problem(node, "expect", f"there is no sensor {wanted.sensor}; there are {listed}")

    def _no_function(self, name: str) -> str:
        return f"no mapping invokes {name}; they invoke {', '.join(self.mappings.functions)}"

    def _sensor(self, written: str) -> tuple[tuple[str, str], SensorSettings, ModelSettings | None] | str:
        """Node and name of a sensor, its settings and its model; or what is wrong."""
        there = {
            (agent.node, name): (one, agent.virtual.get(name))
            for agent in self.house.agents
            for name, one in agent.sensors.items()
        }
        node, slash, name = written.partition("/")
        found = [key for key in there if key == (node, name)] if slash else [key for key in there if key[1] == written]
        if len(found) == 1:
            return found[0], *there[found[0]]
        listed = ", ".join("/".join(key) for key in (found or there))
        if found:
            return f"{written} is the name of several sensors; write one of {listed}"
        return f"there is no sensor {written}; there are {listed}"

    def _problem(self, node: Node, key: str, message: str) -> None:
        self.problems.append(Problem(node.file, node.line, node.column, key, message))


def timeline(scenario: Scenario, house: HousePlan) -> tuple[MappingSet, list[Moment]]:
    """The mappings of a house, and everything that happens in order.

    Raises ConfigError with every step that does not fit the house.
    """
    if house.mappings is None:
        raise ConfigError(
            [Problem(scenario.node.file, scenario.node.line, scenario.node.column, "mappings", _NO_MAPPINGS)]
        )
    text = house.mappings
    mappings = decode_mappings(compose(text, house.mappings_name), local_timezone=local_timezone(), root=house.root)
    plan = _Plan(house, mappings)
    found = [moment for at_s, step in scheduled(scenario.steps) for moment in plan.moments(at_s, step)]
    if plan.problems:
        raise ConfigError(plan.problems)
    return mappings, sorted(found, key=lambda moment: (round(moment.at_s / _SAME_S), moment.order))


_NO_MAPPINGS: Final = (
    "there is no mapping file: put it at mappings.yaml or config/mappings.yaml, or name it with `mappings:`"
)
