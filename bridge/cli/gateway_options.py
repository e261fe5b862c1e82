"""The options of commands that ask a gateway: where it is, and who asks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeAlias

import typer

Url: TypeAlias = Annotated[
    str | None, typer.Option("--gateway", "-g", help="The gateway; else `OPENFAAS_URL`, or the running `up`.")
]
User: TypeAlias = Annotated[str, typer.Option(help="The user, for a gateway that asks for one.")]
PasswordFile: TypeAlias = Annotated[
    Path | None, typer.Option(help="The file with the user's password.", exists=True, dir_okay=False)
]
