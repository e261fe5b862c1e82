"""`gpio-bridge record`: what really happens in a house, and what its dispatcher makes of it, in a file."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from bridge.cli.broker_options import Config, Host, Port, Root, Site, Timeout

if TYPE_CHECKING:
    from bridge.mqtt.settings import MqttSettings
    from bridge.mqtt.transport import Message
    from bridge.testing.recording import Head, RecordingFile

LINGER_S: Final = 1.0
"""So long the recorder listens to the dispatcher after the last message: what it decides comes behind it."""
PATIENCE_S: Final = 5.0
"""So long a dispatcher may take to answer."""


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
    dispatcher: Annotated[
        str | None,
        typer.Option(
            help="Record what this dispatcher, http://HOST:8089, makes of it, too; without it, that of the running `up`"
            " or the one on this machine."
        ),
    ] = None,
    config: Config = None,
    host: Host = None,
    port: Port = None,
    root: Root = None,
    site: Site = None,
    timeout: Timeout = 10.0,
) -> None:
    """Write every message that the dispatcher of a site reads into a file, and what it decides, as JSON lines.

    Looks on: it takes nothing away from the dispatcher, and leaves no session at the broker. Where no dispatcher can be
    asked, the messages alone are recorded.
    """
    import logging

    from bridge.cli.client import dispatcher_url
    from bridge.cli.events import place
    from bridge.cli.run import run_until_signal
    from bridge.core.topics import Topics
    from bridge.dispatcher.intake import filters
    from bridge.mapping_file import load_mappings
    from bridge.mapping_file.timezone import local_timezone
    from bridge.testing.recording import Head, RecordingFile

    # A connection that is not there is told by this command itself, once and in its own words.
    logging.getLogger("bridge").addHandler(logging.NullHandler())
    span_s = None if span is None else _seconds(span)
    mqtt, found_root, found_site = place(config, host, port)
    root, site, zone = root or found_root, site or found_site, local_timezone()
    foreign = load_mappings(mappings, local_timezone=zone, root=root).foreign_filters() if mappings is not None else ()
    head = Head(root, site, zone, filters(Topics(root), site, *foreign))
    # A broker that was named may be of another site than the dispatcher that happens to be here.
    url = dispatcher_url(dispatcher) if dispatcher is not None or (config is None and host is None) else None
    with RecordingFile(output, head, append=append) as file:
        recorder = _Recorder(file, url, wanted=dispatcher is not None)
        run_until_signal(lambda stop: recorder.run(stop, mqtt, head, timeout, span_s))
    fired = "" if recorder.fired is None else f", {recorder.fired} invocations with them"
    print(f"{output}: {recorder.count} messages recorded{fired}", flush=True)


class _Recorder:
    """Writes what an onlooker hears, and what the dispatcher at `url` decides; counts both."""

    def __init__(self, file: RecordingFile, url: str | None, *, wanted: bool) -> None:
        from bridge.clock import RealClock

        self.count = 0
        self.fired: int | None = None
        """None when nobody listens to a dispatcher."""
        self._file = file
        self._url = url
        self._wanted = wanted
        self._clock = RealClock("always")

    async def run(
        self, stop: asyncio.Event, mqtt: MqttSettings, head: Head, timeout_s: float, span_s: float | None
    ) -> None:
        from bridge.mqtt.paho import connector
        from bridge.testing.onlooker import Onlooker

        def started() -> None:
            also = "" if self.fired is None else f", and what {self._url} decides"
            print(f"recording {', '.join(head.filters)} from {mqtt.address}{also}", flush=True)
            if span_s is not None:
                asyncio.get_running_loop().call_later(span_s, stop.set)

        onlooker = Onlooker(
            connector(mqtt, self._clock), self._clock, head.filters, heard=self._write, gap=self._tell_gap
        )
        # First the dispatcher: of every message that is recorded its decision can be heard.
        listening = await self._listen(timeout_s)
        looking = onlooker.run(stop, started, address=mqtt.address, timeout_s=timeout_s)
        if listening is None:
            await looking
            return
        looked = asyncio.create_task(looking, name="onlooker")
        try:
            await asyncio.wait((looked, listening), return_when=asyncio.FIRST_COMPLETED)
            if looked.done():
                looked.result()
                await asyncio.wait((listening,), timeout=LINGER_S)
            if listening.done():
                listening.result()  # it only ends when what it hears cannot be kept
        finally:
            for task in (looked, listening):
                task.cancel()
            await asyncio.gather(looked, listening, return_exceptions=True)

    async def _listen(self, timeout_s: float) -> asyncio.Task[None] | None:
        """Begin to listen to the dispatcher. Raises NotRunning where one was asked for and does not answer."""
        from bridge.errors import NotRunning
        from bridge.testing.feed_listener import FeedListener

        if self._url is None:
            self._tell("only the messages are recorded, not what fires; say --dispatcher for that")
            return None
        listener = FeedListener(self._url, self._clock, heard=self._write_decision, gap=self._tell_deaf)
        listening = asyncio.create_task(listener.run(), name="listener at the dispatcher")
        first = asyncio.create_task(listener.tried.wait(), name="listener begins")
        await asyncio.wait((listening, first), timeout=min(timeout_s, PATIENCE_S), return_when=asyncio.FIRST_COMPLETED)
        first.cancel()
        if listener.connected:
            self.fired = 0
            return listening
        listening.cancel()
        await asyncio.gather(listening, first, return_exceptions=True)
        problem = listener.problem or f"no dispatcher answers at {self._url}"
        if self._wanted:
            raise NotRunning(f"{problem}; without --dispatcher the messages alone are recorded")
        self._tell(f"only the messages are recorded, not what fires: {problem}; say --dispatcher for that")
        return None

    def _write(self, message: Message) -> None:
        from bridge.testing.recording import Recorded

        self._file.write(Recorded(self._clock.now(), message.topic, message.payload, message.retain))
        self.count += 1

    def _write_decision(self, line: dict[str, Any]) -> None:
        from bridge.testing.live import worth_keeping
        from bridge.testing.recording import Decided

        kept = worth_keeping(line)
        if kept is not None:
            self._file.write(Decided(kept))
            self.fired = (self.fired or 0) + (kept["type"] == "attempt")

    def _tell_gap(self, reason: str) -> None:
        self._tell(f"the recording has a gap from {self._clock.now():%H:%M:%S} UTC: {reason}")

    def _tell_deaf(self, reason: str) -> None:
        self._tell(f"what fires is not recorded from {self._clock.now():%H:%M:%S} UTC: {reason}")

    def _tell(self, text: str) -> None:
        print(f"gpio-bridge: {text}", file=sys.stderr, flush=True)


def _seconds(text: str) -> float:
    from bridge.config import seconds

    try:
        return seconds(text)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--for") from error
