"""Where the log of a program goes, and how it looks: text for people on a terminal, JSON lines elsewhere."""

from __future__ import annotations

import logging
import os
import sys
from typing import Final

from bridge.runtime.logs import JsonLines, TextLines

LEVEL_VARIABLE: Final = "GPIO_BRIDGE_LOG_LEVEL"
LEVELS: Final = ("debug", "info", "warning", "error")

_CHATTY: Final = ("asyncio", "docker", "httpcore", "httpx", "urllib3", "uvicorn", "watchfiles")


def configure(level: str | None = None, *, default: str = "info") -> None:
    """Send the log to stderr. The level: as given, else of the environment, else `default`.

    Raises ValueError for a level that is none.
    """
    wanted = (level or os.environ.get(LEVEL_VARIABLE) or default).lower()
    if wanted not in LEVELS:
        raise ValueError(f"{wanted!r} is not a log level; choose one of {', '.join(LEVELS)}")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(TextLines() if sys.stderr.isatty() else JsonLines())
    logging.basicConfig(level=wanted.upper(), handlers=[handler], force=True)
    logging.captureWarnings(capture=True)
    for name in _CHATTY:
        # Libraries tell at info level what only their authors want to know.
        logging.getLogger(name).setLevel(max(logging.WARNING, logging.getLogger().level))
