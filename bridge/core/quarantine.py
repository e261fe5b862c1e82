"""Quarantine: an event that was being handled in three crashes is not handled again (PROTOCOL.md, rule 12).

What may not live here: noticing a crash, and keeping count.
"""

from __future__ import annotations

import hashlib
from typing import Final

from bridge.core.event import Event
from bridge.core.judgement import Failure, Judgement, Plan
from bridge.core.mapping import MappingSet

CRASHES: Final = 3


def fingerprint(topic: str, payload: bytes) -> str:
    """What is known of a message whose handling ended the program: the same for the same message, sent again."""
    return hashlib.blake2b(payload, digest_size=16, key=hashlib.blake2b(topic.encode()).digest()).hexdigest()


def plan_none(event: Event, mappings: MappingSet, reason: str) -> Plan:
    """No mapping is asked: each that selects the event fails for this reason, with a dead letter to replay."""
    wanted = list(mappings.candidates(event))
    return Plan(
        judgements=tuple(
            Judgement(one.name, "failed", "quarantine", "no crash", reason, f"{one.name}: {reason}", ("select",))
            for one in wanted
        ),
        failures=tuple(Failure(f"{event.key}:{one.name}", one.name, one.function, reason) for one in wanted),
    )
