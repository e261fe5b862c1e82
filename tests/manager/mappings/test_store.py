"""The mapping store: the file is the truth, and every way in which it changes is in the history."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from bridge.clock import RealClock
from bridge.core.mapping import MappingSet
from bridge.errors import ConfigError
from bridge.journal.engine import Journal
from bridge.manager.manager import MIGRATIONS
from bridge.manager.mappings import history
from bridge.manager.mappings.file import FileNotWritten, replace_text
from bridge.manager.mappings.history import Revision
from bridge.manager.mappings.store import Author, FileBusy, FileRefused, Loaded, MappingStore, with_entries
from tests.manager.conftest import MAPPINGS

BROKEN = MAPPINGS.replace("cooldown: 5s", "cooldown: 5")
ANNA = Author("anna", "because")


class Shelf:
    """A store that can be closed and opened again."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "mappings.yaml"
        self.file.write_text(MAPPINGS, encoding="utf-8")
        self.heard: list[MappingSet] = []
        self._folder = folder
        self._stack = AsyncExitStack()
        self.store: MappingStore
        self.journal: Journal

    async def open(self, *, keep: int = 100) -> MappingStore:
        self.journal = await self._stack.enter_async_context(Journal(self._folder / "manager.sqlite", MIGRATIONS))
        self.store = MappingStore(
            self.file, self.journal, RealClock("always"), timezone="UTC", root="gpio-bridge", keep=keep
        )
        self.store.changed.append(lambda loaded: self.heard.append(loaded.mappings))
        await self.store.open()
        return self.store

    async def close(self) -> None:
        await self._stack.aclose()
        self._stack = AsyncExitStack()

    async def history(self) -> list[Revision]:
        """The oldest first."""
        await self.journal.flush()
        _, found = await self.journal.read(history.listed(100, 0, None))
        return found[::-1]

    @property
    def text(self) -> str:
        return self.file.read_text(encoding="utf-8")


@pytest.fixture
async def shelf(tmp_path: Path) -> AsyncIterator[Shelf]:
    shelf = Shelf(tmp_path)
    yield shelf
    await shelf.close()


def without(name: str) -> Callable[[Loaded], str]:
    return lambda loaded: with_entries(loaded, {key: value for key, value in loaded.entries.items() if key != name})


async def test_the_first_state_of_the_file_is_the_first_revision(shelf: Shelf) -> None:
    store = await shelf.open()
    assert list(store.loaded.mappings.mappings) == ["intruder", "frost"]
    (found,) = await shelf.history()
    assert (found.number, found.who, found.what, found.why) == (1, "by hand", "found", "")
    assert found.changes == {"added": ["intruder", "frost"], "changed": [], "removed": []}
    assert found.version == store.loaded.mappings.version


async def test_a_change_is_in_the_file_in_force_and_in_the_history(shelf: Shelf) -> None:
    store = await shelf.open()
    loaded = await store.change(without("frost"), ANNA, "deleted")
    assert list(loaded.mappings.mappings) == ["intruder"] == list(shelf.heard[-1].mappings)
    assert shelf.text == MAPPINGS.partition("\n  frost:")[0]
    _, found = await shelf.history()
    assert (found.number, found.who, found.what, found.why) == (2, "anna", "deleted", "because")
    assert found.changes == {"added": [], "changed": [], "removed": ["frost"]}
    assert "-  frost:\n" in found.diff
    assert found.diff.startswith("--- a/mappings.yaml\n+++ b/mappings.yaml\n@@")


async def test_a_change_that_changes_nothing_is_no_revision(shelf: Shelf) -> None:
    store = await shelf.open()
    before = shelf.file.stat().st_mtime_ns
    await store.change(lambda loaded: loaded.text, ANNA, "replaced")
    assert len(await shelf.history()) == 1
    assert shelf.file.stat().st_mtime_ns == before


async def test_a_text_with_mistakes_changes_nothing(shelf: Shelf) -> None:
    store = await shelf.open()
    with pytest.raises(ConfigError, match=r"mappings\.yaml:10:"):
        await store.change(lambda loaded: BROKEN, ANNA, "replaced")
    assert shelf.text == MAPPINGS
    assert len(await shelf.history()) == 1
    assert store.problem is None


async def test_a_file_does_not_become_larger_than_what_would_be_read(shelf: Shelf) -> None:
    store = await shelf.open()
    with pytest.raises(ConfigError, match="would be larger than"):
        await store.change(lambda loaded: f"{loaded.text}# {'x' * 4 * 1024 * 1024}\n", ANNA, "applied")
    assert shelf.text == MAPPINGS


async def test_what_is_written_by_hand_is_in_force_soon_and_a_revision(shelf: Shelf) -> None:
    store = await shelf.open()
    heard = len(shelf.heard)
    shelf.file.write_text(MAPPINGS.replace("5s", "7s"), encoding="utf-8")
    watching = asyncio.create_task(store.watch())
    try:
        async with asyncio.timeout(60):
            while len(shelf.heard) == heard:  # noqa: ASYNC110 - the store tells whoever listens, at any time
                await asyncio.sleep(0.05)
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
    mapping = store.loaded.mappings.mappings["intruder"]
    assert mapping.cooldown is not None
    assert mapping.cooldown.time_s == 7
    found = (await shelf.history())[-1]
    assert (found.who, found.what, found.changes["changed"]) == ("by hand", "edited", ["intruder"])


async def test_a_broken_file_is_refused_with_its_place_and_the_set_stays(shelf: Shelf) -> None:
    store = await shelf.open()
    shelf.file.write_text(BROKEN, encoding="utf-8")
    await store.look()
    assert [problem.line for problem in store.problem.problems] == [10] if store.problem else False
    assert list(store.loaded.mappings.mappings) == ["intruder", "frost"]
    with pytest.raises(FileRefused, match="mend it first"):
        await store.change(without("frost"), ANNA, "deleted")
    assert shelf.text == BROKEN
    assert len(await shelf.history()) == 1

    shelf.file.write_text(MAPPINGS, encoding="utf-8")
    await store.look()
    assert store.problem is None
    assert len(await shelf.history()) == 1, "it is what it was before"


async def test_a_broken_file_can_be_replaced_as_a_whole(shelf: Shelf) -> None:
    store = await shelf.open()
    shelf.file.write_text(BROKEN, encoding="utf-8")
    await store.change(lambda loaded: MAPPINGS, ANNA, "applied", mend=True)
    assert (shelf.text, store.problem) == (MAPPINGS, None)


async def test_a_file_that_is_gone_is_refused_and_the_set_stays(shelf: Shelf) -> None:
    store = await shelf.open()
    shelf.file.unlink()
    await store.look()
    assert "cannot be read" in str(store.problem)
    assert list(store.loaded.mappings.mappings) == ["intruder", "frost"]


async def test_a_change_begins_from_what_somebody_has_just_written(shelf: Shelf) -> None:
    store = await shelf.open()
    shelf.file.write_text(MAPPINGS.replace("5s", "7s"), encoding="utf-8")
    await store.change(without("frost"), ANNA, "deleted")
    assert "cooldown: 7s" in shelf.text
    assert [found.what for found in await shelf.history()] == ["found", "edited", "deleted"]


async def test_a_file_that_changes_in_the_midst_of_a_change_is_not_written_over(shelf: Shelf) -> None:
    store = await shelf.open()
    seen: list[str] = []

    def make(loaded: Loaded) -> str:
        if not seen:
            shelf.file.write_text(MAPPINGS.replace("5s", "7s"), encoding="utf-8")
        seen.append(loaded.text)
        return without("frost")(loaded)

    await store.change(make, ANNA, "deleted")
    assert len(seen) == 2
    assert "cooldown: 7s" in shelf.text
    assert [found.what for found in await shelf.history()] == ["found", "edited", "deleted"]


async def test_a_change_gives_up_when_somebody_does_not_stop_writing(shelf: Shelf) -> None:
    store = await shelf.open()

    def make(loaded: Loaded) -> str:
        shelf.file.write_text(loaded.text.replace("# The house", "# The  house"), encoding="utf-8")
        return without("frost")(loaded)

    with pytest.raises(FileBusy):
        await store.change(make, ANNA, "deleted")
    assert {found.what for found in await shelf.history()} == {"found", "edited"}


async def test_the_history_survives_a_restart_and_knows_what_was_edited_meanwhile(shelf: Shelf) -> None:
    store = await shelf.open()
    await store.change(without("frost"), ANNA, "deleted")
    await shelf.close()
    shelf.file.write_text(MAPPINGS, encoding="utf-8")
    await shelf.open()
    assert [(found.number, found.what) for found in await shelf.history()] == [
        (1, "found"),
        (2, "deleted"),
        (3, "edited"),
    ]


async def test_with_a_broken_file_the_last_good_revision_is_in_force_after_a_restart(shelf: Shelf) -> None:
    await shelf.open()
    await shelf.close()
    shelf.file.write_text(BROKEN, encoding="utf-8")
    store = await shelf.open()
    assert list(store.loaded.mappings.mappings) == ["intruder", "frost"]
    assert store.problem is not None


async def test_a_broken_file_and_no_history_is_an_error(shelf: Shelf) -> None:
    shelf.file.write_text(BROKEN, encoding="utf-8")
    with pytest.raises(ConfigError, match=r":10:"):
        await shelf.open()


@pytest.mark.parametrize("written", [True, False])
async def test_a_kill_between_history_and_file_leaves_what_has_happened(shelf: Shelf, *, written: bool) -> None:
    store = await shelf.open()
    text = MAPPINGS.replace("5s", "9s")
    entry = store._entry(store.loaded, store.understand(text, "x"), ANNA, "patched", pending=True)
    await shelf.journal.write(entry)
    if written:
        replace_text(shelf.file, text)
    await shelf.close()
    await shelf.open()
    assert [found.what for found in await shelf.history()] == ["found", "patched"][: 1 + written]


async def test_the_oldest_revisions_make_room(shelf: Shelf) -> None:
    store = await shelf.open(keep=3)
    for i in range(5):
        await store.change(lambda loaded, i=i: MAPPINGS.replace("5s", f"{i + 20}s"), ANNA, "applied")  # type: ignore[misc] # bound early
    assert [found.number for found in await shelf.history()] == [4, 5, 6]


def test_a_replaced_file_keeps_its_mode_and_a_link_stays_one(tmp_path: Path) -> None:
    target, link = tmp_path / "real.yaml", tmp_path / "link.yaml"
    target.write_text("old", encoding="utf-8")
    target.chmod(0o604)
    link.symlink_to(target)
    replace_text(link, "new")
    assert link.is_symlink()
    assert (target.read_text(), target.stat().st_mode & 0o777) == ("new", 0o604)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link.yaml", "real.yaml"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away: run as root")
def test_a_replaced_file_keeps_its_owner(tmp_path: Path) -> None:
    file = tmp_path / "mappings.yaml"
    file.write_text("old", encoding="utf-8")
    os.chown(file, 1234, 4321)
    replace_text(file, "new")
    assert (file.stat().st_uid, file.stat().st_gid) == (1234, 4321)


def test_a_folder_that_takes_no_file_is_an_error_that_says_what_is_needed(tmp_path: Path) -> None:
    with pytest.raises(FileNotWritten, match="the manager needs the right to replace files in"):
        replace_text(tmp_path / "missing" / "mappings.yaml", "new")
