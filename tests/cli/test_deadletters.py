"""`gpio-bridge deadletters` against a dispatcher that runs."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from bridge.core.retry import Verdict
from bridge.mqtt.transport import Subscription
from tests.cli.conftest import Command
from tests.dispatcher.conftest import FRONT_DOOR, OK, TOPICS, Site, failing, motion, until

ONE = """
version: 1
mappings:
  greet:
    select: {sensor: front-door, event: motion.detected}
    invoke: hello
"""

Run = Callable[..., Awaitable[tuple[int, str, str]]]


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    """A dispatcher with two dead letters."""
    site = Site(tmp_path)
    site.client.transport = site.broker.connect("a-client", site.client)
    site.write_mappings(ONE)
    site.invoker.answer = lambda invocation, attempt: failing(400, Verdict.REFUSED)
    async with site.client.transport:
        await site.client.ready.wait()
        await site.client.transport.subscribe([Subscription(TOPICS.confirm("home", "+"))])
        await site.start()
        for sequence in (1, 2):
            site.client.publish(FRONT_DOOR.text, motion(sequence))
        await until(lambda: len(site.invoker.calls) == 2, "attempts")
        await until(lambda: site.dispatcher.ledger.open_events == 0 and site.dispatcher.kept, "committed")
        try:
            yield site
        finally:
            await site.stop()


@pytest.fixture
def run(site: Site, command: Command) -> Run:
    """The command in a thread: the dispatcher answers in this one."""

    async def perform(*arguments: str) -> tuple[int, str, str]:
        done = await asyncio.to_thread(command, "deadletters", *arguments, "--url", site.dispatcher.url)
        return done.returncode, done.stdout, done.stderr

    return perform


async def test_dead_letters_are_listed_and_shown_with_their_reason(site: Site, run: Run) -> None:
    code, out, _ = await run("list")
    assert code == 0
    assert [line.split()[0] for line in out.splitlines()] == ["2", "1"]
    assert "greet  hello  refused: HTTP 400" in out
    code, out, _ = await run("list", "--mapping", "other")
    assert (code, out) == (0, "there are no dead letters\n")
    code, out, _ = await run("show", "1")
    assert code == 0
    assert "reason:    refused: HTTP 400" in out
    assert '"sensor": "front-door"' in out
    code, _, err = await run("show", "77")
    assert code == 1
    assert "there is no dead letter 77" in err


async def test_a_replay_tries_them_again(site: Site, run: Run) -> None:
    site.invoker.answer = lambda invocation, attempt: OK
    code, out, _ = await run("replay", "1")
    assert (code, out) == (0, "1 replayed\n")
    await until(lambda: site.invoker.ids[-1] == "event-1:greet" and len(site.invoker.calls) == 3, "invoked again")
    code, out, _ = await run("replay", "--all", "--json")
    assert code == 0
    assert json.loads(out) == {"replayed": 1, "refused": [], "left": 0}


async def test_a_purge_and_a_replay_want_to_know_what_is_meant(site: Site, run: Run) -> None:
    for action in ("replay", "purge"):
        code, _, err = await run(action)
        assert code == 2
        assert "say which" in err
    code, out, _ = await run("purge", "--all")
    assert (code, out) == (0, "2 purged\n")
