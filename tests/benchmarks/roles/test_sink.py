"""The sink answers, fails for a while when asked to, and can count without keeping anything."""

from __future__ import annotations

import http.client
from pathlib import Path

import pytest

from benchmarks.processes import Role


def _post(role: Role, *numbers: int) -> list[int]:
    connection = http.client.HTTPConnection("127.0.0.1", role.hello["port"], timeout=60)
    statuses = []
    for number in numbers:
        connection.request("POST", "/", b'{"device":"0","number":%d}' % number)
        answer = connection.getresponse()
        answer.read()
        statuses.append(answer.status)
    connection.close()
    return statuses


@pytest.mark.parametrize("arguments", [(), ("--count",)], ids=["keeping", "counting"])
def test_a_sink_tells_the_same_whether_it_keeps_the_requests_or_counts_them(
    tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    with Role("sink", tmp_path, *arguments) as sink:
        _post(sink, 1, 2, 2, 4, 3)
        came = sink.ask("wait", count=5, within_s=60)
        report = sink.ask("report")
        sink.ask("reset")
        after = sink.ask("wait", count=1, within_s=0.01)

    assert (came["count"], came["last_ns"] > 0) == (5, True)
    assert (report["distinct"], report["repeated"], report["out_of_order"]) == (4, 1, 1)
    assert after["count"] == 0


def test_a_request_that_was_answered_with_500_does_not_count_as_arrived(tmp_path: Path) -> None:
    with Role("sink", tmp_path) as sink:
        sink.ask("fail", for_s=60)
        failed = _post(sink, 1)
        sink.ask("fail", for_s=0)
        worked = _post(sink, 2)
        came = sink.ask("wait", count=1, within_s=60)

    assert (failed, worked, came["count"]) == ([500], [200], 1)
