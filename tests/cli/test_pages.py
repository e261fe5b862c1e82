"""Pages that lead through several commands do what they say: each command is typed, each output compared."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from bridge.core.event import Observation, encode, rfc3339
from bridge.core.topics import SensorEventTopic, Topics
from bridge.testing.recording import Decided, Head, Recorded, RecordingFile
from bridge.ulid import mint
from tests.cli.conftest import Command
from tests.docs.walk import Walk
from tests.mosquitto import Mosquitto
from tests.testing.test_plugin import everything_is_imported, run

__all__ = ["everything_is_imported"]

DOCS = Path(__file__).parents[2] / "docs"
LAMP = "version: 1\nmappings: {lamp: {select: {topic: shelly/+}, invoke: log}}\n"

Begin = Callable[[str], Walk]


@pytest.fixture
def begin(
    tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch, pytester: pytest.Pytester
) -> Iterator[Begin]:
    """Begins a walk through a page, in an empty folder."""
    folder = tmp_path / "empty"
    folder.mkdir()

    def gpio_bridge(arguments: list[str], here: Path) -> str:
        monkeypatch.chdir(here)
        result = command(*arguments)
        return result.stdout + result.stderr

    def tests(arguments: list[str], here: Path) -> str:
        monkeypatch.chdir(here)
        return "\n".join(run(pytester, "-p", "no:cacheprovider", *arguments).outlines)

    commands = {"gpio-bridge": gpio_bridge, "pytest": tests}
    with ExitStack() as walks:
        yield lambda page: walks.enter_context(Walk(DOCS / page, folder, commands))


def test_the_page_about_tests_shows_what_comes(begin: Begin) -> None:
    assert begin("how-to/test-your-house.md").through() == 3


@pytest.mark.real("mosquitto")
def test_the_page_about_recordings_shows_what_comes(begin: Begin, tmp_path: Path) -> None:
    write_night(tmp_path / "empty" / "night.jsonl")
    with Mosquitto(tmp_path) as broker, dispatcher() as url:
        here = {
            "-o night.jsonl": "-o tonight.jsonl",
            "/etc/gpio-bridge/mappings.yaml": "old.yaml",
            "--host 192.168.1.10": f"--host {broker.host} --port {broker.port}",
            "http://192.168.1.10:8089": url,
            "--for 12h": "--for 10ms",
        }
        (tmp_path / "empty" / "old.yaml").write_text(LAMP, encoding="utf-8")
        assert begin("how-to/record-and-replay.md").through(instead=here) == 4


def write_night(path: Path) -> None:
    """The recording that the page is about: a front door, a lamp, and what the mappings of the page made of them."""
    topics, night = Topics(), datetime(2026, 11, 22, 22, tzinfo=UTC)
    where = topics.parse(topics.event("home", "pi-1", "front-door"))
    assert isinstance(where, SensorEventTopic)
    with RecordingFile(path, Head("gpio-bridge", "home", "Europe/London", ("shelly/+",))) as file:
        for sequence, (seconds, detected, fires) in enumerate(
            ((607.123, 1, 1), (634.2, 0, 0), (1461.123, 1, 1), (1490, 0, 0), (3335.123, 1, 1), (3402.9, 0, 0)), 1
        ):
            received_at = night + timedelta(seconds=seconds)
            seen = Observation(
                kind="pir",
                name="motion.detected" if detected else "motion.ended",
                value=bool(detected),
                unit=None,
                initial=False,
                time=received_at - timedelta(microseconds=3544),
                timesynced=True,
            )
            event_id = mint(seen.time, bytes(10))
            body = encode(seen, at=where, id=event_id, epoch="e", sequence=sequence)
            if sequence == 5:
                lamp_at = night + timedelta(seconds=1860.5)
                file.write(Recorded(lamp_at, "shelly/hall", b"on"))
                known = {"at": rfc3339(lamp_at), "event_id": mint(lamp_at, b"elsewhere.")}
                file.write(Decided({"type": "event", "topic": "shelly/hall", **known}))
                file.write(Decided({"type": "attempt", "mapping": "hall-lamp", "function": "log", **known}))
            file.write(Recorded(received_at, where.text, body))
            known = {"at": rfc3339(received_at), "event_id": event_id}
            file.write(Decided({"type": "event", **known}))
            if fires:
                file.write(Decided({"type": "attempt", "mapping": "night-intruder", "function": "alarm", **known}))


class _Feed(BaseHTTPRequestHandler):
    """A dispatcher's feed on which nothing happens."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.flush()
        self.rfile.read()  # until the listener has gone

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its own name
        """Print nothing."""


@contextmanager
def dispatcher() -> Iterator[str]:
    """The address of something that tells what a dispatcher decides while nothing happens."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Feed) as server:
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            serving.join()


def test_the_tutorial_leads_where_it_says(begin: Begin) -> None:
    assert begin("tutorial.md").through() > 20
