"""Passwords of a stack: made of randomness, and as Mosquitto's password file keeps them (mosquitto_passwd(1))."""

from __future__ import annotations

import base64
import hashlib
import secrets
from typing import Final

_ITERATIONS: Final = 101
"""As Mosquitto 2.0 writes it. Nobody guesses 192 bits at random, however quick a guess is."""
_SALT_BYTES: Final = 12
_PASSWORD_BYTES: Final = 24


def fresh_password() -> str:
    """A password that nobody guesses, of letters, digits, - and _."""
    return secrets.token_urlsafe(_PASSWORD_BYTES)


def password_line(user: str, password: str, salt: bytes | None = None) -> str:
    """A user's line in the password file: `user:$7$iterations$salt$hash`, PBKDF2 with SHA-512 (RFC 8018)."""
    salt = secrets.token_bytes(_SALT_BYTES) if salt is None else salt
    digest = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, _ITERATIONS)
    return f"{user}:$7${_ITERATIONS}${_text(salt)}${_text(digest)}"


def users_of(text: str) -> set[str]:
    """The users that a password file has."""
    return {line.partition(":")[0] for line in text.splitlines() if ":" in line}


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
