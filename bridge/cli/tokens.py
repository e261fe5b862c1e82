"""`gpio-bridge tokens`: who may use the manager's API; on the manager's machine, whether it runs or not."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bridge.cli.table import print_table
from bridge.manager.access.roles import Role

app = typer.Typer(
    help="Make, list and revoke the tokens that open the manager's API.", no_args_is_help=True, rich_markup_mode=None
)

Config = Annotated[
    Path | None,
    typer.Option("--config", "-c", help="The manager's settings; without it, the running `up`.", dir_okay=False),
]


@app.command("create", short_help="Make a token and print it, once.")
def create(
    name: Annotated[str, typer.Argument(help="Whose it is: a-z, 0-9 and -.")],
    role: Annotated[Role, typer.Option(help="What its bearer may do.")] = Role.VIEWER,
    config: Config = None,
) -> None:
    """Make a token and print it. It is printed this once: what is kept of it is a hash.

    A viewer may read, and try out without saving; an operator may change mappings too; an admin may also read the
    audit, and change the swarm.
    """
    from bridge.manager.access.tokens import create_token

    print(create_token(_folder(config), name, role, _now()))


@app.command("list", short_help="List the tokens.")
def listed(
    config: Config = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print them as JSON.")] = False,
) -> None:
    """List the tokens, those that were revoked too."""
    import dataclasses
    import json

    from bridge.manager.access.tokens import read_tokens

    tokens = read_tokens(_folder(config))
    if as_json:
        shown = [{k: v for k, v in dataclasses.asdict(token).items() if k != "digest"} for token in tokens]
        print(json.dumps(shown, indent=1))
        return
    if not tokens:
        print("there are no tokens")
        return
    rows = [("NAME", "ROLE", "ID", "CREATED", "REVOKED")]
    rows += [(one.name, one.role.value, one.id, one.created_at, one.revoked_at or "") for one in tokens]
    print_table(rows)


@app.command("revoke", short_help="Let a token open nothing any more.")
def revoke(
    name: Annotated[str, typer.Argument(help="Its name, or its id as `list` shows it.")], config: Config = None
) -> None:
    """Let a token open nothing any more, at once, also in a manager that runs."""
    from bridge.manager.access.tokens import revoke_token

    token = revoke_token(_folder(config), name, _now())
    print(f"{token.name} ({token.id}) is revoked")


def _folder(config: Path | None) -> Path:
    """The manager's state folder."""
    import os

    from bridge.cli import whereabouts
    from bridge.config import load
    from bridge.manager.settings import ManagerSettings

    if config is not None:
        return load(config, ManagerSettings, environ=os.environ).state_dir
    here = whereabouts.find()
    if here is None:
        raise typer.BadParameter("say with --config which manager is meant, or start everything with `gpio-bridge up`")
    return Path(here.state) / "manager"


def _now() -> str:
    from datetime import UTC, datetime

    from bridge.core.event import rfc3339

    return rfc3339(datetime.now(UTC))
