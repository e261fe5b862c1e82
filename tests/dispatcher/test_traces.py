"""Stories of events: told by the HTTP API, on the disk across restarts, and never in the way of a delivery."""

from __future__ import annotations

import asyncio
import dataclasses
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import orjson

from bridge.core.retry import Verdict
from bridge.dispatcher.settings import TraceSettings
from bridge.dispatcher.traces import PENDING
from tests.dispatcher.conftest import FRONT_DOOR, OK, ONE, LaterClock, Site, failing, motion, until

CHOOSY = ONE + '    when: "data.value == false"\n'


async def asked(site: Site, path: str) -> tuple[int, Any]:
    async with aiohttp.ClientSession() as session, session.get(site.dispatcher.url + path) as answer:
        return answer.status, orjson.loads(await answer.read())


async def finished(site: Site, count: int) -> None:
    await until(lambda: len(site.invoker.calls) >= count and site.dispatcher.ledger.open_events == 0, "finished")


def kinds(story: list[dict[str, Any]]) -> list[str]:
    return [line["type"] for line in story]


async def test_a_story_tells_when_it_happened_who_fired_and_every_attempt(site: Site) -> None:
    site.write_mappings(ONE)
    site.invoker.answer = lambda invocation, attempt: OK if attempt == 2 else failing(503)
    await site.start()
    happened = datetime.now(UTC) - timedelta(seconds=1)
    site.client.publish(FRONT_DOOR.text, motion(1, time=happened))
    await finished(site, 2)
    status, document = await asked(site, "/v1/traces/event-1")
    assert status == 200
    assert document["event_id"] == "event-1"
    story = document["story"]
    assert kinds(story) == ["event", "judgement", "attempt", "retry", "attempt", "invocation"]
    assert {(line["node"], line["sensor"], line["event"]) for line in story} == {
        ("pi-1", "front-door", "motion.detected")
    }
    event, judgement, first, retry, second, end = story
    assert (event["value"], event["unit"], event["initial"]) == (True, None, False)
    assert datetime.fromisoformat(event["time"]) == happened
    assert (judgement["mapping"], judgement["result"], judgement["clause"]) == ("greet", "fires", None)
    assert (first["attempt"], second["attempt"]) == (1, 2)
    assert (retry["status"], retry["duration_s"], retry["reason"]) == (503, 0.001, "HTTP 503")
    assert (end["status"], end["attempts"], end["duration_s"]) == (200, 2, 0.001)
    hops = document["latency"]
    assert hops["to_dispatcher_s"] >= 1
    (hop,) = hops["invocations"]
    assert (hop["mapping"], hop["function"], hop["result"], hop["attempts"]) == ("greet", "hello", "succeeded", 2)
    assert 0 <= hop["to_start_s"] <= hop["to_end_s"]


async def test_a_story_survives_a_restart_and_goes_on_after_it(site: Site, clock: LaterClock) -> None:
    site.write_mappings(ONE.replace("first: 10ms, max: 20ms", "first: 1h, max: 1h"))
    site.invoker.answer = lambda invocation, attempt: failing(503)
    await site.start()
    site.client.publish(FRONT_DOOR.text, motion(1))
    await until(lambda: site.client.messages, "stored")
    await site.stop()
    site.invoker.answer = lambda invocation, attempt: OK
    clock.ahead_s = 3600.0
    await site.start()
    await finished(site, 2)
    _, document = await asked(site, "/v1/traces/event-1")
    assert kinds(document["story"]) == ["event", "judgement", "attempt", "retry", "attempt", "invocation"]


async def test_an_event_without_a_trace_is_not_found_with_advice(site: Site) -> None:
    site.write_mappings(ONE)
    await site.start()
    status, problem = await asked(site, "/v1/traces/no%20such%0Aevent")
    assert status == 404
    assert "no trace of the event" in problem["detail"]
    assert "max_size" in problem["detail"]


async def test_what_cannot_be_read_has_a_story_too(site: Site) -> None:
    site.write_mappings(ONE)
    dispatcher = await site.start()
    site.client.publish(FRONT_DOOR.text, b"rubbish")
    await until(lambda: dispatcher.feed.recent(10), "the dead letter")
    (line,) = dispatcher.feed.recent(10)
    status, document = await asked(site, f"/v1/traces/{line['event_id']}")
    assert status == 200
    assert kinds(document["story"]) == ["deadletter"]
    assert document["story"][0]["topic"] == FRONT_DOOR.text


async def test_why_names_the_clause_what_it_wanted_and_what_it_found_newest_first(site: Site) -> None:
    site.write_mappings(CHOOSY + "  other:\n    select: {sensor: front-door}\n    invoke: hello\n")
    await site.start()
    for sequence in (1, 2, 3):
        site.client.publish(FRONT_DOOR.text, motion(sequence))
    await finished(site, 3)
    status, document = await asked(site, "/v1/why/greet?limit=2")
    assert status == 200
    assert document["since"] is not None
    newest, before = document["evaluations"]
    assert (newest["event_id"], before["event_id"]) == ("event-3", "event-2")
    assert (newest["result"], newest["clause"]) == ("rejected", "when")
    assert (newest["wanted"], newest["found"]) == ("data.value == false", "false")
    assert newest["value"] is True
    _, document = await asked(site, "/v1/why/other")
    assert document["evaluations"] == []


async def test_why_of_a_mapping_that_is_not_there_says_which_there_are(site: Site) -> None:
    site.write_mappings(ONE)
    await site.start()
    status, problem = await asked(site, "/v1/why/great")
    assert status == 404
    assert "there is no mapping 'great'" in problem["detail"]
    assert "greet" in problem["detail"]
    status, _ = await asked(site, "/v1/why/greet?limit=many")
    assert status == 400


async def test_rule_15_why_tells_once_of_a_for_that_was_called_off(site: Site) -> None:
    site.write_mappings(ONE + "    for: 1h\n")
    dispatcher = await site.start()
    site.client.publish(FRONT_DOOR.text, motion(1))
    site.client.publish(FRONT_DOOR.text, motion(2, name="motion.ended"))
    await until(
        lambda: any(line.get("event_id") == "event-2" for line in dispatcher.feed.recent(10)), "the second has come"
    )
    await until(lambda: dispatcher.ledger.open_events == 0, "called off")
    _, document = await asked(site, "/v1/why/greet")
    (one,) = document["evaluations"]
    assert (one["result"], one["clause"], one["event_id"]) == ("cancels", "for", "event-2")
    _, document = await asked(site, "/v1/traces/event-1")
    assert kinds(document["story"]) == ["event", "judgement", "cancelled"]
    assert document["latency"]["invocations"][0]["result"] == "cancelled"


async def test_rule_14_why_tells_of_what_max_age_dropped(site: Site) -> None:
    site.write_mappings(ONE + "    max_age: 1s\n")
    await site.start()
    site.client.publish(FRONT_DOOR.text, motion(1, time=datetime.now(UTC) - timedelta(minutes=5)))
    await until(lambda: site.client.messages, "confirmed")
    _, document = await asked(site, "/v1/why/greet")
    (one,) = document["evaluations"]
    assert one["clause"] == "max_age"


async def test_a_disk_that_is_full_costs_the_traces_and_no_delivery(site: Site) -> None:
    folder = site.settings.state_dir / "traces"
    folder.mkdir(parents=True)
    full = folder / "00000001.jsonl"
    full.symlink_to("/dev/full")
    site.write_mappings(ONE)
    dispatcher = await site.start()
    site.client.publish(FRONT_DOOR.text, motion(1))
    await until(lambda: "traces" in dispatcher.health.not_ready(), "a reason")
    assert "No space left" in dispatcher.health.not_ready()["traces"]
    assert site.invoker.ids == ["event-1:greet"]
    await until(lambda: site.client.messages, "confirmed all the same")
    lost = dispatcher.registry.get_sample_value("gpio_bridge_dispatcher_traces_lost_total", {"why": "disk"})
    assert lost is not None
    assert lost >= 1
    full.unlink()
    site.client.publish(FRONT_DOOR.text, motion(2))
    await finished(site, 2)
    status, _ = await asked(site, "/v1/traces/event-2")
    assert status == 200
    assert "traces" not in dispatcher.health.not_ready()


async def test_what_does_not_fit_until_the_next_flush_is_dropped_and_counted(site: Site) -> None:
    site.write_mappings(ONE)
    dispatcher = await site.start()
    traces = dispatcher.traces
    assert traces is not None
    for number in range(PENDING + 7):
        traces.keep(("repeated", datetime.now(UTC), f"event-{number}", "pi-1", "front-door", "motion.detected"))
    await traces.flush()
    lost = dispatcher.registry.get_sample_value("gpio_bridge_dispatcher_traces_lost_total", {"why": "too many at once"})
    assert lost == 7
    assert kinds(await traces.story(f"event-{PENDING - 1}")) == ["repeated"]
    assert await traces.story(f"event-{PENDING}") == []


async def test_switched_off_nothing_is_written_and_the_feed_still_knows_the_last_moments(site: Site) -> None:
    site.settings = dataclasses.replace(site.settings, traces=TraceSettings(enabled=False))
    site.write_mappings(ONE)
    await site.start()
    site.client.publish(FRONT_DOOR.text, motion(1))
    await finished(site, 1)
    status, document = await asked(site, "/v1/traces/event-1")
    assert status == 200
    assert kinds(document["story"]) == ["event", "judgement", "attempt", "invocation"]
    status, problem = await asked(site, "/v1/why/greet")
    assert status == 404
    assert "switched off" in problem["detail"]
    assert not (site.settings.state_dir / "traces").exists()


async def test_the_feed_tells_unit_and_whether_the_level_was_found_at_start(site: Site) -> None:
    site.write_mappings(ONE)
    dispatcher = await site.start()
    document = orjson.loads(motion(1))
    document["data"] |= {"initial": True, "unit": "lx"}
    site.client.publish(FRONT_DOOR.text, orjson.dumps(document))
    await until(lambda: dispatcher.feed.recent(10), "the event")
    line = dispatcher.feed.recent(10)[0]
    assert (line["type"], line["initial"], line["unit"]) == ("event", True, "lx")


async def test_an_event_with_a_long_value_is_told_in_short(site: Site) -> None:
    site.write_mappings(ONE)
    dispatcher = await site.start()
    document = orjson.loads(motion(1))
    document["data"]["value"] = "x" * 60_000
    site.client.publish(FRONT_DOOR.text, orjson.dumps(document))
    await until(lambda: dispatcher.feed.recent(10), "the event")
    assert len(dispatcher.feed.recent(10)[0]["value"]) < 200


async def test_a_dead_letter_that_is_replayed_is_open_again(site: Site) -> None:
    site.write_mappings(ONE)
    site.invoker.answer = lambda invocation, attempt: failing(400, Verdict.REFUSED)
    await site.start()
    site.client.publish(FRONT_DOOR.text, motion(1))
    await finished(site, 1)
    _, document = await asked(site, "/v1/traces/event-1")
    assert document["latency"]["invocations"][0]["result"] == "dead"
    site.invoker.answer = lambda invocation, attempt: OK
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{site.dispatcher.url}/v1/deadletters/replay", json={"mapping": "greet"}) as answer,
    ):
        assert answer.status == 200
    await finished(site, 2)
    _, document = await asked(site, "/v1/traces/event-1")
    assert kinds(document["story"])[-3:] == ["replayed", "attempt", "invocation"]
    assert document["latency"]["invocations"][0]["result"] == "succeeded"


async def test_the_newest_events_are_listed_with_what_became_of_them(site: Site) -> None:
    site.write_mappings(ONE)
    site.invoker.answer = lambda invocation, attempt: (
        failing(400, Verdict.REFUSED) if invocation.id.startswith("event-2:") else OK
    )
    await site.start()
    for sequence in range(1, 5):
        name = "motion.ended" if sequence == 3 else "motion.detected"
        site.client.publish(FRONT_DOOR.text, motion(sequence, name=name))
    await finished(site, 3)

    async def listed(query: str) -> list[tuple[str, list[str]]]:
        status, document = await asked(site, f"/v1/traces{query}")
        assert status == 200
        return [(one["event_id"], [hop["result"] for hop in one["invocations"]]) for one in document["traces"]]

    everything = [("event-4", ["succeeded"]), ("event-3", []), ("event-2", ["dead"]), ("event-1", ["succeeded"])]
    assert await listed("") == everything
    assert await listed("?mapping=gr*&function=hello&outcome=dead") == [everything[2]]
    assert await listed("?outcome=none") == [everything[1]]
    assert await listed("?node=pi-2") == []
    _, page = await asked(site, "/v1/traces?limit=2")
    assert page["next"] == "event-3"
    assert await listed("?limit=2&after=event-3") == everything[2:]
    assert await listed("?after=event-1") == []
    status, refused = await asked(site, "/v1/traces?after=never-seen")
    assert (status, "no trace of the event 'never-seen' (any more)" in refused["detail"]) == (404, True)
    status, refused = await asked(site, "/v1/traces?outcome=great")
    assert (status, "outcome must be one of open, succeeded" in refused["detail"]) == (400, True)


async def test_a_story_that_goes_on_in_a_later_file_is_listed_whole(site: Site) -> None:
    site.write_mappings(ONE)
    site.invoker.hold = asyncio.Event()
    dispatcher = await site.start()
    assert dispatcher.traces is not None
    site.client.publish(FRONT_DOOR.text, motion(1))
    await until(lambda: site.invoker.calls, "an attempt")
    await dispatcher.traces.flush()
    dispatcher.traces._files._begin(dispatcher.traces._files._current + 1)
    site.invoker.hold.set()
    await finished(site, 1)
    _, document = await asked(site, "/v1/traces")
    assert len(dispatcher.traces._files.segments()) == 2
    (one,) = document["traces"]
    assert (one["event_id"], one["value"], one["invocations"][0]["result"]) == ("event-1", True, "succeeded")


async def test_without_traces_there_is_no_list_and_it_says_why(site: Site) -> None:
    site.settings = dataclasses.replace(site.settings, traces=TraceSettings(enabled=False))
    site.write_mappings(ONE)
    await site.start()
    status, refused = await asked(site, "/v1/traces")
    assert (status, "traces are switched off" in refused["detail"]) == (404, True)
