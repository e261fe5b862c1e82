"""`gpio-bridge replay`: other mappings tried on what really happened in a house."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

if TYPE_CHECKING:
    from bridge.core.mapping import MappingSet
    from bridge.testing.backtest import Backtest, Difference, Fired
    from bridge.testing.live import Apart, Comparison, Live
    from bridge.testing.recording import Head

SHOWN: Final = 5
"""So many events are listed of each mapping that fires otherwise than it did."""


@dataclass(slots=True)
class Replayed:
    """A recording that was replayed: one backtest for each mapping file, and what was decided then."""

    files: list[Path]
    live: Live
    tests: list[Backtest] = field(default_factory=list)
    messages: int = 0
    first: datetime | None = None
    last: datetime | None = None
    unheard: dict[str, None] = field(default_factory=dict)
    """Topics that the mappings select, and nobody listened to."""


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
    """Print what mappings would have fired on a recording, and what fired then. Needs no broker, invokes nothing.

    Decides as the dispatcher does, each message at the time it was received; functions count as having succeeded. What
    fired then is known where `record` could listen to the dispatcher.
    """
    from bridge.cli.exit_codes import FAILED
    from bridge.testing.backtest import compare

    with _collecting_nothing():
        replayed = _replayed(recording, [file for file in (mappings, against) if file is not None])
    for topic_filter in replayed.unheard:
        _note(f"{topic_filter} was not recorded; say --mappings to record")
    if not replayed.tests:
        print(f"{recording}: no message was recorded")
        return
    if fail_on_difference and against is None and not replayed.live.told:
        raise typer.BadParameter("--fail-on-difference needs --against: what fired then was not recorded")
    if not replayed.live.told:
        _note("what fired then was not recorded; say --dispatcher to record")
    differences = list(compare(*replayed.tests)) if against is not None else []
    then = replayed.live.compare(replayed.tests[0]) if replayed.live.told else None
    if as_json:
        _print_json(replayed, differences, then)
    else:
        for text in _told(replayed, differences, then):
            print(text)
    if fail_on_difference and (differences if against is not None else then is not None and then.apart):
        raise typer.Exit(FAILED)


@contextmanager
def _collecting_nothing() -> Iterator[None]:
    """Keep the garbage collector away: it took a fifth to a third of the time, again and again through all that fired.

    What ends in a backtest is freed at once all the same: it is in no cycle, and no more memory is taken (measured).
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _replayed(recording: Path, files: list[Path]) -> Replayed:
    """Read a recording once, through all mapping files. Raises ConfigError."""
    from bridge.mapping_file import load_mappings
    from bridge.testing.backtest import Backtest, Course
    from bridge.testing.live import Live
    from bridge.testing.recording import Decided, Head, read

    replayed = Replayed(files, Live())
    head: Head | None = None
    course: Course | None = None
    sets: list[MappingSet] = []
    for line in read(recording):
        if isinstance(line, Head):
            head = line
            # As the recorded site would understand them.
            sets = [load_mappings(file, local_timezone=head.timezone, root=head.root) for file in files]
            replayed.unheard.update(dict.fromkeys(_unheard(sets, head)))
        elif isinstance(line, Decided):
            replayed.live.take(line)
        else:
            if course is None:
                assert head is not None, "a recording begins with a head"
                replayed.first = line.received_at
                course = Course(head.root, line.received_at)
                replayed.tests = [Backtest(mappings, course, explain=True) for mappings in sets]
            event = course.take(line)
            if event is not None:
                replayed.live.receive(event, line.received_at)
            replayed.messages += 1
            replayed.last = line.received_at
    return replayed


def _told(replayed: Replayed, differences: list[Difference], then: Comparison | None) -> Iterator[str]:
    """Everything there is to say, for people."""
    files, tests = replayed.files, replayed.tests
    span = f"{replayed.first:%Y-%m-%d %H:%M:%S} to {replayed.last:%Y-%m-%d %H:%M:%S} UTC"
    yield f"{replayed.messages} messages from {span}, {tests[0].events} of them events"
    if len(files) == 1:
        yield from _fired(tests[0])
        yield ""
    yield from _counts(files, tests)
    if len(files) > 1:
        yield from _differences(differences, *files)
    if then is not None:
        yield from _then(then, files[0])


def _then(found: Comparison, file: Path) -> Iterator[str]:
    """What fired on the live site, and what the mappings of a file fire."""
    alone = {"then": found.only("then"), "now": found.only("now")}
    pairs = sorted({*found.both, *alone["then"], *alone["now"]})
    yield f"\nthen, and now with {file}: {found.events} events that both have judged"
    if found.unknown:
        yield f"{found.unknown} events are left out: what the dispatcher decided about them was not recorded"
    if found.missed:
        yield f"{found.missed} decisions came too fast to be recorded: what seems to fire only now may have fired then"
    if pairs:
        heads = ("then and now", "only then", "only now")
        width, wide = (max(map(len, names)) for names in zip(("mapping", "function"), *pairs, strict=True))
        yield f"{'mapping':<{width}}  {'function':<{wide}}  {'  '.join(heads)}"
        for pair in pairs:
            counts = (found.both[pair], alone["then"][pair], alone["now"][pair])
            cells = "  ".join(f"{count:>{len(head)}}" for count, head in zip(counts, heads, strict=True))
            yield f"{pair[0]:<{width}}  {pair[1]:<{wide}}  {cells}"
    if not found.apart:
        yield "no difference"
    for only in ("then", "now"):
        for mapping, function in sorted(alone[only]):
            chosen = [one for one in found.apart if (one.only, one.mapping, one.function) == (only, mapping, function)]
            yield f"\nonly {only}: {mapping} → {function}"
            for one in chosen[:SHOWN]:
                yield f"{_line(one)}\n    {one.reason}"
            if len(chosen) > SHOWN:
                yield f"... and {len(chosen) - SHOWN} more"


def _unheard(sets: list[MappingSet], head: Head) -> Iterator[str]:
    """What the mappings select of other devices, and nobody listened to."""
    from bridge.core.topics import cover

    for mappings in sets:
        for wanted in mappings.foreign_filters():
            if not set(cover((*head.filters, wanted))) <= set(head.filters):
                yield wanted


def _counts(files: list[Path], tests: list[Backtest]) -> Iterator[str]:
    counts, shadows = [test.counts() for test in tests], [test.would_count() for test in tests]
    names = list(dict.fromkeys(name for counted in counts for name in counted))
    width = max(map(len, ("mapping", *names)))
    heads = [str(file) for file in files] if len(files) > 1 else ["fired"]
    yield f"{'mapping':<{width}}  {'  '.join(heads)}"
    for name in names:
        cells = [
            f"({shadow[name]})" if name in shadow else str(counted[name]) if name in counted else "-"
            for counted, shadow in zip(counts, shadows, strict=True)
        ]
        yield f"{name:<{width}}  {'  '.join(f'{cell:>{len(head)}}' for cell, head in zip(cells, heads, strict=True))}"
    if any(shadows):
        yield "(in brackets: what a mapping with `shadow: true` would have fired)"
    for file, test in zip(files, tests, strict=True):
        if test.waiting:
            yield f"{file}: {test.waiting} still waited for their `for` when the recording ended"
        if test.unreadable:
            yield f"{file}: {len(test.unreadable)} messages could not be read, the first one: {test.unreadable[0]}"


def _fired(test: Backtest) -> Iterator[str]:
    shadows = test.would_fire.values()
    for fired in sorted((*test.fired.values(), *shadows), key=lambda one: one.at):
        yield f"{_line(fired)} (shadow)" if fired.id in test.would_fire else _line(fired)


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


def _line(fired: Fired | Apart) -> str:
    event = fired.event
    source = event.topic if event.node is None else f"{event.node}/{event.sensor} {event.name}"
    at = f"{fired.at:%Y-%m-%d %H:%M:%S.%f}"[:-3]
    return f"{at}  {source}  {event.id} → {fired.mapping} → {fired.function}"


def _print_json(replayed: Replayed, differences: list[Difference], then: Comparison | None) -> None:
    import json

    document: dict[str, Any] = {
        "messages": replayed.messages,
        "events": replayed.tests[0].events,
        "mappings": [
            {
                "file": str(file),
                "fired": [_document(fired) for fired in test.fired.values()],
                "counts": test.counts(),
                "would_fire": [_document(fired) for fired in test.would_fire.values()],
                "would_count": test.would_count(),
                "waiting": test.waiting,
                "unreadable": test.unreadable,
            }
            for file, test in zip(replayed.files, replayed.tests, strict=True)
        ],
        "differences": [{"only": one.only, **_document(one.fired), "reason": one.reason} for one in differences],
        "then": None,
    }
    if then is not None:
        document["then"] = {
            "events": then.events,
            "left_out": then.unknown,
            "missed": then.missed,
            "same": [{"mapping": one[0], "function": one[1], "count": count} for one, count in then.both.items()],
            "differences": [{"only": one.only, **_document(one), "reason": one.reason} for one in then.apart],
        }
    print(json.dumps(document, indent=1))


def _document(fired: Fired | Apart) -> dict[str, str]:
    from bridge.core.event import rfc3339

    return {
        "event_id": fired.event.id,
        "at": rfc3339(fired.at),
        "mapping": fired.mapping,
        "function": fired.function,
        "topic": fired.event.topic,
    }


def _note(text: str) -> None:
    print(f"gpio-bridge: {text}", file=sys.stderr)
