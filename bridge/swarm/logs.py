"""Service logs as the engine sends them: frames of several containers in one stream, taken apart. Pure.

A frame is eight bytes (1 for standard output or 2 for standard error, three zeros, a big-endian length) and a line
`TIME DETAILS TEXT`, in which DETAILS names the task (https://docs.docker.com/reference/api/engine/, "Attach to a
container", "Get service logs").
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import parse_qsl

from bridge.errors import EngineError
from bridge.swarm.services import moment

_HEAD_BYTES = 8
_LARGEST_BYTES = 16 * 1024 * 1024
_TASK = "com.docker.swarm.task.id"
_NODE = "com.docker.swarm.node.id"


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a task's output, and the machine that it ran on."""

    task_id: str
    node_id: str
    at: datetime
    text: str


class FrameReader:
    """Takes bytes as they come and gives the entries that are complete."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[Entry]:
        """The entries that these bytes complete. Raises EngineError for what are no frames."""
        self._rest += data
        while len(self._rest) >= _HEAD_BYTES:
            kind, length = self._rest[0], int.from_bytes(self._rest[4:_HEAD_BYTES], "big")
            if kind > 3 or self._rest[1:4] != b"\0\0\0" or length > _LARGEST_BYTES:
                raise EngineError("the engine's log is not made of frames; does the service have a terminal (tty)?")
            end = _HEAD_BYTES + length
            if len(self._rest) < end:
                return
            payload, self._rest = self._rest[_HEAD_BYTES:end], self._rest[end:]
            if kind == 3:
                # The engine's own words about the log, such as a machine that does not answer.
                raise EngineError(payload.decode("utf-8", "replace").strip())
            entry = read_entry(payload)
            if entry is not None:
                yield entry


def read_entry(payload: bytes) -> Entry | None:
    """The entry of one frame; None when it has no time or names no task."""
    text = payload.decode("utf-8", "replace")
    text = text.removesuffix("\n").removesuffix("\r")
    time, _, rest = text.partition(" ")
    details, _, said = rest.partition(" ")
    known = dict(parse_qsl(details.replace(",", "&")))
    task_id = known.get(_TASK)
    if not task_id:
        return None
    try:
        return Entry(task_id, known.get(_NODE, ""), moment(time), said)
    except ValueError:
        return None
