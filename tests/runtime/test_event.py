"""What a python3-http handler is given."""

import pytest

from bridge.runtime.event import event_of
from bridge.runtime.exchange import Request


def test_an_event_is_the_request_in_a_handlers_words() -> None:
    event = event_of(
        Request("PUT", "/a%20b?x=1&y=&x=2&z=%C3%A9", "/a%20b", "x=1&y=&x=2&z=%C3%A9", (("x-one", "1"),), b"\xff")
    )
    assert (event.method, event.path, event.body) == ("PUT", "/a b", b"\xff")
    assert dict(event.query) == {"x": "1", "y": "", "z": "é"}
    assert event.query.getlist("x") == ["1", "2"]
    assert event.query.get("missing", "default") == "default"


def test_headers_are_found_whatever_their_case_and_keep_their_duplicates() -> None:
    event = event_of(Request("GET", "/", "/", headers=(("x-a", "1"), ("x-b", "2"), ("x-a", "3"))))
    assert event.headers["X-A"] == "1"
    assert event.headers.get("x-B") == "2"
    assert "X-a" in event.headers
    assert event.headers.getlist("X-A") == ["1", "3"]
    assert dict(event.headers) == {"x-a": "1", "x-b": "2"}
    assert len(event.headers) == 2
    assert repr(event.headers) == "HeaderFields([('x-a', '1'), ('x-b', '2'), ('x-a', '3')])"
    with pytest.raises(KeyError, match="missing"):
        event.headers["missing"]


def test_the_case_of_a_query_parameter_matters() -> None:
    event = event_of(Request("GET", "/?A=1", "/", "A=1"))
    assert "a" not in event.query
