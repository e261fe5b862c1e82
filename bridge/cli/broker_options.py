"""The options of commands that look on at a broker: where it is, and what all topics there start with."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeAlias

import typer

Config: TypeAlias = Annotated[
    Path | None,
    typer.Option(help="Take the broker and the site from this agent's or dispatcher's file.", dir_okay=False),
]
Host: TypeAlias = Annotated[str | None, typer.Option(help="The broker; without it, that of the running `up`.")]
Port: TypeAlias = Annotated[int | None, typer.Option(min=1, max=65535, help="Its port.")]
Root: TypeAlias = Annotated[str | None, typer.Option(help="What all topics start with.")]
Site: TypeAlias = Annotated[str | None, typer.Option(help="The site; + for all.")]
Timeout: TypeAlias = Annotated[float, typer.Option(help="How many seconds the broker may take to answer.")]
