"""The outbox: events are on the disk before they are sent, and stay there until they are confirmed.

    accept -> one commit for all that came meanwhile -> publish, in turns -> confirmed -> purged

It owns all sending and sending again of events (PROTOCOL.md, rules 1 to 5). Everything here runs on the loop's thread;
what goes next is decided in `core/outbox.py`, what is stored how stands in `journal/outbox/`.
"""

from bridge.agent.outbox.acceptance import Accept
from bridge.agent.outbox.outbox import Outbox
from bridge.agent.outbox.settings import Durability, OutboxSettings, Priority
from bridge.agent.outbox.stock import OutboxCounters

__all__ = ["Accept", "Durability", "Outbox", "OutboxCounters", "OutboxSettings", "Priority"]
