"""What is asked of a registry, and who it is told that asks."""

from __future__ import annotations

import base64
import json
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from bridge.errors import ImageError
from bridge.images.index import index_of
from bridge.images.platforms import normal, platform_of
from bridge.images.registry import DOCKER_LIST, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST, Credentials, Repository
from tests.authority import make_authority


@dataclass
class Place:
    """A registry that asks who comes, and the service that gives its tokens."""

    challenge: str
    wanted: str
    address: str = ""
    seen: list[tuple[str, str, str, str]] = field(default_factory=list)
    """Method, path, Authorization and body of each request."""
    token: dict[str, str] = field(default_factory=lambda: {"token": "t0k"})


@contextmanager
def standing(tls: ssl.SSLContext | None = None) -> Iterator[Place]:
    made = Place("", "")

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            shown = self.headers.get("Authorization", "")
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
            made.seen.append((self.command, self.path, shown, body))
            if self.path.startswith("/token"):
                self.reply(200, made.token)
            elif shown != made.wanted:
                self.reply(401, {"errors": [{"code": "UNAUTHORIZED", "message": "who are you?"}]})
            else:
                self.reply(201 if self.command == "PUT" else 200, {"mediaType": OCI_MANIFEST, "config": {}})

        do_GET = do_PUT = do_POST = answer  # noqa: N815 - http.server calls them so

        def reply(self, status: int, document: dict[str, Any]) -> None:
            content = json.dumps(document).encode()
            self.send_response(status)
            if status == 401:
                self.send_header("WWW-Authenticate", made.challenge.replace("HERE", f"http://{made.address}"))
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        made.address = f"{'127.0.0.1' if tls is None else 'localhost'}:{server.server_address[1]}"
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield made
        server.shutdown()
        thread.join()


@pytest.fixture
def place() -> Iterator[Place]:
    with standing() as made:
        yield made


BEARER = 'Bearer realm="HERE/token",service="reg",scope="repository:me/fn:pull"'
SCOPE = "service=reg&scope=repository%3Ame%2Ffn%3Apull%2Cpush"
BASIC = f"Basic {base64.b64encode(b'me:p:w').decode()}"


def repository(place: Place, credentials: Credentials) -> Repository:
    return Repository(place.address, "me/fn", credentials, secure=False)


@pytest.mark.parametrize(
    ("challenge", "wanted", "credentials", "asked"),
    [
        ('Basic realm="r"', BASIC, Credentials("me", "p:w"), None),
        (BEARER, "Bearer t0k", Credentials("me", "p:w"), ("GET", f"/token?{SCOPE}", BASIC, "")),
        (BEARER, "Bearer t0k", Credentials(), ("GET", f"/token?{SCOPE}", "", "")),
        (
            BEARER,
            "Bearer t0k",
            Credentials(identity_token="i"),
            ("POST", "/token", "", f"{SCOPE}&grant_type=refresh_token&client_id=gpio-bridge&refresh_token=i"),
        ),
    ],
)
def test_a_registry_is_shown_what_it_asks_for_and_asks_once(
    place: Place, challenge: str, wanted: str, credentials: Credentials, asked: tuple[str, ...] | None
) -> None:
    place.challenge, place.wanted = challenge, wanted
    with repository(place, credentials) as found:
        assert found.manifest("1").media_type == OCI_MANIFEST
        found.write("2", OCI_INDEX, b"{}")
    between = [] if asked is None else [asked]
    assert place.seen == [
        ("GET", "/v2/me/fn/manifests/1", "", ""),
        *between,
        ("GET", "/v2/me/fn/manifests/1", wanted, ""),
        ("PUT", "/v2/me/fn/manifests/2", wanted, "{}"),
    ]


def test_who_is_not_known_is_told_the_registrys_own_words(place: Place) -> None:
    place.challenge, place.wanted = 'Basic realm="r"', "nothing"
    with repository(place, Credentials("me", "wrong")) as found, pytest.raises(ImageError) as told:
        found.manifest("1")
    assert str(told.value).endswith("failed: 401 UNAUTHORIZED: who are you?")


def test_a_registry_that_is_trusted_over_tls_alone_is_asked_by_nothing_else(place: Place) -> None:
    with Repository(place.address, "fn", Credentials("me", "pw"), secure=True) as found, pytest.raises(ImageError):
        found.manifest("1")
    assert place.seen == []


def test_whoever_signed_a_registrys_certificate_matters_where_the_engine_says_so(tmp_path: Path) -> None:
    make_authority(tmp_path)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(tmp_path / "localhost.crt", tmp_path / "localhost.key")
    with standing(tls) as place:
        with Repository(place.address, "fn", Credentials(), secure=False) as found:
            assert found.manifest("1").media_type == OCI_MANIFEST
        with Repository(place.address, "fn", Credentials(), secure=True) as found, pytest.raises(ImageError) as told:
            found.manifest("1")
    assert "certificate verify failed" in str(told.value)
    assert len(place.seen) == 1


@pytest.mark.parametrize(
    ("given", "spelled"),
    [
        ("linux/arm64/v8", "linux/arm64"),
        ("linux/arm", "linux/arm/v7"),
        (" Linux/AMD64", "linux/amd64"),
        ("linux/arm/v6", "linux/arm/v6"),
    ],
)
def test_a_platform_has_one_spelling(given: str, spelled: str) -> None:
    assert normal(given) == spelled
    system, processor, variant = (*spelled.split("/"), "")[:3]
    assert platform_of({"os": system, "architecture": processor, "variant": variant}) == spelled


@pytest.mark.parametrize("given", ["", "linux", "linux/", "linux/arm/v7/x", "linux/arm v7"])
def test_what_is_no_platform_is_told(given: str) -> None:
    with pytest.raises(ImageError, match="is no platform"):
        normal(given)


@pytest.mark.parametrize(
    ("kinds", "kind"), [([OCI_MANIFEST] * 2, OCI_INDEX), ([OCI_MANIFEST, DOCKER_MANIFEST], DOCKER_LIST)]
)
def test_an_index_is_of_the_kind_that_takes_all_of_its_images(kinds: list[str], kind: str) -> None:
    media_type, content = index_of({"mediaType": each} for each in kinds)
    assert (media_type, json.loads(content)["mediaType"]) == (kind, kind)
