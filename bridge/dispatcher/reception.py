"""Reception: what the broker delivers is read and decided, message by message, under the eyes of the black box.

What may not live here: what a delivery means, and what was decided about it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from bridge.clock import Clock
from bridge.core.steps import BacklogEnded, Connected, Input, Received, TimersReleased
from bridge.core.topics import Topics
from bridge.dispatcher.audit import Auditor
from bridge.dispatcher.backlog import Backlog
from bridge.dispatcher.decisions import Decisions
from bridge.dispatcher.hearing import Hearing
from bridge.dispatcher.intake import Intake
from bridge.dispatcher.metrics import Metrics
from bridge.dispatcher.quarantine import Quarantine
from bridge.dispatcher.subscriptions import Subscriptions
from bridge.journal.crashes import Crash
from bridge.mqtt.transport import Delivery, Message


class Reception:
    """Hears the broker; a listener (bridge.mqtt.transport.Listener). The loop owns it."""

    subscriptions: Subscriptions
    """To be set before anything is heard; they need the connection, which needs its listener."""

    def __init__(
        self,
        topics: Topics,
        clock: Clock,
        mint_id: Callable[[], str],
        decisions: Decisions,
        quarantine: Quarantine,
        auditor: Auditor,
        metrics: Metrics,
        hearing: Hearing,
    ) -> None:
        self._clock = clock
        self._mint_id = mint_id
        self._decisions = decisions
        self._quarantine = quarantine
        self._auditor = auditor
        self._metrics = metrics
        self._hearing = hearing
        self.backlog = Backlog(clock, self._backlog_ended)
        self._intake = Intake(topics, mint_id, metrics.ignored, self.backlog, self._held)
        self.marker = ""
        """What is sent through the subscriptions of this connection, to see when its backlog is over (rule 14)."""

    # --- the transport's listener ---

    def connected(self, generation: int, *, session_present: bool) -> None:
        self.marker = self._mint_id()
        self.backlog.begin(self.marker)  # now, not when it is sent: what waited in our session comes at once
        self._hearing.connected()
        self.subscriptions.connected(session_present=session_present)
        self._decisions.step((Connected(generation),))

    def disconnected(self, generation: int, reason: str) -> None:
        self._hearing.stop()

    def received(self, batch: Sequence[Delivery]) -> None:
        if not self._hearing.heard:
            self._hearing.came()
        try:
            self._decisions.step(self._read(batch))
            if not self._decisions.broken:
                self._quarantine.handled()
        except BaseException as error:  # noqa: BLE001 - the outermost frame of a decision
            self._decisions.broke(error)

    # --- reading ---

    def _read(self, batch: Sequence[Delivery]) -> Iterator[Input]:
        """The inputs one by one, each read when the one before has been planned: the black box names one alone."""
        at, box = self._clock.now(), self._quarantine.box
        for delivery in batch:
            if box is not None:
                box.enter(delivery.message.topic, delivery.message.payload)
            given = self._intake.read(delivery, at)
            if given is None:
                continue
            if type(given) is Received and given.covers_from is not None:
                decisions = self._decisions
                self._auditor.before((given,), decisions.ledger.confirmed, decisions.now())
            if box is not None:
                box.plan()
            yield given
        if box is not None:
            box.leave()

    def _held(self, message: Message) -> Crash | None:
        crash = self._quarantine.holds(message)
        if crash is not None:
            self._metrics.held.inc()
        return crash

    def _backlog_ended(self) -> None:
        """Somebody is no longer behind: let go what waited for that."""
        ledger = self._decisions.ledger
        inputs: list[Input] = [BacklogEnded(place) for place in ledger.slots if not self.backlog.waits(place)]
        if ledger.timers_held and self.backlog.over:
            inputs.append(TimersReleased())
        if inputs:
            self._decisions.step(inputs)
