"""Reads HTTP/1.1 answers: bytes in, values out, however the bytes are cut (RFC 9112).

Written for answers of a gateway, of which the dispatcher wants to know the status, two headers and how the body begins.
What may not live here: sockets, time, and what an answer means.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from bridge.dispatcher.http.chunks import Chunks

SHOWN_BYTES: Final = 2048
"""How much of a body is kept for dead letters and traces."""
READ_BYTES: Final = 1024 * 1024
"""How much of a body is read so that its connection can be used again; beyond, the connection is closed."""
HEAD_BYTES: Final = 64 * 1024
"""How large heads may be, those of interim answers and the trailers included."""

_TOKEN: Final = rb"[-!#$%&'*+.^_`|~0-9a-zA-Z]++"
_TEXT: Final = rb"[^\x00\r\n\x0b\x0c]*+"
_HEAD: Final = re.compile(
    rb"HTTP/1\.([0-9]) ([1-9][0-9]{2})(?: " + _TEXT + rb")?\r\n((?:" + _TOKEN + rb":" + _TEXT + rb"\r\n)*+)\r\n"
)
"""A whole head: minor version, status, header lines. Control characters in values are suffered, as elsewhere."""
_FOLD: Final = re.compile(rb"[ \t]*\r\n[ \t]+")
_TOLD: Final = re.compile(
    rb"\n(content-length|transfer-encoding|connection|retry-after|x-openfaas-internal):[ \t]*+([^\r]*+)"
)
"""What is read of a head in lower case; the rest of it is only checked for its form."""
_LENGTH: Final = re.compile(rb"[0-9]{1,20}")
_BEGINS: Final = b"HTTP/1."
_NO_BODY: Final = (204, 304)

Told = list[tuple[bytes, bytes]]


@dataclass(slots=True)
class Answer:
    """A whole answer, or as much of it as is read. `body` is how the body begins."""

    status: int
    told: Told
    """The headers that are looked at: name and value in lower case, in the order they came."""
    body: bytes
    reusable: bool
    """Whether the connection may carry another request."""

    def header(self, name: str) -> str | None:
        """The value of one of the headers that are looked at, in lower case; None when it is not there."""
        wanted = name.lower().encode()
        return next((value.strip().decode("latin-1") for told, value in self.told if told == wanted), None)


@dataclass(frozen=True, slots=True)
class Failed:
    """There is no answer, and why. `reached` is False when the request has not left us."""

    reason: str
    reached: bool = True


_Framing = tuple[int | None, bool, bool]
"""How a body ends: after so many bytes, with its last chunk, or else with the connection; and whether that lasts."""


class AnswerReader:
    """Reads the answers of one connection, one after another.

    `feed` and `end` return the answer when it is complete, `Failed` when there will be none, and None while more has to
    come. After an answer that is not `reusable`, and after `Failed`, the reader must not be used again.
    """

    __slots__ = ("_body", "_chunks", "_framing", "_pending", "_read_bytes", "_spent_bytes", "_status", "_told")

    def __init__(self) -> None:
        self._pending = bytearray()  # a head that is not complete yet
        self._spent_bytes = 0  # of interim heads
        self._reset()

    def _reset(self) -> None:
        self._framing: _Framing | None = None  # of the body that is being read
        self._chunks: Chunks | None = None
        self._status = 0
        self._told: Told = []
        self._body = bytearray()
        self._read_bytes = 0

    def feed(self, data: bytes) -> Answer | Failed | None:
        """Take what the connection gave."""
        if self._framing is not None:
            return self._feed_body(data)
        if self._pending:
            searched = max(0, len(self._pending) - 3)
            self._pending += data
            if self._pending.find(b"\r\n\r\n", searched) < 0:
                return self._incomplete()
            data = bytes(self._pending)
            self._pending.clear()
        return self._feed_head(data)

    def end(self) -> Answer | Failed:
        """Take that the peer has closed its side."""
        framing = self._framing
        if framing is None:
            return Failed("half an answer" if self._pending else "the connection was closed without an answer")
        length, chunked, _ = framing
        if chunked or length is not None:
            return Failed(f"half an answer: closed after {self._read_bytes} bytes of the body")
        return Answer(self._status, self._told, bytes(self._body), reusable=False)

    def _feed_head(self, data: bytes) -> Answer | Failed | None:
        while True:
            found = _HEAD.match(data)
            if found is not None:
                end, head = found.end(), data
            else:
                end = data.find(b"\r\n\r\n") + 4
                if end < 4:
                    self._pending += data
                    return self._incomplete()
                head = _unfolded(data[:end])
                found = _HEAD.fullmatch(head)
                if found is None:
                    return Failed("no valid HTTP/1.1 answer: malformed head")
            if end > HEAD_BYTES - self._spent_bytes:
                return Failed(f"no valid HTTP/1.1 answer: its head is longer than {HEAD_BYTES} bytes")
            status = int(found[2])
            told = _TOLD.findall(head[: found.end()].lower())
            framing = _framing(told, lasting=found[1] != b"0")
            if isinstance(framing, Failed):
                return framing
            rest = data[end:]
            if status >= 200:
                return self._begin_body(status, told, framing, rest)
            if status == 101:
                return Failed("no valid HTTP/1.1 answer: 101 to a request that did not ask for it")
            if not rest:
                self._spent_bytes += end
                return None
            self._spent_bytes += end
            data = rest

    def _incomplete(self) -> Failed | None:
        if not self._pending.startswith(_BEGINS[: len(self._pending)]):
            return Failed("no HTTP/1.1 answer")
        if len(self._pending) > HEAD_BYTES - self._spent_bytes:
            return Failed(f"no valid HTTP/1.1 answer: its head is longer than {HEAD_BYTES} bytes")
        return None

    def _begin_body(self, status: int, told: Told, framing: _Framing, rest: bytes) -> Answer | Failed | None:
        length, chunked, lasting = framing
        if status in _NO_BODY:
            length = 0
        self._spent_bytes = 0
        if length is not None and len(rest) >= length and length <= READ_BYTES:
            shown = rest[: min(length, SHOWN_BYTES)]
            return Answer(status, told, shown, lasting and len(rest) == length)
        self._status, self._told, self._framing = status, told, framing
        self._chunks = Chunks(HEAD_BYTES) if chunked else None
        return self._feed_body(rest)

    def _feed_body(self, data: bytes) -> Answer | Failed | None:
        assert self._framing is not None
        length, _, lasting = self._framing
        beyond = False  # whether something follows the answer
        complete = False
        if self._chunks is not None:
            data = self._chunks.feed(data)
            if self._chunks.problem:
                return Failed(f"no valid HTTP/1.1 answer: {self._chunks.problem}")
            complete, beyond = self._chunks.complete, self._chunks.beyond
        elif length is not None:
            left = length - self._read_bytes
            complete, beyond = len(data) >= left, len(data) > left
            data = data[:left]
        self._read_bytes += len(data)
        if len(self._body) < SHOWN_BYTES:
            self._body += data[: SHOWN_BYTES - len(self._body)]
        if self._read_bytes > READ_BYTES:
            return Answer(self._status, self._told, bytes(self._body), reusable=False)
        if not complete:
            return None
        answer = Answer(self._status, self._told, bytes(self._body), lasting and not beyond)
        self._reset()
        return answer


def _unfolded(head: bytes) -> bytes:
    """The head with every continued header on one line (RFC 9112, 5.2); a status line is never continued."""
    status_line, _, lines = head.partition(b"\r\n")
    return head if lines[:1] in (b" ", b"\t") else status_line + b"\r\n" + _FOLD.sub(b" ", lines)


def _framing(told: Told, *, lasting: bool) -> _Framing | Failed:
    """How the body ends and whether the connection lasts beyond it (RFC 9112, 6.3 and 9.3).

    Contradictions are refused, none is resolved: whoever reads the wrong end takes the rest for the next answer.
    """
    length: bytes | None = None
    chunked = False
    for name, value in told:
        if name == b"content-length":
            for part in value.split(b",") if b"," in value else (value,):
                given = part.strip(b" \t")
                if not _LENGTH.fullmatch(given):
                    return Failed("no valid HTTP/1.1 answer: malformed Content-Length")
                if length is not None and length != given:
                    return Failed("no valid HTTP/1.1 answer: conflicting Content-Length")
                length = given
        elif name == b"transfer-encoding":
            if chunked or value.rstrip(b" \t") != b"chunked":
                return Failed("no valid HTTP/1.1 answer: a Transfer-Encoding other than chunked")
            chunked = True
        elif name == b"connection" and b"close" in [part.strip(b" \t") for part in value.split(b",")]:
            lasting = False
    if chunked and length is not None:
        return Failed("no valid HTTP/1.1 answer: both Content-Length and Transfer-Encoding")
    return None if length is None else int(length), chunked, lasting
