"""What system tests need of the machine: without it they skip and say what to install; under CI they fail."""

from __future__ import annotations

import os
import shutil
from typing import Final

import pytest

PACKAGES: Final = {
    "mosquitto": "mosquitto",
    "mosquitto_passwd": "mosquitto",
    "mosquitto_pub": "mosquitto-clients",
    "mosquitto_sub": "mosquitto-clients",
    "mount": "mount",
    "umount": "mount",
    "unshare": "util-linux",
    "nsenter": "util-linux",
    "setsid": "util-linux",
    "openssl": "openssl",
    "docker": "docker.io",
    "dockerd": "docker.io",
    "docker-registry": "docker-registry",
    "debootstrap": "debootstrap",
    "ip": "iproute2",
    "iptables": "iptables",
    "prometheus": "prometheus",
    "promtool": "prometheus",
    "alertmanager": "prometheus-alertmanager",
    "prometheus-alertmanager": "prometheus-alertmanager",
    "amtool": "prometheus-alertmanager",
    "chromium": "chromium",
    "systemd-analyze": "systemd",
    "wrk": "wrk",
    "hey": "hey",
    "qemu-arm-static": "qemu-user-static",
}
"""The Debian package of a command, where the two have different names or are needed here."""

_PATH: Final = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin", "/usr/local/sbin"))


def find(command: str) -> str | None:
    """Where a command is; Debian puts servers where an ordinary user's PATH does not look."""
    return shutil.which(command, path=_PATH)


def require(*commands: str) -> None:
    """Go on when all the commands are there; else skip, or fail where `CI=true` says that they must be."""
    missing = [command for command in commands if find(command) is None]
    if not missing:
        return
    packages = " ".join(sorted({PACKAGES.get(command, command) for command in missing}))
    require_none_missing(f"{', '.join(missing)} missing; install: sudo apt-get install {packages}")


def require_none_missing(reason: str | None) -> None:
    """Go on without a reason not to; else skip with it, or fail where `CI=true` says that nothing may be missing."""
    if reason is None:
        return
    if os.environ.get("CI") == "true":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)
