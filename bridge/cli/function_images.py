"""`gpio-bridge functions template|build|push|up`: images of functions, from their handlers to a registry."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bridge.cli.stack_selection import (
    STACK,
    Filter,
    Names,
    Regex,
    Stack,
    Tag,
    Wait,
    image_of,
    pairs,
    selected,
    template_folders,
)

if TYPE_CHECKING:
    from docker import APIClient

    from bridge.images.build import Wishes
    from bridge.images.context import Context
    from bridge.openfaas.stack_file import StackFunction

BuildArgs = Annotated[
    list[str] | None, typer.Option("--build-arg", "-b", help="NAME=VALUE for the Dockerfile; may be repeated.")
]
Platform = Annotated[
    str | None,
    typer.Option(
        help="Build for this platform instead of the engine's own, such as `linux/arm/v7`; or for several, with commas."
    ),
]
NoCache = Annotated[bool, typer.Option("--no-cache", help="Build every step anew.")]
Pull = Annotated[bool, typer.Option("--pull", help="Ask the registry for newer base images.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Of a build, print only a step that fails.")]
Host = Annotated[str | None, typer.Option("--host", "-H", help="The Docker Engine; without it, DOCKER_HOST.")]

_CONTEXTS = Path("build")
_ENGINE_S = 600.0
"""How long an engine may say nothing: while it unpacks a large layer on an SD card, or a build step is silent."""


def template(
    folder: Annotated[Path, typer.Argument(help="Where to write them.", file_okay=False)] = Path("template"),
) -> None:
    """Write the templates of function images, complete, for faas-cli or `docker build`."""
    from bridge.images.templates import write

    for path in write(folder):
        print(f"{path}: written")


def build(
    names: Names = None,
    file: Stack = STACK,
    pattern: Filter = None,
    regex: Regex = None,
    tag: Tag = "latest",
    build_arg: BuildArgs = None,
    build_option: Annotated[
        list[str] | None, typer.Option("--build-option", "-o", help="A build option of the template; may be repeated.")
    ] = None,
    platform: Platform = None,
    no_cache: NoCache = False,
    pull: Pull = False,
    quiet: Quiet = False,
    shrinkwrap: Annotated[
        bool, typer.Option("--shrinkwrap", help="Only write the build contexts, to `build/NAME`.")
    ] = False,
    host: Host = None,
) -> None:
    """Build the images of a stack file's functions with a Docker Engine."""
    platforms = _platforms(platform)
    contexts = _contexts(selected(file, names, pattern, regex).functions, file, build_arg, build_option)
    if shrinkwrap:
        _write(contexts)
        return
    with _engine(host) as client:
        _build(client, contexts, tag, platforms, no_cache=no_cache, pull=pull, quiet=quiet)


def push(
    names: Names = None,
    file: Stack = STACK,
    pattern: Filter = None,
    regex: Regex = None,
    tag: Tag = "latest",
    platform: Annotated[
        str | None,
        typer.Option(help="The platforms they were built for, with commas: pushes each, and an index that joins them."),
    ] = None,
    host: Host = None,
) -> None:
    """Push the images of a stack file's functions to their registries, with the credentials of `docker login`."""
    functions = selected(file, names, pattern, regex).functions
    platforms = _platforms(platform)
    with _engine(host) as client:
        for function in functions:
            _push(client, function, tag, platforms)


def up(
    names: Names = None,
    file: Stack = STACK,
    pattern: Filter = None,
    regex: Regex = None,
    tag: Tag = "latest",
    build_arg: BuildArgs = None,
    platform: Platform = None,
    no_cache: NoCache = False,
    pull: Pull = False,
    quiet: Quiet = False,
    skip_push: Annotated[bool, typer.Option("--skip-push", help="For a cluster of this engine alone.")] = False,
    skip_deploy: Annotated[bool, typer.Option("--skip-deploy", help="Build and push only.")] = False,
    env: Annotated[
        list[str] | None, typer.Option("--env", "-e", help="NAME=VALUE for the functions; may be repeated.")
    ] = None,
    label: Annotated[list[str] | None, typer.Option("--label", "-l", help="NAME=VALUE; may be repeated.")] = None,
    wait: Wait = 60.0,
    host: Host = None,
    gateway: Annotated[
        str | None, typer.Option("--gateway", "-g", help="The gateway to deploy to, as with `functions deploy`.")
    ] = None,
    user: Annotated[str, typer.Option(help="The user, for a gateway that asks for one.")] = "admin",
    password_file: Annotated[
        Path | None, typer.Option(help="The file with the user's password.", exists=True, dir_okay=False)
    ] = None,
) -> None:
    """Build, push and deploy the functions of a stack file."""
    from bridge.cli.functions import deploy

    platforms = _platforms(platform)
    if skip_push and len(platforms) > 1:
        raise typer.BadParameter("--skip-push leaves images of several platforms without the index that joins them")
    contexts = _contexts(selected(file, names, pattern, regex).functions, file, build_arg, None)
    with _engine(host) as client:
        _build(client, contexts, tag, platforms, no_cache=no_cache, pull=pull, quiet=quiet)
        for function, _ in () if skip_push else contexts:
            _push(client, function, tag, platforms)
    if not skip_deploy:
        deploy(names, file, pattern, regex, tag, env, label, wait, gateway, user, password_file)


def _contexts(
    functions: tuple[StackFunction, ...], file: Path, build_arg: list[str] | None, build_option: list[str] | None
) -> list[tuple[StackFunction, Context]]:
    """What each is built of; told whole before anything is built. Raises ImageError, ConfigError."""
    from bridge.errors import ImageError
    from bridge.images.context import context_of

    given = pairs(build_arg, "--build-arg")
    found = []
    for function in functions:
        name = function.deployment.service
        if function.skip_build:
            print(f"{name}: skipped (skip_build)")
            continue
        try:
            if function.handler is None or not function.lang:
                raise ImageError("lang and handler are needed to build it; or say skip_build: true")  # noqa: TRY301
            context = context_of(
                function.lang,
                function.handler,
                template_folders=template_folders(file),
                build_args={**function.build_args, **given},
                build_options=(*function.build_options, *(build_option or ())),
                copied=function.copied,
            )
        except ImageError as error:
            raise ImageError(f"{function.place}: functions.{name}: {error}") from error
        found.append((function, context))
    return found


def _build(
    client: APIClient,
    contexts: list[tuple[StackFunction, Context]],
    tag: str,
    platforms: tuple[str, ...],
    *,
    no_cache: bool,
    pull: bool,
    quiet: bool,
) -> None:
    """Build every image of these functions, one for each platform."""
    from bridge.images.build import Wishes

    # An engine keeps a base image of one platform under a name: each build needs its own.
    anew = pull or len(platforms) > 1
    for function, context in contexts:
        for platform, image in _parts(function, tag, platforms):
            wishes = Wishes(platform, no_cache, anew)
            _build_one(client, function.deployment.service, image, context, wishes, quiet=quiet)


def _build_one(client: APIClient, name: str, image: str, context: Context, wishes: Wishes, *, quiet: bool) -> None:
    from bridge.errors import BuildFailed
    from bridge.images.build import build

    print(f"{name}: building {image}", flush=True)
    try:
        for line in build(client, image, context, wishes):
            if not quiet:
                print(f"{name} | {line}", flush=True)
    except BuildFailed as error:
        if quiet:
            print(error.output, file=sys.stderr, flush=True)
        raise
    print(f"{name}: built {image}", flush=True)


def _push(client: APIClient, function: StackFunction, tag: str, platforms: tuple[str, ...]) -> None:
    from bridge.images.build import push
    from bridge.images.index import join

    name, whole = function.deployment.service, image_of(function, tag)
    if function.skip_build:
        print(f"{name}: skipped (skip_build)")
        return
    parts = dict(_parts(function, tag, platforms))
    for image in parts.values():
        print(f"{name}: pushing {image}", flush=True)
        for line in push(client, image):
            print(f"{name} | {line}", flush=True)
        print(f"{name}: pushed {image}", flush=True)
    if len(platforms) > 1:
        digest = join(client, whole, {platform: parts[platform] for platform in platforms})
        print(f"{name}: joined {', '.join(platforms)} in {whole}: {digest}", flush=True)


def _platforms(given: str | None) -> tuple[str, ...]:
    """What `--platform` names, each once. Raises typer.BadParameter."""
    from bridge.errors import ImageError
    from bridge.images.platforms import normal

    try:
        return tuple(dict.fromkeys(normal(each) for each in given.split(","))) if given is not None else ()
    except ImageError as error:
        raise typer.BadParameter(f"--platform: {error}") from error


def _parts(function: StackFunction, tag: str, platforms: tuple[str, ...]) -> tuple[tuple[str | None, str], ...]:
    """The images of a function by their platforms; the only one has the function's own name."""
    from bridge.images.tags import for_platform

    image = image_of(function, tag)
    if len(platforms) < 2:
        return ((platforms[0] if platforms else None, image),)
    return tuple((platform, for_platform(image, platform)) for platform in platforms)


def _write(contexts: list[tuple[StackFunction, Context]]) -> None:
    import shutil
    from shlex import quote

    from bridge.images.templates import write_files

    for function, context in contexts:
        place = _CONTEXTS / function.deployment.service
        # What an earlier handler had must not be in the image of this one.
        shutil.rmtree(place, ignore_errors=True)
        write_files(place, context.files)
        arguments = "".join(f" --build-arg {quote(f'{name}={value}')}" for name, value in context.build_args.items())
        print(f"{place}: written; build it with: docker build{arguments} --tag {function.deployment.image} {place}")


@contextmanager
def _engine(host: str | None) -> Iterator[APIClient]:
    import os

    from bridge.swarm.address import engine_address
    from bridge.swarm.client import agreed_client

    client = agreed_client(engine_address(host, os.environ), timeout_s=_ENGINE_S)
    try:
        yield client
    finally:
        client.close()
