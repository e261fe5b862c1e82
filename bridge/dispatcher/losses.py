"""What is lost with a damaged journal: the events that were stored in it and not finished, counted and told."""

from __future__ import annotations

import asyncio
import logging
import sqlite3

from bridge.dispatcher.audit import Auditor
from bridge.dispatcher.metrics import Metrics
from bridge.errors import JournalError
from bridge.journal.engine import Journal
from bridge.journal.salvage import lost_with_ledger

_log = logging.getLogger(__name__)


async def count_lost(journal: Journal, auditor: Auditor, metrics: Metrics) -> None:
    """When the journal was set aside at this start: its loss is never silent."""
    aside = journal.quarantined
    if aside is None:
        return
    lost = await asyncio.to_thread(lost_with_ledger, aside)
    auditor.bereave(lost, aside)
    metrics.quarantined.set(1)
    try:
        await journal.write(auditor.with_drops(_nothing))
    except JournalError:
        auditor.not_kept()  # it goes with the next commit
    else:
        auditor.kept()
    _log.error(
        "stored events are lost with a damaged journal",
        extra={
            "op": "dispatcher.lost",
            "events": lost.events,
            "dead_letters": lost.dead_letters,
            "all_known": lost.whole,
            "aside": str(aside),
        },
    )


def _nothing(_: sqlite3.Connection) -> None:
    """A commit that only keeps what the auditor adds."""
