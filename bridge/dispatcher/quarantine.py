"""The quarantine: notices which message ended the dispatcher, and lets none do it a fourth time (rule 12).

What is being handled stands in the black box. When a life begins and finds something there, the one before it ended in
the middle of that message. The count is forgotten when the message is handled well, when the mappings change, and after
a day.
"""

from __future__ import annotations

import logging
from pathlib import Path

from bridge.clock import Clock
from bridge.core.quarantine import CRASHES, fingerprint
from bridge.journal.black_box import BlackBox
from bridge.journal.crashes import Crash, forget_crashes, load_crashes, note_crash
from bridge.journal.engine import Journal
from bridge.mqtt.transport import Message

_log = logging.getLogger(__name__)


class Quarantine:
    """What messages have ended the dispatcher how often. The loop owns it."""

    def __init__(self, folder: Path, journal: Journal, clock: Clock) -> None:
        self.box: BlackBox | None = BlackBox(folder / "black-box")
        """Is told what is being handled; None where it cannot be had."""
        self._journal = journal
        self._clock = clock
        self._suspects: dict[str, Crash] = {}
        self._seen: set[str] = set()

    async def open(self) -> None:
        """Look what the life before was doing when it ended. Raises JournalError."""
        assert self.box is not None
        now = self._clock.now().timestamp()
        try:
            self.box.__enter__()
        except OSError as error:
            _log.error(
                "no black box: a message that ends us is not noticed", extra={"op": "quarantine", "why": str(error)}
            )
            self.box = None
        found = self.box.found if self.box is not None else None
        if found is not None:
            mark = fingerprint(found.topic, found.payload)
            await self._journal.write(note_crash(mark, found.phase, found.topic, now), power=True)
        self._suspects = {one.fingerprint: one for one in await self._journal.read(load_crashes(now))}
        if found is not None:
            extra = {
                "op": "quarantine",
                "topic": found.topic,
                "phase": found.phase,
                "crashes": self._suspects[mark].times,
            }
            _log.error("the dispatcher ended in the middle of a message", extra=extra)

    def close(self, *, broken: bool) -> None:
        """Nothing is handled any more; a box of which the program broke keeps what it was about."""
        if self.box is not None:
            if not broken:
                self.box.leave()
            self.box.__exit__()

    def handled(self) -> None:
        """All went well: what was suspect in it no longer is."""
        if self._seen:
            self._journal.post(forget_crashes(*self._seen))
            for mark in self._seen:
                del self._suspects[mark]
            self._seen.clear()

    def holds(self, message: Message) -> Crash | None:
        """The crashes of a message that must not be handled any more; None for one that may."""
        if not self._suspects:
            return None
        mark = fingerprint(message.topic, message.payload)
        crash = self._suspects.get(mark)
        if crash is None or crash.times >= CRASHES:
            return crash
        self._seen.add(mark)
        return None

    def lift(self) -> None:
        """What is handled has changed: let every message be tried again."""
        if self._suspects:
            self._suspects.clear()
            self._seen.clear()
            self._journal.post(forget_crashes())
