"""Asks running programs over HTTP for the commands; one that does not answer becomes NotRunning with advice."""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import httpx

from bridge.cli import whereabouts
from bridge.errors import BridgeError, NotRunning

_TIMEOUT_S = 10.0
_USUAL = ("http://127.0.0.1:8080", "http://localhost:8080")


class Refused(BridgeError):
    """A program answered, with an error; the message holds what it said."""


def gateway_url(given: str | None, in_stack: str | None = None) -> str:
    """The gateway to ask: as given, the stack file's, `OPENFAAS_URL`, the running `up`'s, or OpenFaaS' own port here.

    A stack file names the usual address because faas-cli wrote it there, so that one says nothing.
    """
    elsewhere = in_stack if in_stack is not None and in_stack.rstrip("/") not in _USUAL else None
    found = given or elsewhere or os.environ.get("OPENFAAS_URL")
    here = None if found else whereabouts.find()
    return (found or (here.gateway if here else _USUAL[0])).rstrip("/")


def credentials(user: str, password_file: Path | None) -> tuple[str, str] | None:
    """User and password for a gateway that asks for them; None where no file was given."""
    return None if password_file is None else (user, password_file.read_text(encoding="utf-8").rstrip("\r\n"))


def dispatcher_url(given: str | None) -> str:
    """The dispatcher to ask: as given, that of the running `up`, or its port on this machine."""
    here = None if given else whereabouts.find()
    return (given or (here.dispatcher if here else "http://127.0.0.1:8089")).rstrip("/")


def manager_access(url: str | None, token_file: Path | None) -> tuple[str, dict[str, str]]:
    """The manager to ask - as given, that of the running `up`, or its port on this machine - and the token's header.

    The token is that of the file, or of the running `up`, which is shown to its own manager and to no other address.
    Raises Refused when there is none.
    """
    here = None if url and token_file else whereabouts.find()
    own = here.manager.rstrip("/") if here else None
    address = (url or own or "http://127.0.0.1:8088").rstrip("/")
    path = token_file or (Path(here.manager_token) if here is not None and address == own else None)
    if path is None:
        raise Refused(
            f"the manager at {address} asks for a token: make one with `gpio-bridge tokens create`, put it into a file,"
            " and name that with --token-file"
        )
    try:
        return address, {"Authorization": f"Bearer {path.read_text(encoding='ascii').strip()}"}
    except (OSError, UnicodeDecodeError) as error:
        raise Refused(f"the token in {path} cannot be read: {getattr(error, 'strerror', None) or error}") from error


def control_url(given: str | None, option: str = "--url") -> str:
    """The virtual Pis to ask: as given, or those of the running `up`."""
    here = None if given else whereabouts.find()
    if given is None and here is None:
        raise NotRunning(f"there are no virtual Pis here: start them with `gpio-bridge up`, or say {option}")
    return (given or (here.control if here else "")).rstrip("/")


def ask(
    method: str,
    url: str,
    *,
    program: str,
    json: Any = None,
    content: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    params: Mapping[str, str] | None = None,
    auth: tuple[str, str] | None = None,
    timeout_s: float = _TIMEOUT_S,
) -> httpx.Response:
    """The answer of a program, whatever its status. Raises NotRunning when there is none."""
    try:
        with httpx.Client(timeout=httpx.Timeout(timeout_s, connect=5.0), trust_env=False, verify=_trusted()) as client:
            return client.request(
                method,
                url,
                json=json,
                content=content,
                headers=dict(headers or {}),
                params=dict(params or {}),
                auth=auth,
            )
    except httpx.TimeoutException as error:
        raise NotRunning(f"the {program} at {url} did not answer within {timeout_s:g} s") from error
    except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
        raise Refused(f"{url!r} is no address; write one such as http://192.168.1.10:8088") from error
    except httpx.TransportError as error:
        raise NotRunning(f"no {program} answers at {url} ({error}); {_advice(program)}") from error


def lines(
    url: str,
    *,
    program: str,
    attempted: str,
    params: Mapping[str, str] | None = None,
    auth: tuple[str, str] | None = None,
) -> Iterator[str]:
    """The lines of an answer that may never end, as they come. Raises NotRunning, or Refused for an error's status."""
    # Nothing may come for hours on a stream that is followed: only connecting has a limit here.
    with httpx.Client(timeout=httpx.Timeout(None, connect=5.0), trust_env=False, verify=_trusted()) as client:
        try:
            with client.stream("GET", url, params=dict(params or {}), auth=auth) as answer:
                if not answer.is_success:
                    answer.read()
                    granted(answer, attempted)
                yield from (line for line in answer.iter_lines() if line)
        except httpx.TransportError as error:
            raise NotRunning(f"no {program} answers at {url} ({error}); {_advice(program)}") from error


@cache
def _trusted() -> ssl.SSLContext:
    """Made once for a command that asks again and again: reading the certificates takes longer than an answer."""
    return httpx.create_ssl_context(trust_env=False)


def granted(answer: httpx.Response, attempted: str) -> httpx.Response:
    """The answer, if it is a success; else raises Refused with what the program said."""
    if answer.is_success:
        return answer
    raise Refused(f"{attempted} failed: {said(answer)}")


def said(answer: httpx.Response) -> str:
    """An answer's status and text in one line."""
    return f"{answer.status_code} {reason(answer)}".strip()


def reason(answer: httpx.Response) -> str:
    """What a program says is wrong, in one line."""
    try:
        document = answer.json()
    except ValueError:
        document = None
    text = document.get("error") or document.get("detail") if isinstance(document, dict) else None
    return " ".join((str(text) if text else answer.text).split())


def _advice(program: str) -> str:
    command, option = {
        "gateway": ("gpio-bridge gateway", "--gateway"),
        "dispatcher": ("gpio-bridge dispatcher", "--url"),
        "manager": ("gpio-bridge manager", "--url"),
    }.get(program, ("gpio-bridge agent", "--url"))
    return (
        f"start everything with `gpio-bridge up`, or this one with `{command} --config FILE`,"
        f" or say with {option} where it is"
    )
