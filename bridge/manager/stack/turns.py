"""In which order the services of a stack are updated, so that what works together is not away together. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

LABEL: Final = "io.gpio-bridge.turn"
"""Of a service (`deploy.labels`): its turn. Those without one come first, all together."""
_TURN: Final = re.compile(r"[1-9][0-9]{0,2}", re.ASCII)


def mistake(labels: Mapping[str, str | None]) -> str | None:
    """What is wrong with the turn that a service's labels give it, if they do."""
    if LABEL not in labels or _TURN.fullmatch(labels[LABEL] or ""):
        return None
    return f"{LABEL} must be a whole number from 1 to 999, not {labels[LABEL]!r}"


def turns(services: Mapping[str, Mapping[str, str | None]]) -> list[list[str]]:
    """The services by their turns, in the order of the file within one; `services` are their labels by name."""
    found: dict[int, list[str]] = {}
    for name, labels in services.items():
        found.setdefault(int(labels.get(LABEL) or 0), []).append(name)
    return [found[turn] for turn in sorted(found)]
