"""`gpio-bridge mappings`: look at the manager's mappings, plan a change of the file, and make it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bridge.cli.table import counted, print_table, signed

if TYPE_CHECKING:
    import httpx

app = typer.Typer(
    help="List, plan, apply and roll back the manager's mappings.", no_args_is_help=True, rich_markup_mode=None
)

Url = Annotated[str | None, typer.Option(help="The manager; without it, that of the running `up`, or this machine's.")]
TokenFile = Annotated[
    Path | None,
    typer.Option(help="A file with a token, as `tokens create` prints it; without it, that of the running `up`."),
]
Why = Annotated[str, typer.Option(help="Why; it stands in the history.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the manager's answer as it is.")]
File = Annotated[Path, typer.Argument(help="A mapping file.", dir_okay=False)]

_PAGE = 1000
_NAMED = 5
"""So many mappings are named in a line of the history."""


@app.command("list", short_help="List the mappings.")
def listed(url: Url = None, token_file: TokenFile = None, as_json: AsJson = False) -> None:
    """List the mappings in force, in the order of the file."""
    manager = _Manager(url, token_file)
    found: list[dict[str, Any]] = []
    while True:
        page = manager.get(f"/mappings?limit={_PAGE}&offset={len(found)}", "listing the mappings").json()
        found += page["mappings"]
        if len(found) >= page["total"] or not page["mappings"]:
            break
    if as_json:
        _print_json(found)
        return
    rows = [("NAME", "FUNCTION", "STATE")]
    for one in found:
        invoke = one["invoke"]
        function = invoke if isinstance(invoke, str) else invoke["function"]
        state = "disabled" if not one.get("enabled", True) else "shadow" if one.get("shadow") else "enabled"
        rows.append((one["name"], function, state))
    print_table(rows)
    carried = manager.get("/topic-annotations", "asking for topic annotations").json()["functions"]
    count = sum(len(one["mappings"]) for one in carried)
    if count:
        print(f"and {counted(count, 'mapping')} of functions' topic annotations: gpio-bridge mappings annotated")
    manager.warn_of_the_file()


@app.command("annotated", short_help="List what functions' topic annotations mean.")
def annotated(url: Url = None, token_file: TokenFile = None, as_json: AsJson = False) -> None:
    """List the functions that carry a topic annotation, and the mappings that this means; they stand in no file."""
    found = _Manager(url, token_file).get("/topic-annotations", "asking for topic annotations").json()
    if as_json:
        _print_json(found)
        return
    if not found["enabled"]:
        print("topic annotations do not count: topic_annotations.enabled is false in the manager's settings")
        return
    rows = [("FUNCTION", "TOPIC", "MAPPINGS", "PROBLEM")]
    rows += [
        (one["function"], one["topic"], ", ".join(one["mappings"]) or "-", one["problem"] or "")
        for one in found["functions"]
    ]
    print_table(rows)
    if found["problem"]:
        print(f"not known now, this is what was good before: {found['problem']}", file=sys.stderr)


@app.command("plan", short_help="Show what a file would change.")
def plan(file: File, url: Url = None, token_file: TokenFile = None, as_json: AsJson = False) -> None:
    """Show what would change if this file were in force, and the difference of the texts. Changes nothing."""
    manager = _Manager(url, token_file)
    planned = manager.plan(_read(file), str(file))
    if as_json:
        _print_json(planned)
        return
    _tell(planned)
    manager.warn_of_the_file()


@app.command("apply", short_help="Put a file in force.")
def apply(file: File, why: Why = "", yes: Yes = False, url: Url = None, token_file: TokenFile = None) -> None:
    """Show what changes, ask, and put the file in force.

    If somebody changes the mappings between the question and the answer, nothing is overwritten.
    """
    manager = _Manager(url, token_file)
    text = _read(file)
    planned = manager.plan(text, str(file))
    if not _agreed(planned, yes):
        return
    headers = {"Content-Type": "application/yaml", "If-Match": planned["etag"]}
    done = manager.ask("PUT", "/mappings/file", "applying the file", headers=headers, content=text, why=why).json()
    print(f"revision {done['revision']} is in force: {counted(done['mappings'], 'mapping')}")


@app.command("history", short_help="Show what the mapping file was.")
def history(
    name: Annotated[str | None, typer.Argument(help="Only what touched this mapping.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="So many revisions.")] = 20,
    diff: Annotated[bool, typer.Option("--diff", help="With the difference of each to the one before.")] = False,
    url: Url = None,
    token_file: TokenFile = None,
    as_json: AsJson = False,
) -> None:
    """Show the revisions of the mapping file, the newest first: who, when, what and why."""
    params = {"limit": str(limit), **({"name": name} if name is not None else {})}
    found = _Manager(url, token_file).ask("GET", "/mappings/history", "reading the history", params=params).json()
    if as_json:
        _print_json(found["revisions"])
        return
    for one in found["revisions"]:
        why = f": {one['why']}" if one["why"] else ""
        changes = signed(one["changes"], most=_NAMED)
        print(f"{one['number']:>4}  {one['at'][:19]}Z  {one['who']}  {one['what']}{why}  {changes}")
        if diff:
            print(one["diff"])


@app.command("rollback", short_help="Put an earlier file in force.")
def rollback(
    revision: Annotated[int, typer.Argument(min=1, help="Its number, as `history` shows it.")],
    why: Why = "",
    yes: Yes = False,
    url: Url = None,
    token_file: TokenFile = None,
) -> None:
    """Show what changes, ask, and put the mapping file in force as it was in an earlier revision."""
    manager = _Manager(url, token_file)
    text = manager.get(f"/mappings/history/{revision}", f"reading revision {revision}").content
    planned = manager.plan(text, f"revision {revision}")
    if not _agreed(planned, yes):
        return
    done = manager.ask(
        "POST",
        "/mappings/rollback",
        "rolling back",
        headers={"If-Match": planned["etag"]},
        json={"revision": revision},
        why=why,
    ).json()
    print(f"revision {done['revision']} is in force, as {revision} was: {counted(done['mappings'], 'mapping')}")


class _Manager:
    """The manager that is asked, and the token it is shown."""

    def __init__(self, url: str | None, token_file: Path | None) -> None:
        from bridge.cli.client import manager_access

        self._address, self._headers = manager_access(url, token_file)
        self._root = f"{self._address}/api/v1"

    def ask(
        self,
        method: str,
        path: str,
        attempted: str,
        *,
        headers: dict[str, str] | None = None,
        params: dict[str, str] | None = None,
        content: bytes | None = None,
        json: object = None,
        why: str = "",
    ) -> httpx.Response:
        """The answer. Raises Refused with what the manager says is wrong."""
        from bridge.cli.client import ask, granted

        answer = ask(
            method,
            f"{self._root}{path}",
            program="manager",
            headers={**self._headers, **(headers or {})},
            params={**(params or {}), **({"why": why} if why else {})},
            content=content,
            json=json,
        )
        return granted(answer, attempted)

    def get(self, path: str, attempted: str) -> httpx.Response:
        return self.ask("GET", path, attempted)

    def warn_of_the_file(self) -> None:
        """Tell of a mapping file that somebody has broken by hand: what is in force is not what stands there."""
        from bridge.cli.client import ask

        reasons = ask("GET", f"{self._address}/readyz", program="manager").json().get("reasons", {})
        if "mappings" in reasons:
            print(f"not in force is the mapping file as it stands: {reasons['mappings']}", file=sys.stderr)

    def plan(self, text: bytes, name: str) -> dict[str, Any]:
        """What the text would change. Raises ConfigError for one with mistakes, each with its place in `name`."""
        from bridge.cli.client import ask, granted
        from bridge.errors import ConfigError, Problem

        answer = ask(
            "POST",
            f"{self._root}/mappings/plan",
            program="manager",
            headers={**self._headers, "Content-Type": "application/yaml"},
            content=text,
        )
        if answer.status_code == 422:
            places = answer.json().get("errors", ())
            raise ConfigError(
                Problem(name, place.get("line", 0), place.get("column", 0), "", place["detail"]) for place in places
            )
        planned: dict[str, Any] = granted(answer, "planning").json()
        return planned


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise typer.BadParameter(f"{file} cannot be read: {error.strerror}") from error


def _agreed(planned: dict[str, Any], yes: bool) -> bool:
    """Show what changes, and whether it may; without a terminal somebody must have said so before."""
    _tell(planned)
    if not planned["diff"]:
        return False
    if yes:
        return True
    if not sys.stdin.isatty():
        raise typer.BadParameter("there is nobody to ask; say --yes")
    return typer.confirm("Apply this?")


def _tell(planned: dict[str, Any]) -> None:
    if not planned["diff"]:
        print("nothing changes")
        return
    print(planned["diff"])
    print(signed(planned["changes"]) or "only the text changes: comments, order or looks")


def _print_json(value: object) -> None:
    import json

    print(json.dumps(value, indent=1, ensure_ascii=False))
