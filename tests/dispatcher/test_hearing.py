"""A dispatcher to which nothing comes says so: a broker may grant a subscription and let nothing through."""

from __future__ import annotations

from pathlib import Path

import pytest

from bridge.clock import RealClock, VirtualClock
from bridge.dispatcher import hearing
from bridge.dispatcher.dispatcher import Dispatcher
from bridge.dispatcher.hearing import DEAF_AFTER_S, Hearing
from bridge.dispatcher.settings import DispatcherSettings, HttpSettings
from bridge.mqtt.paho import connector
from tests.dispatcher.conftest import RecordingInvoker, until
from tests.mosquitto import Mosquitto

MAPPINGS = """
version: 1
mappings:
  greet: {select: {sensor: front-door}, invoke: hello}
"""


async def test_it_is_told_once_and_asked_again_until_something_comes(caplog: pytest.LogCaptureFixture) -> None:
    clock, asked = VirtualClock(), list[float]()
    one = Hearing(clock, "a/marker", lambda: asked.append(clock.monotonic()))
    one.connected()
    one.subscribed()
    await clock.advance(DEAF_AFTER_S - 1)
    assert (one.problem, asked) == (None, [])
    await clock.advance(2 * DEAF_AFTER_S)
    assert "not even what is sent to a/marker" in str(one.problem)
    assert len(asked) == 2
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    one.came()
    assert (one.problem, one.heard) == (None, True)
    await clock.advance(2 * DEAF_AFTER_S)
    assert len(asked) == 2


async def test_what_came_before_the_subscriptions_stood_is_enough() -> None:
    clock = VirtualClock()
    one = Hearing(clock, "a/marker", lambda: None)
    one.connected()
    one.came()
    one.subscribed()
    await clock.advance(2 * DEAF_AFTER_S)
    assert one.problem is None


async def test_a_connection_that_ended_is_not_waited_for() -> None:
    clock, asked = VirtualClock(), list[float]()
    one = Hearing(clock, "a/marker", lambda: asked.append(clock.monotonic()))
    one.connected()
    one.subscribed()
    one.stop()
    await clock.advance(2 * DEAF_AFTER_S)
    assert (one.problem, asked) == (None, [])


async def test_an_access_list_for_another_site_is_noticed_and_so_is_its_mending(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hearing, "DEAF_AFTER_S", 0.3)
    rules, mappings = tmp_path / "acl", tmp_path / "mappings.yaml"
    rules.write_text("topic readwrite gpio-bridge/v1/house/#\n", encoding="utf-8")
    rules.chmod(0o600)
    mappings.write_text(MAPPINGS, encoding="utf-8")
    settings = DispatcherSettings(state_dir=tmp_path / "state", mappings=mappings, http=HttpSettings(port=0))
    clock = RealClock("always")
    with Mosquitto(tmp_path, access=("allow_anonymous true", f"acl_file {rules}")) as broker:
        connect = connector(broker.settings, clock)
        async with Dispatcher(settings, clock=clock, connect=connect, invoker=RecordingInvoker()) as dispatcher:
            await until(
                lambda: "nothing comes from the broker" in dispatcher.health.not_ready().get("subscriptions", ""),
                "the dispatcher says that nothing comes",
            )
            rules.write_text("topic readwrite gpio-bridge/v1/home/#\n", encoding="utf-8")
            broker.reload()
            await until(lambda: not dispatcher.health.not_ready(), "ready, since the marker has come back")
