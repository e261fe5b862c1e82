"""Which header fields travel through the gateway, and which it sets itself. Pure."""

from __future__ import annotations

from multidict import CIMultiDict, CIMultiDictProxy

CALL_ID, START_TIME, SERVED_BY = "X-Call-Id", "X-Start-Time", "X-Served-By"

_HOP_BY_HOP = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "trailers",
        "transfer-encoding",
        "upgrade",
    }
)
"""RFC 9110 section 7.6.1, and what older proxies added to it."""
_NOT_TO_FUNCTION = _HOP_BY_HOP | {"host", "content-length", "expect", "x-call-id", "x-start-time"}
_NOT_TO_CLIENT = _HOP_BY_HOP | {
    "content-length",
    "x-call-id",
    "x-start-time",
    "x-served-by",
    # Whoever reads it believes that we wrote it.
    "x-openfaas-internal",
}

Fields = CIMultiDict[str] | CIMultiDictProxy[str]


class UnsendableHeader(ValueError):
    """A header field holds bytes that are no text, and cannot be sent on as it came."""


def to_function(
    fields: Fields, *, client: str | None, host: str | None, call_id: str, start_ns: int
) -> CIMultiDict[str]:
    """The header of the request to a function. Raises UnsendableHeader."""
    sent = _passed(fields, _NOT_TO_FUNCTION)
    if client and "X-Forwarded-For" not in sent:
        sent["X-Forwarded-For"] = client
    if host and "X-Forwarded-Host" not in sent:
        sent["X-Forwarded-Host"] = host
    sent[CALL_ID] = call_id
    sent[START_TIME] = str(start_ns)
    return sent


def to_client(fields: Fields, *, call_id: str, start_ns: int, served_by: str) -> CIMultiDict[str]:
    """The header of the answer to a client. Raises UnsendableHeader."""
    sent = _passed(fields, _NOT_TO_CLIENT)
    sent[CALL_ID] = call_id
    sent[START_TIME] = str(start_ns)
    sent[SERVED_BY] = served_by
    return sent


def _passed(fields: Fields, kept_back: frozenset[str]) -> CIMultiDict[str]:
    named = fields.getall("Connection", ())
    if named:
        # A sender may declare any field to be meant for the next hop only.
        kept_back |= {token.strip().lower() for value in named for token in value.split(",")}
    sent: CIMultiDict[str] = CIMultiDict()
    for name, value in fields.items():
        if name.lower() in kept_back:
            continue
        if not value.isascii():
            try:
                value.encode()
            except UnicodeEncodeError:
                raise UnsendableHeader(f"the header {name} is not UTF-8 text") from None
        sent.add(name, value)
    return sent
