"""What a deployment runs on this machine: a Python handler, or a command.

The local backend runs handlers and commands, not images. A handler is named by the first of these that is there:

1. the annotation, then the label, `io.gpio-bridge.handler`: an absolute path of a handler.py or its folder;
2. the image `file:///absolute/path`;
3. the image of a function in the configured stack.yml, as written there (with or without a tag), or `local:NAME` or
   `gpio-bridge/NAME[:TAG]` for the function NAME of it - so that `faas-cli deploy -f` works here unchanged.

A folder with a handler.py is served by it, and `envProcess` is ignored: faas-cli fills it in from a template. Without
one, `envProcess` is run for each call (the classic watchdog's way), in the folder where one is named. A deployment
with neither is refused.
"""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from bridge.errors import FunctionError
from bridge.openfaas.deployment import Deployment
from bridge.openfaas.stack_file import HANDLER_ANNOTATION

_LOCAL_IMAGE = re.compile(r"(?:local:|gpio-bridge/)([-a-zA-Z_0-9]+)(?::[-\w.]+)?")
_TAG = re.compile(r":[\w][-\w.]*$")


@dataclass(frozen=True, slots=True)
class Program:
    """`handler` is a handler.py, or else `command` is run for each call; `folder` is where."""

    handler: Path | None
    command: str
    folder: Path | None


class KnownHandlers:
    """The handler folders of the configured stack.yml, by its functions' names and images."""

    def __init__(self, deployments: Iterable[Deployment] = ()) -> None:
        self._by_name: dict[str, str] = {}
        self._by_image: dict[str, str] = {}
        for deployment in deployments:
            place = deployment.annotations.get(HANDLER_ANNOTATION)
            if place is not None:
                self._by_name[deployment.service] = place
                if deployment.image:
                    self._by_image[_untagged(deployment.image)] = place

    def of_image(self, image: str) -> str | None:
        """The path that an image stands for, or None."""
        match = _LOCAL_IMAGE.fullmatch(image)
        if match is not None and match[1] in self._by_name:
            return self._by_name[match[1]]
        return self._by_image.get(_untagged(image))


def resolve(deployment: Deployment, known: KnownHandlers) -> Program:
    """What to run for a deployment. Raises FunctionError with what to do instead."""
    name = deployment.service
    place = _place(deployment, known)
    if place is not None:
        path = Path(place)
        if not path.is_absolute():
            raise FunctionError(f"{name}: the handler's path {place!r} must be absolute")
        if path.is_file():
            return Program(path, "", path.parent)
        if (path / "handler.py").is_file():
            return Program(path / "handler.py", "", path)
        if not path.is_dir():
            raise FunctionError(f"{name}: there is no handler at {path} on the gateway's machine")
        if not deployment.env_process:
            raise FunctionError(f"{name}: {path} holds no handler.py, and envProcess names no command")
        return Program(None, _command(deployment, path), path)
    if deployment.env_process:
        return Program(None, _command(deployment, None), None)
    raise FunctionError(
        f"{name}: this gateway runs handlers and commands, not images ({deployment.image!r}): name the handler's folder"
        f" in the annotation {HANDLER_ANNOTATION}, or a command in envProcess"
    )


def _place(deployment: Deployment, known: KnownHandlers) -> str | None:
    named: Mapping[str, str]
    for named in (deployment.annotations, deployment.labels):
        if named.get(HANDLER_ANNOTATION):
            return named[HANDLER_ANNOTATION]
    if deployment.image.startswith("file:"):
        parts = urlsplit(deployment.image)
        if parts.netloc not in ("", "localhost"):
            raise FunctionError(f"{deployment.service}: the image {deployment.image!r} names another machine")
        return unquote(parts.path)
    return known.of_image(deployment.image) if deployment.image else None


def _command(deployment: Deployment, folder: Path | None) -> str:
    try:
        words = shlex.split(deployment.env_process)
    except ValueError as problem:
        raise FunctionError(f"{deployment.service}: envProcess cannot be split into words: {problem}") from problem
    if not words:
        raise FunctionError(f"{deployment.service}: envProcess names no command")
    here = str(folder / words[0]) if folder is not None and "/" in words[0] else words[0]
    if shutil.which(here) is None:
        raise FunctionError(
            f"{deployment.service}: the command {words[0]!r} of envProcess is not installed on the gateway's machine"
        )
    return deployment.env_process


def _untagged(image: str) -> str:
    return _TAG.sub("", image)
