"""The black box: remembers over a kill which message was being handled.

A page of memory that the kernel keeps for its file: noting a message costs a copy and no system call, and is there for
the next start however the process ended (of a power cut it knows nothing). The file's room is reserved at the start,
because a page that cannot be written ends the process (SIGBUS).
"""

from __future__ import annotations

import mmap
import os
import struct
from pathlib import Path
from typing import Final, Literal, NamedTuple, Self

Phase = Literal["reading", "planning"]

_HEAD: Final = struct.Struct("<BHI")  # the phase, the length of the topic, the length of the payload
_PHASES: Final[tuple[Phase, ...]] = ("reading", "planning")
_NOTHING: Final = 0
_TOPIC_BYTES: Final = 0xFFFF  # an MQTT topic is not longer (MQTT 5.0, 1.5.4)
_PAYLOAD_BYTES: Final = 128 * 1024
_SIZE_BYTES: Final = _HEAD.size + _TOPIC_BYTES + _PAYLOAD_BYTES


class Handled(NamedTuple):
    """What was being handled; of a very long payload, its beginning."""

    phase: Phase
    topic: str
    payload: bytes


class BlackBox:
    """One black box: a context manager. `found` is what the life before was handling when it ended, if anything.

    Entering raises OSError when its file cannot be made.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.found: Handled | None = None

    def __enter__(self) -> Self:
        with os.fdopen(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600), "r+b") as file:
            os.posix_fallocate(file.fileno(), 0, _SIZE_BYTES)
            self._map = mmap.mmap(file.fileno(), _SIZE_BYTES)
        self.found = self._read()
        self.leave()
        return self

    def __exit__(self, *exc: object) -> None:
        self._map.close()

    def enter(self, topic: str, payload: bytes) -> None:
        """This message is being read from now on."""
        name, held = topic.encode(), payload[:_PAYLOAD_BYTES]
        begin = _HEAD.size + len(name)
        self._map[_HEAD.size : begin + len(held)] = name + held
        _HEAD.pack_into(self._map, 0, 1, len(name), len(held))

    def plan(self) -> None:
        """The message that was read is being planned from now on."""
        self._map[0] = 2

    def leave(self) -> None:
        """Nothing is being handled."""
        self._map[0] = _NOTHING

    def _read(self) -> Handled | None:
        phase, name_bytes, held_bytes = _HEAD.unpack_from(self._map)
        if not 1 <= phase <= len(_PHASES) or held_bytes > _PAYLOAD_BYTES:
            return None
        begin = _HEAD.size + name_bytes
        topic = self._map[_HEAD.size : begin].decode("utf-8", "replace")
        return Handled(_PHASES[phase - 1], topic, self._map[begin : begin + held_bytes])
