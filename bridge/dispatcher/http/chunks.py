"""Takes the framing off a chunked body, however it is cut into pieces (RFC 9112, 7.1). Pure."""

from __future__ import annotations

import re
from typing import Final, Literal

_LINE_BYTES: Final = 4096
_SIZE: Final = re.compile(rb"([0-9A-Fa-f]{1,20})[ \t]*(?:;[^\n]*)?")
_TEXT: Final = rb"[^\x00\r\n\x0b\x0c]*+"
_TRAILERS: Final = re.compile(
    rb"(?:[-!#$%&'*+.^_`|~0-9a-zA-Z]++:" + _TEXT + rb"(?:\r\n[ \t]++" + _TEXT + rb")*+\r\n)*+\r\n"
)


class Chunks:
    """`feed` what comes, get the body's bytes; then `complete`, `beyond` and `problem` say how it stands."""

    __slots__ = ("_buffer", "_left", "_limit_bytes", "_state", "beyond", "complete", "problem")

    def __init__(self, trailers_bytes: int) -> None:
        self.complete = False
        self.beyond = False
        """Whether something follows the last chunk and its trailers."""
        self.problem = ""
        """What is malformed; nothing may be fed any more."""
        self._limit_bytes = trailers_bytes
        self._buffer = bytearray()
        self._left = 0
        self._state: Literal["size", "data", "line end", "trailers"] = "size"

    def feed(self, data: bytes) -> bytes:
        """The part of the body in this piece."""
        buffer, body = self._buffer, bytearray()
        buffer += data
        going = True
        while going:
            match self._state:
                case "size":
                    going = self._size()
                case "data":
                    taken = buffer[: self._left]
                    body += taken
                    del buffer[: len(taken)]
                    self._left -= len(taken)
                    going = not self._left
                    if going:
                        self._state = "line end"
                case "line end":
                    going = self._line_end()
                case "trailers":
                    going = False
                    self._trailers()
        return bytes(body)

    def _size(self) -> bool:
        end = self._buffer.find(b"\r\n")
        if end > _LINE_BYTES or (end < 0 and len(self._buffer) > _LINE_BYTES):
            self.problem = "the line of a chunk is too long"
            return False
        if end < 0:
            return False
        found = _SIZE.fullmatch(self._buffer, 0, end)
        if found is None:
            self.problem = "malformed size of a chunk"
            return False
        self._left = int(found[1], 16)
        del self._buffer[: end + 2]
        self._state = "data" if self._left else "trailers"
        return True

    def _line_end(self) -> bool:
        if not b"\r\n".startswith(self._buffer[:2]):
            self.problem = "a chunk is longer than its size"
        if self.problem or len(self._buffer) < 2:
            return False
        del self._buffer[:2]
        self._state = "size"
        return True

    def _trailers(self) -> None:
        buffer = self._buffer
        end = 2 if buffer.startswith(b"\r\n") else buffer.find(b"\r\n\r\n") + 4
        if end < 4 and end != 2:
            if len(buffer) > self._limit_bytes:
                self.problem = "its trailers are too long"
            return
        if end > self._limit_bytes:
            self.problem = "its trailers are too long"
        elif _TRAILERS.fullmatch(buffer, 0, end) is None:
            self.problem = "malformed trailers"
        else:
            self.complete, self.beyond = True, len(buffer) > end
