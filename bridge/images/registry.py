"""One repository of a registry over its HTTP API (OCI distribution specification 1.1): manifests are read and written.

The engine pushes layers and images; what it cannot push, the index that joins images of several platforms, is written
here. Who asks is told as `docker login` left it: by Basic authentication, or by a token of the registry's own service.
"""

from __future__ import annotations

import base64
import hashlib
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

import requests
from urllib3.exceptions import InsecureRequestWarning

from bridge.errors import ImageError

OCI_INDEX: Final = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
DOCKER_LIST: Final = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST: Final = "application/vnd.docker.distribution.manifest.v2+json"

_ACCEPTED: Final = f"{OCI_INDEX}, {OCI_MANIFEST}, {DOCKER_LIST}, {DOCKER_MANIFEST}"
_DOCKERS: Final = "registry-1.docker.io"
_TIMEOUT_S: Final = (5.0, 60.0)
_LARGEST_BYTES: Final = 4 * 1024 * 1024
"""Of a manifest (the specification's own limit) and of an image's configuration."""
_PARAMETER: Final = re.compile(r'(\w+)="([^"]*)"')


@dataclass(frozen=True, slots=True)
class Credentials:
    """What `docker login` left: user and password, or the token of a service (`identity_token`)."""

    user: str = ""
    password: str = ""
    identity_token: str = ""

    @classmethod
    def of(cls, found: Mapping[str, str | None] | None) -> Credentials:
        """As the docker SDK finds them in Docker's configuration file."""
        given = found or {}
        return cls(given.get("username") or "", given.get("password") or "", given.get("identitytoken") or "")


@dataclass(frozen=True, slots=True)
class Manifest:
    """One manifest as the registry holds it."""

    media_type: str
    digest: str
    size_bytes: int
    document: Mapping[str, Any]


class Repository:
    """Asks one registry about one repository; a context manager.

    `secure` is false where the engine, too, takes what the registry says without TLS, or without knowing who signed it.
    Errors: ImageError with the registry's own words.
    """

    def __init__(self, registry: str, name: str, credentials: Credentials, *, secure: bool) -> None:
        self._name = f"library/{name}" if registry == "docker.io" and "/" not in name else name
        self._place = _DOCKERS if registry == "docker.io" else registry
        self._credentials = credentials
        self._bases = ("https",) if secure else ("https", "http")
        self._realms = tuple(f"{scheme}://" for scheme in self._bases)
        self._secure = secure
        self._session = requests.Session()
        # A proxy of the environment is for the internet, where nothing is trusted without TLS.
        self._session.trust_env = secure
        self._authorization: str | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._session.close()

    def manifest(self, reference: str) -> Manifest:
        """The manifest of a tag or digest."""
        answer = self._ask("GET", f"manifests/{reference}", headers={"Accept": _ACCEPTED})
        document = _read(answer, f"the manifest {reference}")
        media_type = str(document.get("mediaType") or answer.headers.get("Content-Type", "").partition(";")[0])
        digest = f"sha256:{hashlib.sha256(answer.content).hexdigest()}"
        return Manifest(media_type, digest, len(answer.content), document)

    def configuration(self, digest: str) -> Mapping[str, Any]:
        """An image's configuration, by the digest that its manifest names."""
        return _read(self._ask("GET", f"blobs/{digest}"), f"the configuration {digest}")

    def write(self, tag: str, media_type: str, content: bytes) -> None:
        """Put a manifest under a tag."""
        self._ask("PUT", f"manifests/{tag}", headers={"Content-Type": media_type}, data=content)

    def _ask(
        self, method: str, path: str, *, headers: Mapping[str, str] | None = None, data: bytes | None = None
    ) -> requests.Response:
        attempted = f"{method} {self._name}/{path} of the registry {self._place}"
        answer = self._send(method, path, headers, data, attempted)
        if answer.status_code == requests.codes.unauthorized and self._authorization is None:
            self._authorization = self._authorized(answer.headers.get("WWW-Authenticate", ""), attempted)
            answer = self._send(method, path, headers, data, attempted)
        if not answer.ok:
            raise ImageError(f"{attempted} failed: {answer.status_code} {_said(answer)}")
        return answer

    def _send(
        self, method: str, path: str, headers: Mapping[str, str] | None, data: bytes | None, attempted: str
    ) -> requests.Response:
        for i, scheme in enumerate(self._bases):
            url = f"{scheme}://{self._place}/v2/{self._name}/{path}"
            try:
                answer = self._request(method, url, headers=headers, data=data, auth=self._show)
            except requests.exceptions.ConnectionError as error:
                if i + 1 < len(self._bases):
                    continue
                raise ImageError(f"{attempted} failed: {error}") from error
            except (requests.RequestException, OSError) as error:
                raise ImageError(f"{attempted} failed: {error}") from error
            self._bases = (scheme,)
            return answer
        raise AssertionError("there is no scheme to ask by")

    def _request(self, method: str, url: str, **parts: Any) -> requests.Response:
        with warnings.catch_warnings():
            # Whoever set the engine up has said that it need not be known who signed this one.
            warnings.simplefilter("ignore", InsecureRequestWarning)
            return self._session.request(method, url, verify=self._secure, timeout=_TIMEOUT_S, **parts)

    def _show(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Our authorization, and none that the machine keeps elsewhere."""
        if self._authorization is not None:
            request.headers["Authorization"] = self._authorization
        return request

    def _authorized(self, challenge: str, attempted: str) -> str | None:
        """What to show for a challenge (RFC 9110 section 11.6.1), or None where we have nothing for it."""
        scheme, _, parameters = challenge.partition(" ")
        told, known = dict(_PARAMETER.findall(parameters)), self._credentials
        if scheme.lower() == "basic" and known.user:
            return f"Basic {base64.b64encode(f'{known.user}:{known.password}'.encode()).decode()}"
        # Where the registry is to be trusted only over TLS, the service that gets our password is, too.
        if scheme.lower() != "bearer" or not told.get("realm", "").startswith(self._realms):
            return None
        asked = {"service": told.get("service", ""), "scope": f"repository:{self._name}:pull,push"}
        try:
            if known.identity_token:
                form = {**asked, "grant_type": "refresh_token", "client_id": "gpio-bridge"}
                form["refresh_token"] = known.identity_token
                answer = self._request("POST", told["realm"], data=form, auth=_nobody)
            else:
                pair = (known.user, known.password) if known.user else None
                answer = self._request("GET", told["realm"], params=asked, auth=pair or _nobody)
        except (requests.RequestException, OSError) as error:
            raise ImageError(f"{attempted} failed: asking {told['realm']} for a token: {error}") from error
        if not answer.ok:
            raise ImageError(
                f"{attempted} failed: {told['realm']} gives no token: {answer.status_code} {_said(answer)}"
            )
        document = _read(answer, "the token")
        return f"Bearer {document.get('token') or document.get('access_token') or ''}"


def _nobody(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request


def _read(answer: requests.Response, what: str) -> Mapping[str, Any]:
    """An answer's JSON object. Raises ImageError."""
    if len(answer.content) > _LARGEST_BYTES:
        raise ImageError(f"{what} is larger than {_LARGEST_BYTES} bytes")
    try:
        document = answer.json()
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise ImageError(f"{what} that {answer.url} gave is no JSON object")
    return document


def _said(answer: requests.Response) -> str:
    """The registry's own words (`errors: [{code, message, detail}]`), or what it sent instead."""
    try:
        errors = answer.json()["errors"]
        return "; ".join(f"{each['code']}: {each['message']}" for each in errors)
    except (ValueError, LookupError, TypeError):
        return " ".join(answer.text.split())[:300]
