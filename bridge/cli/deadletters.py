"""`gpio-bridge deadletters ...`: what was given up, with its reason; tried again, or forgotten."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

app = typer.Typer(help="Dead letters: list, show, replay and purge what was given up.", no_args_is_help=True)

Url = Annotated[str | None, typer.Option("--url", help="The dispatcher; without it, that of the running `up`.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
OfMapping = Annotated[str | None, typer.Option("--mapping", help="Only those of this mapping.")]
OfFunction = Annotated[str | None, typer.Option("--function", help="Only those of this function.")]
OlderThan = Annotated[str | None, typer.Option("--older-than", help="Only those older than this, such as 2d.")]
Numbers = Annotated[list[int] | None, typer.Argument(help="The numbers that `list` shows.")]


@app.command("list")
def list_(
    mapping: OfMapping = None,
    function: OfFunction = None,
    older_than: OlderThan = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many of the newest.")] = 100,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Show the newest dead letters."""
    query = {**_chosen(None, mapping, function, older_than), "limit": str(limit)}
    document = _ask("GET", "", url, "listing the dead letters", params=query)
    if as_json:
        print(json.dumps(document))
        return
    for letter in document["dead_letters"]:
        what = letter["mapping"] or letter["topic"]
        print(f"{letter['number']:>6}  {letter['at'][:19]}Z  {what}  {letter['function'] or '-'}  {letter['reason']}")
    shown, total = len(document["dead_letters"]), document["total"]
    if shown < total:
        print(f"{shown} of {total}; --limit shows more")
    elif not total:
        print("there are no dead letters")


@app.command(short_help="Show one dead letter whole.")
def show(
    number: Annotated[int, typer.Argument(help="The number that `list` shows.")],
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Show one dead letter whole: reason, status, answer, attempts and the event."""
    letter = _ask("GET", f"/{number}", url, f"showing the dead letter {number}")
    if as_json:
        print(json.dumps(letter))
        return
    for key in ("number", "at", "reason", "mapping", "function", "status", "attempts", "id", "event_id", "topic"):
        if letter[key] is not None:
            print(f"{key + ':':<10} {letter[key]}")
    if letter["body"]:
        print(f"{'answer:':<10} {letter['body'].rstrip()}")
    event = letter["event"]
    print(f"{'event:':<10} {event if isinstance(event, str) else json.dumps(event, indent=2)}")


@app.command()
def replay(
    numbers: Numbers = None,
    mapping: OfMapping = None,
    function: OfFunction = None,
    older_than: OlderThan = None,
    everything: Annotated[bool, typer.Option("--all", help="All of them.")] = False,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Try dead letters again, with the same ids. Exit code 1 if one of them could not be."""
    chosen = _meant(_chosen(numbers, mapping, function, older_than), everything)
    document = _ask("POST", "/replay", url, "replaying dead letters", json=chosen)
    if as_json:
        print(json.dumps(document))
    else:
        print(f"{document['replayed']} replayed")
        for one in document["refused"]:
            print(f"{one['number']} not: {one['reason']}")
        if document["left"]:
            print(f"{document['left']} left")
    raise typer.Exit(1 if document["refused"] else 0)


@app.command()
def purge(
    numbers: Numbers = None,
    mapping: OfMapping = None,
    function: OfFunction = None,
    older_than: OlderThan = None,
    everything: Annotated[bool, typer.Option("--all", help="All of them.")] = False,
    url: Url = None,
) -> None:
    """Forget dead letters for good."""
    chosen = _meant(_chosen(numbers, mapping, function, older_than), everything)
    query = chosen or {"all": "1"}
    print(f"{_ask('DELETE', '', url, 'purging dead letters', params=query)['purged']} purged")


def _chosen(
    numbers: list[int] | None, mapping: str | None, function: str | None, older_than: str | None
) -> dict[str, str]:
    given = {
        "numbers": ",".join(str(number) for number in numbers) if numbers else None,
        "mapping": mapping,
        "function": function,
        "older_than": older_than,
    }
    return {name: value for name, value in given.items() if value is not None}


def _meant(chosen: dict[str, str], everything: bool) -> dict[str, str]:
    """The choice, if there is one: nothing at all must not mean everything by accident."""
    if not chosen and not everything:
        raise typer.BadParameter("say which: numbers, --mapping, --function, --older-than, or --all")
    return chosen


def _ask(method: str, path: str, url: str | None, attempted: str, **more: Any) -> Any:
    from bridge.cli.client import ask, dispatcher_url, granted

    answer = ask(method, f"{dispatcher_url(url)}/v1/deadletters{path}", program="dispatcher", **more)
    return granted(answer, attempted).json()
