"""Tokens: who may use the API, each with a role; a file of the state folder holds them, hashed.

A file and not a table, because a command makes them on the manager's machine whether the manager runs or not, and its
database is opened by nobody else. What is kept of a token's secret is its SHA-256: it has 256 random bits, so that
guessing is hopeless and a slow hash would protect nothing more.
"""

from __future__ import annotations

import fcntl
import hashlib
import hmac
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Final

import orjson

from bridge.errors import BridgeError
from bridge.manager.access.roles import Role

FILE: Final = "tokens.json"
_PREFIX: Final = "gpb"
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")


class TokenRefused(BridgeError, ValueError):
    """A token cannot be made or revoked as it was asked for."""


@dataclass(frozen=True, slots=True)
class Token:
    """What is known of a token; its secret is not."""

    id: str
    name: str
    role: Role
    digest: str
    created_at: str
    revoked_at: str | None = None

    def opened_by(self, secret: str) -> bool:
        """Whether this secret is its own."""
        return self.revoked_at is None and hmac.compare_digest(self.digest, _digest(secret))


def mint_token(name: str, role: Role, at: str) -> tuple[Token, str]:
    """A new token, and the text that its bearer shows."""
    identity, secret = secrets.token_hex(4), secrets.token_urlsafe(32)
    return Token(identity, name, role, _digest(secret), at), f"{_PREFIX}_{identity}_{secret}"


def split(text: str) -> tuple[str, str] | None:
    """The id and the secret in what a bearer shows; None when it is no token of ours."""
    prefix, _, rest = text.partition("_")
    identity, _, secret = rest.partition("_")
    return (identity, secret) if prefix == _PREFIX and identity and secret else None


def given_token(name: str, text: str) -> Token | None:
    """The token of a viewer who brings it along; None when the text is none."""
    parts = split(text.strip())
    return None if parts is None else Token(parts[0], name, Role.VIEWER, _digest(parts[1]), "")


def read_tokens(folder: Path) -> tuple[Token, ...]:
    """The tokens in a state folder, the revoked ones too; none where there is no file. Raises TokenRefused."""
    path = folder / FILE
    try:
        document = orjson.loads(path.read_bytes())
        return tuple(
            Token(
                str(one["id"]),
                str(one["name"]),
                Role(one["role"]),
                str(one["digest"]),
                str(one["created_at"]),
                one.get("revoked_at"),
            )
            for one in document["tokens"]
        )
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise TokenRefused(f"cannot read {path}: {error.strerror or error}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise TokenRefused(f"{path} is damaged ({error}); move it away and make new tokens") from error


def create_token(folder: Path, name: str, role: Role, at: str) -> str:
    """Make a token and keep it; what its bearer shows, which nobody can find out again. Raises TokenRefused."""
    if not _NAME.fullmatch(name):
        raise TokenRefused(f"{name!r} is no name for a token: use a-z, 0-9 and -, at most 63, not starting with -")
    with _changing(folder) as tokens:
        if any(token.name == name and token.revoked_at is None for token in tokens):
            raise TokenRefused(f"there is a token {name} already; revoke it first, or choose another name")
        token, text = mint_token(name, role, at)
        _keep(folder, (*tokens, token))
    return text


def revoke_token(folder: Path, name: str, at: str) -> Token:
    """Let a token open nothing any more. Raises TokenRefused when there is none of this name or id."""
    with _changing(folder) as tokens:
        found = next((one for one in tokens if name in (one.name, one.id) and one.revoked_at is None), None)
        if found is None:
            raise TokenRefused(f"there is no token {name}; `gpio-bridge tokens list` shows those there are")
        revoked = replace(found, revoked_at=at)
        _keep(folder, tuple(revoked if one is found else one for one in tokens))
    return revoked


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()


@contextmanager
def _changing(folder: Path) -> Iterator[tuple[Token, ...]]:
    """The tokens, while nobody else changes them (flock(2))."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with (folder / f"{FILE}.lock").open("ab") as lock:
            _give_to_owner(lock.fileno(), folder)
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield read_tokens(folder)
    except OSError as error:
        if isinstance(error, BridgeError):
            raise
        raise TokenRefused(f"cannot keep tokens in {folder}: {error.strerror or error}") from error


def _keep(folder: Path, tokens: tuple[Token, ...]) -> None:
    """Replace the file as a whole; only its owner may read it."""
    fresh = folder / f"{FILE}.new"
    fresh.unlink(missing_ok=True)
    body = orjson.dumps({"version": 1, "tokens": [asdict(one) for one in tokens]}, option=orjson.OPT_INDENT_2)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        _give_to_owner(file.fileno(), folder)
        file.write(body)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(folder / FILE)


def _give_to_owner(descriptor: int, folder: Path) -> None:
    """What root makes in the manager's folder must be readable to the manager."""
    if os.geteuid() == 0:
        owner = folder.stat()
        os.fchown(descriptor, owner.st_uid, owner.st_gid)
