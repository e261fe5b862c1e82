"""`trace`, `why` and `audit`: answers of a dispatcher for people on a terminal."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from bridge.cli import exit_codes
from bridge.cli.audit import report
from bridge.cli.trace import reasons, story
from tests.cli.conftest import Command, Result
from tests.dispatcher.conftest import FRONT_DOOR, OK, Site, failing, motion, until

MAPPINGS = """
version: 1
mappings:
  greet:
    select: {sensor: front-door, event: motion.detected}
    invoke: hello
    retry: {attempts: 3, first: 10ms, max: 20ms}
  by-night:
    select: {sensor: front-door}
    when: "data.value == false"
    invoke: hello
"""
EVENT = {"event_id": "01J", "node": "pi-1", "sensor": "front-door", "event": "motion.detected"}
INVOCATION = {**EVENT, "invocation": "01J:greet", "mapping": "greet", "function": "hello"}
LATENCY: dict[str, Any] = {"to_dispatcher_s": None, "invocations": []}


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    """A dispatcher that had one event: an attempt that failed, one that worked, and a mapping that said no."""
    site = Site(tmp_path)
    site.write_mappings(MAPPINGS)
    site.invoker.answer = lambda invocation, attempt: OK if attempt == 2 else failing(503)
    site.client.transport = site.broker.connect("a-client", site.client)
    async with site.client.transport:
        await site.client.ready.wait()
        dispatcher = await site.start()
        site.client.publish(FRONT_DOOR.text, motion(1))
        await until(lambda: len(site.invoker.calls) == 2 and dispatcher.ledger.open_events == 0, "finished")
        await until(lambda: dispatcher.kept, "what happened is on the disk, where the audit counts from")
        try:
            yield site
        finally:
            await site.stop()


async def asked(command: Command, site: Site, *arguments: str) -> Result:
    """The command in a thread: the dispatcher answers in this one."""
    return await asyncio.to_thread(command, *arguments, "--url", site.dispatcher.url)


async def test_trace_tells_what_happened_when(site: Site, command: Command) -> None:
    done = await asked(command, site, "trace", "event-1")
    assert done.returncode == exit_codes.OK, done.stderr
    patterns = (
        r"event-1  pi-1/front-door  motion\.detected  true",
        r"\d\d:\d\d:\d\d\.\d{3}              happened",
        r".*  \+\d\S* ms  received",
        r".*    greet invokes hello",
        r".*    by-night does not fire: when wants data\.value == false, found false",
        r".*  greet → hello",
        r".*  greet → hello HTTP 503 in 1\.00 ms; again in \S+ ms",
        r".*  greet → hello, attempt 2",
        r".*  greet → hello 200 in 1\.00 ms: done",
        r"to the dispatcher \S+ ms",
        r"greet → hello: succeeded, started after \S+ ms, last attempt 1\.00 ms, ended after \S+ ms, 2 attempts",
    )
    found = done.stdout.splitlines()
    for pattern, text in zip(patterns, found, strict=True):
        assert re.fullmatch(pattern, text), f"{text!r} is not {pattern!r}"


async def test_trace_and_why_as_json_are_the_answers_of_the_dispatcher(site: Site, command: Command) -> None:
    document = json.loads((await asked(command, site, "trace", "event-1", "--json")).stdout)
    assert document["event_id"] == "event-1"
    assert document["story"][0]["type"] == "event"
    document = json.loads((await asked(command, site, "why", "by-night", "--json")).stdout)
    assert document["evaluations"][0]["clause"] == "when"


async def test_traces_lists_events_with_what_became_of_them(site: Site, command: Command) -> None:
    done = await asked(command, site, "traces", "--mapping", "gr*")
    assert done.returncode == exit_codes.OK, done.stderr
    heads, row = done.stdout.splitlines()
    assert heads.split() == ["RECEIVED", "SOURCE", "VALUE", "WHAT", "BECAME", "OF", "IT", "ID"]
    assert re.fullmatch(
        r"\d\d-\d\d \d\d:\d\d:\d\d  pi-1/front-door  motion\.detected  true +greet succeeded +event-1", row
    )
    done = await asked(command, site, "traces", "--outcome", "dead", "--json")
    assert (done.returncode, json.loads(done.stdout)) == (exit_codes.OK, [])
    done = await asked(command, site, "traces", "--outcome", "great")
    assert (done.returncode, "outcome must be one of open" in done.stderr) == (1, True)


async def test_an_event_without_a_trace_fails_with_advice(site: Site, command: Command) -> None:
    done = await asked(command, site, "trace", "a/b?c")
    assert done.returncode == exit_codes.FAILED
    assert "no trace of the event 'a/b?c'" in done.stderr


async def test_why_shows_the_clause_below_the_event(site: Site, command: Command) -> None:
    done = await asked(command, site, "why", "by-night", "--limit", "5")
    first, second = done.stdout.splitlines()
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d  pi-1/front-door  motion\.detected  true  event-1", first)
    assert second == "    when wants data.value == false, found false"


async def test_why_of_a_mapping_that_always_fired_says_so(site: Site, command: Command) -> None:
    done = await asked(command, site, "why", "greet")
    assert done.returncode == exit_codes.OK
    assert "greet has said no to nothing since" in done.stdout
    done = await asked(command, site, "why", "great")
    assert done.returncode == exit_codes.FAILED
    assert "there is no mapping 'great'" in done.stderr


async def test_audit_leaves_with_0_when_nothing_is_missing(site: Site, command: Command) -> None:
    done = await asked(command, site, "audit")
    assert done.returncode == exit_codes.OK
    assert done.stdout == "1 event of 1 sensor is accounted for, 0 are missing\n"
    done = await asked(command, site, "audit", "--accept", "--json")
    assert done.returncode == exit_codes.OK
    assert json.loads(done.stdout)["accepted"] == []


def test_without_a_dispatcher_the_commands_say_how_to_start_one(command: Command) -> None:
    for arguments in (("trace", "event-1"), ("why", "greet"), ("audit",)):
        done = command(*arguments, "--url", "http://127.0.0.1:9")
        assert done.returncode == exit_codes.UNAVAILABLE
        assert "gpio-bridge up" in done.stderr


def test_a_report_names_every_gap_duplicate_and_drop() -> None:
    source, at = "/sites/home/nodes/pi-1/sensors/front-door", "2026-11-22T17:30:00.000001Z"
    gap = {"source": source, "epoch": "abcd", "first": 3, "last": 5, "count": 3, "since": at}
    found = list(
        report(
            {
                "missing": 3,
                "gaps": [gap],
                "late": [{**gap, "first": 9, "last": 9, "count": 1}],
                "drops": [
                    {
                        "source": source, "reason": "age", "count": 2, "first_at": at, "last_at": at,
                        "latest": "1-2 of epoch abcd",
                    }
                ],
                "duplicates": [{"source": source, "count": 7}],
                "duplicates_since": at,
                "elsewhere": [
                    {"source": source, "epoch": "abcd", "first": 4, "last": 5, "count": 2, "since": at},
                ],
                "sources": [
                    {"source": source, "epoch": "abcd", "first": 6, "last": 10, "count": 4, "begun_before": True}
                ],
            }
        )
    )  # fmt: skip
    assert [line.split()[0] for line in found] == [
        "missing",
        "late",
        "elsewhere",
        "dropped",
        "duplicate",
        "unknown",
        "4",
    ]
    assert f"{source}  3-5, 3 events of epoch abcd, since" in found[0]
    assert f"{source}  9 of epoch abcd" in found[1]
    assert f"{source}  4-5, 2 events of epoch abcd" in found[2]
    assert found[2].endswith("the other dispatcher of the pair was at work")
    assert "2 by age" in found[3]
    assert "1-2 of epoch abcd" in found[3]
    assert "7 arrived again" in found[4]
    assert found[6] == "4 events of 1 sensor are accounted for, 3 are missing"


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ({"type": "retry", **INVOCATION, "attempt": 1, "status": None, "reason": "cannot connect", "duration_s": 0.25,
          "parked": True, "delay_s": None},
         "greet → hello cannot connect in 250 ms; waits until it can be reached"),
        ({"type": "deadletter", **INVOCATION, "attempts": 3, "status": 400, "duration_s": 1.0, "reason": "refused"},
         "greet → hello dead letter: refused"),
        ({"type": "deadletter", "event_id": "01J", "topic": "a/b", "reason": "no JSON", "id": "01J"},
         "a/b dead letter: no JSON"),
        ({"type": "cancelled", **INVOCATION, "by": "01K"}, "greet no longer waits: called off by 01K"),
        ({"type": "dropped", **INVOCATION, "reason": "max_age"}, "greet dropped by max_age"),
        ({"type": "repeated", **EVENT}, "arrived again; known already"),
        ({"type": "lost", **EVENT, "first": 3, "last": 7, "reason": "age"},
         "stands for 3-7, which were dropped: age"),
        ({"type": "replayed", **EVENT, "number": 4, "mapping": "greet", "refused": None},
         "greet dead letter 4 replayed"),
        ({"type": "replayed", **EVENT, "number": 4, "mapping": "greet", "refused": "in work already"},
         "greet dead letter 4 not replayed: in work already"),
        ({"type": "of a newer dispatcher", **EVENT}, "of a newer dispatcher"),
    ],
)  # fmt: skip
def test_every_kind_of_line_has_its_words(line: dict[str, Any], text: str) -> None:
    line["at"] = "2026-11-22T17:30:00.123456Z"
    told = list(story({"event_id": "01J", "story": [line], "latency": LATENCY}))
    assert told[-1].endswith(f"  {text}")


def test_a_story_says_when_a_clock_was_not_set_when_days_pass_and_that_clocks_differ() -> None:
    event = {
        "type": "event", **EVENT, "value": 21.5, "unit": "°C", "initial": True, "timesynced": False,
        "time": "2026-11-20T17:30:00Z", "at": "2026-11-22T17:30:00Z",
    }  # fmt: skip
    told = list(story({"event_id": "01J", "story": [event], "latency": {**LATENCY, "to_dispatcher_s": -0.5}}))
    assert told[0] == "01J  pi-1/front-door  motion.detected  21.5 °C  (found at start)"
    assert told[1].endswith("happened, by a clock that was not set yet")
    assert re.fullmatch(r"2026-11-2\d:", told[2])
    assert told[3].endswith("+48.0 h  received")
    assert told[4] == "to the dispatcher -500 ms  (the clocks of two machines differ)"


@pytest.mark.parametrize(
    ("said", "text"),
    [
        ({"result": "failed", "clause": "when", "wanted": "a result", "found": "no key"},
         "when could not be evaluated: no key"),
        ({"result": "dropped", "clause": "max_age", "wanted": "", "found": ""}, "dropped by max_age"),
        ({"result": "cancels", "clause": "for", "wanted": "motion.detected", "found": "motion.ended"},
         "no longer waits: for wants motion.detected, found motion.ended"),
        ({"result": "cancels", "clause": "for", "wanted": "", "found": "the node pi-1 went offline"},
         "no longer waits: the node pi-1 went offline"),
    ],
)  # fmt: skip
def test_every_no_has_its_words(said: dict[str, Any], text: str) -> None:
    line = {"type": "judgement", "at": "2026-11-22T17:30:00Z", **EVENT, "mapping": "greet", **said}
    told = list(reasons({"mapping": "greet", "since": None, "evaluations": [line]}))
    assert told[1] == f"    {text}"
