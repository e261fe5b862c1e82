"""Lines cut from a stream of bytes, kept and followed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

from hypothesis import given
from hypothesis import strategies as st

from bridge.clock import VirtualClock
from bridge.gateway.backends import LogQuery
from bridge.gateway.backends.local.logs import LineSplitter, LogBook
from bridge.openfaas.deployment import LogLine


@given(st.lists(st.binary(max_size=50)))
def test_lines_do_not_depend_on_how_the_bytes_arrived(pieces: list[bytes]) -> None:
    in_pieces, whole = LineSplitter(), LineSplitter()
    lines = [line for piece in pieces for line in in_pieces.feed(piece)] + in_pieces.end()
    assert lines == whole.feed(b"".join(pieces)) + whole.end()


def test_a_line_without_end_comes_in_bounded_pieces() -> None:
    splitter = LineSplitter()
    lines = [line for _ in range(100) for line in splitter.feed(b"x" * 1000)] + splitter.end()
    assert sum(map(len, lines)) == 100_000
    assert max(map(len, lines)) <= 16 * 1024


async def texts(lines: AsyncGenerator[LogLine, None]) -> list[str]:
    return [line.text async for line in lines]


async def test_each_place_keeps_its_newest_lines_and_all_are_read_in_order() -> None:
    book = LogBook("f", 2, VirtualClock())
    for number in range(4):
        book.write(0, "a", f"a{number}")
    book.write(1, "b", "b0")
    book.write(0, "a", "a4")
    assert await texts(book.read(LogQuery("f"))) == ["a3", "b0", "a4"]
    assert await texts(book.read(LogQuery("f", tail=1))) == ["a4"]
    assert await texts(book.read(LogQuery("f", instance="b"))) == ["b0"]


async def test_since_leaves_out_what_is_older() -> None:
    clock = VirtualClock()
    book = LogBook("f", 10, clock)
    book.write(0, "a", "old")
    await clock.advance(10)
    since = clock.now()
    book.write(0, "a", "new")
    assert await texts(book.read(LogQuery("f", since=since))) == ["new"]


async def test_a_follower_misses_no_line_and_one_that_is_too_slow_is_told_how_many_it_missed() -> None:
    book = LogBook("f", 10, VirtualClock())
    book.write(0, "a", "first")
    lines = book.read(LogQuery("f", follow=True))
    assert (await anext(lines)).text == "first"
    for number in range(10_005):
        book.write(0, "a", str(number))
    assert (await anext(lines)).text == "5"
    book.close()
    rest = await asyncio.wait_for(texts(lines), 60)
    assert rest[-2:] == ["10004", "... 5 lines left out: read too slowly"]
