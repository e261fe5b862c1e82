"""`scripts/lab`: a Docker Swarm of up to nine Raspberry Pis, and a registry, on one Linux machine."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
import time
from pathlib import Path

from tests.lab.lab import Lab, all_numbers
from tests.lab.machine import LabError

_EPILOG = """
up N       N engines in a swarm, the first one its manager, and a registry with a base image; N is 1 unless said
down       everything gone
status     what there is
env        for a shell: eval "$(scripts/lab env)"
images     images of our programs and of the example functions, from this checkout
kill NODE  its power fails
start NODE it is switched on again
cut NODE   its network cable is pulled out
heal NODE  and put back
"""


def main(arguments: list[str]) -> int:
    """Do what the command line says; the exit code."""
    parser = argparse.ArgumentParser(
        prog="scripts/lab", description=__doc__, epilog=_EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--lab", type=int, default=1, metavar="NUMBER", help="which lab (1): several can be up")
    parser.add_argument("--folder", type=Path, help="where labs are kept ($XDG_CACHE_HOME/gpio-bridge/lab)")
    verbs = ("up", "down", "status", "env", "images", "kill", "start", "cut", "heal")
    parser.add_argument("verb", choices=verbs, metavar="|".join(verbs))
    parser.add_argument("what", nargs="?", help="how many engines, or which node")
    given = parser.parse_args(arguments)
    if given.verb in ("down", "status", "env", "images") and given.what is not None:
        parser.error(f"{given.verb} takes nothing else")
    try:
        lab = Lab(given.lab, cache=given.folder)
        try:
            text, code = _do(lab, given.verb, given.what)
        finally:
            lab.close()
    except LabError as error:
        print(f"scripts/lab: {error}", file=sys.stderr)
        return 1
    if text:
        print(text)
    return code


def _do(lab: Lab, verb: str, what: str | None) -> tuple[str, int]:
    """What there is to say, and the exit code."""
    if verb == "up":
        return _up(lab, _size(what))
    if verb == "status":
        return _status(lab)
    if verb == "down":
        lab.down()
        return "", 0
    if not lab.nodes:
        raise LabError(f"lab {lab.number} is not up; bring it up with `scripts/lab up 3`")
    if verb == "env":
        return "\n".join(f"export {name}={shlex.quote(value)}" for name, value in lab.environment().items()), 0
    if verb == "images":
        return "\n".join(_images(lab)), 0
    if what is None:
        raise LabError(f"{verb} which node? {', '.join(node.name for node in lab.nodes)}")
    node = lab.node(what)
    {"kill": node.kill, "start": node.start, "cut": node.cut, "heal": node.heal}[verb]()
    return "", 0


def _images(lab: Lab) -> list[str]:
    """The names of what was built, each in the lab's registry."""
    from tests.lab import function_images, images  # which take longer to load than the other verbs to do

    runtime = function_images.build_runtime(lab)
    examples = [function_images.build_example(lab, runtime, each) for each in function_images.examples()]
    return [images.build_programs(lab), *examples]


def _size(what: str | None) -> int:
    try:
        return int(what or "1")
    except ValueError:
        raise LabError(f"how many engines? {what!r} is no number") from None


def _up(lab: Lab, size: int) -> tuple[str, int]:
    if lab.is_up:
        if len(lab.nodes) == size:
            return _status(lab)
        raise LabError(f"lab {lab.number} is up with {len(lab.nodes)} engines; take it down first: scripts/lab down")
    began = time.monotonic()
    try:
        lab.up(size)
    except BaseException:
        lab.down()
        raise
    took_s = time.monotonic() - began
    text, code = _status(lab)
    return f"up in {took_s:.1f} s\n{text}", code


def _status(lab: Lab) -> tuple[str, int]:
    lines = [f"lab {number} is up, too" for number in all_numbers() if number != lab.number]
    if not lab.nodes:
        return "\n".join([*lines, f"lab {lab.number} is not up"]), 1
    states = lab.states() if lab.manager.running else {}
    registry = "up" if lab.registry.running else "down"
    lines += [
        f"lab {lab.number} in {lab.plan.folder}",
        f"registry {registry} at {lab.registry.address}",
        f"base image {lab.base}",
    ]
    for node in lab.nodes:
        engine, swarm = "up" if node.running else "down", states.get(node.name, "?")
        lines.append(f"{node.name}  {node.address:<14} engine {engine:<5} swarm {swarm:<8} {node.host}")
    return "\n".join(lines), 0 if lab.is_up else 1


if __name__ == "__main__":
    os.umask(0o022)
    sys.exit(main(sys.argv[1:]))
