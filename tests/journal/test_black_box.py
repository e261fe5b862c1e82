"""The black box: what was being handled is known to the next life, also after a kill."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.journal.black_box import BlackBox, Handled

KILLED = """
import os, signal, sys
from pathlib import Path
from bridge.journal.black_box import BlackBox
box = BlackBox(Path(sys.argv[1])).__enter__()
box.enter("first", b"1" * 1000)
box.enter("lamp/kitchen", b"on")
box.plan()
if sys.argv[2] == "after":
    box.leave()
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize(("when", "found"), [("during", Handled("planning", "lamp/kitchen", b"on")), ("after", None)])
def test_what_was_being_handled_at_a_kill_is_found_once(tmp_path: Path, when: str, found: Handled | None) -> None:
    path = tmp_path / "black-box"
    done = subprocess.run([sys.executable, "-c", KILLED, str(path), when], check=False)
    assert done.returncode == -9
    with BlackBox(path) as box:
        assert box.found == found
    with BlackBox(path) as box:
        assert box.found is None


@settings(max_examples=30)
@given(topic=st.text(max_size=40), payload=st.binary(max_size=500))
def test_any_message_comes_back_as_it_was(tmp_path_factory: pytest.TempPathFactory, topic: str, payload: bytes) -> None:
    topic = topic.encode("utf-8", "ignore").decode()
    path = tmp_path_factory.mktemp("box") / "black-box"
    with BlackBox(path) as box:
        box.enter(topic, payload)
    with BlackBox(path) as box:
        assert box.found == Handled("reading", topic, payload)


def test_of_a_very_long_payload_the_beginning_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "black-box"
    with BlackBox(path) as box:
        box.enter("t" * 65535, b"x" * 1_000_000)
    with BlackBox(path) as box:
        assert box.found is not None
        assert (len(box.found.topic), set(box.found.payload)) == (65535, {ord("x")})


def test_a_file_of_something_else_is_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "black-box"
    path.write_bytes(b"\xff" * 300)
    with BlackBox(path) as box:
        assert box.found is None


def test_a_place_where_no_file_can_be_made_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="black-box"), BlackBox(tmp_path / "nowhere" / "black-box"):
        pass
