"""The comparisons run on real processes: ours, a small one in a peer's place, and ones that cannot be had."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from benchmarks import losses, peers_agent, peers_burst
from benchmarks.figures import Size, Table
from benchmarks.peers import installing
from benchmarks.peers.bare import BARE, HOP
from benchmarks.peers.installing import NotInstalledError, node_with, python_with
from benchmarks.peers.ours import AGENT, DISPATCHER
from benchmarks.peers.peer import AgentPeer, Peer, Place
from benchmarks.processes import Child
from benchmarks.wire import forbidden

TINY = Size(rounds=1, share=0.0)
pytestmark = pytest.mark.real("mosquitto")


@contextmanager
def _fake(place: Place) -> Iterator[Child]:
    script = str(Path(__file__).parent / "fake_peer.py")
    command = [sys.executable, script, str(place.broker_port), place.topic, place.url]
    with Child(command, place.folder / "fake.log") as child:
        yield child


@contextmanager
def _ends_at_once(place: Place) -> Iterator[Child]:
    with Child([sys.executable, "-c", "raise SystemExit('no such option')"], place.folder / "ends.log") as child:
        yield child


def _refuses() -> None:
    raise NotInstalledError("npm is missing; install it: sudo apt-get install npm")


FAKE = Peer("fake", _fake, share=0.5, told="The fake knows nothing.", retry_s=1.0)  # it never tries again
MISSING = Peer("missing", _fake, _refuses)
BROKEN = Peer("broken", _ends_at_once)


def _row(table: Table, name: str) -> Sequence[str]:
    return next(row for row in table.rows if row[0].startswith(name))


@pytest.mark.long
def test_our_dispatcher_and_a_peer_are_measured_side_by_side_and_lose_nothing(tmp_path: Path) -> None:
    tables = peers_burst.measure(TINY, tmp_path, [DISPATCHER, FAKE], peers_burst.works(TINY))

    assert len(tables) == 3
    for table in tables:
        ours, theirs = _row(table, "gpio-bridge"), _row(table, "fake")
        assert (ours[1], ours[6:]) == ("100", ["0", "0", "0"])
        assert theirs[6:] == ["0", "0", "0"]
        assert (ours[3], float(theirs[3]) > 0) == ("", True)


def test_a_slow_peer_gets_its_share_of_the_events_but_never_fewer_than_a_hundred() -> None:
    fast, slow = peers_burst.Work("fast", 20_000), peers_burst.Work("slow", 4_000, delay_ms=10)

    assert peers_burst.share_of(FAKE, fast) == 10_000
    assert peers_burst.share_of(FAKE, slow) == 4_000
    assert peers_burst.share_of(FAKE, peers_burst.Work("tiny", 100)) == 100


def test_a_peer_that_cannot_be_had_has_a_row_that_says_why_and_the_rest_goes_on(tmp_path: Path) -> None:
    [table] = peers_burst.measure(TINY, tmp_path, [FAKE, MISSING, BROKEN], peers_burst.works(TINY)[:1])

    assert _row(table, "fake")[1] == "100"
    assert _row(table, "missing") == ["missing (see below)", *[""] * 8]
    assert _row(table, "broken") == ["broken (see below)", *[""] * 8]
    told, why_missing, why_broken = table.notes
    assert told == "The fake knows nothing."
    assert why_missing == "missing: npm is missing; install it: sudo apt-get install npm"
    assert why_broken.startswith("broken: a process ended with 1")


@pytest.mark.long
def test_our_agent_a_bare_script_and_a_bare_socket_are_measured_side_by_side(tmp_path: Path) -> None:
    nowhere = AgentPeer("nowhere", BARE.start, "none", _refuses)

    [table] = peers_agent.measure(TINY, tmp_path, [AGENT, BARE, HOP, nowhere])

    for name in ("gpio-bridge", "a bare gpiozero + paho script", "a bare socket into the broker"):
        row = _row(table, name)
        assert 0 < float(row[1]) <= float(row[2]) <= float(row[3])
        assert (row[4] == "") == (forbidden() is not None)
        assert not row[4] or 0 < float(row[4]) < float(row[2])
        assert row[9] == "0"
    assert _row(table, "nowhere")[0] == "nowhere (see below)"
    assert table.notes[-1] == "nowhere: npm is missing; install it: sudo apt-get install npm"


@pytest.mark.long
def test_a_kill_and_a_failing_function_lose_nothing_of_ours_and_most_of_who_forgets(tmp_path: Path) -> None:
    [table] = losses.measure(TINY, tmp_path, [DISPATCHER, FAKE, MISSING])

    ours, theirs = _row(table, "gpio-bridge"), _row(table, "fake")
    assert (ours[1], ours[3]) == ("0 of 200", "0 of 100")
    assert int(theirs[1].split()[0]) > 50
    assert table.notes == ["missing: npm is missing; install it: sudo apt-get install npm"]


def test_a_requirement_that_cannot_be_installed_is_told_with_pips_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    with pytest.raises(NotInstalledError, match="no-such-folder"):
        python_with("nothing", [str(tmp_path / "no-such-folder")])

    assert not (installing.cache() / "nothing" / "installed.txt").exists()


def test_without_npm_the_command_that_installs_it_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(NotInstalledError, match="sudo apt-get install npm"):
        node_with("nothing", ["nothing"], least=(22, 9), fallback="node")
