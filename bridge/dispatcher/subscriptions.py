"""The dispatcher's subscriptions: a cover of what the mappings need, compared with those of last time (rule 6)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final

from bridge.clock import Clock
from bridge.errors import TransportError
from bridge.journal.engine import Journal
from bridge.journal.ledger import fact, keep_fact
from bridge.mqtt.transport import Subscription, Transport

_log = logging.getLogger(__name__)

SUBSCRIBE_AGAIN_S: Final = 5.0
SUBSCRIBED: Final = "subscriptions"
"""The fact under which the journal keeps them."""


class Subscriptions:
    """Subscribes to what is `wanted` after each connect and each change; `made` is called when the broker has agreed.

    The loop owns it.
    """

    def __init__(
        self,
        transport: Transport,
        journal: Journal,
        clock: Clock,
        wanted: Callable[[], tuple[str, ...]],
        made: Callable[[], None],
    ) -> None:
        self._transport = transport
        self._journal = journal
        self._clock = clock
        self._wanted = wanted
        self._made = made
        self._standing: tuple[str, ...] = ()
        self._again = asyncio.Event()
        self.problem: str | None = "not subscribed yet"
        """Why they do not stand; None when they do."""

    async def restore(self) -> None:
        """Take over what an earlier life had subscribed to. Raises JournalError."""
        self._standing = tuple(await self._journal.read(fact(SUBSCRIBED)) or ())

    def connected(self, *, session_present: bool) -> None:
        """A new connection; a broker that does not know our session has forgotten them all."""
        self.problem = "subscribing"
        if not session_present:
            self._standing = ()
        self._again.set()

    def disconnected(self, reason: str) -> None:
        self.problem = f"not connected: {reason}"

    def changed(self) -> None:
        """Something else may be wanted."""
        self._again.set()

    async def run(self) -> None:
        """See to it that they stand, until cancelled."""
        while True:
            await self._again.wait()
            self._again.clear()
            wanted = self._wanted()
            try:
                stale = [topic_filter for topic_filter in self._standing if topic_filter not in wanted]
                await self._transport.subscribe([Subscription(topic_filter) for topic_filter in wanted])
                if stale:
                    await self._transport.unsubscribe(stale)
            except TransportError as error:
                self.problem = str(error)
                _log.warning("cannot subscribe", extra={"op": "dispatcher.subscribe", "why": str(error)})
                if self._transport.connected:
                    await self._clock.sleep(SUBSCRIBE_AGAIN_S)
                    self._again.set()
                continue
            self._standing, self.problem = wanted, None
            self._made()
            self._journal.post(keep_fact(SUBSCRIBED, wanted))
