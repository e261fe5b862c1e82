"""The machine's own time zone, by its name: what active hours mean where a mapping file names none."""

from __future__ import annotations

import os
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

LOCALTIME = Path("/etc/localtime")
"""A link into the zone database (localtime(5))."""


def local_timezone() -> str:
    """The IANA name of the local zone: `TZ`, else what /etc/localtime links to, else UTC."""
    name = os.environ.get("TZ", "").lstrip(":")
    if not name:
        parts = LOCALTIME.resolve().parts
        name = "/".join(parts[parts.index("zoneinfo") + 1 :]) if "zoneinfo" in parts else ""
    try:
        ZoneInfo(name or "UTC")
    except (ZoneInfoNotFoundError, ValueError):
        return "UTC"
    return name or "UTC"
