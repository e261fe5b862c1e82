"""The dispatcher exactly as `gpio-bridge dispatcher` runs one, whose calls are counted when asked."""

from __future__ import annotations

import argparse
import asyncio
import sys
import threading
from pathlib import Path

from benchmarks.roles.calls import Calls
from benchmarks.roles.conversation import commands, say
from bridge.cli.logs import configure
from bridge.cli.run import run_program
from bridge.clock import RealClock
from bridge.config import load
from bridge.dispatcher.dispatcher import Dispatcher
from bridge.dispatcher.settings import DispatcherSettings
from bridge.mqtt.paho import connector


def main(config: Path) -> int:
    """Run until SIGTERM."""
    configure("warning", default="warning")
    settings = load(config, DispatcherSettings)

    def make(clock: RealClock) -> Dispatcher:
        return Dispatcher(settings, clock=clock, connect=connector(settings.mqtt, clock))

    def started(_: Dispatcher) -> None:
        calls = Calls(asyncio.get_running_loop())
        threading.Thread(target=_answer, args=(calls,), name="asked", daemon=True).start()

    return run_program(make, settings.clock, started=started)


def _answer(calls: Calls) -> None:
    say(ready=True)
    for command in commands():
        say(**(calls.begin if command["do"] == "begin" else calls.end)(command))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("config", type=Path)
    sys.exit(main(parser.parse_args().config))
