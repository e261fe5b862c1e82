"""Waits until a function that was deployed runs, or says why it does not."""

from __future__ import annotations

import json
import time
from typing import Final

from bridge.cli.client import Refused, ask, granted, said

_EVERY_S: Final = 0.2
_PERSISTS_S: Final = 2.0
"""A problem that shows for less is that of a start: a node is looked for, an image is fetched. It is added up,
because a function that ends again and again has none while it is started anew.
"""
_LINES: Final = 20
_OLD_S: Final = 2.0
"""After an update the version before it may still be what is ready; one that does not run mostly shows by then."""


def until_ready(
    gateway: str, name: str, place: str, auth: tuple[str, str] | None, *, within_s: float, updated: bool
) -> None:
    """Return when a function has its replicas. Raises Refused with the gateway's reason, or when it takes too long."""
    begun_at = time.monotonic()
    failing_s, asked_at = 0.0, begun_at
    while True:
        answer = ask("GET", f"{gateway}/system/function/{name}", program="gateway", auth=auth)
        status = granted(answer, f"asking how {name} fares").json()
        problem, now = status.get("problem"), time.monotonic()
        failing_s += 0.0 if problem is None else now - asked_at
        asked_at = now
        if problem is not None and failing_s >= _PERSISTS_S:
            lines = _last_lines(gateway, name, auth)
            raise Refused(f"{name} ({place}) is deployed and does not run: {problem}{lines}")
        ready = problem is None and status.get("availableReplicas", 0) >= status.get("replicas", 0)
        if ready and (not updated or now - begun_at >= _OLD_S):
            return
        if now - begun_at >= within_s:
            why = f": {problem}" if problem else ""
            lines = _last_lines(gateway, name, auth)
            raise Refused(f"{name} ({place}) is deployed and not ready after {within_s:g} s{why}{lines}")
        time.sleep(_EVERY_S)


def _last_lines(gateway: str, name: str, auth: tuple[str, str] | None) -> str:
    """What the function has written last, where the traceback of a handler stands that cannot be imported."""
    answer = ask(
        "GET", f"{gateway}/system/logs", program="gateway", params={"name": name, "tail": str(_LINES)}, auth=auth
    )
    if not answer.is_success:
        return f"\n(its log cannot be read: {said(answer)})"
    texts = [str(json.loads(line)["text"]).rstrip() for line in answer.text.splitlines() if line]
    return "".join(f"\n{name} | {text}" for text in texts)
