"""What a dispatcher's retained status says of where it is, so that Prometheus finds it."""

from __future__ import annotations

from typing import Any

from bridge.config.hosts import shown_host
from bridge.dispatcher.settings import HttpSettings


def where(http: HttpSettings, port: int | None, address: str | None) -> dict[str, Any]:
    """The fields of the status: `address`, our own towards the broker, and `http`, None where nothing is served."""
    served = None if port is None else {"host": shown_host(http.host, http.advertise, address), "port": port}
    return {"address": address, "http": served}
