"""`gpio-bridge audit`: what is missing, what came twice, what was dropped."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Annotated, Any

import typer

from bridge.cli.table import counted


def audit(
    accept: Annotated[
        bool, typer.Option("--accept", help="Put up with what is missing: it counts as dropped from now on.")
    ] = False,
    url: Annotated[str | None, typer.Option(help="The dispatcher; without it, that of the running `up`.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the audit as JSON.")] = False,
) -> None:
    """Compare the sequences of every sensor: name each gap, duplicate and drop. Exit code 1 when events are missing.

    A gap that is younger than a minute may still close and is no fault. Accept only a gap that cannot close any more,
    such as that of a Pi whose disk was lost: an event of it that came later all the same would count as a duplicate.
    """
    from bridge.cli.client import ask, dispatcher_url, granted

    base = dispatcher_url(url)
    accepted = []
    if accept:
        answer = ask("POST", f"{base}/v1/audit/accept", program="dispatcher")
        accepted = granted(answer, "accepting what is missing").json()["accepted"]
    document = granted(ask("GET", f"{base}/v1/audit", program="dispatcher"), "auditing").json()
    if as_json:
        print(json.dumps({**document, "accepted": accepted} if accept else document, indent=1))
    else:
        for line in (*(f"accepted   {_gap(gap)}" for gap in accepted), *report(document)):
            print(line)
    raise typer.Exit(1 if document["missing"] else 0)


def report(document: Mapping[str, Any]) -> Iterator[str]:
    """The lines of a terminal for an answer of /v1/audit."""
    for gap in document["gaps"]:
        yield f"missing    {_gap(gap)}"
    for gap in document["late"]:
        yield f"late       {_gap(gap)}; may still come"
    for gap in document.get("elsewhere", ()):  # an older dispatcher does not tell them apart
        yield f"elsewhere  {_gap(gap)}: the other dispatcher of the pair was at work"
    for drop in document["drops"]:
        yield (
            f"dropped    {drop['source']}  {drop['count']} by {drop['reason']}, {_at(drop['first_at'])} to"
            f" {_at(drop['last_at'])}, the last {drop['latest']}"
        )
    for one in document["duplicates"]:
        yield f"duplicate  {one['source']}  {one['count']} arrived again since {_at(document['duplicates_since'])}"
    for one in document["sources"]:
        if one["begun_before"]:
            yield (
                f"unknown    {one['source']}  before {one['first']} of epoch {one['epoch']}: sent before this"
                " dispatcher knew of it"
            )
    known, sources = (sum(one["count"] for one in document["sources"]), {one["source"] for one in document["sources"]})
    yield (
        f"{counted(known, 'event')} of {counted(len(sources), 'sensor')} {'is' if known == 1 else 'are'} accounted for,"
        f" {document['missing']} {'is' if document['missing'] == 1 else 'are'} missing"
    )


def _gap(gap: Mapping[str, Any]) -> str:
    which = f"{gap['first']}" if gap["count"] == 1 else f"{gap['first']}-{gap['last']}, {gap['count']} events"
    return f"{gap['source']}  {which} of epoch {gap['epoch']}, since {_at(gap['since'])}"


def _at(text: str) -> str:
    return f"{datetime.fromisoformat(text).astimezone():%Y-%m-%d %H:%M:%S}"
