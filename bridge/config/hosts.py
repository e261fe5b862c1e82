"""Hosts as people write them in settings."""

from __future__ import annotations

import ipaddress
from typing import Final

from bridge.config.decode import Pattern

HOST: Final = Pattern(r"[^\s/@#?]+", "a name or an address, without a port")

_EVERYWHERE: Final = ("0.0.0.0", "::", "")  # noqa: S104 - compared


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches a server on this host: `localhost`, or an address of the loopback range."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_address(host: str) -> bool:
    """Whether it is an IP address, with or without a zone, so that nobody has to be asked for one."""
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True


def shown_host(host: str, advertise: str | None, local_address: str | None) -> str | None:
    """Where others find a server: as its settings say, on its host, or, on every address, where the broker sees it.

    None where it listens on every address and nobody knows one.
    """
    return advertise or (local_address if host in _EVERYWHERE else host)
