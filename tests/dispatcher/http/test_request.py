"""The bytes of requests: one piece, readable by a real server, and no header breaks out of its line."""

from __future__ import annotations

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.dispatcher.http.request import Origin, Requests


def parsed(data: bytes) -> tuple[h11.Request, bytes]:
    """What a server reads of it."""
    server = h11.Connection(h11.SERVER)
    server.receive_data(data)
    request, body = server.next_event(), b""
    assert isinstance(request, h11.Request)
    while isinstance(told := server.next_event(), h11.Data):
        body += told.data
    assert isinstance(told, h11.EndOfMessage)
    assert server.trailing_data == (b"", False)
    return request, body


def test_a_request_has_its_path_its_headers_and_its_body() -> None:
    requests = Requests(Origin("http://gateway:8080/"), username="admin", password="geheim-ü")
    request, body = parsed(requests.post("function", "hello", {"X-Event-Id": "1", "traceparent": "00-ab"}, b"body"))
    assert (request.method, request.target, request.http_version) == (b"POST", b"/function/hello", b"1.1")
    assert dict(request.headers) == {
        b"host": b"gateway:8080",
        b"user-agent": b"gpio-bridge",
        b"authorization": b"Basic YWRtaW46Z2VoZWltLcO8",
        b"x-event-id": b"1",
        b"traceparent": b"00-ab",
        b"content-length": b"4",
    }
    assert body == b"body"


@pytest.mark.parametrize(
    ("url", "host", "port", "authority", "target"),
    [
        ("http://pi", "pi", 80, "pi", "/function/f"),
        ("http://pi:80/", "pi", 80, "pi", "/function/f"),
        ("https://Pi.Example", "pi.example", 443, "pi.example", "/function/f"),
        ("https://pi:80", "pi", 80, "pi:80", "/function/f"),
        ("http://pi:8080/open faas/", "pi", 8080, "pi:8080", "/open%20faas/function/f"),
        ("http://pi:8080/a%2Fb", "pi", 8080, "pi:8080", "/a%2Fb/function/f"),
        ("http://[::1]:8080", "::1", 8080, "[::1]:8080", "/function/f"),
        ("http://[fe80::1%25eth0]", "fe80::1%eth0", 80, "[fe80::1]", "/function/f"),
        ("http://bücher.example", "bücher.example", 80, "xn--bcher-kva.example", "/function/f"),
    ],
)
def test_an_origin_is_read_from_its_url(url: str, host: str, port: int, authority: str, target: str) -> None:
    origin = Origin(url)
    assert (origin.host, origin.port, origin.authority) == (host, port, authority)
    assert origin.tls == url.startswith("https")
    request, _ = parsed(Requests(origin).post("function", "f", {}, b""))
    assert request.target.decode() == target
    assert dict(request.headers)[b"host"].decode() == authority


@given(st.text(max_size=20))
def test_a_functions_name_cannot_leave_its_place_in_the_path(name: str) -> None:
    request, _ = parsed(Requests(Origin("http://pi")).post("function", name, {}, b""))
    assert request.target.startswith(b"/function/")
    assert request.target.count(b"/") == 2
    assert b"?" not in request.target


@pytest.mark.parametrize("ending", ["\r\n", "\r", "\n", "\0"])
@pytest.mark.parametrize("place", ["name", "value"])
def test_a_header_that_would_break_out_of_its_line_is_refused(place: str, ending: str) -> None:
    evil = f"a{ending}Evil: yes"
    headers = {"Fine": "x", **({evil: "x"} if place == "name" else {"X-Mine": evil})}
    with pytest.raises(ValueError, match="holds a line break or NUL"):
        Requests(Origin("http://pi")).post("function", "f", headers, b"")


@given(st.dictionaries(st.text(max_size=5), st.text(max_size=10), max_size=3), st.binary(max_size=20))
def test_whatever_headers_are_given_the_request_is_one(headers: dict[str, str], body: bytes) -> None:
    requests = Requests(Origin("http://pi"))
    try:
        data = requests.post("function", "f", headers, body)
    except ValueError:
        assert any(not set(name + value).isdisjoint("\r\n\0") for name, value in headers.items())
        return
    head, _, rest = data.partition(b"\r\n\r\n")
    assert rest == body
    assert head.count(b"\r\n") == 3 + len(headers)
    assert b"\r" not in head.replace(b"\r\n", b"")
    assert b"\n" not in head.replace(b"\r\n", b"")
