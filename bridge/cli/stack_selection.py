"""Which functions of a stack file a command is about, and where they are to go."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from bridge.openfaas.stack_file import StackFile, StackFunction

Names = Annotated[list[str] | None, typer.Argument(help="Which functions; without any, all of the file.")]
Stack = Annotated[Path, typer.Option("--file", "-f", help="The stack file.", dir_okay=False)]
Filter = Annotated[str | None, typer.Option("--filter", help="Only functions whose name fits, such as `alert-*`.")]
Regex = Annotated[str | None, typer.Option("--regex", help="Only functions whose name fits this regular expression.")]
Tag = Annotated[
    str,
    typer.Option(
        help="Tell images apart by `sha`, `branch`, `describe` (of git) or `digest` (of the handler); `latest`: do not."
    ),
]
Wait = Annotated[float, typer.Option(min=0, help="How many seconds to wait until the functions run; 0: do not wait.")]

STACK = Path("functions/stack.yml")


def selected(file: Path, names: list[str] | None, pattern: str | None, regex: str | None) -> StackFile:
    """The stack file with the functions that are wanted, which are some. Raises ConfigError, typer.BadParameter."""
    from bridge.openfaas.stack_file import load_stack_file

    stack = load_stack_file(file, os.environ)
    found = {function.deployment.service: function for function in stack.functions}
    unknown = [name for name in names or () if name not in found]
    if unknown:
        raise typer.BadParameter(f"{file} has no function {', '.join(unknown)}; it has {', '.join(found)}")
    if pattern is not None and regex is not None:
        raise typer.BadParameter("--filter and --regex exclude each other")
    try:
        expression = re.compile(regex or "")
    except re.error as error:
        raise typer.BadParameter(f"--regex {regex!r} is no regular expression: {error}") from error
    wanted = tuple(
        found[name]
        for name in (names or found)
        if fnmatchcase(name, pattern or "*") and expression.search(name) is not None
    )
    if not wanted:
        raise typer.BadParameter(f"no function of {file} is meant; it has {', '.join(found) or 'none'}")
    return replace(stack, functions=wanted)


def template_folders(file: Path) -> tuple[Path, ...]:
    """Where a stack file's own templates stand: beside it, or where the command is given, as with faas-cli."""
    return file.absolute().parent / "template", Path("template").absolute()


def command_of(function: StackFunction, file: Path) -> str:
    """What a function runs: its `fprocess`, else that of its template. Raises ConfigError for a broken template."""
    from bridge.errors import ImageError
    from bridge.images import templates

    given = function.deployment.env_process
    if given or not function.lang or function.lang.lower() == templates.DOCKERFILE:
        return given
    try:
        return templates.find(function.lang, template_folders(file)).fprocess
    except ImageError:  # a language that is not built here has an image that knows
        return ""


def image_of(function: StackFunction, tag: str) -> str:
    """The name of a function's image, as `--tag` wants it. Raises ImageError, typer.BadParameter."""
    from bridge.images import tags

    if tag not in tags.FORMATS:
        raise typer.BadParameter(f"--tag {tag!r} is unknown; choose one of {', '.join(tags.FORMATS)}")
    image = function.deployment.image
    if not image or function.handler is None:
        return image
    return tags.tagged(image, tag, function.handler, function.copied)


def pairs(given: list[str] | None, option: str) -> dict[str, str]:
    """The `NAME=VALUE` of a repeated option. Raises typer.BadParameter."""
    found: dict[str, str] = {}
    for each in given or ():
        name, equals, value = each.partition("=")
        if not equals or not name:
            raise typer.BadParameter(f"{option} {each!r} must be NAME=VALUE")
        found[name] = value
    return found
