"""What may be asked, in which spelling, by whom."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.engine_door.passages import PASSAGES, Client, Refused, call_of


@pytest.mark.parametrize(
    ("client", "method", "target", "kind"),
    [
        ("gateway", "HEAD", "/_ping", "look"),
        ("gateway", "GET", "/version", "look"),
        ("gateway", "GET", "/v1.44/info", "look"),
        ("gateway", "GET", "/v1.44/events?filters=%7B%22type%22%3A%5B%22service%22%5D%7D", "look"),
        ("gateway", "POST", "/v1.51/services/create", "service create"),
        ("gateway", "POST", "/v1.44/services/abc/update?version=12", "service update"),
        ("gateway", "GET", "/v1.44/containers/abc/stats?stream=0&one-shot=1", "container stats"),
        ("gateway", "GET", "/v1.44/tasks/abc/logs?stdout=1&follow=1", "task log"),
        ("manager", "GET", "/v1.44/nodes", "look"),
        ("manager", "POST", "/v1.44/nodes/pi-1/update?version=3", "cluster node update"),
        ("manager", "GET", "/v1.44/distribution/127.0.0.1:5000/a/b:1@sha256:00/json", "look"),
        ("manager", "DELETE", "/v1.44/configs/abc", "config delete"),
    ],
)
def test_what_our_programs_ask_passes(client: Client, method: str, target: str, kind: str) -> None:
    assert call_of(client, method, target).passage.kind == kind


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/containers/create"),
        ("POST", "/containers/abc/start"),
        ("POST", "/containers/abc/exec"),
        ("POST", "/containers/abc/attach"),
        ("GET", "/containers/abc/attach/ws"),
        ("GET", "/containers/json"),
        ("GET", "/containers/abc/json"),
        ("GET", "/containers/abc/archive"),
        ("POST", "/exec/abc/start"),
        ("POST", "/build"),
        ("POST", "/session"),
        ("POST", "/grpc"),
        ("POST", "/images/create"),
        ("POST", "/images/load"),
        ("DELETE", "/images/abc"),
        ("POST", "/volumes/create"),
        ("DELETE", "/volumes/abc"),
        ("POST", "/volumes/prune"),
        ("POST", "/plugins/pull"),
        ("GET", "/plugins"),
        ("POST", "/swarm/init"),
        ("POST", "/swarm/join"),
        ("POST", "/swarm/leave"),
        ("POST", "/swarm/update"),
        ("GET", "/swarm/unlockkey"),
        ("DELETE", "/nodes/abc"),
        ("POST", "/networks/abc/connect"),
        ("POST", "/networks/prune"),
        ("POST", "/secrets/abc/update"),
        ("POST", "/auth"),
        ("GET", "/system/df"),
        ("CONNECT", "/info"),
        ("PUT", "/info"),
        ("OPTIONS", "/info"),
        ("get", "/info"),
    ],
)
@pytest.mark.parametrize("client", ["gateway", "manager"])
@pytest.mark.parametrize("version", ["", "/v1.44"])
def test_everything_else_is_refused(client: Client, version: str, method: str, path: str) -> None:
    with pytest.raises(Refused, match="ask for no") as refused:
        call_of(client, method, version + path)
    assert refused.value.status == 403


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/nodes"),
        ("GET", "/configs"),
        ("GET", "/swarm"),
        ("GET", "/volumes"),
        ("POST", "/configs/create"),
        ("DELETE", "/networks/a"),
    ],
)
def test_what_only_the_manager_may_is_said_to_the_gateway(method: str, path: str) -> None:
    with pytest.raises(Refused, match=r"the gateway may ask for no .*; the manager may"):
        call_of("gateway", method, path)


@pytest.mark.parametrize(
    "target",
    [
        "",
        "*",
        "info",
        "/",
        "//info",
        "/info/",
        "/info//",
        "/./info",
        "/../info",
        "/v1.44/../info",
        "/v1.44/services/../containers/json",
        "/services/%2e%2e/containers/json",
        "/services/..%2fcontainers/json",
        "/services/a%2Fb",
        "/%69nfo",
        "/info%00",
        "/info%0d%0aX:%20y",
        "/info;x=y",
        "/info#there",
        "/info\\..",
        "/info ",
        "\t/info",
        "http://engine/info",
        "http://engine/v1.44/containers/json",
        "//engine/info",
        "/v1.44//info",
        "/V1.44/info",
        "/v1/info",
        "/v2.0/info",
        "/v1.44.1/info",
        "/v1.44/v1.44/info",
        "/v1.4\uff14/info",
        "/INFO",
        "/Services/create",
        "/services/ä",
        "/distribution/../containers/json",
        "/distribution/a/../../containers/json",
        "/info\n",
    ],
)
def test_a_path_in_any_other_spelling_is_refused(target: str) -> None:
    for client in ("gateway", "manager"):
        for method in ("GET", "POST"):
            with pytest.raises(Refused) as refused:
                call_of(client, method, target)
            assert refused.value.status == 403


@pytest.mark.parametrize(
    ("target", "why"),
    [
        ("/services?insert=1", "no parameter 'insert'"),
        ("/info?x=1", "no parameter 'x'"),
        ("/services?filters=%7B%7D&filters=%7B%7D", "stands twice"),
        ("/services?Filters=%7B%7D", "no parameter 'Filters'"),
        ("/services?filters", "cannot be understood"),
        ("/services?&&", "cannot be understood"),
        ("/v1.24/info", "from version 1.40 on"),
        ("/containers/abc/stats", "told once"),
        ("/containers/abc/stats?stream=1", "told once"),
        (f"/services/{'a' * 20_000}", "too long"),
    ],
)
def test_parameters_and_versions_are_those_that_are_known(target: str, why: str) -> None:
    with pytest.raises(Refused, match=why):
        call_of("gateway", "GET", target)


def test_the_engine_is_asked_in_the_doors_own_spelling() -> None:
    call = call_of("manager", "GET", "/v1.44/services/abc/logs?tail=1&since=%31&details=")
    assert call.target() == "/v1.44/services/abc/logs?tail=1&since=1&details="
    assert call.target("/services/whole-id/logs") == "/v1.44/services/whole-id/logs?tail=1&since=1&details="
    assert not call.standing
    assert call_of("manager", "GET", "/services/abc/logs?follow=true").standing
    assert call_of("gateway", "GET", "/events").standing


@given(st.text(alphabet="/.%abcv1:@_-?&=#;\\ \n", max_size=40))
def test_no_text_passes_that_the_engine_could_read_otherwise(target: str) -> None:
    try:
        call = call_of("manager", "GET", target)
    except Refused:
        return
    path = target.partition("?")[0]
    assert call.version + call.path == path
    assert "//" not in path
    assert "%" not in path
    assert not any(segment in (".", "..", "") for segment in path.split("/")[1:])


def test_only_named_calls_change_anything() -> None:
    looking = {"look", "container stats", "task log", "service log", "join tokens"}
    for passage in PASSAGES:
        assert (passage.method in ("GET", "HEAD")) == (passage.kind in looking), passage
