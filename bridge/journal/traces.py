"""Traces on the disk: a ring of files with one JSON array a line, of which the oldest goes when there is no room.

Nothing is promised for what stands here: a kill may cost the last lines, a broken line is skipped. Every method is
called from one thread at a time, never from the loop's.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from io import FileIO
from pathlib import Path
from typing import Any, Final

import orjson

SEGMENTS: Final = 16
"""So many files make up the ring: what is forgotten at once is a sixteenth of it."""
_NAME: Final = re.compile(r"(\d{8})\.jsonl")


class TraceFiles:
    """The ring in a folder, at most `max_bytes` large. Nothing is opened before the first line comes."""

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._segment_bytes = max_bytes // SEGMENTS
        self._sizes: dict[int, int] = {}
        self._file: FileIO | None = None
        self._current = 0

    @property
    def size_bytes(self) -> int:
        """What the ring takes, as far as it has been opened."""
        return sum(self._sizes.values())

    def append(self, lines: bytes) -> None:
        """Write whole lines behind the last one.

        Raises OSError when the disk refuses; what stood there stays, and the next call tries anew.
        """
        try:
            if self._file is None:
                self._open()
            if self._sizes[self._current] and self._sizes[self._current] + len(lines) > self._segment_bytes:
                self._begin(self._current + 1)
            self._make_room(len(lines))
            self._write(lines)
        except OSError:
            self.close()  # how much of it was written is not known: opening again looks
            raise

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def segments(self) -> list[Path]:
        """The files there are, oldest first."""
        return [path for _, path in sorted(self._found())]

    def _open(self) -> None:
        """Go on where an earlier life stopped, behind a whole line."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self._sizes = {number: path.stat().st_size for number, path in self._found()}
        self._begin(max(self._sizes, default=1))
        size = self._sizes[self._current]
        if size and not _ends_whole(self._path(self._current), size):
            self._write(b"\n")

    def _begin(self, number: int) -> None:
        self.close()
        self._file = FileIO(self._path(number), "a")
        self._current = number
        self._sizes[number] = os.fstat(self._file.fileno()).st_size

    def _make_room(self, count: int) -> None:
        for number in sorted(self._sizes):
            if number == self._current or self.size_bytes + count <= self._max_bytes:
                return
            self._path(number).unlink(missing_ok=True)
            del self._sizes[number]

    def _write(self, data: bytes) -> None:
        assert self._file is not None
        left = memoryview(data)
        while left:
            written = self._file.write(left)
            self._sizes[self._current] += written
            left = left[written:]

    def _found(self) -> Iterator[tuple[int, Path]]:
        if self._folder.is_dir():
            for path in self._folder.iterdir():
                match = _NAME.fullmatch(path.name)
                if match:
                    yield int(match[1]), path

    def _path(self, number: int) -> Path:
        return self._folder / f"{number:08d}.jsonl"


def search(segment: Path, text: str, wanted: Callable[[bytes], bool] | None = None) -> list[list[Any]]:
    """The arrays of one file that hold the text as a value anywhere, in their order; `wanted` is asked of a line first.

    Whatever is no JSON array, such as a line that a kill cut, is skipped; a file that has gone holds nothing.
    Raises OSError when it cannot be read.
    """
    try:
        content = segment.read_bytes()
    except FileNotFoundError:
        return []
    needle = orjson.dumps(text)
    found = []
    at = content.find(needle)
    while at >= 0:
        begin = content.rfind(b"\n", 0, at) + 1
        end = content.find(b"\n", at)
        end = len(content) if end < 0 else end
        line = content[begin:end]
        if wanted is None or wanted(line):
            array = _array(line)
            if array is not None:
                found.append(array)
        at = content.find(needle, end)
    return found


def everything(segment: Path) -> Iterator[list[Any]]:
    """All arrays of one file, in their order; as `search`, one line after the other."""
    try:
        with segment.open("rb") as file:
            for line in file:
                array = _array(line)
                if array is not None:
                    yield array
    except FileNotFoundError:
        return


def first(segment: Path) -> list[Any] | None:
    """The first whole line of a file: how far back it reaches. Raises OSError when it cannot be read."""
    try:
        with segment.open("rb") as file:
            for line in file:
                array = _array(line)
                if array is not None:
                    return array
    except FileNotFoundError:
        pass
    return None


def _array(line: bytes) -> list[Any] | None:
    try:
        array = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    return array if isinstance(array, list) else None


def _ends_whole(path: Path, size: int) -> bool:
    with path.open("rb") as file:
        file.seek(size - 1)
        return file.read(1) == b"\n"
