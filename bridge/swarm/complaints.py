"""Why an engine could not be asked, or refused, in words that say what to do. Pure."""

from __future__ import annotations

import re

import orjson
import requests

from bridge.errors import EngineError, EngineUnavailable

_WRAPPING = re.compile(r"^rpc error: code = \w+ desc = ")
_LEADERLESS = "does not have a leader"


def refusal(response: requests.Response) -> EngineError:
    """The error for an answer with a status of 400 and above."""
    try:
        message = str(orjson.loads(response.content)["message"])
    except (orjson.JSONDecodeError, KeyError, TypeError):
        message = response.text[:200] or f"HTTP status {response.status_code}"
    kind = EngineUnavailable if response.status_code == 503 or _LEADERLESS in message else EngineError
    return kind(_WRAPPING.sub("", message).strip(), response.status_code)


def complaint(host: str, error: BaseException) -> str:
    """Why the engine could not be asked, with what to do, from the system's error below the library's."""
    where = f"the Docker Engine at {host}"
    cause = _system_error(error)
    if isinstance(cause, FileNotFoundError):
        return f"{where} is not there: no such socket; is the engine running?"
    if isinstance(cause, PermissionError):
        return f"{where} may not be used by this user; add the user to the group docker"
    if isinstance(cause, ConnectionRefusedError):
        return f"{where} takes no connection; is the engine running?"
    if isinstance(error, requests.Timeout):
        return f"{where} does not answer"
    if isinstance(error, requests.exceptions.SSLError):
        return f"{where} cannot be spoken to over TLS: {error}"
    return f"{where} broke off: {cause or error}"


def _system_error(error: BaseException | None) -> OSError | None:
    seen: set[int] = set()
    waiting: list[BaseException] = [error] if error is not None else []
    found: OSError | None = None
    while waiting:
        one = waiting.pop(0)
        if id(one) in seen:
            continue
        seen.add(id(one))
        if isinstance(one, OSError) and one.errno is not None:
            found = found or one
        waiting += [each for each in (*one.args, one.__cause__, one.__context__) if isinstance(each, BaseException)]
    return found
