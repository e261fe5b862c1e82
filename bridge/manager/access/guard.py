"""The guard: asks every request for a token, knows whose it is, and slows down who guesses."""

from __future__ import annotations

import logging
import math
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bridge.clock import Clock
from bridge.manager.access.roles import Role
from bridge.manager.access.tokens import FILE, Token, TokenRefused, given_token, read_tokens, split
from bridge.manager.problems import Refusal
from bridge.manager.settings import AuthSettings

_log = logging.getLogger(__name__)

_REALM: Final = 'Bearer realm="gpio-bridge manager"'
_REMEMBERED: Final = 10_000
"""Of so many addresses and tokens failures are remembered."""


@dataclass(frozen=True, slots=True)
class Bearer:
    """Who makes a request."""

    name: str
    role: Role
    token: str | None = None
    """The id of the token that was shown; None where none is asked for."""


ANYBODY: Final = Bearer("anybody", Role.ADMIN)
"""Who makes a request where no token is asked for."""


class Guard:
    """Knows the bearers of tokens; the token file is read again when it changes.

    `own` is a token that is in no file: that of the process which the manager is a part of. Viewers may also bring
    tokens along, in files that the settings name; those are read at the start.
    """

    def __init__(
        self,
        folder: Path,
        settings: AuthSettings,
        clock: Clock,
        *,
        own: Token | None = None,
        changed: Callable[[tuple[Token, ...]], None],
    ) -> None:
        self.problem: str | None = None
        """Why the token file cannot be read; then nobody is let in by it."""
        self._folder = folder
        self._settings = settings
        self._clock = clock
        self._own = own
        self._changed = changed
        self._given = tuple(_given(settings))
        self._tokens: dict[str, Token] = {}
        self._mark: object = ()
        self._failures: OrderedDict[tuple[str, str], deque[float]] = OrderedDict()

    def known(self, authorization: str | None, address: str) -> Bearer:
        """Who shows this header. Raises Refusal: 401 for nobody we know, 429 for one who has failed too often.

        Failures are counted by address and token: who guesses does not shut out who knows another token.
        """
        if not self._settings.enabled:
            return ANYBODY
        if authorization is None:
            raise Refusal(
                401, "a token is needed here: Authorization: Bearer TOKEN", headers={"WWW-Authenticate": _REALM}
            )
        self.look()
        scheme, _, shown = authorization.partition(" ")
        parts = split(shown.strip()) if scheme.lower() == "bearer" else None
        token = self._tokens.get(parts[0]) if parts is not None else None
        key = (address, token.id if token is not None else "")
        self._slow_down(key)
        if token is None or parts is None or not token.opened_by(parts[1]):
            self._fail(key)
            raise Refusal(
                401,
                "this token is not known; it was revoked, or mistyped",
                headers={"WWW-Authenticate": f'{_REALM}, error="invalid_token"'},
            )
        self._failures.pop(key, None)
        return Bearer(token.name, token.role, token.id)

    def stands(self, bearer: Bearer) -> bool:
        """Whether the token that a bearer has shown still opens anything: who stays for long is asked again."""
        if bearer.token is None:
            return True
        self.look()
        token = self._tokens.get(bearer.token)
        return token is not None and token.revoked_at is None

    def look(self) -> None:
        """Read the token file again, if it has changed."""
        try:
            found = (self._folder / FILE).stat()
            mark: object = (found.st_ino, found.st_mtime_ns, found.st_size)
        except OSError:
            mark = None
        if mark == self._mark:
            return
        self._mark = mark
        try:
            tokens = read_tokens(self._folder)
            self.problem = None
        except TokenRefused as error:
            tokens = ()
            self.problem = str(error)
            _log.error("nobody is let in by a token of the file", extra={"op": "tokens.read", "why": str(error)})
        self._tokens = {token.id: token for token in tokens}
        for one in (*self._given, *((self._own,) if self._own is not None else ())):
            self._tokens[one.id] = one
        self._changed(tokens)

    def _slow_down(self, key: tuple[str, str]) -> None:
        failures, now = self._failures.get(key), self._clock.monotonic()
        while failures and failures[0] <= now - self._settings.window_s:
            failures.popleft()
        if failures and len(failures) >= self._settings.failures:
            wait_s = math.ceil(failures[0] + self._settings.window_s - now)
            raise Refusal(
                429,
                f"too many failed attempts from {key[0]}; wait {wait_s} s",
                headers={"Retry-After": str(max(1, wait_s))},
            )

    def _fail(self, key: tuple[str, str]) -> None:
        failures = self._failures.setdefault(key, deque(maxlen=self._settings.failures))
        failures.append(self._clock.monotonic())
        self._failures.move_to_end(key)
        if len(self._failures) > _REMEMBERED:
            self._failures.popitem(last=False)
        _log.warning("token refused", extra={"op": "auth", "address": key[0], "token": key[1] or "unknown"})


def _given(settings: AuthSettings) -> Iterator[Token]:
    """The tokens in files that the settings name; whoever checked the settings has seen that they are there."""
    for name, file in settings.viewers.items():
        token = given_token(name, file.read_text(encoding="utf-8"))
        if token is not None:
            yield token
