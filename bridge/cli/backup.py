"""`gpio-bridge backup` and `restore`: the manager's state in one file, and back."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from bridge.manager.settings import ManagerSettings

Config = Annotated[Path, typer.Option("--config", "-c", help="The manager's settings.", dir_okay=False)]
File = Annotated[Path, typer.Argument(help="The archive, a .tar.gz.", dir_okay=False)]


def backup(file: File, config: Config) -> None:
    """Put the manager's state and its mapping file into one archive, while it runs or not.

    The archive holds the hashes of tokens; only its owner may read it. The sensor history is not in it: it would be out
    of date within a day, and is large.
    """
    from bridge.manager.backup import back_up

    names = back_up(_settings(config), file)
    print(f"{file}: {', '.join(names)}")


def restore(
    file: File,
    config: Config,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the state and mappings that are there.")] = False,
) -> None:
    """Bring back what a backup holds. The manager must not run meanwhile."""
    from bridge.manager.backup import restore as bring_back

    names = bring_back(_settings(config), file, force=force)
    print(f"restored: {', '.join(names)}")


def _settings(config: Path) -> ManagerSettings:
    import os

    from bridge.config import load
    from bridge.manager.settings import ManagerSettings

    return load(config, ManagerSettings, environ=os.environ)
