"""What sensors tell is kept as it was told, also while the manager is away or killed, and the API shows it."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import signal
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from bridge.clock import RealClock, VirtualClock
from bridge.core.event import Observation, encode
from bridge.core.tombstone import Tombstone, encode_tombstone
from bridge.core.topics import SensorEventTopic, Topics
from bridge.errors import JournalError
from bridge.manager.access.roles import Role
from bridge.manager.access.tokens import create_token
from bridge.manager.history.recorder import COMMIT_S, FILE, QUIET_S, SMALL, Recorder
from bridge.manager.settings import SensorHistorySettings
from bridge.mqtt.memory import MemoryBroker
from bridge.mqtt.paho import connector
from bridge.ulid import mint
from tests.damage import damage
from tests.dispatcher.conftest import Client, until
from tests.manager.conftest import Desk
from tests.mosquitto import Mosquitto
from tests.ports import free_port

PATH = "/api/v1/nodes/pi-1/sensors/attic/history"
SESSION = "gpio-bridge-home-manager-history"


def topic(sensor: str = "attic", node: str = "pi-1") -> SensorEventTopic:
    found = Topics().parse(Topics().event("home", node, sensor))
    assert isinstance(found, SensorEventTopic)
    return found


def told(
    sequence: int,
    value: Any = 21.5,
    *,
    at: datetime | None = None,
    timesynced: bool = True,
    name: str = "temperature.changed",
    id_: str | None = None,
) -> bytes:
    """An event of the attic's thermometer."""
    time = at or datetime.now(UTC)
    seen = Observation(
        kind="thermometer", name=name, value=value, unit="Cel", initial=False, time=time, timesynced=timesynced
    )
    return encode(seen, at=topic(), id=id_ or mint(time), epoch="abcd", sequence=sequence)


@contextlib.asynccontextmanager
async def publisher(broker: Any) -> AsyncIterator[Client]:
    client = Client()
    client.transport = broker("a-publisher", client)
    async with client.transport:
        await asyncio.wait_for(client.ready.wait(), 60)
        yield client


async def begun(desk: Desk) -> None:
    await desk.start()
    await until(lambda: desk.manager.recorder.problem is None, "subscribed")


async def shown(desk: Desk, query: str = "") -> list[Any]:
    answer = await desk.client.get(f"{PATH}/points{query}")
    assert answer.status_code == 200, answer.text
    return [one["value"] for one in answer.json()["points"]]


async def arrived(desk: Desk, count: int) -> None:
    """Wait until so many points wait for their commit."""
    await until(lambda: len(desk.manager.recorder._points) >= count, f"{count} have arrived")


async def test_the_api_has_buckets_and_points_of_what_was_told(desk: Desk) -> None:
    await begun(desk)
    now = datetime.now(UTC)
    async with publisher(desk.broker.connect) as client:
        for sequence, (ago, value) in enumerate(((70, 20), (40, 21.0), (5, 24.0)), 1):
            client.publish(topic().text, told(sequence, value, at=now - timedelta(minutes=ago)))
        await arrived(desk, 3)
    found = (await desk.client.get(PATH, params={"step": "1h"})).json()
    assert (found["shows"], found["unit"], found["events"], found["step_s"]) == ("numbers", "Cel", 3, 3600.0)
    assert len(found["buckets"]) == 25
    with_numbers = [one for one in found["buckets"] if one["count"]]
    assert sum(one["count"] for one in with_numbers) == 3
    assert (with_numbers[-1]["last"], with_numbers[-1]["max"]) == (24.0, 24.0)
    assert found["buckets"][0]["last"] is None
    assert await shown(desk) == [20.0, 21.0, 24.0]
    since = (now - timedelta(minutes=50)).isoformat().replace("+00:00", "Z")
    assert await shown(desk, f"?from={since}") == [21.0, 24.0]
    assert (await desk.client.get(PATH)).json()["step_s"] == 300.0


async def test_pages_of_points_lead_to_the_next(desk: Desk) -> None:
    await begun(desk)
    now = datetime.now(UTC)
    async with publisher(desk.broker.connect) as client:
        for sequence in range(1, 6):
            client.publish(topic().text, told(sequence, float(sequence), at=now - timedelta(seconds=10 - sequence)))
        await arrived(desk, 5)
    path, found, totals = f"{PATH}/points?limit=2", [], set()
    while path:
        answer = await desk.client.get(path)
        found += [one["value"] for one in answer.json()["points"]]
        totals.add(answer.json()["total"])
        path = answer.headers.get("link", "").partition(">")[0].removeprefix("<")
    assert (found, totals) == ([1.0, 2.0, 3.0, 4.0, 5.0], {5})


async def test_what_is_no_point_is_not_kept_and_what_cannot_be_is_counted(desk: Desk) -> None:
    await begun(desk)
    now = datetime.now(UTC)
    stone = encode_tombstone(Tombstone(1, 3, "age"), at=topic(), epoch="abcd", time=now, timesynced=True)
    async with publisher(desk.broker.connect) as client:
        client.publish(topic().text, stone)
        client.publish(topic().text, b"no event")
        client.publish(topic().text, told(4, id_="x" * 1000))
        client.publish(topic().text, told(5, 1.0), retain=True)
        client.publish(topic().text, told(6, 2.0, at=now - timedelta(days=2)))
        client.publish(topic().text, told(7, 3.0))
        await until(lambda: len(desk.manager.recorder._deliveries) >= 6, "all have arrived")
    # A broker passes on what is new to those who are there, retained or not, as any other message.
    assert await shown(desk) == [1.0, 3.0]
    metrics = (await desk.client.get("/metrics")).text
    assert 'gpio_bridge_manager_dropped_total{what="history"} 3.0' in metrics


async def test_an_event_of_an_unset_or_wrong_clock_stands_where_it_was_received(desk: Desk) -> None:
    await begun(desk)
    before = datetime.now(UTC)
    async with publisher(desk.broker.connect) as client:
        unset = told(1, 1.0, at=datetime(1970, 1, 1, tzinfo=UTC), timesynced=False, id_="unset")
        client.publish(topic().text, unset)
        client.publish(topic().text, told(2, 2.0, at=before + timedelta(hours=1), id_="ahead"))
        await arrived(desk, 2)
        assert await shown(desk) == [1.0, 2.0]
        client.publish(topic().text, unset)  # again, as its outbox does
        await arrived(desk, 1)
        assert await shown(desk) == [1.0, 2.0]
        # Its node learned the time, and says when it was.
        client.publish(topic().text, told(1, 1.0, at=before - timedelta(hours=1), id_="unset"))
        await arrived(desk, 1)
    points = (await desk.client.get(f"{PATH}/points")).json()["points"]
    assert [(one["event_id"], one["received"]) for one in points] == [("unset", False), ("ahead", True)]
    assert before - timedelta(hours=1) == datetime.fromisoformat(points[0]["at"])
    assert before <= datetime.fromisoformat(points[1]["at"]) <= datetime.now(UTC)


async def test_what_cannot_be_answered_is_a_problem_that_says_why(desk: Desk) -> None:
    await begun(desk)
    async with publisher(desk.broker.connect) as client:
        client.publish(topic().text, told(1))
        await arrived(desk, 1)
    for query, why in (
        ("from=yesterday", "from must be a time such as 2026-11-22T17:30:00Z, not 'yesterday'"),
        ("from=2026-11-22T17:30:00", "from must be a time"),
        ("from=2026-11-22T17:30:00+01:00", "a + in a query is written %2B"),
        ("to=2026-13-22T17:30:00Z", "to: month must be in 1..12"),
        ("to=0001-01-01T00:00:00Z", "to: its year must be from 1970 to 9998"),
        ("from=2026-11-22T17:30:00Z&to=2026-11-22T17:30:00Z", "must be before to"),
        ("step=5", "step: '5' is not a duration"),
        ("step=1500ms", "step: '1500ms' is not a whole number of seconds"),
        ("step=99d", "of at most 31 days"),
        ("step=1s", "buckets, of at most 2000: take a longer step or less time"),
    ):
        answer = await desk.client.get(f"{PATH}?{query}")
        assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")
        assert why in answer.json()["detail"]


async def test_a_sensor_that_nobody_knows_or_a_page_that_was_never_given_is_refused(desk: Desk) -> None:
    await begun(desk)
    assert (await desk.client.get(PATH)).status_code == 404
    async with publisher(desk.broker.connect) as client:
        client.publish(Topics().state("home", "pi-1", "attic"), b'{"health": "ok"}', retain=True)
        await until(lambda: "pi-1" in desk.manager.nodes.known, "it is known")
    assert (await desk.client.get(PATH)).json()["shows"] == "nothing"
    answer = await desk.client.get(f"{PATH}/points?after=nonsense")
    assert (answer.status_code, answer.json()["detail"]) == (422, "after must be what a page gave as `next`")


async def test_a_history_that_is_off_asks_the_broker_for_nothing_and_says_so(desk: Desk) -> None:
    await begun(desk)
    await desk.stop()
    desk.settings = dataclasses.replace(desk.settings, sensor_history=SensorHistorySettings(enabled=False))
    await begun(desk)
    answer = await desk.client.get(PATH)
    assert (answer.status_code, "sensor_history.enabled" in answer.json()["detail"]) == (503, True)
    assert "sensor history" not in desk.manager.health.not_ready()
    await desk.stop()
    async with publisher(desk.broker.connect) as client:
        client.publish(topic().text, told(1))
        await asyncio.sleep(0.05)
    assert desk.broker.queued(SESSION) == 0


async def test_a_damaged_file_is_set_aside_and_begun_anew(desk: Desk) -> None:
    await begun(desk)
    async with publisher(desk.broker.connect) as client:
        client.publish(topic().text, told(1))
        await arrived(desk, 1)
    assert await shown(desk) == [21.5]
    await desk.stop()
    damage(desk.settings.state_dir / FILE, "points")
    await begun(desk)
    assert desk.manager.recorder.journal.quarantined == desk.settings.state_dir / f"{FILE}.corrupt-1"
    assert (await desk.client.get(PATH)).status_code == 404
    assert (await desk.client.get("/readyz")).status_code == 200


# When it is written, on a clock of our own


@contextlib.asynccontextmanager
async def recording(desk: Desk, clock: VirtualClock) -> AsyncIterator[tuple[Recorder, Client, MemoryBroker]]:
    broker = MemoryBroker(clock)
    desk.settings.state_dir.mkdir()
    lost: list[int] = []
    recorder = Recorder(desk.settings, clock, broker.connect, lambda what, count: lost.append(count))
    async with recorder, publisher(broker.connect) as client:
        await until(lambda: recorder.problem is None, "subscribed")
        await recorder.journal.flush()
        yield recorder, client, broker
    assert lost == []


async def test_events_wait_for_each_other_and_are_acknowledged_when_they_are_on_the_disk(desk: Desk) -> None:
    clock = VirtualClock()
    async with recording(desk, clock) as (recorder, client, broker):
        client.publish(topic().text, told(1, at=clock.now()))
        await until(lambda: recorder._points, "it has arrived")
        commits = recorder.journal.counters.commits
        await clock.advance(COMMIT_S - 1)
        assert (recorder.journal.counters.commits, len(recorder._points)) == (commits, 1)
        assert len(broker._sessions[SESSION].unacknowledged) == 1
        await clock.advance(1.5)
        await until(lambda: not broker._sessions[SESSION].unacknowledged, "it is acknowledged")
        assert recorder.journal.counters.commits > commits


async def test_a_broker_that_sends_no_more_is_not_waited_for(desk: Desk) -> None:
    clock = VirtualClock()
    async with recording(desk, clock) as (recorder, client, _):
        for sequence in range(SMALL):
            client.publish(topic().text, told(sequence + 1, at=clock.now()))
        await until(lambda: len(recorder._points) == SMALL, "they have arrived")
        await clock.advance(QUIET_S + 0.1)
        await until(lambda: not recorder._deliveries, "they are kept")


async def test_a_disk_that_takes_nothing_loses_nothing(desk: Desk) -> None:
    clock = VirtualClock()
    async with recording(desk, clock) as (recorder, client, broker):
        full, recorder.journal._max_queued = recorder.journal._max_queued, 0
        client.publish(topic().text, told(1, at=clock.now()))
        await until(lambda: recorder._points, "it has arrived")
        with pytest.raises(JournalError):
            await recorder.flush()
        assert len(broker._sessions[SESSION].unacknowledged) == len(recorder._points) == 1
        recorder.journal._max_queued = full
        await recorder.flush()
        await until(lambda: not broker._sessions[SESSION].unacknowledged, "it is acknowledged")


# The real program and a real broker


@pytest.mark.real("mosquitto")
async def test_a_manager_that_is_killed_or_away_hears_afterwards_what_it_missed_once(tmp_path: Path) -> None:
    port, state = free_port(), tmp_path / "state"
    (tmp_path / "mappings.yaml").write_text("version: 1\nallow_empty: true\nmappings: {}\n")
    with Mosquitto(tmp_path) as broker:
        config = tmp_path / "manager.yaml"
        config.write_text(
            f"version: 1\nmappings: mappings.yaml\nstate_dir: {state}\nhttp: {{port: {port}}}\n"
            f"mqtt: {{host: 127.0.0.1, port: {broker.port}}}\n"
        )
        token = create_token(state, "tester", Role.VIEWER, "2026-11-22T12:00:00Z")
        async with (
            publisher(connector(broker.settings, RealClock("always"))) as client,
            httpx.AsyncClient(
                base_url=f"http://127.0.0.1:{port}",
                trust_env=False,
                headers={"Authorization": f"Bearer {token}"},
                timeout=60,
            ) as http,
        ):
            async with managed(config, http) as process:
                client.publish(topic().text, told(1, 1.0, id_="first"))
                client.publish(topic().text, b"no event")

                async def heard() -> None:
                    while True:
                        if 'dropped_total{what="history"} 1.0' in (await http.get("/metrics")).text:
                            return
                        await asyncio.sleep(0.02)

                await asyncio.wait_for(heard(), 60)  # and so what came before it
                process.send_signal(signal.SIGKILL)
                await process.wait()
            client.publish(topic().text, told(2, 2.0, id_="second"))
            late = told(3, 0.0, id_="late", at=datetime.now(UTC) - timedelta(hours=2))
            async with managed(config, http):
                client.publish(topic().text, late)
                client.publish(topic().text, late)

                async def all_there() -> list[tuple[str, float]]:
                    while True:
                        answer = await http.get(f"{PATH}/points")
                        if answer.status_code == 200 and answer.json()["total"] >= 3:
                            return [(one["event_id"], one["value"]) for one in answer.json()["points"]]
                        await asyncio.sleep(0.05)

                found = await asyncio.wait_for(all_there(), 60)
            assert found == [("late", 0.0), ("first", 1.0), ("second", 2.0)]


@contextlib.asynccontextmanager
async def managed(config: Path, http: httpx.AsyncClient) -> AsyncIterator[asyncio.subprocess.Process]:
    """The real program, once it is ready."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bridge", "manager", "--config", str(config)), stderr=asyncio.subprocess.PIPE
    )
    try:

        async def ready() -> None:
            while True:
                with contextlib.suppress(httpx.TransportError):
                    if (await http.get("/readyz")).status_code == 200:
                        return
                await asyncio.sleep(0.05)

        await asyncio.wait_for(ready(), 60)
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
        _, err = await asyncio.wait_for(process.communicate(), 60)
        for line in err.decode().splitlines():
            assert json.loads(line)["level"] in ("info", "warning"), line
