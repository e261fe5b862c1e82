"""Who hears of each kind of effect, in this order: who counts it, who carries it out, who tells it.

What may not live here: what takes longer than a line or two.
"""

from __future__ import annotations

import logging
from typing import get_args

from bridge.core.steps import Acknowledge, Answered, Confirm, Effect, Fetch, Forgotten, Instant, Invoke, Parked
from bridge.dispatcher.attempts import Attempts
from bridge.dispatcher.audit import AUDITED, Auditor
from bridge.dispatcher.confirmations import Confirmations
from bridge.dispatcher.feed import Feed, Hear
from bridge.dispatcher.keeping import Keeper
from bridge.dispatcher.metrics import Metrics
from bridge.mqtt.transport import Transport

_log = logging.getLogger(__name__)


class Hearers:
    """Those who hear of effects, and what there is to say of them to people."""

    def __init__(
        self,
        transport: Transport,
        attempts: Attempts,
        keeper: Keeper,
        confirmations: Confirmations,
        auditor: Auditor,
        metrics: Metrics,
        feed: Feed,
    ) -> None:
        self._transport = transport
        self._attempts = attempts
        self._keeper = keeper
        self._confirmations = confirmations
        self._auditor = auditor
        self._metrics = metrics
        self._feed = feed
        self._told_forgotten = False  # once is enough for people: the metric counts on

    def by_kind(self) -> dict[type, tuple[Hear, ...]]:
        """The hearers of each kind."""
        carried: dict[type, Hear] = {
            Invoke: self._attempts.begin,
            Acknowledge: lambda effect, _: self._transport.acknowledge(effect.tickets),
            Fetch: self._keeper.fetch,
            Confirm: self._confirm,
            Parked: self._park,
            Answered: self._unpark,
            Forgotten: self._tell_forgotten,
        }
        heard = {
            kind: (
                self._metrics.counter(kind),
                self._auditor.count if kind in AUDITED else None,
                carried.get(kind),
                self._feed.teller(kind),
            )
            for kind in get_args(Effect)
        }
        return {kind: tuple(one for one in hearers if one is not None) for kind, hearers in heard.items()}

    def _confirm(self, effect: Confirm, now: Instant) -> None:
        self._confirmations.note(effect.rows)
        self._auditor.observe(effect.rows, now)

    def _park(self, effect: Parked, _: Instant) -> None:
        extra = {"op": "dispatcher.park", "function": effect.function, "why": effect.reason}
        _log.warning("function parked: its invocations wait until it answers", extra=extra)
        self._metrics.parked(effect.function, now=True)

    def _unpark(self, effect: Answered, _: Instant) -> None:
        self._metrics.parked(effect.function, now=False)
        _log.info("function answers again", extra={"op": "dispatcher.park", "function": effect.function})

    def _tell_forgotten(self, effect: Forgotten, _: Instant) -> None:
        if self._told_forgotten:
            return
        self._told_forgotten = True
        extra = {"op": "dispatcher.forget", "what": effect.keys[0]}
        _log.warning("too much mapping state: the oldest gives way, and mappings decide without it", extra=extra)
