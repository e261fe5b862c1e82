"""Basic authentication from secret files, read once at the start (RFC 7617)."""

from __future__ import annotations

import base64
import binascii
import hmac

from bridge.gateway.answers import Refusal
from bridge.gateway.settings import PASSWORD_FILE, USER_FILE, BasicAuthSettings


class BasicAuth:
    """Lets a request pass or refuses it with 401."""

    def __init__(self, settings: BasicAuthSettings) -> None:
        self._expected: bytes | None = None
        if settings.enabled:
            folder = settings.secret_mount_path
            user, password = ((folder / name).read_bytes().strip() for name in (USER_FILE, PASSWORD_FILE))
            self._expected = user + b":" + password

    def check(self, authorization: str | None) -> None:
        """Raises Refusal unless the header carries the right user and password; takes as long for any wrong one."""
        if self._expected is None:
            return
        scheme, _, given = (authorization or "").partition(" ")
        try:
            decoded = base64.b64decode(given.strip(), validate=True) if scheme.lower() == "basic" else b""
        except (binascii.Error, ValueError):
            decoded = b""
        if not hmac.compare_digest(decoded, self._expected):
            raise Refusal(
                401,
                "invalid credentials; log in with faas-cli login",
                {"WWW-Authenticate": 'Basic realm="Restricted"'},
            )
