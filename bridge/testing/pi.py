"""One virtual Pi of a house: its sensors, its outputs, its cable and its power switch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import orjson

from bridge.agent.settings import AgentSettings
from bridge.config import duration
from bridge.core.event import Event
from bridge.core.topics import Topics, client_id
from bridge.testing.sensor import Sensor
from bridge.testing.virtual_time import Span, span_s
from bridge.virtual.board import VirtualBoard

if TYPE_CHECKING:
    from bridge.agent.agent import Agent
    from bridge.testing.house import House


class Output:
    """A named thing that a node drives, and what its pin says."""

    def __init__(self, name: str, pi: VirtualPi, publish: Callable[[str, bytes], None]) -> None:
        self.name = name
        self._pi = pi
        self._publish = publish
        self._commands = 0

    @property
    def value(self) -> float:
        """0.0 is off, 1.0 on; a dimmed LED is between."""
        return self._pi.agent.outputs[self.name].value

    @property
    def is_on(self) -> bool:
        """Whether it is switched on at all."""
        return self.value > 0

    @property
    def pin_is_high(self) -> bool:
        """The level of its pin."""
        settings = self._pi.settings.outputs[self.name]
        return bool(self._pi.board.pin_factory.pin(settings.pin.bcm).state)

    def turn_on(self, *, for_: Span | None = None) -> None:
        """Send it the command, as a function would."""
        self.command(value=True, for_=for_)

    def turn_off(self) -> None:
        """Send it the command, as a function would."""
        self.command(value=False)

    def command(self, *, value: bool | float, for_: Span | None = None) -> None:
        """Send it a command over MQTT."""
        self._commands += 1
        document: dict[str, object] = {"id": f"{self.name}-{self._commands}", "value": value}
        if for_ is not None:
            document["for"] = duration(span_s(for_))
        settings = self._pi.settings
        topic = Topics(settings.root).output_set(settings.site, settings.node, self.name)
        self._publish(topic, orjson.dumps(document))


class VirtualPi:
    """A node whose pins are mocks."""

    def __init__(self, settings: AgentSettings, house: House) -> None:
        self.name = settings.node
        self.settings = settings
        self._house = house
        self._sensors = {
            name: Sensor(
                name,
                sensor,
                settings.virtual.get(name),
                board=lambda: self.board,
                pass_=house.advance,
                events=lambda: self.events,
            )
            for name, sensor in settings.sensors.items()
        }
        self._outputs = {name: Output(name, self, house.publish) for name in settings.outputs}

    @property
    def board(self) -> VirtualBoard:
        """Its mock pins, and the devices on them."""
        return self._house.board(self.name)

    @property
    def agent(self) -> Agent:
        """The program that runs on it."""
        return self._house.agent(self.name)

    def sensor(self, name: str) -> Sensor:
        """The sensor of this name. Raises LookupError that says which there are."""
        if name not in self._sensors:
            raise LookupError(f"{self.name} has no sensor {name}; it has {', '.join(self._sensors) or 'none'}")
        return self._sensors[name]

    @property
    def sensors(self) -> Mapping[str, Sensor]:
        """All sensors by their names."""
        return self._sensors

    @property
    def outputs(self) -> Mapping[str, Output]:
        """All outputs by their names."""
        return self._outputs

    @property
    def events(self) -> list[Event]:
        """Its events that the broker has got since the test began."""
        return [event for event in self._house.events if event.node == self.name]

    @property
    def last_event(self) -> Event | None:
        """The newest of them."""
        return events[-1] if (events := self.events) else None

    @property
    def backlog(self) -> int:
        """How many of its events nobody has confirmed yet."""
        return self.agent.backlog

    def offline(self) -> None:
        """Pull the network cable: the agent goes on seeing, and its outbox keeps what it saw."""
        self._house.broker.unplug(self._client_id)

    def online(self, *, wait: bool = True) -> None:
        """Plug the cable in; returns when the agent has had the time to find the broker, unless told not to wait."""
        self._house.broker.plug(self._client_id, wait=wait)

    def kill(self) -> None:
        """Kill the agent: what it had not written is lost, and nobody sees what happens until it is restarted."""
        self._house.kill_agent(self.name)

    def restart(self) -> None:
        """Stop the agent, unless it is dead, and start it on the same pins and state folder; it warms up anew."""
        self._house.restart_agent(self.name)

    @property
    def _client_id(self) -> str:
        return client_id(self.settings.site, "agent", self.name)
