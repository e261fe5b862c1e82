"""Who may pull an image from its registry: from the deployment, or from the engine's own configuration file."""

from __future__ import annotations

import base64
import binascii
import logging
from pathlib import Path

import orjson
from docker import auth
from docker.errors import DockerException

_log = logging.getLogger(__name__)


def given_header(image: str, registry_auth: str) -> dict[str, str]:
    """The header for credentials that came with a deployment: `user:password` in base64. Raises ValueError."""
    try:
        user, colon, password = base64.b64decode(registry_auth, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        colon = ""
    if not colon:
        # The text must not repeat what was given.
        raise ValueError("registryAuth must be user:password in base64")
    return _header({"username": user, "password": password, "serveraddress": registry_of(image)})


def kept_header(image: str, config: Path | None) -> dict[str, str]:
    """The header for credentials in Docker's configuration file (as `docker login` writes it); empty without any.

    Without `config` it is where the Docker CLI would look. Credential helpers are run, so call it in a thread.
    """
    try:
        found = auth.load_config(None if config is None else str(config)).resolve_authconfig(registry_of(image))
    except (DockerException, OSError, ValueError) as error:
        _log.warning("Credentials cannot be read", extra={"op": "registry", "reason": str(error)})
        return {}
    if not found:
        return {}
    return _header({key: value for key, value in found.items() if value is not None})


def registry_of(image: str) -> str:
    """The registry of an image. Raises ValueError where its name is none."""
    registry, _ = placed(image)
    return registry


def placed(image: str) -> tuple[str, str]:
    """The registry of an image, and its name there. Raises ValueError where it is no name of one."""
    try:
        registry, name = auth.resolve_repository_name(image)
    except DockerException as error:
        raise ValueError(str(error)) from error
    return str(registry), str(name)


def _header(credentials: dict[str, str]) -> dict[str, str]:
    return {"X-Registry-Auth": base64.urlsafe_b64encode(orjson.dumps(credentials)).decode()}
