"""The outbox as the agent sees it: puts its parts together, and starts and stops them."""

from __future__ import annotations

import asyncio
import logging
import secrets
import string
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Final, ParamSpec, Self, TypeVar

from bridge.agent.outbox.acceptance import Accept, Acceptance
from bridge.agent.outbox.bounds import Bounds
from bridge.agent.outbox.confirmation import Confirmation
from bridge.agent.outbox.keeping import Keeping
from bridge.agent.outbox.sending import Sending
from bridge.agent.outbox.settings import OutboxSettings
from bridge.agent.outbox.stock import OutboxCounters, Stock
from bridge.clock import Clock, Timer
from bridge.core.topics import Topics
from bridge.journal import outbox as store
from bridge.journal.engine import Journal
from bridge.journal.log import LOG_BYTES, Log
from bridge.journal.outbox import Level
from bridge.journal.outbox.log import log_path, open_log
from bridge.journal.salvage import Lost, lost_with_outbox
from bridge.mqtt.transport import Transport

_log = logging.getLogger(__name__)

P = ParamSpec("P")
R = TypeVar("R")

BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
TICK_S: Final = 1.0
PAGE_BYTES: Final = 512
"""A commit writes whole pages, and most commits hold one event of some 600 bytes: small pages spare the SD card.

A file that an older version has made keeps its larger pages, and works.
"""


class Outbox:
    """One node's outbox: an async context manager; entering raises JournalError when its file cannot be used.

    `attach` a transport, then tell it of `connected`, `disconnected` and `confirmed`. `mint_id` makes an
    event's id of its time.
    """

    def __init__(
        self,
        path: Path,
        topics: Topics,
        site: str,
        node: str,
        clock: Clock,
        settings: OutboxSettings,
        *,
        mint_id: Callable[[datetime], str],
        epoch: str | None = None,
        boot: str | None = None,
        threads: bool = True,
        log_bytes: int = LOG_BYTES,
    ) -> None:
        self.journal = Journal(path, store.MIGRATIONS, name="outbox", page_bytes=PAGE_BYTES, threads=threads)
        self._clock = clock
        self._new_epoch = epoch or "".join(secrets.choice(string.ascii_lowercase + string.digits) for _ in range(8))
        self._boot = boot or _boot_id()
        self._stock = Stock(self.journal, topics, site, node, clock, settings)
        self._keeping = Keeping(self._stock)
        self._confirmation = Confirmation(self._stock, self._keeping)
        self._bounds = Bounds(self._stock, self._keeping)
        self._sending = Sending(self._stock, self._keeping, self._confirmation)
        self._acceptance = Acceptance(self._stock, self._keeping, self._bounds, self._sending, mint_id)
        self._threads = threads
        self._log_bytes = log_bytes
        self._timer: Timer | None = None

    async def __aenter__(self) -> Self:
        await self.journal.__aenter__()
        try:
            await self._inherit()
        except BaseException:
            await self.journal.__aexit__()
            raise
        self._tick()
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Stop sending, commit what waits, leave everything in the database, close the files."""
        if self._timer is not None:
            self._timer.cancel()
        await self._sending.stop()
        await self._acceptance.stop()
        await self._keeping.close()
        await self.journal.__aexit__(*exc)

    def abandon(self) -> None:
        """Let go of the file at once, as a kill of the process does: what waits for its commit is lost.

        Only without threads.
        """
        if self._timer is not None:
            self._timer.cancel()
        self._sending.abandon()
        self._acceptance.abandon()
        self._keeping.log.abandon()
        self.journal.abandon()

    # What the agent asks.

    @property
    def counters(self) -> OutboxCounters:
        """What it has done."""
        return self._stock.counters

    @property
    def log(self) -> Log:
        """The log that stands before the database."""
        return self._keeping.log

    @property
    def epoch(self) -> str:
        """In which events are numbered now."""
        return self._stock.epoch

    @property
    def backlog(self) -> int:
        """Events that are not confirmed, those not yet on the disk included; 0 exactly when there are none."""
        if all(stream.confirmed >= stream.last for stream in self._stock.sender):
            return self._acceptance.events
        return max(1, self._stock.events - self._stock.unpurged) + self._acceptance.events

    @property
    def size_bytes(self) -> int:
        """The bodies of the events on the disk."""
        return self._stock.bytes

    @property
    def oldest_age_s(self) -> float:
        """How long the oldest event has been waiting for its confirmation; looked up once a second."""
        return self._bounds.oldest_age_s if self.backlog else 0.0

    @property
    def in_flight(self) -> int:
        """Events sent and not confirmed."""
        return self._stock.sender.in_flight

    @property
    def problem(self) -> str | None:
        """For health: why events are, or just were, not kept; None when all is well."""
        return self._keeping.problem or self._stock.flaw

    @property
    def set_back(self) -> bool:
        """Whether its files turned out to be an old copy: a restart begins a new epoch, and what waits goes with it."""
        return self._stock.set_back

    def level(self, sensor: str) -> Level | None:
        """The last level that the sensor told in a kept event, also in an earlier life of the agent."""
        return self._stock.levels.get(sensor)

    def accept(self, seen: Sequence[Accept], seen_at: float | None = None) -> asyncio.Future[tuple[str, ...]]:
        """Take events in order; the future has their ids when they are on the disk, and they are promised.

        `seen_at` is when they were seen by the monotonic clock, now where it is not told. When the disk refuses, it is
        tried again; the future raises JournalError when too much waits already or the outbox closes, and EventError
        when one of them cannot be encoded; then none of its events is accepted.
        """
        return self._acceptance.accept(seen, seen_at)

    # What the transport tells.

    def attach(self, transport: Transport) -> None:
        """Send through this transport from now on."""
        self._sending.attach(transport)

    def connected(self, generation: int) -> None:
        """A connection stands: everything that is not confirmed is sent, from the start."""
        self._stock.sender.connected(self._clock.monotonic())
        self._sending.pump()

    def heard(self) -> None:
        """A dispatcher has just begun to listen: do not let wait what it may have missed."""
        self._stock.sender.heard(self._clock.monotonic())
        self._sending.pump()

    def disconnected(self) -> None:
        """The connection is gone: send nothing until the next one."""
        self._stock.sender.disconnected()

    def confirmed(self, message: bytes) -> None:
        """A confirm document came; one that cannot be read is logged and changes nothing."""
        self._confirmation.take(message)
        self._sending.pump()

    # Now and then.

    def _tick(self) -> None:
        now = self._clock.monotonic()
        self._timer = self._clock.call_at(now + TICK_S, self._tick)
        self._confirmation.tick(now)
        if self._acceptance.quiet:
            self._keeping.fold_if_ready()
        for stream in self._stock.sender.wake(now):
            _log.warning(
                "no confirmation: sent again",
                extra={"op": "outbox.resend", "sensor": stream.sensor, "after": stream.confirmed},
            )
        if self._stock.events and not self._sending.busy:
            self._sending.start(self._look_after)
        self._sending.pump()

    async def _inherit(self) -> None:
        """Take over what the life before has left in both files, and count what is lost of it."""
        known = await self.journal.read(store.log_of)
        opened = await self._on_thread(open_log, log_path(self.journal.path), known, self._log_bytes)
        log = Log(opened.file, on_full=self._keeping.full, threads=self._threads)
        try:
            begin = store.begin(self._stock.site, self._stock.node, self._boot, self._new_epoch, opened.inherited)
            found = await self.journal.write(begin, power=True)
        except BaseException:
            await log.close()
            raise
        log.begin(opened.inherited.applied + 1)
        self._stock.load(found)
        self._keeping.begin(log)
        if self.journal.quarantined is not None:
            aside = self.journal.quarantined
            self._stock.bereave(await self._on_thread(lost_with_outbox, aside, opened.aside), aside)
        elif opened.aside is not None or not opened.lost.whole:
            self._stock.bereave(opened.lost, opened.aside)
        if found.lost:
            self._stock.bereave(Lost(found.lost), None)

    async def _on_thread(self, work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        return await asyncio.to_thread(work, *args, **kwargs) if self._threads else work(*args, **kwargs)

    async def _look_after(self) -> None:
        await self._bounds.look_after()
        self._sending.pump()


def _boot_id() -> str:
    """What names this run of the machine; where the system does not say, each start counts as one."""
    try:
        return BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        return secrets.token_hex(16)
