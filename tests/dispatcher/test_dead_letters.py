"""Dead letters: listed, shown, replayed with the same ids, purged; over the dispatcher's HTTP API."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import aiohttp
import pytest

from bridge.core.retry import Verdict
from tests.dispatcher.conftest import FRONT_DOOR, OK, LaterClock, Site, failing, motion, until

ONE = """
version: 1
mappings:
  greet:
    select: {sensor: front-door, event: motion.detected}
    invoke: hello
    retry: {attempts: 1}
"""


async def call(site: Site, method: str, path: str, **more: Any) -> tuple[int, Any]:
    async with (
        aiohttp.ClientSession() as client,
        client.request(method, site.dispatcher.url + path, **more) as answer,
    ):
        return answer.status, await answer.json(content_type=None)


async def bury(site: Site, *sequences: int) -> None:
    site.invoker.answer = lambda invocation, attempt: failing(400, Verdict.REFUSED)
    for sequence in sequences:
        site.client.publish(FRONT_DOOR.text, motion(sequence))
    await until(lambda: len(site.invoker.calls) >= len(sequences), "attempts")
    await until(lambda: site.dispatcher.ledger.open_events == 0 and site.dispatcher.kept, "committed")


async def test_a_dead_letter_tells_its_reason_status_event_and_attempts(site: Site) -> None:
    site.write_mappings(ONE)
    await site.start()
    await bury(site, 1)
    status, document = await call(site, "GET", "/v1/deadletters")
    assert status == 200
    assert document["total"] == 1
    (letter,) = document["dead_letters"]
    assert (letter["id"], letter["mapping"], letter["function"]) == ("event-1:greet", "greet", "hello")
    assert (letter["reason"], letter["status"], letter["attempts"]) == ("refused: HTTP 400", 400, 1)
    assert letter["event"]["data"]["sensor"] == "front-door"
    assert letter["replayable"] is True
    assert await call(site, "GET", f"/v1/deadletters/{letter['number']}") == (200, letter)
    status, problem = await call(site, "GET", "/v1/deadletters/999")
    assert (status, problem["detail"]) == (404, "there is no dead letter 999; it was replayed or purged")


async def test_a_replay_is_an_ordinary_invocation_with_the_same_id_and_takes_the_letter_away(site: Site) -> None:
    site.write_mappings(ONE)
    await site.start()
    await bury(site, 1, 2)
    site.invoker.answer = lambda invocation, attempt: OK
    site.invoker.calls.clear()
    status, document = await call(site, "POST", "/v1/deadletters/replay", json={"mapping": "greet"})
    assert (status, document) == (200, {"replayed": 2, "refused": [], "left": 0})
    await until(lambda: len(site.invoker.calls) == 2, "both again")
    assert site.invoker.ids == ["event-1:greet", "event-2:greet"]
    await until(lambda: site.dispatcher.kept, "committed")
    assert (await call(site, "GET", "/v1/deadletters"))[1]["total"] == 0


async def test_a_replay_survives_a_restart_and_one_that_fails_again_is_a_dead_letter_again(
    site: Site, clock: LaterClock
) -> None:
    site.write_mappings(ONE.replace("{attempts: 1}", "{attempts: 2, first: 1h, max: 1h}"))
    await site.start()
    await bury(site, 1)
    site.invoker.answer = lambda invocation, attempt: failing(500)
    await call(site, "POST", "/v1/deadletters/replay", json={})
    await until(lambda: len(site.invoker.calls) == 2, "the replay's attempt")
    await until(lambda: site.dispatcher.kept, "committed")
    await site.stop()
    clock.ahead_s = 3600.0
    await site.start()
    await until(lambda: len(site.invoker.calls) == 3, "the attempt after the restart")
    await until(lambda: site.dispatcher.ledger.open_events == 0 and site.dispatcher.kept, "dead again")
    assert (await call(site, "GET", "/v1/deadletters"))[1]["dead_letters"][0]["attempts"] == 2


async def test_a_condition_that_failed_can_be_replayed_once_the_mapping_is_mended(site: Site) -> None:
    site.write_mappings(ONE + "    when: data.missing == 1\n")
    await site.start()
    site.client.publish(FRONT_DOOR.text, motion(1))
    await until(lambda: site.client.messages, "committed")
    _, document = await call(site, "POST", "/v1/deadletters/replay", json={"mapping": "greet"})
    assert document["replayed"] == 0
    assert "could not be evaluated" in document["refused"][0]["reason"]
    before = site.dispatcher.mappings.version
    site.write_mappings(ONE)
    await until(lambda: site.dispatcher.mappings.version != before, "mended")
    _, document = await call(site, "POST", "/v1/deadletters/replay", json={"mapping": "greet"})
    assert document["replayed"] == 1
    await until(lambda: site.invoker.ids == ["event-1:greet"], "invoked")


async def test_what_could_not_be_read_is_kept_but_cannot_be_replayed(site: Site) -> None:
    site.write_mappings(ONE)
    await site.start()
    site.client.publish(FRONT_DOOR.text, b"rubbish")
    await until(lambda: site.dispatcher.kept and site.dispatcher.feed.recent(1), "buried")
    _, document = await call(site, "GET", "/v1/deadletters")
    assert document["dead_letters"][0]["replayable"] is False
    assert document["dead_letters"][0]["event"] == "rubbish"
    _, document = await call(site, "POST", "/v1/deadletters/replay", json={})
    assert document == {"replayed": 0, "refused": [], "left": 1}


def kept(site: Site) -> float | None:
    """How many dead letters the metric counts."""
    return site.dispatcher.registry.get_sample_value("gpio_bridge_dispatcher_dead_letters_kept")


async def test_beyond_their_bound_the_oldest_are_dropped_counted_and_told(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    site.write_mappings(ONE)
    site.settings = replace(site.settings, limits=replace(site.settings.limits, dead_letters=2))
    await site.start()
    await bury(site, 1, 2)
    assert kept(site) == 2
    await bury(site, 3, 4, 5)
    await until(lambda: kept(site) == 2, "the oldest are dropped")
    _, document = await call(site, "GET", "/v1/deadletters")
    assert [letter["event_id"] for letter in document["dead_letters"]] == ["event-5", "event-4"]
    name = "gpio_bridge_dispatcher_dead_letters_dropped_total"
    assert site.dispatcher.registry.get_sample_value(name) == 3
    assert sum("more dead letters than" in record.message for record in caplog.records) == 1

    await site.stop()
    site.settings = replace(site.settings, limits=replace(site.settings.limits, dead_letters=1))
    await site.start()
    await until(lambda: kept(site) == 1, "a lower bound drops at the start")


async def test_a_purge_needs_to_be_told_what(site: Site) -> None:
    site.write_mappings(ONE)
    await site.start()
    await bury(site, 1, 2)
    status, problem = await call(site, "DELETE", "/v1/deadletters")
    assert status == 400
    assert "say which dead letters to purge" in problem["detail"]
    assert (await call(site, "DELETE", "/v1/deadletters?older_than=1h"))[1] == {"purged": 0}
    assert (await call(site, "DELETE", "/v1/deadletters?mapping=other"))[1] == {"purged": 0}
    _, document = await call(site, "GET", "/v1/deadletters?limit=1")
    number = document["dead_letters"][0]["number"]
    assert kept(site) == 2
    assert (await call(site, "DELETE", f"/v1/deadletters?numbers={number}"))[1] == {"purged": 1}
    assert kept(site) == 1
    assert (await call(site, "DELETE", "/v1/deadletters?all=1"))[1] == {"purged": 1}
    assert kept(site) == 0


async def test_how_many_wait_is_a_metric_also_after_a_restart_and_a_replay(site: Site) -> None:
    site.write_mappings(ONE)
    await site.start()
    await bury(site, 1, 2)
    await site.stop()
    await site.start()
    assert kept(site) == 2
    site.invoker.answer = lambda invocation, attempt: OK
    await call(site, "POST", "/v1/deadletters/replay", json={"mapping": "greet"})
    await until(lambda: kept(site) == 0, "both have gone")


@pytest.mark.parametrize(
    ("method", "path", "body", "problem"),
    [
        ("GET", "/v1/deadletters?limit=x", None, "limit must be a whole number from 0 to 1000, not 'x'"),
        ("GET", "/v1/deadletters?maping=x", None, "maping is not known here"),
        ("GET", "/v1/deadletters?numbers=9999999999999999999", None, "numbers must be a list of whole numbers"),
        (
            "POST",
            "/v1/deadletters/replay",
            b'{"numbers": [18446744073709551616]}',
            "numbers must be a list of whole numbers",
        ),
        ("GET", "/v1/deadletters?older_than=x", None, "'x' is not a duration"),
        ("POST", "/v1/deadletters/replay", b"{", "the body is not JSON"),
        ("POST", "/v1/deadletters/replay", b"[]", "the body is not a JSON object"),
        ("POST", "/v1/deadletters/replay", b'{"numbers": ["a"]}', "numbers must be a list of whole numbers"),
        ("POST", "/v1/deadletters/replay", b'{"mapping": 1}', "mapping must be text"),
    ],
)
async def test_a_bad_request_is_told_what_is_wrong_and_changes_nothing(
    site: Site, method: str, path: str, body: bytes | None, problem: str
) -> None:
    site.write_mappings(ONE)
    await site.start()
    status, answer = await call(site, method, path, data=body)
    assert status == 400
    assert problem in answer["detail"]


async def test_on_failure_gets_the_dead_letter(site: Site) -> None:
    site.write_mappings(ONE + "    on_failure: page-someone\n")
    await site.start()
    site.invoker.answer = lambda invocation, attempt: (
        OK if invocation.function == "page-someone" else failing(400, Verdict.REFUSED)
    )
    site.client.publish(FRONT_DOOR.text, motion(1))
    await until(lambda: len(site.invoker.calls) == 2, "the page")
    assert site.invoker.calls[1] == ("event-1:greet:on-failure", "page-someone", 1)
