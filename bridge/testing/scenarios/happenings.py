"""What may happen in a scenario, as values; and how each of them happens to a house on a virtual clock."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from bridge.testing.functions import Function
from bridge.testing.house import House
from bridge.testing.scenarios.steps import Jump


@dataclass(frozen=True, slots=True)
class Sees:
    """The device of a sensor is told a word."""

    node: str
    sensor: str
    word: str
    burst: str = ""
    """Of an edge of a contact that bounces: the word that makes the device do all of it."""
    first: bool = True
    """Whether this is what its step begins with."""


@dataclass(frozen=True, slots=True)
class Publishes:
    """Another MQTT device publishes."""

    topic: str
    payload: str
    qos: Literal[0, 1] = 1
    retain: bool = False


@dataclass(frozen=True, slots=True)
class Answers:
    """A function is told how to answer: in words, and as a call that tells it."""

    function: str
    words: str
    tell: Callable[[Function], object]


@dataclass(frozen=True, slots=True)
class OfNode:
    """Something happens to a node: `offline`, `online`, `kill` or `restart`."""

    node: str
    do: str


@dataclass(frozen=True, slots=True)
class OfBroker:
    """Something happens to the broker: `stop`, `start` or `forget`."""

    do: str


@dataclass(frozen=True, slots=True)
class OfDispatcher:
    """Something happens to the dispatcher: `kill` or `restart`."""

    do: str


Happening: TypeAlias = Sees | Publishes | Answers | OfNode | OfBroker | OfDispatcher | Jump


def happen(house: House, what: Happening) -> None:
    """Let it happen to a house, without waiting for what follows.

    Raises BridgeError when it cannot, and ConnectionError when the broker is not there.
    """
    match what:
        case Sees():
            house.board(what.node).drive_now(what.sensor, what.word)
        case Publishes():
            house.publish(what.topic, what.payload, qos=what.qos, retain=what.retain)
        case Answers():
            what.tell(house.function(what.function))
        case OfNode():
            _NODE[what.do](house, what.node)
        case OfBroker():
            _BROKER[what.do](house)
        case OfDispatcher():
            _DISPATCHER[what.do](house)
        case Jump():
            house.time.jump(house.time.now() + what.by, synchronized=house.time.synchronized)


_NODE: Final[dict[str, Callable[[House, str], object]]] = {
    "offline": lambda house, name: house.pi(name).offline(),
    "online": lambda house, name: house.pi(name).online(wait=False),
    "kill": lambda house, name: house.pi(name).kill(),
    "restart": lambda house, name: house.pi(name).restart(),
}
_BROKER: Final[dict[str, Callable[[House], object]]] = {
    "stop": lambda house: house.broker.stop(),
    "start": lambda house: house.broker.start(wait=False),
    "forget": lambda house: house.broker.forget(wait=False),
}
_DISPATCHER: Final[dict[str, Callable[[House], object]]] = {
    "kill": lambda house: house.kill_dispatcher(),
    "restart": lambda house: house.restart_dispatcher(wait=False),
}
