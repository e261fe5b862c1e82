"""An image for several platforms: the index that joins the images which were made for each of them."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import orjson
import requests
from docker import APIClient, auth
from docker.errors import DockerException
from docker.utils import parse_repository_tag

from bridge.errors import EngineUnavailable, ImageError
from bridge.images.platforms import platform_of
from bridge.images.registry import (
    DOCKER_LIST,
    DOCKER_MANIFEST,
    OCI_INDEX,
    OCI_MANIFEST,
    Credentials,
    Manifest,
    Repository,
)
from bridge.swarm.complaints import complaint
from bridge.swarm.registry import placed


def join(client: APIClient, image: str, parts: Mapping[str, str]) -> str:
    """Write the index of an image whose `parts`, by platform, are in the registry; the index's digest.

    Each part must be for its platform. Raises ImageError, EngineUnavailable.
    """
    repository, tag = parse_repository_tag(image)
    try:
        registry, name = placed(repository)
    except ValueError as error:
        raise ImageError(str(error)) from error
    try:
        found = auth.load_config().resolve_authconfig(registry)
        about = client.info()
    except (requests.RequestException, DockerException, OSError) as error:
        raise EngineUnavailable(complaint(client.base_url, error)) from error
    with Repository(registry, name, Credentials.of(found), secure=_secure(registry, about)) as asked:
        entries = [entry for platform, part in parts.items() for entry in _entries(asked, platform, part)]
        media_type, content = index_of(entries)
        asked.write(tag or "latest", media_type, content)
        return asked.manifest(tag or "latest").digest


def index_of(entries: Iterable[Mapping[str, Any]]) -> tuple[str, bytes]:
    """The media type and the content of an index: OCI's, unless one of the images is of Docker's older kind."""
    manifests = list(entries)
    kind = OCI_INDEX if all(each["mediaType"] == OCI_MANIFEST for each in manifests) else DOCKER_LIST
    return kind, orjson.dumps({"schemaVersion": 2, "mediaType": kind, "manifests": manifests})


def _entries(asked: Repository, platform: str, part: str) -> Iterator[dict[str, Any]]:
    """What the index says of one part, which may be an index itself, as newer engines push them."""
    _, tag = parse_repository_tag(part)
    manifest = asked.manifest(tag)
    if manifest.media_type in (OCI_INDEX, DOCKER_LIST):
        # What is for no platform (`unknown`) are attestations about the others.
        fits = [each for each in manifest.document.get("manifests", []) if platform_of(each["platform"]) == platform]
        if not fits:
            raise ImageError(f"{part} holds no image for {platform}")
        yield from fits
        return
    if manifest.media_type not in (OCI_MANIFEST, DOCKER_MANIFEST):
        raise ImageError(f"{part} is of a kind that no index takes: {manifest.media_type}")
    yield _entry(asked, platform, part, manifest)


def _entry(asked: Repository, platform: str, part: str, manifest: Manifest) -> dict[str, Any]:
    configuration = asked.configuration(str(manifest.document["config"]["digest"]))
    if platform_of(configuration) != platform:
        raise ImageError(f"{part} is an image for {platform_of(configuration)}, not for {platform}; build it anew")
    system, processor, variant = (*platform.split("/"), "")[:3]
    told = {"architecture": processor, "os": system, **({"variant": variant} if variant else {})}
    return {
        "mediaType": manifest.media_type,
        "digest": manifest.digest,
        "size": manifest.size_bytes,
        "platform": told,
    }


def _secure(registry: str, about: Mapping[str, Any]) -> bool:
    """Whether the engine speaks with a registry over TLS only: not where its settings call it insecure."""
    told = about.get("RegistryConfig") or {}
    index = (told.get("IndexConfigs") or {}).get(registry)
    if isinstance(index, dict):
        return bool(index.get("Secure", True))
    try:
        address = ipaddress.ip_address(registry.rpartition(":")[0] or registry)
    except ValueError:
        return registry.partition(":")[0] != "localhost"
    return not any(address in ipaddress.ip_network(net) for net in told.get("InsecureRegistryCIDRs") or ())
