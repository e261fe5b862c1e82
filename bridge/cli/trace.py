"""`gpio-bridge traces`, `trace` and `why`: what became of events, the story of one, and why a mapping did not fire."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any
from urllib.parse import quote

import typer

from bridge.cli.table import print_table

Url = Annotated[str | None, typer.Option(help="The dispatcher; without it, that of the running `up`.")]


def traces(
    mapping: Annotated[str | None, typer.Option(help="Only those that this mapping fired for; a glob.")] = None,
    function: Annotated[str | None, typer.Option(help="Only those that this function was invoked for; a glob.")] = None,
    outcome: Annotated[
        str | None, typer.Option(help="Only these: open, succeeded, dead, cancelled, dropped, or none.")
    ] = None,
    sensor: Annotated[str | None, typer.Option(help="Only those of this sensor; a glob.")] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=999, help="How many of the newest.")] = 20,
    url: Url = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print them as JSON.")] = False,
) -> None:
    """List the newest events, and what became of each."""
    given = {"mapping": mapping, "function": function, "outcome": outcome, "sensor": sensor, "limit": str(limit)}
    params = {name: value for name, value in given.items() if value is not None}
    document = _asked("/v1/traces", url, "listing traces", params)
    if as_json:
        print(json.dumps(document["traces"], indent=1))
        return
    print_table(
        [
            ("RECEIVED", "SOURCE", "VALUE", "WHAT BECAME OF IT", "ID"),
            *(
                (f"{_time(one['at']):%m-%d %H:%M:%S}", _source(one), _value(one), _became(one), one["event_id"])
                for one in document["traces"]
            ),
        ]
    )


def trace(
    event_id: Annotated[str, typer.Argument(help="The event's id, as in /v1/events, X-Event-Id or a dead letter.")],
    url: Url = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the story as JSON.")] = False,
) -> None:
    """Tell the story of one event: when it happened, what each mapping said, and every attempt."""
    document = _asked(f"/v1/traces/{quote(event_id, safe='')}", url, "looking for the trace")
    if as_json:
        print(json.dumps(document, indent=1))
        return
    for line in story(document):
        print(line)


def why(
    mapping: Annotated[str, typer.Argument(help="The mapping's name.")],
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=1000, help="How many of the newest.")] = 10,
    url: Url = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print them as JSON.")] = False,
) -> None:
    """Show the last events that a mapping did not fire for, newest first, and which clause said no.

    Only events that its `select` lets through are evaluated; `gpio-bridge explain` also judges others.
    """
    document = _asked(f"/v1/why/{quote(mapping, safe='')}", url, f"asking about {mapping}", {"limit": str(limit)})
    if as_json:
        print(json.dumps(document, indent=1))
        return
    for line in reasons(document):
        print(line)


def story(document: Mapping[str, Any]) -> Iterator[str]:
    """The lines of a terminal for an answer of /v1/traces: the clock, the time since the event, what happened."""
    lines: Sequence[Mapping[str, Any]] = document["story"]
    event = next((line for line in lines if line["type"] == "event"), lines[0])
    value = f"  {_value(event)}" if "value" in event else ""
    yield f"{document['event_id']}  {_source(event)}{value}"
    start = _time(event.get("time") or event["at"])
    assert start is not None
    if event.get("time"):
        unset = "" if event.get("timesynced") else ", by a clock that was not set yet"
        yield _row(start, start, f"happened{unset}")
    day = start.date()
    for line in lines:
        at = _time(line["at"])
        assert at is not None
        if at.date() != day:
            day = at.date()
            yield f"{day.isoformat()}:"
        yield _row(at, start, _said(line))
    yield from _summary(document["latency"])


def reasons(document: Mapping[str, Any]) -> Iterator[str]:
    """The lines of a terminal for an answer of /v1/why."""
    found = document["evaluations"]
    since = _time(document["since"])
    back = f"since {since:%Y-%m-%d %H:%M:%S}" if since else "yet"
    if not found:
        yield f"{document['mapping']} has said no to nothing {back}"
        yield "an event that its `select` does not let through is not asked: see `gpio-bridge explain`"
    for line in found:
        at = _time(line["at"])
        assert at is not None
        value = f"  {_value(line)}" if "value" in line else ""
        yield f"{at:%Y-%m-%d %H:%M:%S}  {_source(line)}{value}  {line['event_id']}"
        yield f"    {_no(line)}"


def _said(line: Mapping[str, Any]) -> str:
    """What one line of a story says."""
    match line["type"]:
        case "event":
            return "received"
        case "judgement":
            return f"  {line['text']}"
        case "attempt":
            again = "" if line["attempt"] == 1 else f", attempt {line['attempt']}"
            return f"{line['mapping']} → {line['function']}{again}"
        case "retry":
            after = "waits until it can be reached" if line["parked"] else f"again in {_duration(line['delay_s'])}"
            return f"{line['mapping']} → {line['function']} {_answer(line)}; {after}"
        case "invocation":
            return f"{line['mapping']} → {line['function']} {_answer(line)}: done"
        case "deadletter":
            who = f"{line['mapping']} → {line['function']}" if line.get("mapping") else line.get("topic")
            return f"{who} dead letter: {line['reason']}"
        case "cancelled":
            return f"{line['mapping']} no longer waits: called off by {line['by']}"
        case "dropped":
            return f"{line['mapping']} dropped by {line['reason']}"
        case "repeated":
            return "arrived again; known already"
        case "lost":
            return f"stands for {line['first']}-{line['last']}, which were dropped: {line['reason']}"
        case "replayed":
            outcome = f"not replayed: {line['refused']}" if line["refused"] else "replayed"
            return f"{line['mapping']} dead letter {line['number']} {outcome}"
        case kind:  # of a newer dispatcher
            return str(kind)


def _no(line: Mapping[str, Any]) -> str:
    """Which clause said no, what it wanted and what it found."""
    if line["result"] == "dropped":
        return f"dropped by {line['clause']}"
    if line["result"] == "failed":
        return f"{line['clause']} could not be evaluated: {line['found']}"
    begun = "no longer waits: " if line["result"] == "cancels" else ""
    wants = f"{line['clause']} wants {line['wanted']}, found " if line["wanted"] else ""
    return f"{begun}{wants}{line['found']}"


def _became(one: Mapping[str, Any]) -> str:
    """Each invocation of an event in short."""
    return ", ".join(f"{hop['mapping']} {hop['result']}" for hop in one["invocations"]) or "nothing"


def _summary(latency: Mapping[str, Any]) -> Iterator[str]:
    """Each hop in one line."""
    way_s = latency["to_dispatcher_s"]
    if way_s is not None:
        yield f"to the dispatcher {_duration(way_s)}" + ("  (the clocks of two machines differ)" if way_s < 0 else "")
    for hop in latency["invocations"]:
        parts = [f"{hop['mapping']} → {hop['function']}: {hop['result']}"]
        for name, text in (("to_start_s", "started after"), ("attempt_s", "last attempt"), ("to_end_s", "ended after")):
            if hop[name] is not None:
                parts.append(f"{text} {_duration(hop[name])}")
        if hop["attempts"] and hop["attempts"] > 1:
            parts.append(f"{hop['attempts']} attempts")
        yield ", ".join(parts)


def _row(at: datetime, start: datetime, text: str) -> str:
    since = "" if at == start else _since(at - start)
    return f"{at:%H:%M:%S}.{at.microsecond // 1000:03d}  {since:>10}  {text}"


def _since(apart: timedelta) -> str:
    seconds = apart.total_seconds()
    return f"+{_duration(seconds)}" if seconds >= 0 else _duration(seconds)


def _duration(value_s: float) -> str:
    """A duration with three digits: `0.42 ms`, `12.3 ms`, `1.50 s`, `4.2 min`, `2.1 h`."""
    size = abs(value_s)
    for limit, unit, name in ((1.0, 0.001, "ms"), (120.0, 1.0, "s"), (7200.0, 60.0, "min")):
        if size < limit:
            return f"{value_s / unit:.{_digits(size / unit)}f} {name}"
    return f"{value_s / 3600:.1f} h"


def _digits(size: float) -> int:
    return 2 if size < 10 else 1 if size < 100 else 0


def _answer(line: Mapping[str, Any]) -> str:
    """What an attempt came back with and how long it took."""
    reason, status = line.get("reason") or "", line.get("status")
    said = reason if status is None or str(status) in reason else " ".join(filter(None, (str(status), reason)))
    took = f" in {_duration(line['duration_s'])}" if line.get("duration_s") is not None else ""
    return f"{said or 'no answer'}{took}"


def _value(line: Mapping[str, Any]) -> str:
    unit = f" {line['unit']}" if line.get("unit") else ""
    start = "  (found at start)" if line.get("initial") else ""
    return f"{json.dumps(line['value'], ensure_ascii=False)}{unit}{start}"


def _source(line: Mapping[str, Any]) -> str:
    if line.get("node") is None:
        return str(line.get("topic") or line.get("event") or "")
    return f"{line['node']}/{line['sensor']}  {line['event']}"


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text).astimezone() if text else None


def _asked(path: str, url: str | None, attempted: str, params: Mapping[str, str] | None = None) -> Any:
    from bridge.cli.client import ask, dispatcher_url, granted

    answer = ask("GET", f"{dispatcher_url(url)}{path}", program="dispatcher", params=params)
    return granted(answer, attempted).json()
