"""Whom the manager believes when it asks others over TLS: those whom this machine does."""

from __future__ import annotations

import ssl
from functools import cache


@cache
def trusted() -> ssl.SSLContext:
    """Made once: reading the certificates takes 30 to 50 ms of processor time, much more than a request (measured)."""
    return ssl.create_default_context()
