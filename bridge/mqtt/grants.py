"""Subscriptions that the broker was asked for on one connection, and its answers."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from paho.mqtt import client as paho
from paho.mqtt.enums import MQTTErrorCode
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from bridge.errors import TransportError
from bridge.mqtt.client import ERROR, Client, words
from bridge.mqtt.ending import Version
from bridge.mqtt.packet_ids import PacketIds
from bridge.mqtt.settings import MqttSettings
from bridge.mqtt.transport import Subscription

_RETAIN_HANDLING: Final = {"always": 0, "new": 1, "never": 2}  # MQTT 5.0, 3.8.3.1


class Grants:
    """Asks by paho, and waits for what the broker grants; `end` it with the connection. The loop owns it."""

    def __init__(self, client: Client, packet_ids: PacketIds, settings: MqttSettings, version: Version) -> None:
        self._client = client
        self._packet_ids = packet_ids
        self._settings = settings
        self._five = version == "5"
        self._open: dict[int, asyncio.Future[list[ReasonCode]]] = {}
        self._over = False
        client.on_subscribe = self._on_granted
        client.on_unsubscribe = self._on_granted

    async def subscribe(self, subscriptions: Sequence[Subscription]) -> None:
        """Subscribe and wait for the answer. Raises TransportError that names the filters refused."""
        if self._five:
            options = [
                (s.filter, SubscribeOptions(s.qos, s.no_local, False, _RETAIN_HANDLING[s.retained]))
                for s in subscriptions
            ]
            code, packet_id = self._client.subscribe(options)
        else:
            filters: list[tuple[str, int]] = [(s.filter, s.qos) for s in subscriptions]
            code, packet_id = self._client.subscribe(filters)
        await self._granted("subscribe to", [s.filter for s in subscriptions], code, packet_id)

    async def unsubscribe(self, filters: Sequence[str]) -> None:
        """Unsubscribe and wait for the answer. Raises TransportError."""
        code, packet_id = self._client.unsubscribe(list(filters))
        await self._granted("unsubscribe from", filters, code, packet_id)

    def end(self, reason: str) -> None:
        """The connection is gone: no answer will come."""
        self._over = True
        for grant in self._open.values():
            if not grant.done():
                grant.set_exception(TransportError(f"the connection ended before the broker answered: {reason}"))

    async def _granted(self, what: str, filters: Sequence[str], code: MQTTErrorCode, packet_id: int | None) -> None:
        if self._over or code != MQTTErrorCode.MQTT_ERR_SUCCESS or packet_id is None:
            raise TransportError(f"cannot {what} {', '.join(filters)}: not connected to {self._settings.address}")
        grant: asyncio.Future[list[ReasonCode]] = asyncio.get_running_loop().create_future()
        self._open[packet_id] = grant
        try:
            async with asyncio.timeout(self._settings.connect_timeout_s):
                codes = await grant
        except TimeoutError as error:
            raise TransportError(
                f"cannot {what} {', '.join(filters)}: the broker at {self._settings.address} did not answer within"
                f" {self._settings.connect_timeout_s:g} s"
            ) from error
        finally:
            self._open.pop(packet_id, None)
        refused = [f"{f} ({words(c)})" for f, c in zip(filters, codes, strict=False) if c.value >= ERROR]
        if refused:
            raise TransportError(f"the broker at {self._settings.address} refused to {what} {', '.join(refused)}")

    def _on_granted(
        self,
        _client: paho.Client,
        _data: object,
        packet_id: int,
        codes: list[ReasonCode],
        _found: Properties | None,
    ) -> None:
        future = self._open.pop(packet_id, None)
        if future is None:
            return
        self._packet_ids.release(packet_id)
        if not future.done():
            future.set_result(codes)
