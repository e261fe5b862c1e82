"""`gpio-bridge record` and `gpio-bridge replay`: other mappings tried on what really happened in a house."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bridge.cli.broker_options import Config, Host, Port, Root, Site, Timeout

if TYPE_CHECKING:
    from bridge.core.mapping import MappingSet
    from bridge.mqtt.settings import MqttSettings
    from bridge.mqtt.transport import Message
    from bridge.testing.backtest import Backtest, Difference, Fired
    from bridge.testing.recording import Head, RecordingFile


def record(
    output: Annotated[Path, typer.Option("--output", "-o", help="The file to write.", dir_okay=False)],
    mappings: Annotated[
        Path | None,
        typer.Option(
            help="Record what other MQTT devices say on the topics of this mapping file, too.", dir_okay=False
        ),
    ] = None,
    append: Annotated[bool, typer.Option("--append", help="Go on with a file that is there already.")] = False,
    span: Annotated[
        str | None, typer.Option("--for", metavar="duration", help="Stop after so long, such as 1h; else on Ctrl-C.")
    ] = None,
    config: Config = None,
    host: Host = None,
    port: Port = None,
    root: Root = None,
    site: Site = None,
    timeout: Timeout = 10.0,
) -> None:
    """Write every message that the dispatcher of a site reads into a file, one JSON object a line.

    Looks on: it takes nothing away from the dispatcher, and leaves no session at the broker.
    """
    import logging

    from bridge.cli.events import place
    from bridge.cli.run import run_until_signal
    from bridge.core.topics import Topics
    from bridge.dispatcher.intake import filters
    from bridge.dispatcher.timezone import local_timezone
    from bridge.mapping_file import load_mappings
    from bridge.testing.recording import Head, RecordingFile

    # A connection that is not there is told by this command itself, once and in its own words.
    logging.getLogger("bridge").addHandler(logging.NullHandler())
    span_s = None if span is None else _seconds(span)
    mqtt, found_root, found_site = place(config, host, port)
    root, site, zone = root or found_root, site or found_site, local_timezone()
    foreign = load_mappings(mappings, local_timezone=zone, root=root).foreign_filters() if mappings is not None else ()
    head = Head(root, site, zone, filters(Topics(root), site, *foreign))
    with RecordingFile(output, head, append=append) as file:
        recorder = _Recorder(file)
        run_until_signal(lambda stop: recorder.run(stop, mqtt, head, timeout, span_s))
    print(f"{output}: {recorder.count} messages recorded", flush=True)


class _Recorder:
    """Writes what an onlooker hears, and counts it."""

    def __init__(self, file: RecordingFile) -> None:
        from bridge.clock import RealClock

        self.count = 0
        self._file = file
        self._clock = RealClock("always")

    async def run(
        self, stop: asyncio.Event, mqtt: MqttSettings, head: Head, timeout_s: float, span_s: float | None
    ) -> None:
        from bridge.mqtt.paho import connector
        from bridge.testing.onlooker import Onlooker

        def started() -> None:
            print(f"recording {', '.join(head.filters)} from {mqtt.address}", flush=True)
            if span_s is not None:
                asyncio.get_running_loop().call_later(span_s, stop.set)

        onlooker = Onlooker(
            connector(mqtt, self._clock), self._clock, head.filters, heard=self._write, gap=self._tell_gap
        )
        await onlooker.run(stop, started, address=mqtt.address, timeout_s=timeout_s)

    def _write(self, message: Message) -> None:
        from bridge.testing.recording import Recorded

        self._file.write(Recorded(self._clock.now(), message.topic, message.payload, message.retain))
        self.count += 1

    def _tell_gap(self, reason: str) -> None:
        print(f"gpio-bridge: the recording has a gap from {self._clock.now():%H:%M:%S} UTC: {reason}", file=sys.stderr)


def replay(
    recording: Annotated[Path, typer.Argument(help="What `gpio-bridge record` has written.", dir_okay=False)],
    mappings: Annotated[Path, typer.Option(help="The mapping file to try.", dir_okay=False)],
    against: Annotated[
        Path | None, typer.Option(help="Another mapping file: print what the two fire differently.", dir_okay=False)
    ] = None,
    fail_on_difference: Annotated[
        bool, typer.Option("--fail-on-difference", help="Leave with exit code 1 when there is any.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the outcome as JSON.")] = False,
) -> None:
    """Print what mappings would have fired on a recording. Needs no broker, invokes nothing.

    Decides as the dispatcher does, each message at the time it was received; functions count as having succeeded.
    """
    from bridge.cli.exit_codes import FAILED
    from bridge.testing.backtest import Backtest, compare
    from bridge.testing.recording import Head, Recorded, read

    if fail_on_difference and against is None:
        raise typer.BadParameter("--fail-on-difference needs --against")
    tests: list[Backtest] = []
    files = [file for file in (mappings, against) if file is not None]
    messages, first, last, unheard = 0, None, None, dict[str, None]()
    head: Head | None = None
    for line in read(recording):
        if isinstance(line, Head):
            head = line
            unheard.update(dict.fromkeys(_unheard(files, head)))
            continue
        if not tests:
            assert isinstance(line, Recorded)
            assert head is not None, "a recording begins with a head"
            first = line.received_at
            tests = [Backtest(_load(file, head), root=head.root, start=first, explain=len(files) > 1) for file in files]
        for test in tests:
            test.take(line)
        messages, last = messages + 1, line.received_at
    for topic_filter in unheard:
        print(f"gpio-bridge: {topic_filter} was not recorded; say --mappings to record", file=sys.stderr)
    if not tests or first is None or last is None:
        print(f"{recording}: no message was recorded")
        return
    differences = list(compare(*tests)) if len(tests) > 1 else []
    if as_json:
        _print_json(messages, files, tests, differences)
    else:
        span = f"{first:%Y-%m-%d %H:%M:%S} to {last:%Y-%m-%d %H:%M:%S} UTC"
        print(f"{messages} messages from {span}, {tests[0].events} of them events")
        for text in (*_fired(tests[0]), "", *_counts(files, tests)) if against is None else _counts(files, tests):
            print(text)
        for text in _differences(differences, mappings, against) if against is not None else ():
            print(text)
    if fail_on_difference and differences:
        raise typer.Exit(FAILED)


def _seconds(text: str) -> float:
    from bridge.config import seconds

    try:
        return seconds(text)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--for") from error


def _load(file: Path, head: Head) -> MappingSet:
    """The mappings as the recorded site would understand them."""
    from bridge.mapping_file import load_mappings

    return load_mappings(file, local_timezone=head.timezone, root=head.root)


def _unheard(files: list[Path], head: Head) -> Iterator[str]:
    """What the mappings select of other devices, and nobody listened to."""
    from bridge.core.topics import cover

    for file in files:
        for wanted in _load(file, head).foreign_filters():
            if not set(cover((*head.filters, wanted))) <= set(head.filters):
                yield wanted


def _counts(files: list[Path], tests: list[Backtest]) -> Iterator[str]:
    counts = [test.counts() for test in tests]
    names = list(dict.fromkeys(name for counted in counts for name in counted))
    width = max(map(len, ("mapping", *names)))
    heads = [str(file) for file in files] if len(files) > 1 else ["fired"]
    yield f"{'mapping':<{width}}  {'  '.join(heads)}"
    for name in names:
        cells = [str(counted[name]) if name in counted else "-" for counted in counts]
        yield f"{name:<{width}}  {'  '.join(f'{cell:>{len(head)}}' for cell, head in zip(cells, heads, strict=True))}"
    for file, test in zip(files, tests, strict=True):
        if test.waiting:
            yield f"{file}: {test.waiting} still waited for their `for` when the recording ended"
        if test.unreadable:
            yield f"{file}: {len(test.unreadable)} messages could not be read, the first one: {test.unreadable[0]}"


def _fired(test: Backtest) -> Iterator[str]:
    for fired in sorted(test.fired.values(), key=lambda one: one.at):
        yield _line(fired)


def _differences(found: list[Difference], new: Path, old: Path) -> Iterator[str]:
    titles = {"new": f"only with {new}", "old": f"only with {old}", "both": f"otherwise with {new}"}
    if not found:
        yield "\nno difference"
    for only, title in titles.items():
        chosen = [one for one in found if one.only == only]
        if chosen:
            yield f"\n{title}: {len(chosen)}"
        for one in chosen:
            yield f"{_line(one.fired)}\n    {one.reason}"


def _line(fired: Fired) -> str:
    event = fired.event
    source = event.topic if event.node is None else f"{event.node}/{event.sensor} {event.name}"
    at = f"{fired.at:%Y-%m-%d %H:%M:%S.%f}"[:-3]
    return f"{at}  {source}  {event.id} → {fired.mapping} → {fired.function}"


def _print_json(messages: int, files: list[Path], tests: list[Backtest], differences: list[Difference]) -> None:
    import json

    document = {
        "messages": messages,
        "events": tests[0].events,
        "mappings": [
            {
                "file": str(file),
                "fired": [_told(fired) for fired in test.fired.values()],
                "counts": test.counts(),
                "waiting": test.waiting,
                "unreadable": test.unreadable,
            }
            for file, test in zip(files, tests, strict=True)
        ],
        "differences": [{"only": one.only, **_told(one.fired), "reason": one.reason} for one in differences],
    }
    print(json.dumps(document, indent=1))


def _told(fired: Fired) -> dict[str, str]:
    from bridge.core.event import rfc3339

    return {
        "event_id": fired.event.id,
        "at": rfc3339(fired.at),
        "mapping": fired.mapping,
        "function": fired.function,
        "topic": fired.event.topic,
    }
