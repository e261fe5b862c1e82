"""`gpio-bridge functions ...`: what runs behind a gateway, through OpenFaaS' own HTTP interface."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from bridge.cli import function_images, secrets
from bridge.cli.gateway_options import PasswordFile, Url, User
from bridge.cli.stack_selection import (
    STACK,
    Filter,
    Names,
    Regex,
    Stack,
    Tag,
    Wait,
    command_of,
    image_of,
    pairs,
    selected,
)
from bridge.cli.table import print_table

app = typer.Typer(
    help="Functions: build, deploy, list, invoke, look at their logs, remove, and start new ones.", no_args_is_help=True
)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command("list")
def list_(
    gateway: Url = None, user: User = "admin", password_file: PasswordFile = None, as_json: AsJson = False
) -> None:
    """Show every function, its replicas and how often it was called."""
    from bridge.cli.client import ask, credentials, gateway_url, granted

    url = f"{gateway_url(gateway)}/system/functions"
    answer = granted(ask("GET", url, program="gateway", auth=credentials(user, password_file)), "listing the functions")
    if as_json:
        print(answer.text)
        return
    rows = [("NAME", "REPLICAS", "CALLS", "IMAGE")]
    for function in sorted(answer.json(), key=lambda found: str(found["name"])):
        ready = f"{function.get('availableReplicas', 0)}/{function.get('replicas', 0)}"
        calls = str(int(function.get("invocationCount", 0)))
        rows.append((function["name"], ready, calls, function.get("image", "")))
    print_table(rows)


@app.command(short_help="Deploy the functions of a stack file.")
def deploy(
    names: Names = None,
    file: Stack = STACK,
    pattern: Filter = None,
    regex: Regex = None,
    tag: Tag = "latest",
    env: Annotated[
        list[str] | None, typer.Option("--env", "-e", help="NAME=VALUE for the functions; may be repeated.")
    ] = None,
    label: Annotated[list[str] | None, typer.Option("--label", "-l", help="NAME=VALUE; may be repeated.")] = None,
    wait: Wait = 60.0,
    gateway: Url = None,
    user: User = "admin",
    password_file: PasswordFile = None,
) -> None:
    """Deploy the functions of a stack file, or replace those that are there, and wait until they run."""
    from dataclasses import replace

    from bridge.cli.client import ask, credentials, gateway_url, granted
    from bridge.cli.readiness import until_ready

    stack = selected(file, names, pattern, regex)
    variables, labels = pairs(env, "--env"), pairs(label, "--label")
    address, auth = gateway_url(gateway, stack.gateway), credentials(user, password_file)
    url = f"{address}/system/functions"
    updated: dict[str, bool] = {}
    for function in stack.functions:
        wanted = function.deployment
        name = wanted.service
        document = replace(
            wanted,
            image=image_of(function, tag),
            env_process=command_of(function, file),
            env_vars={**(wanted.env_vars or {}), **variables} or wanted.env_vars,
            labels={**wanted.labels, **labels},
        ).document()
        # As faas-cli does: replace first, because that is what mostly happens; create where there is nothing yet.
        answer = ask("PUT", url, program="gateway", json=document, auth=auth, timeout_s=60)
        new = answer.status_code == 404
        if new:
            answer = ask("POST", url, program="gateway", json=document, auth=auth, timeout_s=60)
        granted(answer, f"deploying {name} ({function.place})")
        print(f"{name}: {'deployed' if new else 'updated'}", flush=True)
        updated[name] = not new
    for function in stack.functions if wait > 0 else ():
        name = function.deployment.service
        until_ready(address, name, function.place, auth, within_s=wait, updated=updated[name])


app.command("build", short_help="Build the images of a stack file's functions.")(function_images.build)
app.command("push", short_help="Push the images to their registries.")(function_images.push)
app.command("up")(function_images.up)
app.command("template", short_help="Write the templates of function images.")(function_images.template)
app.add_typer(secrets.app, name="secret")


@app.command()
def invoke(
    name: Annotated[str, typer.Argument(help="The function.")],
    data: Annotated[
        str | None, typer.Option("--data", "-d", help="What to send; `-` or nothing in a pipe: standard input.")
    ] = None,
    content_type: Annotated[str | None, typer.Option(help="The content type of what is sent.")] = None,
    asynchronous: Annotated[bool, typer.Option("--async", help="Do not wait for the function.")] = False,
    timeout: Annotated[float, typer.Option(help="How many seconds the function may take.")] = 60.0,
    gateway: Url = None,
) -> None:
    """Call a function and print its answer. A status from 400 on is exit code 1."""
    from bridge.cli.client import Refused, ask, gateway_url, said

    body = b""
    if data == "-" or (data is None and not sys.stdin.isatty()):
        body = sys.stdin.buffer.read()
    elif data is not None:
        body = data.encode()
    kind = "async-function" if asynchronous else "function"
    headers = {"Content-Type": content_type or ("application/json" if body[:1] in (b"{", b"[") else "text/plain")}
    url = f"{gateway_url(gateway)}/{kind}/{name}"
    answer = ask("POST", url, program="gateway", content=body, headers=headers, timeout_s=timeout)
    if answer.status_code >= 400:
        raise Refused(f"{name} answered {said(answer)}")
    if asynchronous:
        print(f"accepted as {answer.headers.get('x-call-id', 'a call without an id')}")
        return
    sys.stdout.buffer.write(answer.content)
    sys.stdout.buffer.flush()
    if answer.content and not answer.content.endswith(b"\n") and sys.stdout.isatty():
        print()


@app.command()
def logs(
    name: Annotated[str, typer.Argument(help="The function.")],
    follow: Annotated[bool, typer.Option("--follow", help="Go on until Ctrl-C.")] = False,
    tail: Annotated[int, typer.Option(min=0, help="How many of the newest lines to begin with.")] = 100,
    gateway: Url = None,
    user: User = "admin",
    password_file: PasswordFile = None,
    as_json: AsJson = False,
) -> None:
    """Print what a function wrote."""
    import json

    from bridge.cli.client import credentials, gateway_url, lines

    parameters = {"name": name, "tail": str(tail), "follow": "true" if follow else "false"}
    url = f"{gateway_url(gateway)}/system/logs"
    auth = credentials(user, password_file)
    for line in lines(url, program="gateway", params=parameters, auth=auth, attempted=f"reading the log of {name}"):
        if as_json:
            print(line, flush=True)
        else:
            document = json.loads(line)
            print(f"{document['timestamp']} {document['instance']}  {document['text'].rstrip()}", flush=True)


@app.command(short_help="Remove functions from the gateway.")
def remove(
    names: Annotated[list[str], typer.Argument(help="The functions.")],
    gateway: Url = None,
    user: User = "admin",
    password_file: PasswordFile = None,
) -> None:
    """Remove functions from the gateway; their code and their entries in stack files stay."""
    from bridge.cli.client import ask, credentials, gateway_url, granted

    url, auth = f"{gateway_url(gateway)}/system/functions", credentials(user, password_file)
    for name in names:
        granted(
            ask("DELETE", url, program="gateway", json={"functionName": name}, auth=auth, timeout_s=60),
            f"removing {name}",
        )
        print(f"{name}: removed")


@app.command(short_help="Start a function, with a handler to change.")
def new(
    name: Annotated[str, typer.Argument(help="The name of the new function.")],
    lang: Annotated[
        str, typer.Option(help="python3-http (handle(event, context)) or python3 (handle(req)).")
    ] = "python3-http",
    file: Stack = STACK,
) -> None:
    """Start a function: a folder with a handler to change, and an entry in the stack file."""
    from bridge.cli.starter import make

    handler, stack = make(name, lang, file)
    print(f"{handler}: written; change it as you like")
    print(f"{stack}: {name} added; deploy it with: gpio-bridge functions deploy {name} --file {stack}")
