"""Sending: carries out what the sender decides - publish, read from the disk, seal."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Final

from bridge.agent.outbox.confirmation import Confirmation
from bridge.agent.outbox.keeping import Keeping
from bridge.agent.outbox.stock import Stock
from bridge.core.event import CONTENT_TYPE, parse, restamp
from bridge.core.outbox import Publish, Read, Row, Seal, Stream
from bridge.errors import JournalError
from bridge.mqtt.transport import Message, Publication, Sent, Transport

_log = logging.getLogger(__name__)

PAGE: Final = 128
AGAIN_S: Final = 1.0
"""How long a stream waits after the disk has failed it; sixty times as long after an error that should not be."""


class Sending:
    """Sends through the transport that is attached, and tells the confirmation what the broker says."""

    def __init__(self, stock: Stock, keeping: Keeping, confirmation: Confirmation) -> None:
        self._stock = stock
        self._keeping = keeping
        self._confirmation = confirmation
        self._transport: Transport | None = None
        self._pumping = False
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def busy(self) -> bool:
        """Whether work on the disk is under way."""
        return bool(self._tasks)

    def attach(self, transport: Transport) -> None:
        """Send through this transport from now on."""
        self._transport = transport

    def pump(self) -> None:
        """Do what the sender says until it has nothing more; a `done` from within `publish` does not nest."""
        if self._pumping or self._transport is None:
            return
        self._pumping = True
        try:
            while (step := self._stock.sender.next(self._stock.clock.monotonic())) is not None:
                match step:
                    case Publish():
                        self._publish(self._transport, step)
                    case Read():
                        self.start(partial(self._read, step), step.stream)
                    case Seal():
                        self.start(partial(self._seal, step), step.stream)
        finally:
            self._pumping = False

    def start(self, work: Callable[[], Coroutine[object, object, None]], stream: Stream | None = None) -> None:
        """Work on the disk beside the loop; what fails is logged, and the stream is tried again later."""
        task = asyncio.get_running_loop().create_task(self._supervise(work, stream), name="outbox disk")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def stop(self) -> None:
        """Send nothing any more, and end the work on the disk."""
        self._stock.sender.disconnected()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def abandon(self) -> None:
        """Send nothing any more, from one moment to the next."""
        self._stock.sender.disconnected()
        self._transport = None
        for task in self._tasks:
            task.cancel()

    def _publish(self, transport: Transport, step: Publish) -> None:
        self._stock.counters.published += 1
        self._stock.counters.resent += step.again
        message = Message(self._stock.topic(step.stream.sensor).text, step.row.body, content_type=CONTENT_TYPE)
        transport.publish(message, partial(self._answered, step.stream, step.row.sequence))

    def _answered(self, stream: Stream, sequence: int, answer: Publication) -> None:
        now = self._stock.clock.monotonic()
        if answer.sent is Sent.ACCEPTED:
            before = stream.confirmed
            through = self._stock.sender.acknowledged(stream, sequence, now)
            if through is not None:
                self._confirmation.note(stream, through, before)
                self.pump()
        elif answer.sent is Sent.REFUSED:
            wait_s = self._stock.sender.refused(stream, sequence, now)
            if wait_s is None:
                return
            self._stock.counters.refused += 1
            self._stock.tell_flaw(f"the broker refuses events of {stream.sensor}: {answer.reason}; they wait")
            _log.warning(
                "broker refused an event; it is sent again",
                extra={
                    "op": "outbox.refused",
                    "sensor": stream.sensor,
                    "sequence": sequence,
                    "code": answer.code,
                    "why": answer.reason,
                    "again_in_s": wait_s,
                },
            )
            self.pump()
        # LOST: the next connection, or the time without a confirmation, sends it again.

    async def _supervise(self, work: Callable[[], Coroutine[object, object, None]], stream: Stream | None) -> None:
        try:
            await work()
        except Exception:  # noqa: BLE001 - the outermost door of a task; the stream is tried again later
            _log.exception("outbox disk work failed", extra={"op": "outbox.disk"})
            if stream is not None:
                self._stock.sender.pause(stream, self._stock.clock.monotonic() + 60 * AGAIN_S)

    async def _read(self, step: Read) -> None:
        try:
            rows = await self._keeping.page(step.stream.number, step.after, PAGE)
        except JournalError as error:
            _log.error("backlog not read", extra={"op": "outbox.read", "sensor": step.stream.sensor, "why": str(error)})
            self._stock.sender.pause(step.stream, self._stock.clock.monotonic() + AGAIN_S)
            return
        if not self._stock.sender.paged(step, rows):
            _log.error(
                "stored events vanished",
                extra={
                    "op": "outbox.read",
                    "sensor": step.stream.sensor,
                    "after": step.after,
                    "last": step.stream.last,
                },
            )
            self._stock.sender.pause(step.stream, self._stock.clock.monotonic() + 60 * AGAIN_S)
        self.pump()

    async def _seal(self, step: Seal) -> None:
        """Correct the times that can be, and fix the bytes, on the disk, before they are seen outside (rule 4)."""
        rows = step.rows
        if self._stock.clock.synchronized() and step.stream.epoch == self._stock.epoch:
            rows = tuple(self._restamped(row, step.stream.sensor) for row in rows)
        try:
            await self._keeping.seal(step.stream.number, rows)
        except JournalError:
            self._stock.sender.sealed(step, ())
            self._stock.sender.pause(step.stream, self._stock.clock.monotonic() + AGAIN_S)
            return
        self._stock.bytes += sum(len(new.body) - len(old.body) for new, old in zip(rows, step.rows, strict=True))
        self._stock.sender.sealed(step, rows)
        self.pump()

    def _restamped(self, row: Row, sensor: str) -> Row:
        seen_at = self._stock.clock.now() - timedelta(seconds=self._stock.clock.monotonic() - row.monotonic)
        return replace(row, body=restamp(parse(row.body, self._stock.topic(sensor)), seen_at).body)
