"""The docker SDK's client for one engine: its transport and TLS, and the version of its API that is agreed on."""

from __future__ import annotations

import socket
from typing import Final

import requests
from docker import APIClient
from docker.errors import DockerException
from docker.tls import TLSConfig

from bridge.errors import EngineError, EngineUnavailable
from bridge.swarm import versions
from bridge.swarm.address import EngineAddress
from bridge.swarm.complaints import complaint

CONNECT_S: Final = 3.0


def knock(address: EngineAddress) -> None:
    """Raise OSError where a socket takes no connections: the SDK leaves one open that it could not connect."""
    if address.host.startswith("unix://"):
        with socket.socket(socket.AF_UNIX) as door:
            door.settimeout(CONNECT_S)
            door.connect(address.host.removeprefix("unix://"))


def client_of(address: EngineAddress, *, version: str, timeout_s: float) -> APIClient:
    """A client that speaks one version; nothing is asked yet. Raises EngineUnavailable for what cannot be an engine."""
    tls: TLSConfig | bool = False
    try:
        if address.host.startswith("tcp://") and address.ca is not None:
            pair = (str(address.cert), str(address.key)) if address.cert and address.key else None
            tls = TLSConfig(client_cert=pair, ca_cert=str(address.ca), verify=True)
        client = APIClient(base_url=address.host, version=version, timeout=timeout_s, tls=tls)
    except (DockerException, OSError, ValueError) as error:
        raise EngineUnavailable(f"the Docker Engine at {address.host} cannot be asked: {error}") from error
    # A proxy of the environment is for the internet.
    client.trust_env = False
    return client


def agreed_client(address: EngineAddress, *, timeout_s: float) -> APIClient:
    """A client that speaks the version agreed on with its engine, for those who wait for each call.

    Raises EngineUnavailable, or EngineError for an engine that is too old or is none.
    """
    asking = client_of(address, version="1.40", timeout_s=timeout_s)
    try:
        knock(address)
        about = asking.version(api_version=False)
        version = versions.agree(str(about.get("ApiVersion", "")), str(about.get("MinAPIVersion", "")))
    except (requests.exceptions.JSONDecodeError, AttributeError):
        raise EngineError(f"what listens at {address.host} is no Docker Engine") from None
    except (requests.RequestException, DockerException, OSError) as error:
        raise EngineUnavailable(complaint(address.host, error)) from error
    finally:
        asking.close()
    return client_of(address, version=version, timeout_s=timeout_s)
