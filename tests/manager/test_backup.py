"""A manager's backup: made while it runs, and the same answers of another manager after it was brought back."""

from __future__ import annotations

import dataclasses
import io
import os
import stat
import tarfile
from pathlib import Path

import pytest

from bridge.manager.access.roles import Role
from bridge.manager.access.tokens import create_token
from bridge.manager.backup import BackupRefused, back_up, restore
from tests.manager.conftest import Desk

PATHS = ("/api/v1/mappings", "/api/v1/mappings/file", "/api/v1/mappings/history", "/api/v1/audit")


async def test_a_manager_on_another_disk_gives_the_same_answers(desk: Desk, tmp_path: Path) -> None:
    await desk.start()
    token = create_token(desk.settings.state_dir, "anna", Role.ADMIN, "2026-11-22T12:00:00Z")
    headers = {"Authorization": f"Bearer {token}", "If-Match": "*"}
    await desk.client.patch("/api/v1/mappings/intruder?why=quiet", json={"cooldown": "1m"}, headers=headers)
    before = [(await desk.client.get(path, headers=headers)).text for path in PATHS]
    assert "anna" in before[3]
    archive = tmp_path / "backup.tar.gz"
    assert back_up(desk.settings, archive) == ["state/manager.sqlite", "state/tokens.json", "mappings.yaml"]
    assert stat.S_IMODE(archive.stat().st_mode) == 0o600
    with pytest.raises(BackupRefused, match="stop the manager first"):
        restore(desk.settings, archive, force=True)
    await desk.stop()

    desk.settings = dataclasses.replace(
        desk.settings, state_dir=tmp_path / "new" / "state", mappings=tmp_path / "new" / "m" / "mappings.yaml"
    )
    restore(desk.settings, archive)
    with pytest.raises(BackupRefused, match="is there already; move it away, or overwrite it with --force"):
        restore(desk.settings, archive)
    restore(desk.settings, archive, force=True)
    await desk.start()
    after = [(await desk.client.get(path, headers=headers)).text for path in PATHS]
    assert after == before


async def test_what_is_no_file_is_not_replaced_by_an_archive(desk: Desk, tmp_path: Path) -> None:
    await desk.start()
    pipe = tmp_path / "pipe"  # as good as /dev/null, which nobody can spare
    os.mkfifo(pipe)
    with pytest.raises(BackupRefused, match="pipe is no file that could be written over; name the archive"):
        back_up(desk.settings, pipe)
    assert pipe.is_fifo()


def packed(path: Path, *members: tuple[str, bytes, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, kind, content in members:
            member = tarfile.TarInfo(name)
            member.type, member.size, member.linkname = kind, len(content), "/etc/passwd"
            archive.addfile(member, io.BytesIO(content))
    return path


@pytest.mark.parametrize(
    ("name", "kind", "content", "why"),
    [
        ("../outside", tarfile.REGTYPE, b"x", "does not belong in one"),
        ("/etc/cron.d/x", tarfile.REGTYPE, b"x", "does not belong in one"),
        ("state/tokens.json", tarfile.SYMTYPE, b"", "does not belong in one"),
        ("mappings.yaml", tarfile.LNKTYPE, b"", "does not belong in one"),
        ("mappings.yaml", tarfile.REGTYPE, b"x", "it has no state/manager.sqlite"),
    ],
)
def test_an_archive_with_anything_else_in_it_changes_nothing(
    desk: Desk, tmp_path: Path, name: str, kind: bytes, content: bytes, why: str
) -> None:
    source = packed(tmp_path / "x.tar.gz", (name, kind, content))
    before = desk.file.read_bytes()
    with pytest.raises(BackupRefused, match=why):
        restore(desk.settings, source, force=True)
    assert (desk.file.read_bytes(), desk.settings.state_dir.exists()) == (before, False)


def test_what_is_no_archive_and_a_folder_without_a_state_are_told(desk: Desk, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"no archive")
    with pytest.raises(BackupRefused, match="cannot be read as a backup"):
        restore(desk.settings, tmp_path / "x", force=True)
    with pytest.raises(BackupRefused, match="holds no state of a manager"):
        back_up(desk.settings, tmp_path / "y")
    assert not (tmp_path / "y").exists()


async def test_a_restore_that_fails_at_its_last_file_changes_none(desk: Desk, tmp_path: Path) -> None:
    await desk.start()
    create_token(desk.settings.state_dir, "anna", Role.ADMIN, "2026-11-22T12:00:00Z")
    await desk.stop()
    archive = tmp_path / "backup.tar.gz"
    back_up(desk.settings, archive)
    create_token(desk.settings.state_dir, "later", Role.ADMIN, "2026-11-22T12:00:00Z")
    state = desk.settings.state_dir
    before = {path.name: path.read_bytes() for path in state.iterdir()}
    in_the_way = desk.file.with_name(".mappings.yaml.restored")
    in_the_way.mkdir()
    with pytest.raises(BackupRefused, match="cannot restore"):
        restore(desk.settings, archive, force=True)
    assert {path.name: path.read_bytes() for path in state.iterdir()} == before
    in_the_way.rmdir()
    restore(desk.settings, archive, force=True)
    assert b"later" not in (state / "tokens.json").read_bytes()
    assert not [*state.glob(".*"), *desk.file.parent.glob(".*")]
