"""The reader of answers: a table of them, and h11 as the judge of random ones."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

import h11
import pytest
from hypothesis import assume, event, example, given, settings
from hypothesis import strategies as st

from bridge.dispatcher.http.answer import HEAD_BYTES, READ_BYTES, SHOWN_BYTES, Answer, AnswerReader, Failed

OK = b"HTTP/1.1 200 OK\r\n"


def read(*pieces: bytes, end: bool = False) -> Answer | Failed | None:
    """What a new reader says to these pieces; with `end`, the peer closes after them."""
    reader = AnswerReader()
    for piece in pieces:
        result = reader.feed(piece)
        if result is not None:
            return result
    return reader.end() if end else None


def bytewise(data: bytes) -> list[bytes]:
    return [data[i : i + 1] for i in range(len(data))]


WHOLE = [
    (OK + b"Content-Length: 2\r\n\r\nok", 200, b"ok", True),
    (OK + b"CONTENT-length:2\r\n\r\nok", 200, b"ok", True),
    (OK + b"Content-Length: \t2 \t\r\n\r\nok", 200, b"ok", True),
    (OK + b"Content-Length: 2, 2\r\nContent-Length: 2\r\n\r\nok", 200, b"ok", True),
    (OK + b"Content-Length: 0\r\n\r\n", 200, b"", True),
    (b"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", 200, b"", True),
    (b"HTTP/1.1 299 \r\nContent-Length: 0\r\n\r\n", 299, b"", True),
    (OK + b"Content-Length: 2\r\nConnection: close\r\n\r\nok", 200, b"ok", False),
    (OK + b"Content-Length: 2\r\nConnection: x, Close\r\n\r\nok", 200, b"ok", False),
    (OK + b"Content-Length: 2\r\nConnection: keep-alive\r\n\r\nok", 200, b"ok", True),
    (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", 200, b"ok", False),
    (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\nok", 200, b"ok", False),
    (OK + b"Content-Length: 2\r\n\r\nokHTTP", 200, b"ok", False),
    (b"HTTP/1.1 204 No Content\r\n\r\n", 204, b"", True),
    (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 1000\r\n\r\n", 304, b"", True),
    (b"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n", 204, b"", True),
    (b"HTTP/1.1 100 Continue\r\n\r\n" + OK + b"Content-Length: 2\r\n\r\nok", 200, b"ok", True),
    (b"HTTP/1.1 103 Early\r\nLink: x\r\n\r\n" * 3 + OK + b"Content-Length: 2\r\n\r\nok", 200, b"ok", True),
    (OK + b"X-Folded: one\r\n  two\r\nContent-Length: 2\r\n\r\nok", 200, b"ok", True),
    (OK + b"X-Empty:\r\nX-Latin: \xe9\r\nContent-Length: 2\r\n\r\nok", 200, b"ok", True),
    (OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", 200, b"ok", True),
    (OK + b"Transfer-Encoding: Chunked\r\n\r\n1;a=b\r\no\r\n01 ; c\r\nk\r\n000;x\r\n\r\n", 200, b"ok", True),
    (OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 1\r\n  2\r\nY:\r\n\r\n", 200, b"ok", True),
    (OK + b"Transfer-Encoding: chunked\r\n\r\nA\r\n0123456789\r\n0\r\n\r\nmore", 200, b"0123456789", False),
    (b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", 200, b"ok", False),
]


@pytest.mark.parametrize(("data", "status", "body", "reusable"), WHOLE)
def test_a_whole_answer_is_read_however_it_comes(data: bytes, status: int, body: bytes, reusable: bool) -> None:
    answer = read(data)
    assert isinstance(answer, Answer)
    assert (answer.status, answer.body, answer.reusable) == (status, body, reusable)
    slowly = read(*bytewise(data))
    assert isinstance(slowly, Answer)
    assert (slowly.status, slowly.body, slowly.told) == (status, body, answer.told)


@pytest.mark.parametrize("head", [b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n\r\n"])
def test_a_body_without_a_length_ends_with_its_connection(head: bytes) -> None:
    assert read(head, b"o", b"k") is None
    answer = read(head, b"o", b"k", end=True)
    assert isinstance(answer, Answer)
    assert (answer.body, answer.reusable) == (b"ok", False)


BROKEN = [
    (b"SSH-2.0-OpenSSH_9.2\r\n", "no HTTP/1.1 answer"),
    (b"\r\nHTTP/1.1 200 OK\r\n\r\n", "malformed head"),
    (b"HTTP/2.0 200 OK\r\n\r\n", "malformed head"),
    (b"HTTP/1.1 99 Low\r\n\r\n", "malformed head"),
    (b"HTTP/1.1 099 Low\r\n\r\n", "malformed head"),
    (b"HTTP/1.1  200 OK\r\n\r\n", "malformed head"),
    (b"http/1.1 200 OK\r\n\r\n", "malformed head"),
    (b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok\r\n\r\n", "malformed head"),
    (OK + b" folded: at the beginning\r\n\r\n", "malformed head"),
    (OK + b"No Token: x\r\n\r\n", "malformed head"),
    (OK + b"Space : x\r\n\r\n", "malformed head"),
    (OK + b"no colon\r\n\r\n", "malformed head"),
    (OK + b": no name\r\n\r\n", "malformed head"),
    (OK + b"Nul: \0\r\n\r\n", "malformed head"),
    (OK + b"Return: a\rb\r\n\r\n", "malformed head"),
    (OK + b"Content-Length: two\r\n\r\n", "malformed Content-Length"),
    (OK + b"Content-Length: -2\r\n\r\n", "malformed Content-Length"),
    (OK + b"Content-Length: +2\r\n\r\n", "malformed Content-Length"),
    (OK + b"Content-Length: 2_0\r\n\r\n", "malformed Content-Length"),
    (OK + b"Content-Length: \xb2\r\n\r\n", "malformed Content-Length"),
    (OK + b"Content-Length:\r\n\r\n", "malformed Content-Length"),
    (OK + b"Content-Length: 2,\r\n\r\n", "malformed Content-Length"),
    (OK + b"Content-Length: 999999999999999999999\r\n\r\n", "malformed Content-Length"),
    (OK + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nok", "conflicting Content-Length"),
    (OK + b"Content-Length: 2, 3\r\n\r\nok", "conflicting Content-Length"),
    (OK + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\nok", "both"),
    (OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n", "other than chunked"),
    (OK + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", "other than chunked"),
    (OK + b"Transfer-Encoding: identity\r\n\r\n", "other than chunked"),
    (OK + b"Transfer-Encoding: chunked\r\n\r\n\r\n", "size of a chunk"),
    (OK + b"Transfer-Encoding: chunked\r\n\r\n-1\r\n", "size of a chunk"),
    (OK + b"Transfer-Encoding: chunked\r\n\r\n0x2\r\n", "size of a chunk"),
    (OK + b"Transfer-Encoding: chunked\r\n\r\n" + b"1" * 21 + b"\r\n", "size of a chunk"),
    (OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nokay", "longer than its size"),
    (OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nok\rx", "longer than its size"),
    (OK + b"Transfer-Encoding: chunked\r\n\r\n1;" + b"x" * 5000, "line of a chunk is too long"),
    (OK + b"Transfer-Encoding: chunked\r\n\r\n1;" + b"x" * 5000 + b"\r\n", "line of a chunk is too long"),
    (OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\nno colon\r\n\r\n", "malformed trailers"),
    (OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\nX: " + b"x" * HEAD_BYTES, "trailers are too long"),
    (OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\nX: " + b"x" * HEAD_BYTES + b"\r\n\r\n", "trailers are too long"),
    (b"HTTP/1.1 101 Switching\r\n\r\n", "101"),
    (OK + b"X: " + b"x" * HEAD_BYTES, "head is longer"),
    (OK + b"X: " + b"x" * HEAD_BYTES + b"\r\n\r\n", "head is longer"),
    (b"HTTP/1.1 100 Continue\r\n\r\n" * 3000, "head is longer"),
]


@pytest.mark.parametrize(("data", "reason"), BROKEN)
def test_what_is_no_answer_is_refused_with_its_reason(data: bytes, reason: str) -> None:
    for pieces in ([data], [data[i : i + 7] for i in range(0, len(data), 7)]):
        result = read(*pieces)
        assert isinstance(result, Failed)
        assert reason in result.reason or "no HTTP/1.1 answer" in result.reason
        assert result.reached
    whole = read(data)
    assert isinstance(whole, Failed)
    assert reason in whole.reason


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "closed without an answer"),
        (b"HTTP/1.1 100 Continue\r\n\r\n", "closed without an answer"),
        (b"HTTP/1.1 20", "half an answer"),
        (OK + b"Content-Length: 3\r\n\r\n", "after 0 bytes"),
        (OK + b"Content-Length: 3\r\n\r\nok", "after 2 bytes"),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n", "half an answer"),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n", "half an answer"),
    ],
)
def test_half_an_answer_is_a_failure(data: bytes, reason: str) -> None:
    result = read(*([data] if data else []), end=True)
    assert isinstance(result, Failed)
    assert reason in result.reason


def test_the_beginning_of_a_long_body_is_kept_and_the_rest_is_read() -> None:
    body = bytes(range(256)) * 400
    for framed in (
        b"Content-Length: %d\r\n\r\n" % len(body) + body,
        b"Transfer-Encoding: chunked\r\n\r\n" + b"%x\r\n" % len(body) + body + b"\r\n0\r\n\r\n",
    ):
        for size in (1000, 2048, 70_000, 200_000):
            data = OK + framed
            answer = read(*(data[i : i + size] for i in range(0, len(data), size)))
            assert isinstance(answer, Answer)
            assert (answer.body, answer.reusable) == (body[:SHOWN_BYTES], True)


@pytest.mark.parametrize("head", [b"Content-Length: 5000000", b"Transfer-Encoding: chunked", b"X: until it closes"])
def test_a_body_beyond_what_is_read_is_an_answer_whose_connection_is_closed(head: bytes) -> None:
    reader, result, fed = AnswerReader(), None, 0
    assert reader.feed(OK + head + b"\r\n\r\n") is None
    if b"chunked" in head:
        assert reader.feed(b"4C4B40\r\n") is None
    while result is None:
        result = reader.feed(b"x" * 50_000)
        fed += 50_000
    assert isinstance(result, Answer)
    assert (result.body, result.reusable) == (b"x" * SHOWN_BYTES, False)
    assert READ_BYTES < fed <= READ_BYTES + 50_000


def test_the_headers_that_mean_something_can_be_looked_up_in_any_case() -> None:
    answer = read(b"HTTP/1.1 503 No\r\nX-OpenFaaS-Internal: gateway\r\nretry-after:  7 \r\nContent-Length: 0\r\n\r\n")
    assert isinstance(answer, Answer)
    assert answer.header("x-openfaas-internal") == "gateway"
    assert answer.header("Retry-After") == "7"
    assert answer.header("Connection") is None


def test_one_reader_reads_many_answers_of_every_kind() -> None:
    reader = AnswerReader()
    for data, status, body, reusable in WHOLE * 2:
        if reusable:
            for pieces in ([data], bytewise(data)):
                *_, answer = [reader.feed(piece) for piece in pieces]
                assert isinstance(answer, Answer)
                assert (answer.status, answer.body, answer.reusable) == (status, body, True)


def test_interim_answers_count_against_their_own_answer_only() -> None:
    reader = AnswerReader()
    for _ in range(2 * HEAD_BYTES // len(OK)):
        assert reader.feed(b"HTTP/1.1 100 Continue\r\n\r\n") is None
        assert isinstance(reader.feed(OK + b"Content-Length: 0\r\n\r\n"), Answer)


# --- h11 as the judge ---

Judgement = tuple[int, int, bytes, bool] | None
"""After which piece, status, body, reusable; None: no answer."""


def by_h11(pieces: Sequence[bytes]) -> Judgement:
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=2 * HEAD_BYTES)
    connection.send(h11.Request(method="POST", target="/", headers=[("Host", "x"), ("Content-Length", "0")]))
    connection.send(h11.EndOfMessage())
    status, body = 0, b""
    try:
        for number, piece in enumerate([*pieces, b""]):
            connection.receive_data(piece)
            while True:
                told = connection.next_event()
                if told is h11.NEED_DATA:
                    break
                if isinstance(told, h11.Response):
                    status = told.status_code
                elif isinstance(told, h11.Data):
                    body += told.data
                elif isinstance(told, h11.EndOfMessage):
                    lasting = connection.their_state is h11.DONE and connection.trailing_data == (b"", False)
                    return number, status, body, lasting
                elif isinstance(told, h11.ConnectionClosed):
                    return None
    except h11.RemoteProtocolError:
        return None
    raise AssertionError("h11 wants more after the end")


def by_us(pieces: Sequence[bytes]) -> Judgement:
    reader = AnswerReader()
    for number, piece in enumerate(pieces):
        result = reader.feed(piece)
        if isinstance(result, Answer):
            return number, result.status, result.body, result.reusable
        if result is not None:
            return None
    result = reader.end()
    return (len(pieces), result.status, result.body, result.reusable) if isinstance(result, Answer) else None


def we_refuse_on_purpose(data: bytes) -> bool:
    """What h11 suffers and we do not: contradictory framing, and versions that are not 1.x."""
    heads = data.lower()
    both = b"content-length" in heads and b"transfer-encoding" in heads
    return both or re.search(rb"HTTP/[02-9]\.", data) is not None


FRAMINGS = st.sampled_from(["length", "chunked", "close", "wrong length", "none", "both"])
CONTENTS = st.lists(st.binary(max_size=40).map(lambda data: data.replace(b"\n", b".")), max_size=4)
LINES = st.sampled_from(
    [
        b"Server: x",
        b"Connection: close",
        b"connection: Keep-Alive, x",
        b"Content-Length: 3",
        b"Content-Length: 3, 3",
        b"content-length: 3x",
        b"Transfer-Encoding: chunked",
        b"Transfer-Encoding: gzip",
        b"X-Folded: a\r\n\t b",
        b"X-Empty:",
        b"Retry-After:\t 7\t",
        b"bad name: x",
        b"Latin: \xff",
    ]
)
STATUS_LINES = st.sampled_from(
    [b"HTTP/1.1 200 OK"] * 6
    + [
        b"HTTP/1.0 200 OK",
        b"HTTP/1.1 204 None",
        b"HTTP/1.1 304 Same",
        b"HTTP/1.1 500",
        b"HTTP/1.1 404 \xe9 ",
        b"HTTP/1.1 42 x",
    ]
)
INTERIM = st.sampled_from([b""] * 5 + [b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 x\r\nA: b\r\n\r\n"])


@st.composite
def answers(draw: st.DrawFn) -> bytes:
    contents = draw(CONTENTS)
    body, lines = b"".join(contents), draw(st.lists(LINES, max_size=2))
    match draw(FRAMINGS):
        case "length":
            lines.append(b"Content-Length: %d" % len(body))
        case "wrong length":
            lines.append(b"Content-Length: %d" % draw(st.integers(0, 60)))
        case "both":
            lines += [b"Content-Length: %d" % len(body), b"Transfer-Encoding: chunked"]
        case "chunked":
            lines.append(b"Transfer-Encoding: chunked")
            extension = draw(st.sampled_from([b"", b"", b";a", b'; a="b"', b" "]))
            chunks = [b"%x%s\r\n%s\r\n" % (len(one), extension, one) for one in contents if one]
            trailers = draw(st.sampled_from([b"", b"", b"X-Sum: 1\r\n", b"no colon\r\n", b"X: 1\r\n Y\r\nZ:\r\n"]))
            body = b"".join(chunks) + b"0" + extension + b"\r\n" + trailers + b"\r\n"
        case _:
            pass
    head = b"\r\n".join([draw(STATUS_LINES), *draw(st.permutations(lines))])
    return draw(INTERIM) + head + b"\r\n\r\n" + body + draw(st.sampled_from([b""] * 4 + [b"HTTP/1.1 200 OK\r\n", b"x"]))


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """An answer with something missing, doubled, changed or cut off."""
    data = draw(answers())
    for _ in range(draw(st.integers(0, 2))):
        at, until = sorted((draw(st.integers(0, len(data))), draw(st.integers(0, len(data)))))
        until = min(until, at + 3)
        data = (
            data[:at]
            + draw(st.sampled_from([b"", data[at:until] * 2, b"0", b"\r\n", b" ", b":", b"\0"]))
            + data[until:]
        )
    return data[: draw(st.integers(0, len(data)))] if draw(st.booleans()) and draw(st.booleans()) else data


@settings(max_examples=400)
@given(damaged(), st.lists(st.integers(0, 400), max_size=6))
@example(OK + b"Content-Length: 2\r\n\r\nok", [])
@example(OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", [47, 48, 49])
def test_h11_judges_every_answer_the_same_however_it_is_cut(data: bytes, cuts: list[int]) -> None:
    assume(not re.search(rb"(?<!\r)\n", data))  # h11 takes a bare LF for the end of a line, we do not
    places = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    pieces = [data[start:end] for start, end in pairwise(places)]
    reference, ours = by_h11(pieces), by_us(pieces)
    event("an answer" if reference else "no answer")
    if reference is not None and ours is None:
        assert we_refuse_on_purpose(data)
        event("refused by us alone")
    else:
        assert ours == reference
