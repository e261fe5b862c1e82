"""What can be brought about in a running `up` besides what pins see, over the control API of its virtual Pis.

POST /v1/broker     {"do": "stop" | "start" | "forget"}
POST /v1/functions  {"function", "answers"}; without a function, `well again` for all of them
POST /v1/publish    {"topic", "payload", "qos"?}: text, as any other MQTT device publishes it
POST /v1/restart    {"node"}: its agent stops and starts again, on the same pins and the same state folder
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from bridge.broker import EmbeddedBroker
from bridge.core.topics import check_topic
from bridge.errors import TopicError, TransportError
from bridge.mqtt.transport import Message
from bridge.testing.foreign_device import ForeignDevice
from bridge.testing.scenarios.words import answer
from bridge.testing.stand_ins import StandIns
from bridge.virtual.control import Post
from bridge.virtual.devices import NotAccepted

BROKER: Final = ("stop", "start", "forget")
_WELL_AGAIN: Final = "well again"


class Faults:
    """What the control serves besides the pins; `posts` are its paths. Requests are carried out one after the other."""

    def __init__(
        self,
        broker: EmbeddedBroker,
        device: ForeignDevice,
        functions: StandIns,
        restart: Callable[[str], Awaitable[None]],
    ) -> None:
        self._broker = broker
        self._device = device
        self._functions = functions
        self._restart = restart
        self._turn = asyncio.Lock()

    @property
    def posts(self) -> Mapping[str, Post]:
        """What each path does."""
        return {
            "/v1/broker": self._of_broker,
            "/v1/functions": self._of_functions,
            "/v1/publish": self._of_device,
            "/v1/restart": self._of_node,
        }

    async def _of_broker(self, wanted: Mapping[str, Any]) -> dict[str, Any]:
        _only(wanted, "do")
        do = str(wanted.get("do"))
        if do not in BROKER:
            raise NotAccepted(f"the broker does not do {do!r}; it does {', '.join(BROKER)}")
        async with self._turn:
            match do:
                case "stop":
                    await self._broker.stop()
                case "start":
                    await self._broker.start()
                case _:
                    await self._broker.forget()
        return {"broker": do}

    async def _of_functions(self, wanted: Mapping[str, Any]) -> dict[str, Any]:
        _only(wanted, "function", "answers")
        name, text = wanted.get("function"), str(wanted.get("answers", ""))
        if name is None and text == _WELL_AGAIN:
            self._functions.well_again()
            return {"function": None, "answers": _WELL_AGAIN}
        if name is None:
            raise NotAccepted(f'say which function; without one, {{"answers": "{_WELL_AGAIN}"}} is for all of them')
        try:
            tell = answer(text)
        except ValueError as error:
            raise NotAccepted(str(error)) from None
        tell(self._functions.function(str(name)))
        return {"function": str(name), "answers": text}

    async def _of_device(self, wanted: Mapping[str, Any]) -> dict[str, Any]:
        _only(wanted, "topic", "payload", "qos")
        topic, payload, qos = wanted.get("topic"), wanted.get("payload"), wanted.get("qos", 1)
        if not isinstance(topic, str) or not isinstance(payload, str):
            raise NotAccepted('send {"topic": "zigbee2mqtt/lamp", "payload": "on"}, both as text')
        if type(qos) is not int or qos not in (0, 1):
            raise NotAccepted(f"qos is 0 or 1, not {qos!r}")
        try:
            check_topic(topic)
            async with self._turn:
                await self._device.publish(Message(topic, payload.encode(), qos=0 if qos == 0 else 1))
        except (TopicError, TransportError) as error:
            raise NotAccepted(str(error)) from None
        return {"topic": topic, "qos": qos}

    async def _of_node(self, wanted: Mapping[str, Any]) -> dict[str, Any]:
        _only(wanted, "node")
        node = str(wanted.get("node"))
        async with self._turn:
            try:
                await self._restart(node)
            except LookupError as error:
                raise NotAccepted(str(error.args[0])) from None
        return {"node": node}


def _only(wanted: Mapping[str, Any], *keys: str) -> None:
    unknown = sorted(wanted.keys() - set(keys))
    if unknown:
        raise NotAccepted(f"unknown: {', '.join(unknown)}; there are {', '.join(keys)}")
