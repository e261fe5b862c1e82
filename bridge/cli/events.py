"""`gpio-bridge events`: what the sensors of a site say, live from the broker."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bridge.cli.broker_options import Config, Host, Port, Root, Site, Timeout

if TYPE_CHECKING:
    from bridge.core.event import Event
    from bridge.mqtt.settings import MqttSettings
    from bridge.mqtt.transport import Delivery, Subscription, Transport


def events(
    follow: Annotated[  # noqa: ARG001 - what happens anyway, for those who say it
        bool, typer.Option("--follow", "-f", help="Go on until Ctrl-C; so it does unless --count is given.")
    ] = False,
    count: Annotated[int | None, typer.Option("--count", "-n", min=1, help="Stop after so many events.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print each event as it came, one a line.")] = False,
    config: Config = None,
    host: Host = None,
    port: Port = None,
    root: Root = None,
    site: Site = None,
    timeout: Timeout = 10.0,
) -> None:
    """Print the events of all sensors, live.

    Looks on: it takes nothing away from the dispatcher, and leaves no session at the broker.
    """
    import logging

    from bridge.cli.run import run_until_signal

    # A connection that is not there is told by this command itself, once and in its own words.
    logging.getLogger("bridge").addHandler(logging.NullHandler())
    mqtt, found_root, found_site = place(config, host, port)
    watch = _Watch(as_json, count)
    topic_filter = f"{root or found_root}/v1/{site or found_site}/nodes/+/sensors/+/event"
    run_until_signal(lambda stop: watch.run(stop, mqtt, topic_filter, timeout))


def line(event: Event) -> str:
    """An event for people: `17:30:00.123  pi-1/front-door  motion.detected  true`."""
    import json

    from bridge.cli.story import time_of_day

    at = time_of_day(event.time)
    value = json.dumps(event.data.get("value"))
    unit = event.data.get("unit")
    text = f"{at}  {event.node}/{event.sensor}  {event.name}  {value}{f' {unit}' if unit else ''}"
    return text + ("  (found at start)" if event.initial else "")


def place(config: Path | None, host: str | None, port: int | None) -> tuple[MqttSettings, str, str]:
    """The broker, the root and the site: of the file, else of the running `up`, else the defaults."""
    import dataclasses
    import os

    from bridge.cli import whereabouts
    from bridge.config import Reader, finish, read
    from bridge.core.topics import DEFAULT_ROOT, DEFAULT_SITE
    from bridge.mqtt.settings import MqttSettings

    mqtt, root, site = MqttSettings(), DEFAULT_ROOT, DEFAULT_SITE
    if config is not None:
        document = read(config)
        keys = document.value if isinstance(document.value, dict) else {}
        reader = Reader(config.absolute().parent)
        if "mqtt" in keys:
            mqtt = finish(reader.object(keys["mqtt"], MqttSettings, "mqtt"), reader)
        root = str(keys["root"].value) if "root" in keys else root
        site = str(keys["site"].value) if "site" in keys else site
    elif host is None:
        here = whereabouts.find(os.environ)
        if here is not None:
            mqtt, root, site = MqttSettings(host=here.mqtt_host, port=here.mqtt_port), here.root, here.site
    # A session of no length: nothing is kept for us at the broker once we have gone.
    return dataclasses.replace(mqtt, host=host or mqtt.host, port=port or mqtt.port, session_expiry_s=0.0), root, site


class _Watch:
    """Subscribes, prints, counts."""

    def __init__(self, as_json: bool, count: int | None) -> None:
        self._as_json = as_json
        self._left = count
        self._subscribed = asyncio.Event()
        self._enough = asyncio.Event()
        self._news = asyncio.Event()

    async def run(self, stop: asyncio.Event, mqtt: MqttSettings, topic_filter: str, timeout_s: float) -> None:
        """Print until told to stop, or until it is enough. Raises NotRunning when no broker answers in time."""
        import secrets

        from bridge.clock import RealClock
        from bridge.errors import NotRunning
        from bridge.mqtt.paho import connector
        from bridge.mqtt.transport import Subscription

        transport = connector(mqtt, RealClock())(f"gpio-bridge-events-{secrets.token_hex(6)}", self)
        async with transport:
            ends = [asyncio.create_task(event.wait()) for event in (stop, self._enough)]
            subscribing = asyncio.create_task(self._subscribe(transport, Subscription(topic_filter, qos=0)))
            try:
                done, _ = await asyncio.wait(ends, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
                if not done and not self._subscribed.is_set():
                    raise NotRunning(
                        f"no broker answers at {mqtt.address} ({transport.status});"
                        " start one, or everything with `gpio-bridge up`, or say --host and --port"
                    )
                if not done:
                    await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in (*ends, subscribing):
                    task.cancel()
                await asyncio.gather(*ends, subscribing, return_exceptions=True)

    def connected(self, generation: int, *, session_present: bool) -> None:
        self._news.set()

    def disconnected(self, generation: int, reason: str) -> None:
        """Nothing to do: the transport connects again."""

    def received(self, batch: Sequence[Delivery]) -> None:
        from bridge.core.event import parse
        from bridge.core.topics import SensorEventTopic, Topics
        from bridge.errors import EventError

        for delivery in batch:
            topic, payload = delivery.message.topic, delivery.message.payload
            if self._left == 0 or delivery.message.retain:
                continue
            if self._as_json:
                print(payload.decode(errors="replace"), flush=True)
            else:
                at = Topics(topic.split("/v1/")[0]).parse(topic)
                try:
                    print(line(parse(payload, at)) if isinstance(at, SensorEventTopic) else topic, flush=True)
                except EventError as error:
                    print(f"{topic}: no event of ours: {error}", flush=True)
            if self._left is not None:
                self._left -= 1
                if self._left == 0:
                    self._enough.set()

    async def _subscribe(self, transport: Transport, subscription: Subscription) -> None:
        """Subscribe on each connection; at QoS 0, because a look-on need not be told twice."""
        from bridge.errors import TransportError

        while True:
            await self._news.wait()
            self._news.clear()
            try:
                await transport.subscribe([subscription])
            except TransportError as error:
                if transport.connected:
                    raise
                print(f"gpio-bridge: {error}", file=sys.stderr, flush=True)
                continue
            self._subscribed.set()
