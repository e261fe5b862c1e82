"""How many calls of functions an event takes on the loop's thread, in the agent and in the dispatcher.

Alone, with all that comes after it; at 1,000 a second, where they share their commits; and in a burst, where they share
most. A busy machine changes little of the first and of the last, so that two versions can be compared where their times
cannot.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, Final

from benchmarks import parts
from benchmarks.agent_burst import agent
from benchmarks.dispatcher_burst import MAPPING, SENSORS
from benchmarks.figures import Size, Table
from benchmarks.processes import BenchmarkError, Role

ALONE: Final = 100
TOGETHER: Final = 5_000
PACE_S: Final = 0.001
REST_S: Final = 0.03
"""After an event alone: acknowledgements, confirmation and commit belong to it."""
_WARM_UP: Final = 50
_WAIT_S: Final = 60.0


Counted = dict[str, tuple[float, float]]
"""Calls of Python and of C for each event, by how it came."""


def run(size: Size, folder: Path) -> list[Table]:
    """Both programs; one round each, since rounds differ by little."""
    alone, together = size.of(ALONE, 5), size.of(TOGETHER, 20)
    rows = [
        [f"{name}, {way}", f"{python:.0f}", f"{c:.0f}"]
        for name, measure in (("agent", _agent), ("dispatcher", _dispatcher))
        for way, (python, c) in measure(folder / name, alone, together).items()
    ]
    notes = [
        f"{alone} events alone, {REST_S * 1000:g} ms after the one before has arrived; {together:,} of the others.",
        "On the loop's thread, as sys.setprofile tells: what drives the mock pins and what writes files is not in it.",
    ]
    return [Table("Calls of functions for each event", ("", "of Python", "of C"), rows, notes)]


def _agent(folder: Path, alone: int, together: int) -> Counted:
    folder.mkdir()
    with ExitStack() as stack:
        pins, subscriber = stack.enter_context(agent(folder))

        def send(count: int, interval_s: float) -> None:
            subscriber.ask("reset")
            pins.ask("toggle", count=count, interval_s=interval_s)
            _all_came(subscriber.ask("wait", count=count, within_s=_WAIT_S), count)

        return _counted(pins, send, alone, together)


def _dispatcher(folder: Path, alone: int, together: int) -> Counted:
    folder.mkdir()
    with ExitStack() as stack:
        broker = stack.enter_context(parts.broker(folder))
        sink = stack.enter_context(Role("sink", folder))
        url = f"http://127.0.0.1:{sink.hello['port']}"
        dispatcher = stack.enter_context(parts.counted_dispatcher(folder, broker.port, url, MAPPING))
        publisher = stack.enter_context(Role("publisher", folder, str(broker.port)))

        def send(count: int, interval_s: float) -> None:
            sink.ask("reset")
            how = "pace" if interval_s else "burst"
            publisher.ask(how, count=count, sensors=SENSORS, foreign=False, epoch="bench", interval_s=interval_s)
            _all_came(sink.ask("wait", count=count, within_s=_WAIT_S), count)

        return _counted(dispatcher, send, alone, together)


def _counted(program: Role, send: Callable[[int, float], None], few: int, many: int) -> Counted:
    def one_by_one() -> None:
        for _ in range(few):
            send(1, 0)
            time.sleep(REST_S)

    send(_WARM_UP, 0)
    ways: dict[str, tuple[int, Callable[[], None]]] = {
        "an event alone": (few, one_by_one),
        "1,000 events a second": (many, partial(send, many, PACE_S)),
        "events in a burst": (many, partial(send, many, 0)),
    }
    found: Counted = {}
    for way, (count, happen) in ways.items():
        program.ask("begin")
        happen()
        time.sleep(REST_S)
        calls = program.ask("end")
        found[way] = calls["python"] / count, calls["c"] / count
    return found


def _all_came(found: Mapping[str, Any], count: int) -> None:
    if found["count"] != count:
        raise BenchmarkError(f"{found['count']} of {count} events came")
