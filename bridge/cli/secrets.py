"""`gpio-bridge functions secret ...`: what functions may know and nobody may read again."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from bridge.cli.gateway_options import PasswordFile, Url, User

app = typer.Typer(help="Secrets of functions: create, list, change, remove.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="The name of the secret.")]
Literal = Annotated[
    str | None, typer.Option("--from-literal", help="The value; others may see it in the process list.")
]
File = Annotated[Path | None, typer.Option("--from-file", help="The file with the value.", exists=True, dir_okay=False)]
Trim = Annotated[bool, typer.Option("--trim/--no-trim", help="Without the blanks and line ends around it.")]


@app.command(short_help="Create a secret.")
def create(
    name: Name,
    literal: Literal = None,
    file: File = None,
    trim: Trim = True,
    gateway: Url = None,
    user: User = "admin",
    password_file: PasswordFile = None,
) -> None:
    """Create a secret; its value comes from standard input, unless an option says otherwise."""
    document = _document(name, _value(literal, file), trim=trim)
    _asked("POST", document, f"creating the secret {name}", gateway, user, password_file)
    print(f"{name}: created")


@app.command(short_help="Change a secret.")
def update(
    name: Name,
    literal: Literal = None,
    file: File = None,
    trim: Trim = True,
    gateway: Url = None,
    user: User = "admin",
    password_file: PasswordFile = None,
) -> None:
    """Change a secret; its value comes from standard input, unless an option says otherwise."""
    document = _document(name, _value(literal, file), trim=trim)
    _asked("PUT", document, f"changing the secret {name}", gateway, user, password_file)
    print(f"{name}: updated")


@app.command("list")
def list_(gateway: Url = None, user: User = "admin", password_file: PasswordFile = None) -> None:
    """Show the names of all secrets."""
    for secret in _asked("GET", None, "listing the secrets", gateway, user, password_file).json():
        print(secret["name"])


@app.command()
def remove(name: Name, gateway: Url = None, user: User = "admin", password_file: PasswordFile = None) -> None:
    """Remove a secret that no function needs any more."""
    _asked("DELETE", {"name": name}, f"removing the secret {name}", gateway, user, password_file)
    print(f"{name}: removed")


def _value(literal: str | None, file: Path | None) -> bytes:
    if literal is not None and file is not None:
        raise typer.BadParameter("--from-literal and --from-file exclude each other")
    if literal is not None:
        return literal.encode()
    if file is not None:
        return file.read_bytes()
    if sys.stdin.isatty():
        print("Type the value, end it with Ctrl-D:", file=sys.stderr)
    return sys.stdin.buffer.read()


def _document(name: str, value: bytes, *, trim: bool) -> dict[str, Any]:
    import base64

    content = value.strip() if trim else value
    if not content:
        raise typer.BadParameter(f"the value of {name} is empty")
    try:
        return {"name": name, "value": content.decode()}
    except UnicodeDecodeError:
        return {"name": name, "rawValue": base64.b64encode(content).decode()}


def _asked(
    method: str, document: dict[str, Any] | None, attempted: str, gateway: str | None, user: str, password: Path | None
) -> Any:
    from bridge.cli.client import ask, credentials, gateway_url, granted

    url = f"{gateway_url(gateway)}/system/secrets"
    answer = ask(method, url, program="gateway", json=document, auth=credentials(user, password), timeout_s=60)
    return granted(answer, attempted)
