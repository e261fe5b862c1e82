"""The walk through a page: what it reads there, and that it notices what is not as the page shows."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.walk import Typed, Walk, Written, expected, plain, steps

PAGE = """# A page

```yaml
# conf/agent.yaml
node: pi-1
```

```yaml
of: another kind
```

```console
$ cat conf/agent.yaml
node: pi-1
$ pip install it
$ echo one && echo two > two.txt && cat two.txt
one
two
```
"""


def walk(folder: Path, text: str) -> int:
    page = folder / "page.md"
    page.write_text(text, encoding="utf-8")
    here = folder / "here"
    here.mkdir()

    def ask(arguments: list[str], place: Path) -> str:
        return f"{place.relative_to(folder)}: {' '.join(arguments)}"

    with Walk(page, here, {"ask": ask}) as walking:
        return walking.through(instead={"there": "here"})


def test_a_page_is_its_files_and_commands_in_order() -> None:
    assert list(steps(PAGE)) == [
        Written(4, "conf/agent.yaml", "node: pi-1\n"),
        Typed(13, "cat conf/agent.yaml", "node: pi-1\n"),
        Typed(15, "pip install it", ""),
        Typed(16, "echo one && echo two > two.txt && cat two.txt", "one\ntwo\n"),
    ]


def test_lines_without_a_command_are_of_what_still_runs() -> None:
    block = "```console\nfirst\n^C\nlast\n```\n"
    assert list(steps(block)) == [Typed(2, None, "first\n"), Typed(3, "^C", "last\n")]


def test_what_the_page_says_is_done(tmp_path: Path) -> None:
    assert walk(tmp_path, PAGE) == 2


def test_folders_and_what_stands_for_others_are_kept_in_mind(tmp_path: Path) -> None:
    page = "```console\n$ mkdir a && cd a\n$ ask who is there\nhere/a: who is here\n```\n"
    assert walk(tmp_path, page) == 2


@pytest.mark.parametrize("wrong", ["node: pi-2", "node: pi-1\nmore", "node:", ""])
def test_an_output_that_is_not_the_one_shown_is_told_with_its_place(tmp_path: Path, wrong: str) -> None:
    page = PAGE.replace(
        "$ cat conf/agent.yaml\nnode: pi-1\n", f"$ cat conf/agent.yaml\n{wrong}\n".replace("\n\n", "\n")
    )
    with pytest.raises(AssertionError, match=r"page\.md:13: cat conf/agent\.yaml\nthe page shows\n"):
        walk(tmp_path, page)


@pytest.mark.parametrize(
    ("shown", "printed", "same"),
    [
        ("at 2026-11-22 22:10:07 UTC\n", "at 2027-01-02 03:04:05.678 UTC\n", True),
        ("found 1.5 s apart\n", "found 23.456 s apart\n", True),
        ("found 60 s apart\n", "found 61 s apart\n", False),
        ("200  9 ms\n", "200  1234 ms\n", True),
        ("a … c\n", "a b b c\n", True),
        ("a … c\n", "a\nc\n", False),
        ("a\n…\nc\n", "a\nb\nb\nc\n", True),
        ("a\n…\nc\n", "a\nc\n", True),
        ("a\n…\nc\n", "a\nb\n", False),
        ("http://127.0.0.1:80  x\n", "http://127.0.0.1:54321 x\n", True),
        ("fired 2\n", "fired 3\n", False),
    ],
)
def test_only_what_varies_may_differ(shown: str, printed: str, same: bool) -> None:
    assert bool(expected(shown).fullmatch(plain(printed))) is same
