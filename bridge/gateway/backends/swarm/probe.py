"""The health check that a function's service gets: a shell's line that any image of OpenFaaS can run. Pure."""

from __future__ import annotations

import re
import shlex

from bridge.errors import FunctionError
from bridge.gateway.settings import HealthSettings
from bridge.openfaas.deployment import Deployment
from bridge.swarm.specification import HealthCheck

HEALTH_ANNOTATION = "io.gpio-bridge.health"
"""`image` leaves the image's own check, `none` has none at all, anything else is a command for the shell."""
PATH_ANNOTATION = "com.openfaas.health.http.path"

_PATH = re.compile(r"/[-A-Za-z0-9_.~/%?=&]*")
_PYTHON = (
    "import socket as s;c=s.create_connection(('127.0.0.1',8080),3);"
    "c.sendall(b'GET {path} HTTP/1.0\\r\\n\\r\\n');a=c.recv(16).split();assert a[1]<b'500'"
)


def health_check(deployment: Deployment, settings: HealthSettings) -> HealthCheck | None:
    """The check for a function; None leaves the image's own. Raises FunctionError."""
    said = deployment.annotations.get(HEALTH_ANNOTATION, "").strip()
    if said == "image" or not (said or settings.enabled):
        return None
    if said == "none":
        return HealthCheck(("NONE",))
    path = deployment.annotations.get(PATH_ANNOTATION) or "/_/health"
    if not _PATH.fullmatch(path):
        raise FunctionError(f"{deployment.service}: annotations.{PATH_ANNOTATION}: {path[:100]!r} is no path")
    return HealthCheck(
        ("CMD-SHELL", said or command(path)),
        every_s=settings.every_s,
        timeout_s=settings.timeout_s,
        start_s=settings.start_s,
        retries=settings.retries,
    )


def command(path: str) -> str:
    """Well is what holds the watchdog's lock file, or answers HTTP with a status below 500.

    Whatever the image has is asked with; one that has nothing of it is taken for well, since it cannot be told.
    """
    url = shlex.quote(f"http://127.0.0.1:8080{path}")
    python = shlex.quote(_PYTHON.format(path=path))
    return (
        "[ -e /tmp/.lock ] && exit 0\n"
        f"if command -v curl >/dev/null; then curl -s -m 3 -o /dev/null -w '%{{http_code}}' {url} | grep -q '^[1-4]'\n"
        f'elif command -v wget >/dev/null; then said=$(wget -T 3 -O /dev/null {url} 2>&1) || case "$said" in\n'
        '*" 4"[0-9][0-9]*) ;; *) exit 1 ;; esac\n'
        f"elif command -v python3 >/dev/null; then python3 -SEc {python}\n"
        "fi"
    )
