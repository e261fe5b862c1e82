"""Build contexts: what of a handler and its template goes into one."""

from __future__ import annotations

import re
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from bridge.errors import ImageError
from bridge.images.context import Context, context_of
from bridge.images.tags import tagged
from tests.real_parts import require


@pytest.fixture
def handler(tmp_path: Path) -> Path:
    folder = tmp_path / "hello"
    folder.mkdir()
    (folder / "handler.py").write_text("def handle(req): return req\n")
    return folder


Git = Callable[..., str]


@pytest.fixture
def git(handler: Path, monkeypatch: pytest.MonkeyPatch) -> Git:
    require("git")
    for part in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{part}_NAME", "A. Person")
        monkeypatch.setenv(f"GIT_{part}_EMAIL", "person@example.org")

    def run(*words: str) -> str:
        return subprocess.run(["git", "-C", handler, *words], check=True, capture_output=True, text=True).stdout.strip()

    return run


def paths(context: Context) -> set[str]:
    return {file.path for file in context.files}


def test_a_handler_takes_the_place_of_the_templates(handler: Path) -> None:
    context = context_of("python3-http", handler)
    (code,) = [file for file in context.files if file.path == "function/handler.py"]
    assert code.content() == b"def handle(req): return req\n"
    assert {"Dockerfile", "server.txt", "runtime/__main__.py"} <= paths(context)
    assert "function/requirements.txt" not in paths(context)


def test_a_folder_without_files_is_a_classic_function_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    found = {path for path in paths(context_of("classic", tmp_path / "empty")) if path.startswith("function/")}
    assert found == {"function/.keep"}


def test_what_is_copied_stands_beside_the_handler_at_its_own_place(handler: Path, tmp_path: Path) -> None:
    (tmp_path / "shared" / "models").mkdir(parents=True)
    (tmp_path / "shared" / "models" / "a.py").write_text("A = 1\n")
    (tmp_path / "shared" / "tool.sh").write_text("true\n")
    (tmp_path / "shared" / "tool.sh").chmod(0o755)
    copied = {place: tmp_path / place for place in ("shared/models", "shared/tool.sh")}
    found = {file.path: file for file in context_of("python3-http", handler, copied=copied).files}
    assert found["function/shared/models/a.py"].content() == b"A = 1\n"
    assert found["function/shared/tool.sh"].executable
    (handler / "Dockerfile").write_text("FROM scratch\n")
    assert "shared/models/a.py" in paths(context_of("dockerfile", handler, copied=copied))


def test_what_is_ignored_stays_out(handler: Path) -> None:
    (handler / ".dockerignore").write_text("# notes\n*.md\ndata\n!data/needed\n")
    for name in ("notes.md", "data/large", "data/needed", "build/old/handler.py", "template/x", "__pycache__/a.pyc"):
        (handler / name).parent.mkdir(parents=True, exist_ok=True)
        (handler / name).touch()
    found = {path for path in paths(context_of("python3", handler)) if path.startswith("function/")}
    assert found == {"function/.dockerignore", "function/handler.py", "function/data/needed"}


def test_a_handler_with_a_dockerfile_is_its_own_context(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM scratch\n")
    assert paths(context_of("dockerfile", tmp_path)) == {"Dockerfile"}


@pytest.mark.parametrize(
    ("lang", "told"),
    [
        ("dockerfile", "has no Dockerfile"),
        ("python3-http", "has no handler.py"),
        ("cobol", "no template for lang: cobol"),
    ],
)
def test_a_folder_that_does_not_fit_its_language_is_told(tmp_path: Path, lang: str, told: str) -> None:
    with pytest.raises(ImageError, match=told):
        context_of(lang, tmp_path)


def test_build_options_become_packages(handler: Path, tmp_path: Path) -> None:
    own = tmp_path / "template" / "mine"
    own.mkdir(parents=True)
    (own / "template.yml").write_text("language: mine\nbuild_options: [{name: dev, packages: [gcc, make]}]\n")
    folders = [tmp_path / "template"]
    context = context_of(
        "mine", handler, template_folders=folders, build_args={"ADDITIONAL_PACKAGE": "curl gcc"}, build_options=["dev"]
    )
    assert context.build_args == {"ADDITIONAL_PACKAGE": "curl gcc make"}
    with pytest.raises(ImageError, match="the template mine has no build option 'fast'; it has dev"):
        context_of("mine", handler, template_folders=folders, build_options=["fast"])


def test_an_archive_is_the_same_however_old_its_files_are(handler: Path) -> None:
    (handler / "run").write_text("#!/bin/sh")
    (handler / "run").chmod(0o755)
    context = context_of("python3-http", handler)
    with context.archive() as first:
        written = first.read()
    (handler / "handler.py").touch()
    with context.archive() as second:
        assert second.read() == written
        second.seek(0)
        with tarfile.open(fileobj=second) as tar:
            assert tar.getmember("function/run").mode == 0o755
            assert {member.uid for member in tar} == {0}


def test_an_images_name_can_tell_what_it_is_made_of(handler: Path, tmp_path: Path) -> None:
    assert tagged("reg:5000/a/hello", "latest", handler) == "reg:5000/a/hello"
    before = tagged("reg:5000/a/hello", "digest", handler)
    assert re.fullmatch("reg:5000/a/hello:[0-9a-f]{12}", before)
    assert tagged("reg:5000/a/hello:1", "digest", handler) == before
    (handler / "more.py").touch()
    changed = tagged("reg:5000/a/hello", "digest", handler)
    (tmp_path / "shared.py").write_text("A = 1\n")
    shared = tagged("reg:5000/a/hello", "digest", handler, {"shared.py": tmp_path / "shared.py"})
    assert len({before, changed, shared}) == 3


def test_git_tells_the_version_of_a_handler(handler: Path, git: Git) -> None:
    git("init", "--quiet", "--initial-branch", "feature/lamp")
    git("add", ".")
    git("commit", "--quiet", "--message", "First")
    commit = git("rev-parse", "--short", "HEAD")
    assert tagged("a/hello:1", "sha", handler) == f"a/hello:1-{commit}"
    assert tagged("a/hello", "branch", handler) == f"a/hello:latest-feature-lamp-{commit}"
    git("tag", "v1.2")
    assert tagged("a/hello:1", "describe", handler) == "a/hello:1-v1.2"


def test_where_git_knows_nothing_is_told(handler: Path) -> None:
    with pytest.raises(ImageError, match="git has no version for"):
        tagged("a/hello", "sha", handler)
