"""From what handlers return to responses: the shapes of both signatures, and the mistakes their authors make."""

from collections.abc import AsyncIterator, Iterator

import pytest

from bridge.runtime.answers import BadAnswer, of_event_handler, of_request_handler
from bridge.runtime.exchange import Request


async def stepped(pieces: Iterator[object]) -> AsyncIterator[object]:
    for piece in pieces:
        yield piece


PLAIN = Request("POST", "/", "/")
TYPED = Request("POST", "/", "/", headers=(("content-type", "text/x-request"),))


@pytest.mark.parametrize(
    ("result", "status", "body"),
    [
        ("grüße", 200, "grüße".encode()),
        (b"\x00\xff", 200, b"\x00\xff"),
        (bytearray(b"ab"), 200, b"ab"),
        (None, 200, b""),
        (42, 200, b"42"),
        ({"a": [1]}, 200, b'{"a": [1]}'),
        ([1, None], 200, b"[1, null]"),
        (("made", 201), 201, b"made"),
        (("made", "201"), 201, b"made"),
        ((None, 204), 204, b""),
    ],
)
def test_one_parameter_handlers_may_return(result: object, status: int, body: bytes) -> None:
    response = of_request_handler(result, PLAIN, stepped)
    assert (response.status, response.body) == (status, body)


@pytest.mark.parametrize(
    ("result", "status", "body"),
    [
        ({"statusCode": 404, "body": "gone"}, 404, b"gone"),
        ({"statusCode": "202"}, 202, b""),
        ({"body": {"a": 1}}, 200, b'{"a": 1}'),
        ({"body": b"\xff", "headers": None}, 200, b"\xff"),
        ({"temperature": 21}, 200, b'{"temperature": 21}'),
        ("text", 200, b"text"),
        (None, 200, b""),
    ],
)
def test_event_handlers_may_return(result: object, status: int, body: bytes) -> None:
    response = of_event_handler(result, PLAIN, stepped)
    assert (response.status, response.body) == (status, body)


@pytest.mark.parametrize(
    ("result", "request_", "content_type"),
    [
        ({"body": "x", "headers": {"content-TYPE": "text/mine"}}, TYPED, "text/mine"),
        ({"body": {"a": 1}}, TYPED, "application/json"),
        ({"body": "x"}, TYPED, "text/x-request"),
        ({"body": "x"}, PLAIN, "text/plain; charset=utf-8"),
    ],
    ids=["the handler's", "json for a dict", "the request's", "plain text"],
)
def test_the_content_type_is(result: object, request_: Request, content_type: str) -> None:
    found = [
        value for name, value in of_event_handler(result, request_, stepped).headers if name.lower() == "content-type"
    ]
    assert found == [content_type]


@pytest.mark.parametrize(
    "headers",
    [
        {"X-A": "1", "Set-Cookie": ["a", "b"], "X-N": 5},
        [("X-A", "1"), ("Set-Cookie", "a"), ("Set-Cookie", "b"), ("X-N", 5)],
    ],
)
def test_headers_may_be_a_dict_or_pairs_and_repeat(headers: object) -> None:
    expected = (("X-A", "1"), ("Set-Cookie", "a"), ("Set-Cookie", "b"), ("X-N", "5"))
    assert of_request_handler(("x", 200, headers), PLAIN, stepped).headers[:4] == expected
    assert of_event_handler({"body": "x", "headers": headers}, PLAIN, stepped).headers[:4] == expected


def test_headers_may_stand_without_a_status() -> None:
    response = of_request_handler(("x", {"X-A": "1"}), PLAIN, stepped)
    assert (response.status, response.headers[0]) == (200, ("X-A", "1"))


@pytest.mark.parametrize(
    ("result", "said"),
    [
        ({"statusCode": 42}, "42 was returned as the status"),
        ({"statusCode": True}, "True was returned as the status"),
        ({"statusCode": 199}, "from 200 to 599"),
        ({"statusCode": 600}, "from 200 to 599"),
        ({"statusCode": "OK"}, "'OK' was returned as the status"),
        ({"statusCode": None}, "None was returned as the status"),
        ({"body": object()}, "type object"),
        ({"body": {"a": {1, 2}}}, "can't be written as JSON"),
        ({"body": "\ud800"}, "no valid Unicode"),
        ({"headers": "X: y"}, "headers of type str"),
        ({"headers": {"X": object()}}, "'X' was returned as object"),
        ({"headers": [("X",)]}, "was returned as a header"),
        ({"headers": {1: "x"}}, "was returned as a header"),
        ((1, 2, 3, 4), "a tuple of 4"),
        ({1, 2}, "type set"),
    ],
)
def test_a_mistake_is_told_in_words(result: object, said: str) -> None:
    with pytest.raises(BadAnswer, match=said):
        of_event_handler(result, PLAIN, stepped)


async def test_a_streamed_answer_may_mix_text_and_bytes_but_nothing_else() -> None:
    closed = False

    async def pieces() -> AsyncIterator[object]:
        nonlocal closed
        try:
            yield "é"
            yield b"\xff"
            yield 5
        finally:
            closed = True

    body = of_event_handler({"body": pieces()}, PLAIN, stepped).body
    assert not isinstance(body, bytes)
    assert await anext(body) == "é".encode()
    assert await anext(body) == b"\xff"
    with pytest.raises(BadAnswer, match="type int"):
        await anext(body)
    await body.aclose()  # type: ignore[attr-defined]  # an optional part of what streams
    assert closed


async def test_a_plain_generator_is_streamed_step_by_step() -> None:
    body = of_request_handler((piece for piece in ("a", b"b")), PLAIN, stepped).body
    assert not isinstance(body, bytes)
    assert [piece async for piece in body] == [b"a", b"b"]
