"""`gpio-bridge simulate`: make something happen at a virtual Pi's pins."""

from __future__ import annotations

from typing import Annotated, Any

import typer

Url = Annotated[
    str | None, typer.Option(help="Where the virtual Pis listen; without it, those of the running `gpio-bridge up`.")
]


def simulate(
    sensor: Annotated[str | None, typer.Argument(help="The sensor's name; without it, all are listed.")] = None,
    value: Annotated[
        str | None, typer.Argument(help="What it shall see: motion, break, press, a number, ... (see the list).")
    ] = None,
    node: Annotated[str | None, typer.Option(help="The node, where several have a sensor of that name.")] = None,
    url: Url = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")] = False,
) -> None:
    """Make a sensor of a virtual Pi see something: `gpio-bridge simulate front-door motion`."""
    from bridge.cli.client import Refused, ask, control_url, granted, reason

    base = control_url(url)
    if sensor is None or value is None:
        answer = granted(ask("GET", f"{base}/v1/nodes", program="virtual Pi"), "asking what there is")
        if as_json:
            print(answer.text, end="")
        else:
            _list(answer.json(), sensor)
        return
    wanted = {"sensor": sensor, "value": value} | ({"node": node} if node else {})
    answer = ask("POST", f"{base}/v1/simulate", program="virtual Pi", json=wanted)
    if not answer.is_success:
        raise Refused(reason(answer))
    if as_json:
        print(answer.text, end="")
        return
    done = answer.json()
    print(f"{done['node']}/{done['sensor']}: {done['value']}")


def _list(document: Any, only: str | None) -> None:
    rows = [
        (f"{node['name']}/{sensor['name']}", sensor["kind"], ", ".join(sensor["accepts"]))
        for node in document["nodes"]
        for sensor in node["sensors"]
        if only in (None, sensor["name"])
    ]
    widths = [max((len(row[i]) for row in rows), default=0) for i in (0, 1)]
    for name, kind, accepts in rows:
        print(f"{name:<{widths[0]}}  {kind:<{widths[1]}}  {accepts}")
