"""The mapping set that the manager publishes: heard over a connection of its own, kept for a restart, refused when bad.

A connection of its own, because on that of the events a change would wait behind whatever is not acknowledged yet.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Self

import orjson

from bridge.clock import Clock
from bridge.config.yaml12 import from_plain
from bridge.core.mapping import MappingSet
from bridge.core.topics import Topics, client_id
from bridge.dispatcher.mappings import Kept
from bridge.errors import BridgeError, ConfigError, Problem
from bridge.mapping_file import decode_mappings
from bridge.mqtt.subscribing import Subscribing
from bridge.mqtt.transport import Connector, Delivery, Subscription

_log = logging.getLogger(__name__)

FIRST_S: Final = 30.0
"""How long the start waits for a first set where none has been kept; then it fails, and says what is missing."""


class NoMappings(BridgeError, RuntimeError):
    """The manager has published no mapping set, and none is kept from before."""


class ManagerMappings:
    """Hears the manager's mapping set; a listener (bridge.mqtt.transport.Listener). The loop owns it."""

    source: Final = "manager"

    def __init__(
        self,
        site: str,
        dispatcher: str,
        state_dir: Path,
        *,
        clock: Clock,
        connect: Connector,
        timezone: str,
        root: str,
        told: Callable[[], None],
        first_s: float = FIRST_S,
    ) -> None:
        self.problem: ConfigError | None = None
        """Why what the manager has published last is not in force; None when it is."""
        self.version = ""
        """Of the set in force, as the manager calls it."""
        self._topic = Topics(root).mappings(site)
        self._kept = Kept(state_dir)
        self._timezone = timezone
        self._root = root
        self._first_s = first_s
        self._told = told
        self._transport = connect(client_id(site, "dispatcher", f"{dispatcher}-mappings"), self)
        self._subscribing = Subscribing(self._transport, clock, self._subscribe, _refused)
        self._payload: bytes | None = None
        self._news = asyncio.Event()

    @property
    def subscription_problem(self) -> str | None:
        """Why the manager cannot be heard; None when it can."""
        return self._subscribing.problem

    async def __aenter__(self) -> Self:
        self._listening = asyncio.create_task(self._subscribing.run(), name="dispatcher hears the manager")
        await self._transport.__aenter__()
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._listening.cancel()
        await asyncio.gather(self._listening, return_exceptions=True)
        await self._transport.__aexit__(*exc)

    async def first(self) -> MappingSet:
        """The set to start with: what the manager says now, or within a moment what was kept.

        Raises NoMappings where nothing has been kept and the manager says nothing.
        """
        kept = self._kept.read(self._timezone, self._root)
        heard: list[MappingSet] = []
        with suppress(TimeoutError):
            async with asyncio.timeout(1.0 if kept is not None else self._first_s):
                while not heard:
                    await self._hear(heard.append)
        if heard:
            return heard[-1]
        if kept is None:
            raise NoMappings(
                f"no mappings on {self._topic}: start the manager (gpio-bridge manager), or name a file in mappings;"
                f" {self.subscription_problem or self.problem or 'it has published nothing'}"
            )
        self.version = kept.version
        return kept

    async def watch(self, replaced: Callable[[MappingSet], None]) -> None:
        """Call `replaced` with each good new set, until cancelled."""
        while True:
            await self._hear(replaced)

    async def reload(self, replaced: Callable[[MappingSet], None]) -> None:
        """The broker says by itself what is new."""

    # --- the transport's listener ---

    def connected(self, generation: int, *, session_present: bool) -> None:
        self._subscribing.connected()

    def disconnected(self, generation: int, reason: str) -> None:
        pass  # the transport's status says it

    def received(self, batch: Sequence[Delivery]) -> None:
        self._transport.acknowledge(batch)
        for delivery in batch:
            if delivery.message.topic == self._topic:
                self._payload = delivery.message.payload
                self._news.set()

    async def _subscribe(self) -> None:
        await self._transport.subscribe([Subscription(self._topic, retained="always")])

    async def _hear(self, replaced: Callable[[MappingSet], None]) -> None:
        await self._news.wait()
        self._news.clear()
        payload = self._payload
        if not payload:
            _log.warning("the manager's mappings were cleared; the last ones stay", extra={"op": "mappings.cleared"})
            return
        try:
            version, document, mappings = await asyncio.to_thread(self._understood, payload)
        except ConfigError as error:
            self._refuse(error)
            return
        mended, self.problem = self.problem is not None, None
        if version == self.version:
            if mended:
                self._told()
            return
        self._kept.keep(orjson.dumps(document).decode())
        self.version = version
        replaced(mappings)
        _log.info(
            "mappings are in force",
            extra={"op": "mappings.reload", "version": version, "count": len(mappings.mappings)},
        )

    def _understood(self, payload: bytes) -> tuple[str, dict[str, Any], MappingSet]:
        """What a message says. Any thread. Raises ConfigError."""
        try:
            message = orjson.loads(payload)
            version, document = message["mappings_version"], message["document"]
        except (ValueError, KeyError, TypeError) as error:
            raise ConfigError([Problem(self._topic, 0, 0, "", f"is no set of mappings: {error}")]) from error
        if not isinstance(version, str) or not isinstance(document, dict):
            raise ConfigError([Problem(self._topic, 0, 0, "", "is no set of mappings")])
        node = from_plain(document, self._topic)
        return version, document, decode_mappings(node, local_timezone=self._timezone, root=self._root)

    def _refuse(self, error: ConfigError) -> None:
        self.problem = error
        self._told()
        for problem in error.problems:
            _log.error(
                "the manager's mappings are refused, the last good ones stay in force",
                extra={"op": "mappings.refused", "problem": str(problem)},
            )


def _refused(why: str) -> None:
    _log.warning("cannot hear the manager", extra={"op": "mappings.subscribe", "why": why})
