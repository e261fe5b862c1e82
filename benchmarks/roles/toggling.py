"""Toggling: changes one mock pin after the other when asked, and remembers when. The same for every program with pins.

Imports nothing of ours but the conversation: a peer's own environment runs it, too.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Mapping, Sequence

from benchmarks.roles.conversation import Answer, Command, commands, say


def toggle(
    changes: Sequence[Callable[[], None]], others: Mapping[str, Callable[[Command], Answer]] | None = None
) -> None:
    """Answer `toggle` commands, and `others`, until there are no more; each change in turn makes one edge. Blocks."""
    endless = itertools.cycle(changes)
    say(ready=True)
    for command in commands():
        if others and command["do"] in others:
            say(**others[command["do"]](command))
        else:
            say(at_ns=_toggled(endless, command))


def _toggled(changes: itertools.cycle[Callable[[], None]], command: Command) -> list[int]:
    """Make `count` edges, `interval_s` apart or (0) without a pause; just before each, in ns since the epoch."""
    at_ns, interval_s = [], float(command["interval_s"])
    due = time.monotonic()
    for _ in range(int(command["count"])):
        if interval_s:
            time.sleep(max(0.0, due - time.monotonic()))
            due += interval_s
        change = next(changes)
        at_ns.append(time.time_ns())
        change()
    return at_ns
