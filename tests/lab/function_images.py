"""The images of functions in a lab: the function server on the base image, and a handler on top of it."""

from __future__ import annotations

import dataclasses
from importlib.metadata import Distribution
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import h11

import bridge.runtime
from bridge.openfaas.deployment import Deployment
from bridge.openfaas.stack_file import HANDLER_ANNOTATION, load_stack
from tests.lab import images, wheels
from tests.lab.lab import Lab

FUNCTIONS: Final = wheels.ROOT / "functions"
_RUNTIME: Final = """
ARG BASE
FROM ${BASE}
COPY app /app
RUN python3 -m compileall -q /app
ENV PYTHONPATH=/app PYTHONUNBUFFERED=1
USER 65534
ENTRYPOINT ["python3", "-m", "bridge.runtime"]
"""
_FUNCTION: Final = """
ARG RUNTIME
FROM ${RUNTIME}
COPY function /function
ENV function_handler=/function
"""
_COMMAND: Final = """
ARG RUNTIME
FROM ${RUNTIME}
"""
_LIBRARIES: Final = """
USER 0
COPY wheels /wheels
RUN python3 -m pip install --quiet --no-index --no-deps --target /app /wheels/*.whl
USER 65534
"""


def build_runtime(lab: Lab) -> str:
    """The image that those of functions begin with."""
    runtime = Path(bridge.runtime.__file__).parent
    parts: dict[str, Path | str] = {
        "Dockerfile": _RUNTIME,
        "app/bridge/__init__.py": runtime.parent / "__init__.py",
        "app/bridge/runtime": runtime,
        "app/h11": Path(h11.__file__).parent,
    }
    return images.build(lab, "runtime:checkout", parts)


def examples() -> tuple[Deployment, ...]:
    """The functions of functions/stack.yml. Where a handler is on this machine is left out: the image has it."""
    return tuple(
        dataclasses.replace(
            each, annotations={key: value for key, value in each.annotations.items() if key != HANDLER_ANNOTATION}
        )
        for each in load_stack(FUNCTIONS / "stack.yml", {})
    )


def build_example(lab: Lab, runtime: str, deployment: Deployment) -> str:
    """The image of one of the example functions, with the libraries that it asks for."""
    folder = FUNCTIONS / deployment.service
    name = deployment.image
    if not (folder / "handler.py").exists():
        # A command that the base image has: the deployment names it.
        return images.build(lab, name, {"Dockerfile": _COMMAND}, {"RUNTIME": runtime})
    return _build(lab, runtime, name, {"function": folder}, _libraries(folder))


def build_handler(lab: Lab, runtime: str, name: str, code: str) -> str:
    """The image of a function whose handler is given as text."""
    return _build(lab, runtime, name, {"function/handler.py": code}, [])


def _build(lab: Lab, runtime: str, name: str, function: dict[str, Path | str], needs: list[Distribution]) -> str:
    if not needs:
        return images.build(lab, name, {"Dockerfile": _FUNCTION, **function}, {"RUNTIME": runtime})
    with TemporaryDirectory(prefix="wheels-", dir=lab.plan.folder) as folder:
        for each in needs:
            wheels.pack(each, Path(folder))
        parts: dict[str, Path | str] = {"Dockerfile": _FUNCTION + _LIBRARIES, "wheels": Path(folder), **function}
        return images.build(lab, name, parts, {"RUNTIME": runtime})


def _libraries(folder: Path) -> list[Distribution]:
    """What the function's requirements.txt asks for, of what is installed here."""
    file = folder / "requirements.txt"
    if not file.exists():
        return []
    return list(wheels.required(file.read_text(encoding="utf-8").split("\n"), themselves=True))
