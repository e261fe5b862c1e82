"""Every change of the mapping file is told, whatever the kernel tells of it."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Self

import pytest
from watchfiles._rust_notify import WatchfilesRustInternalError

from bridge.clock import RealClock, VirtualClock
from bridge.config import Mark, mark_of
from bridge.mapping_file import watch
from bridge.mapping_file.watch import LOOK_ANYWAY_S, LOOK_MS, changes

LOOK_S = LOOK_MS / 1000


class Reader:
    """Reads a file whenever it is told to, and keeps what it read."""

    def __init__(self, path: Path, clock: RealClock | VirtualClock) -> None:
        self.path = path
        self.mark: Mark | None = mark_of(path)
        self.read: list[str] = []
        self._changes = changes(path, lambda: self.mark, clock)
        self._task: asyncio.Task[None]

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        async for _ in self._changes:
            self.mark = mark_of(self.path)
            self.read.append(self.path.read_text() if self.path.exists() else "gone")

    def write(self, text: str) -> None:
        self.path.write_text(text)

    async def reads(self, text: str) -> None:
        async with asyncio.timeout(60):
            while self.read[-1:] != [text]:
                assert not self._task.done(), self._task
                await asyncio.sleep(0.01)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "config" / "mappings.yaml"
    path.parent.mkdir()
    path.write_text("first")
    return path


@pytest.fixture
async def reader(path: Path) -> AsyncIterator[Reader]:
    async with Reader(path, RealClock("always")) as reader:
        yield reader


@pytest.fixture(params=["watches", "instances"])
def _no_watches(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the watcher says when the system's watches, or its instances of them, are used up (both were seen)."""

    def refuse(*folders: Path, **options: Any) -> Any:
        if request.param == "watches":
            raise OSError(errno.ENOSPC, "OS file watch limit reached")
        raise WatchfilesRustInternalError("Error creating recommended watcher: Too many open files, limit reached")

    monkeypatch.setattr(watch, "awatch", refuse)


async def test_what_was_written_since_it_was_read_is_told_although_nobody_watched(path: Path) -> None:
    reader = Reader(path, RealClock("always"))
    reader.write("second")
    async with reader:
        await reader.reads("second")


async def test_a_file_is_told_of_when_it_is_changed_replaced_deleted_and_there_again(
    path: Path, reader: Reader
) -> None:
    reader.write("second")
    await reader.reads("second")
    fresh = path.with_suffix(".new")
    fresh.write_text("third")
    fresh.replace(path)
    await reader.reads("third")
    reader.path.unlink()
    await reader.reads("gone")
    reader.write("fourth")
    await reader.reads("fourth")


async def test_another_folder_in_the_place_of_the_watched_one_is_seen_and_watched(
    path: Path, reader: Reader, tmp_path: Path
) -> None:
    reader.write("second")
    await reader.reads("second")
    fresh = tmp_path / "fresh"
    fresh.mkdir()
    (fresh / path.name).write_text("third")
    path.parent.rename(tmp_path / "old")
    fresh.rename(path.parent)
    await reader.reads("third")
    reader.write("fourth")
    await reader.reads("fourth")


async def test_what_a_link_leads_to_is_watched_and_so_is_the_link(tmp_path: Path) -> None:
    """A checkout with a link to the release in force, or a ConfigMap: the folder of the link stays as it is."""
    for release in ("one", "two"):
        (tmp_path / release).mkdir()
        (tmp_path / release / "mappings.yaml").write_text(release)
    (tmp_path / "current").symlink_to("one")
    path = tmp_path / "current" / "mappings.yaml"
    async with Reader(path, RealClock("always")) as reader:
        reader.write("one, changed")
        await reader.reads("one, changed")
        (tmp_path / "next").symlink_to("two")
        (tmp_path / "next").rename(tmp_path / "current")
        await reader.reads("two")
        reader.write("two, changed")
        await reader.reads("two, changed")


@pytest.mark.usefixtures("_no_watches")
async def test_without_the_kernel_the_file_is_looked_at_and_one_warning_says_so(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clock = VirtualClock()
    async with Reader(path, clock) as reader:
        for text in ("second", "third, and longer"):
            await clock.advance(LOOK_ANYWAY_S)
            reader.write(text)
            await clock.advance(LOOK_ANYWAY_S + LOOK_S)
            await reader.reads(text)
    (told,) = [record for record in caplog.records if record.name == watch.__name__]
    assert "limit reached" in vars(told)["why"]


@pytest.mark.usefixtures("_no_watches")
async def test_a_file_that_is_being_written_is_read_when_it_is_done_with(path: Path) -> None:
    clock = VirtualClock()
    async with Reader(path, clock) as reader:
        await clock.advance(LOOK_ANYWAY_S / 2)
        reader.write("half")
        await clock.advance(LOOK_ANYWAY_S / 2)
        reader.write("half of it")
        await clock.advance(LOOK_S)
        assert reader.read == []
        await clock.advance(LOOK_S)
        assert reader.read == ["half of it"]


@pytest.mark.usefixtures("_no_watches")
async def test_a_file_that_never_rests_is_read_all_the_same(path: Path) -> None:
    clock = VirtualClock()
    async with Reader(path, clock) as reader:
        for number in range(40):
            reader.write("x" * number)
            await clock.advance(LOOK_S)
        assert reader.read
