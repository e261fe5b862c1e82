"""What an outbox holds: the facts that accepting, sending, confirming and dropping share."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from bridge.agent.outbox.settings import OutboxSettings
from bridge.clock import Clock
from bridge.core.event import Form, Observation
from bridge.core.outbox import Sender, Stream
from bridge.core.topics import SensorEventTopic, Topics
from bridge.journal.engine import Journal
from bridge.journal.outbox import Contents, Level
from bridge.journal.salvage import Lost

_log = logging.getLogger(__name__)

FLAW_S: Final = 60.0
"""How long after a drop or a loss health speaks of it."""


@dataclass(slots=True)
class OutboxCounters:
    """Since the start, but `dropped`, which counts since the outbox was made."""

    accepted: int = 0
    published: int = 0
    resent: int = 0
    """Those of the published that had been sent before."""
    refused: int = 0
    """Refusals by the broker; each is tried again."""
    confirmed: int = 0
    lost: int = 0
    """Events that `accept` refused because the disk failed for too long, or that a damaged outbox took with it."""
    quarantined: int = 0
    """Damaged outbox files that were set aside at this start."""
    dropped: dict[str, int] = field(default_factory=dict)
    """By the bound that dropped them: events, bytes, age."""


class Stock:
    """One node's stored events: their file, their number, their streams. `load` it with what the file held."""

    def __init__(
        self, journal: Journal, topics: Topics, site: str, node: str, clock: Clock, settings: OutboxSettings
    ) -> None:
        self.journal = journal
        self.clock = clock
        self.settings = settings
        self.topics, self.site, self.node = topics, site, node
        self.sender = Sender(
            limit=settings.in_flight, resend_s=settings.resend_s, until_broker=settings.confirm == "broker"
        )
        self.counters = OutboxCounters()
        self.epoch = ""
        self.events = self.bytes = 0
        """On the disk, those that are confirmed and not yet purged included."""
        self.unpurged = 0
        """Events that are confirmed and not yet purged."""
        self.set_back = False
        """Numbers are given a second time: nothing is confirmed any more until a restart begins a new epoch."""
        self.levels: dict[str, Level] = {}
        self.by_number: dict[int, tuple[str, str]] = {}
        """The sensor and the epoch of every stream."""
        self._next_stream = 1
        self._at: dict[str, SensorEventTopic] = {}
        self._forms: dict[tuple[str, str, str, str | None], Form] = {}
        self._flaw: tuple[float, str] | None = None

    def load(self, found: Contents) -> None:
        """Take over what the file held."""
        self.counters.dropped = dict(found.drops)
        self.epoch = found.epoch
        self.levels = dict(found.levels)
        self.events, self.bytes = found.events, found.bytes
        self._next_stream = found.next_stream
        for each in found.streams:
            self.by_number[each.number] = (each.sensor, each.epoch)
            self.sender.add(
                Stream(
                    each.number,
                    each.sensor,
                    each.epoch,
                    current=each.current,
                    confirmed=each.confirmed,
                    last=each.last,
                    inherited=each.last,
                )
            )

    def bereave(self, lost: Lost, aside: Path | None) -> None:
        """A file was damaged, and set aside: what it held and nobody has confirmed is lost, and never in silence."""
        self.counters.quarantined += aside is not None
        self.counters.lost += lost.count
        more = "" if lost.whole else ", and what could not be read"
        what = "the outbox's log was gone or cut" if aside is None else f"a damaged outbox was set aside ({aside})"
        self.tell_flaw(f"{what}: {lost.count} unconfirmed events are lost{more}")
        _log.error(
            "unconfirmed events are lost with a damaged outbox",
            extra={"op": "outbox.lost", "events": lost.events, "all_known": lost.whole, "aside": str(aside)},
        )

    def new_stream(self, sensor: str) -> Stream:
        """A stream for a sensor that has none in this epoch."""
        stream = Stream(self._next_stream, sensor, self.epoch)
        self.by_number[stream.number] = (sensor, self.epoch)
        self._next_stream += 1
        return stream

    def topic(self, sensor: str) -> SensorEventTopic:
        """Where the sensor's events go."""
        topic = self._at.get(sensor)
        if topic is None:
            text = self.topics.event(self.site, self.node, sensor)
            topic = self._at[sensor] = SensorEventTopic(text, self.site, self.node, sensor)
        return topic

    def form(self, sensor: str, seen: Observation) -> Form:
        """What all events of the sensor that are like this one have in common."""
        key = sensor, seen.kind, seen.name, seen.unit
        form = self._forms.get(key)
        if form is None:
            form = self._forms[key] = Form(self.topic(sensor), self.epoch, seen.kind, seen.name, seen.unit)
        return form

    def tell_flaw(self, text: str) -> None:
        """Let health speak of this for a while."""
        self._flaw = (self.clock.monotonic() + FLAW_S, text)

    @property
    def flaw(self) -> str | None:
        """For health: what was just dropped or lost, in words."""
        if self._flaw is not None and self.clock.monotonic() < self._flaw[0]:
            return self._flaw[1]
        return None
