"""`gpio-bridge sensors`: what a sensor told in the last hours, as the manager keeps it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from bridge.cli.table import counted, print_table

app = typer.Typer(
    help="What sensors told in the last hours, as the manager keeps it.", no_args_is_help=True, rich_markup_mode=None
)

Url = Annotated[str | None, typer.Option(help="The manager; without it, that of the running `up`, or this machine's.")]
TokenFile = Annotated[
    Path | None,
    typer.Option(help="A file with a token, as `tokens create` prints it; without it, that of the running `up`."),
]
Duration = Annotated[str, typer.Option(help="How far back, such as 90m or 24h.")]
WIDTH: Final = 72
_BARS: Final = "▁▂▃▄▅▆▇█"
_PAGE: Final = 1000


@app.callback()
def _group() -> None:
    """Keeps `history` a command of its own while there is no other."""


@app.command("history", short_help="Show what a sensor told in the last hours.")
def history(
    sensor: Annotated[str, typer.Argument(help="The sensor, as NODE/SENSOR.")],
    since: Duration = "24h",
    step: Annotated[str | None, typer.Option(help="The length of each row, such as 5m; without, it fits.")] = None,
    points: Annotated[bool, typer.Option("--points", help="Every event, and no sums.")] = False,
    url: Url = None,
    token_file: TokenFile = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the manager's answer as it is.")] = False,
) -> None:
    """Show what a sensor told: a line as a chart, and a row for each step in which something happened.

    Numbers have their least, greatest and mean; states how long each lasted, and how often it changed.
    """
    import json
    from datetime import UTC, timedelta

    from bridge.core.buckets import SECOND, STEPS

    node, _, name = sensor.partition("/")
    if not node or not name or "/" in name:
        raise typer.BadParameter("a sensor is named as NODE/SENSOR, such as pi-1/attic", param_hint="SENSOR")
    back_s = _seconds(since, "--since")
    begin = datetime.now(UTC) - timedelta(seconds=back_s)
    path = f"/nodes/{node}/sensors/{name}/history"
    asked = {"from": begin.isoformat().replace("+00:00", "Z")}
    if points:
        found = _points(path, asked, url, token_file)
        print(json.dumps(found, indent=1)) if as_json else _print_points(found)
        return
    fitting = next((one // SECOND for one in STEPS if back_s <= one // SECOND * WIDTH), STEPS[-1] // SECOND)
    answer = _asked(path, {**asked, "step": step or f"{fitting}s"}, url, token_file)
    if as_json:
        print(json.dumps(answer, indent=1))
        return
    for line in chart(answer):
        print(line)
    rows = table(answer)
    if len(rows) > 1:
        print()
        print_table(rows)


def chart(answer: Mapping[str, Any]) -> Iterator[str]:
    """The lines above the table: what it is about, and all of it as one line of bars."""
    buckets = answer["buckets"]
    unit = f" {answer['unit']}" if answer["unit"] else ""
    reach = f"{_at(answer['from'])} to {_at(answer['to'])}"
    yield f"{answer['node']}/{answer['sensor']}  {reach}  {counted(answer['events'], 'event')}"
    if answer["shows"] == "numbers":
        middles = [one["mean"] if one["count"] else one["last"] for one in buckets]
        known = [one for one in middles if isinstance(one, int | float)]
        yield bars([one if isinstance(one, int | float) else None for one in middles])
        yield f"from {min(known):g} to {max(known):g}{unit}" if known else "nothing is known"
    elif answer["shows"] == "states":
        names = states(answer)
        shares = [_share(one, names[-1]) for one in buckets]
        yield bars(shares, low=0.0, high=1.0)
        yield f"how much of the time it was {names[-1]}"
    else:
        yield "it told nothing in this time"


def bars(values: Sequence[float | None], *, low: float | None = None, high: float | None = None) -> str:
    """A bar for each value between the lowest and the highest, or what is given for them; none for what is unknown."""
    known = [one for one in values if one is not None]
    low, high = min(known, default=0.0) if low is None else low, max(known, default=0.0) if high is None else high
    reach = high - low
    return "".join(
        " " if one is None else _BARS[min(int((one - low) / reach * len(_BARS)), len(_BARS) - 1) if reach else 0]
        for one in values
    )


def states(answer: Mapping[str, Any]) -> list[str]:
    """The names of the states there were; `true`, or else the one that comes last by name, at the end."""
    found = {name for bucket in answer["buckets"] for name in bucket["states_s"]}
    found |= {"true"} if found <= {"true", "false"} else set()
    return sorted(found)


def table(answer: Mapping[str, Any]) -> list[Sequence[str]]:
    """A row for each bucket in which something was told, below the heads."""
    told = [one for one in answer["buckets"] if one["events"]]
    if answer["shows"] == "numbers":
        rows: list[Sequence[str]] = [("FROM", "EVENTS", "MIN", "MEAN", "MAX", "LAST")]
        for one in told:
            numbers = (f"{one[key]:g}" if one[key] is not None else "" for key in ("min", "mean", "max"))
            rows.append((_at(one["at"]), str(one["events"]), *numbers, _shown(one["last"])))
        return rows
    if answer["shows"] == "nothing":
        return []
    names = states(answer)
    rows = [("FROM", "EVENTS", "CHANGES", *(name.upper() for name in names), "LAST")]
    for one in told:
        times = (f"{round(one['states_s'].get(name, 0), 1):g} s" for name in names)
        rows.append((_at(one["at"]), str(one["events"]), str(one["changes"]), *times, _shown(one["last"])))
    return rows


def _print_points(found: Sequence[Mapping[str, Any]]) -> None:
    rows: list[Sequence[str]] = [("TIME", "EVENT", "VALUE", "ID", "")]
    for one in found:
        said = [text for key, text in (("received", "time of receipt"), ("initial", "found at start")) if one[key]]
        at = datetime.fromisoformat(one["at"]).astimezone()
        rows.append(
            (f"{at:%Y-%m-%d %H:%M:%S.%f}"[:-3], one["event"], _shown(one["value"]), one["event_id"], ", ".join(said))
        )
    print_table(rows)


def _points(path: str, asked: dict[str, str], url: str | None, token_file: Path | None) -> list[dict[str, Any]]:
    """All points, page by page."""
    found: list[dict[str, Any]] = []
    after: dict[str, str] = {}
    while True:
        page = _asked(f"{path}/points", {**asked, **after, "limit": str(_PAGE)}, url, token_file)
        found += page["points"]
        if page["next"] is None:
            return found
        after = {"after": page["next"]}


def _share(bucket: Mapping[str, Any], state: str) -> float | None:
    """How much of the time that is known a bucket was in this state."""
    known = sum(bucket["states_s"].values())
    return bucket["states_s"].get(state, 0.0) / known if known else None


def _shown(value: object) -> str:
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else str(value)


def _at(text: str) -> str:
    return f"{datetime.fromisoformat(text).astimezone():%m-%d %H:%M:%S}"


def _seconds(text: str, option: str) -> float:
    from bridge.config import seconds

    try:
        found = seconds(text)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=option) from error
    if not found:
        raise typer.BadParameter("must be longer than nothing", param_hint=option)
    return found


def _asked(path: str, params: dict[str, str], url: str | None, token_file: Path | None) -> Any:
    from bridge.cli.client import ask, granted, manager_access

    address, headers = manager_access(url, token_file)
    answer = ask("GET", f"{address}/api/v1{path}", program="manager", headers=headers, params=params)
    return granted(answer, "reading the history").json()
