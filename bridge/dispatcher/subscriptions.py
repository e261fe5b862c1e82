"""The dispatcher's subscriptions: a cover of what the mappings need, compared with those of last time (rule 6)."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

from bridge.clock import Clock
from bridge.journal.engine import Journal
from bridge.journal.ledger import fact, keep_fact
from bridge.mqtt.subscribing import Subscribing
from bridge.mqtt.transport import Subscription, Transport

_log = logging.getLogger(__name__)

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
        self._subscribing = Subscribing(transport, clock, self._subscribe, _refused)
        self._wanted = wanted
        self._made = made
        self._standing: tuple[str, ...] = ()

    @property
    def problem(self) -> str | None:
        """Why they do not stand; None when they do."""
        if (problem := self._subscribing.problem) is not None:
            return problem
        return None if self._wanted() == self._standing else "subscribing to what the changed mappings select"

    async def restore(self) -> None:
        """Take over what an earlier life had subscribed to. Raises JournalError."""
        self._standing = tuple(await self._journal.read(fact(SUBSCRIBED)) or ())

    def connected(self, *, session_present: bool) -> None:
        """A new connection; a broker that does not know our session has forgotten them all."""
        if not session_present:
            self._standing = ()
        self._subscribing.connected()

    def changed(self) -> None:
        """Something else may be wanted."""
        self._subscribing.again()

    async def run(self) -> None:
        """See to it that they stand, until cancelled."""
        await self._subscribing.run()

    async def _subscribe(self) -> None:
        wanted = self._wanted()
        stale = [topic_filter for topic_filter in self._standing if topic_filter not in wanted]
        await self._transport.subscribe([Subscription(topic_filter) for topic_filter in wanted])
        if stale:
            await self._transport.unsubscribe(stale)
        self._standing = wanted
        self._made()
        self._journal.post(keep_fact(SUBSCRIBED, wanted))


def _refused(why: str) -> None:
    _log.warning("cannot subscribe", extra={"op": "dispatcher.subscribe", "why": why})
