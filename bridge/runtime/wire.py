"""Between h11's events and our values: requests read, heads of answers written. Pure but for the time of day."""

import time
from http import HTTPStatus
from urllib.parse import urlsplit

import h11

from .exchange import Request, Response

NO_BODY = (204, 304)
"""Answers that never have a body (RFC 9110 sections 15.3.5 and 15.4.5)."""

_REASONS = {status.value: status.phrase.encode() for status in HTTPStatus}
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def request(head: h11.Request, body: bytes) -> Request:
    """The request h11 has read. Raises ValueError for a target in absolute form that is no URL."""
    target = head.target.decode("latin-1")
    local = target
    if not target.startswith(("/", "*")):
        # Absolute form, as sent to a proxy (RFC 9112 section 3.2.2): a server has to take it too.
        parts = urlsplit(target)
        local = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    path, _, query = local.partition("?")
    headers = tuple([(name.decode("latin-1"), value.decode("latin-1")) for name, value in head.headers])
    return Request(head.method.decode("latin-1"), target, path, query, headers, body)


def response_head(asked: Request, response: Response, *, closing: bool) -> h11.Response:
    """The head of an answer, its framing ours. Raises ValueError or h11.LocalProtocolError for what HTTP can't carry.

    The answer to HEAD tells the length of what GET would have got: that of the body, or if it is empty the given one.
    """
    whole = response.body if isinstance(response.body, bytes) else None
    lines: list[tuple[bytes, bytes]] = [(b"Date", _date_line())]
    told: str | None = None
    for name, value in response.headers:
        key = name.lower()
        if key == "content-length":
            told = value
            if whole is not None:
                continue
        if key != "transfer-encoding":
            lines.append((name.encode("latin-1"), value.encode("latin-1")))
    if whole is not None and response.status not in NO_BODY:
        length = told if asked.method == "HEAD" and not whole and told else str(len(whole))
        lines.append((b"Content-Length", length.encode("latin-1")))
    if closing:
        lines.append((b"Connection", b"close"))
    return h11.Response(status_code=response.status, headers=lines, reason=_REASONS.get(response.status, b""))


_date: tuple[int, bytes] = (0, b"")


def _date_line() -> bytes:
    """Now as HTTP writes it (RFC 9110 section 5.6.7), whatever the locale; made once a second."""
    global _date  # noqa: PLW0603 - a cache of one entry
    now = int(time.time())
    if _date[0] != now:
        t = time.gmtime(now)
        line = (
            f"{_DAYS[t.tm_wday]}, {t.tm_mday:02d} {_MONTHS[t.tm_mon - 1]} {t.tm_year}"
            f" {t.tm_hour:02d}:{t.tm_min:02d}:{t.tm_sec:02d} GMT"
        )
        _date = (now, line.encode("ascii"))
    return _date[1]
