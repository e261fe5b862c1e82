"""The agent's database: events that stay, their numbering, each sensor's last level.

Events come here when the log in front of it (`core/young.py`) is folded into it, or when a bound is reached.
Everything here is a change or a query for the engine, one file for each thing that is done with events. How it spares
SD cards: an event is one row at the end of its stream's run in one table, without any index, and its sequence and level
are read from the rows themselves.
"""

from bridge.journal.outbox.beginning import Contents, Inherited, StoredStream, begin, log_of
from bridge.journal.outbox.bounds import Bury, Dropped, Excess, expire
from bridge.journal.outbox.keeping import append, fold, purge, seal
from bridge.journal.outbox.levels import Level
from bridge.journal.outbox.reading import oldest, page
from bridge.journal.outbox.renumbering import mark_set_back
from bridge.journal.outbox.schema import MIGRATIONS

__all__ = [
    "MIGRATIONS",
    "Bury",
    "Contents",
    "Dropped",
    "Excess",
    "Inherited",
    "Level",
    "StoredStream",
    "append",
    "begin",
    "expire",
    "fold",
    "log_of",
    "mark_set_back",
    "oldest",
    "page",
    "purge",
    "seal",
]
