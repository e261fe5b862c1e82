"""How a connection ends, and the guard before the program that a transport calls: what both transports share."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Literal

_log = logging.getLogger(__name__)

Version = Literal["5", "3.1.1"]
"""A version of MQTT."""


class Cause(Enum):
    """Why a connection, or the attempt at one, ended; the pause before the next depends on it."""

    UNREACHABLE = "unreachable"
    LOST = "lost"
    UNEXPLAINED = "unexplained"
    """The broker closed a good connection without a reason: it was killed, or another client has our id."""
    SILENT = "silent"
    """The broker closed without answering our CONNECT: perhaps it does not know this version of MQTT."""
    UNSUPPORTED = "unsupported"
    NOT_ALLOWED = "not allowed"
    TAKEN_OVER = "taken over"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class Ended:
    """How a connection ended, and the same in words."""

    cause: Cause
    reason: str


def guard(call: Callable[..., None], *args: object, **kwargs: object) -> None:
    """Call into the program; its error is logged, and the connection lives on."""
    try:
        call(*args, **kwargs)
    except Exception:  # noqa: BLE001 - the outermost place before the program's own code
        _log.exception("the program failed in what MQTT told it", extra={"op": "mqtt.callback"})
