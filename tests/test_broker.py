"""The embedded broker, both kinds, for real: it serves our transport, says what is wrong, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Literal

import pytest

from bridge.broker import EmbeddedBroker, Kind, find_mosquitto, free_port, mosquitto_config
from bridge.clock import RealClock
from bridge.errors import BrokerError
from bridge.mqtt.paho import PahoTransport, connector
from bridge.mqtt.settings import MqttSettings
from bridge.mqtt.transport import Message, Subscription
from tests.mqtt.recorder import Recorder, until
from tests.real_parts import require

Kinds = Literal["mosquitto", "iotcore"]


@pytest.fixture(params=["mosquitto", "iotcore"])
def kind(request: pytest.FixtureRequest) -> Kinds:
    if request.param == "mosquitto":
        require("mosquitto")
        return "mosquitto"
    return "iotcore"


@contextlib.asynccontextmanager
async def client(
    port: int, name: str, protocol: Literal["auto", "5", "3.1.1"] = "auto", *, acknowledges: bool = True
) -> AsyncIterator[tuple[PahoTransport, Recorder]]:
    recorder = Recorder(acknowledges=acknowledges)
    settings = MqttSettings(port=port, protocol=protocol, reconnect_max_s=0.3)
    transport = connector(settings, RealClock())(name, recorder)
    assert isinstance(transport, PahoTransport)
    recorder.transport = transport
    async with transport:
        await recorder.up()
        yield transport, recorder


def alive(pid: int) -> bool:
    """Whether the process runs; one that has ended and waits for its parent (a zombie) does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def test_it_serves_a_transport_and_keeps_its_session_while_it_is_away(kind: Kinds, tmp_path: Path) -> None:
    async with EmbeddedBroker(kind, "127.0.0.1", 0, tmp_path) as broker:
        async with client(broker.port, "c", acknowledges=False) as (transport, recorder):
            assert transport.version == ("5" if kind == "mosquitto" else "3.1.1")
            await transport.subscribe([Subscription("a/+")])
            transport.publish(Message("a/b", b"1"), recorder.done("1"))
            assert await recorder.got(1) == ["1"]
            await until(lambda: "1 accepted" in recorder.story, "the answer")
            transport.acknowledge(recorder.deliveries)
            await asyncio.sleep(0.1)
        async with client(broker.port, "d") as (other, answers):
            other.publish(Message("a/b", b"2"), answers.done("2"))
            await until(lambda: "2 accepted" in answers.story, "the answer")
        async with client(broker.port, "c") as (_, again):
            assert again.story == ["connected 1 old session"]
            assert await again.got(1) == ["2"]


async def test_mqtt_5_is_spoken_on_its_port_and_both_versions_meet(kind: Kinds, tmp_path: Path) -> None:
    async with (
        EmbeddedBroker(kind, "127.0.0.1", 0, tmp_path) as broker,
        client(broker.port_5, "five", "5") as (five, of_five),
        client(broker.port, "four", "3.1.1") as (four, of_four),
    ):
        await five.subscribe([Subscription("from/four")])
        await four.subscribe([Subscription("from/five")])
        five.publish(Message("from/five", b"5"))
        four.publish(Message("from/four", b"4"))
        assert await of_four.got(1) == ["5"]
        assert await of_five.got(1) == ["4"]


async def test_after_the_end_its_process_is_gone_and_its_port_is_free(kind: Kinds, tmp_path: Path) -> None:
    async with EmbeddedBroker(kind, "127.0.0.1", 0, tmp_path) as broker:
        pid = broker.pid
        assert pid is not None
        assert alive(pid)
    assert not alive(pid)
    async with EmbeddedBroker(kind, "127.0.0.1", broker.port, tmp_path) as again:
        assert again.port == broker.port


async def test_a_taken_port_is_named_with_what_to_do(kind: Kinds, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(BrokerError, match=f"cannot listen on port {port} of 127.0.0.1.*give another port"):
            async with EmbeddedBroker(kind, "127.0.0.1", port, tmp_path):
                pass


async def test_a_broker_that_ends_by_itself_is_a_failure(kind: Kinds, tmp_path: Path) -> None:
    async with EmbeddedBroker(kind, "127.0.0.1", 0, tmp_path) as broker:
        failed = asyncio.create_task(broker.failed())
        await asyncio.sleep(0.05)
        assert not failed.done()
        assert broker.pid is not None
        os.kill(broker.pid, signal.SIGKILL)
        async with asyncio.timeout(60):
            with pytest.raises(BrokerError, match="ended by itself \\(signal SIGKILL\\)"):
                await failed


async def test_when_we_are_killed_it_dies_too(kind: Kinds, tmp_path: Path) -> None:
    program = (
        "import asyncio, sys\n"
        "from pathlib import Path\n"
        "from bridge.broker import EmbeddedBroker\n"
        "async def main():\n"
        f"    async with EmbeddedBroker({kind!r}, '127.0.0.1', 0, Path({str(tmp_path)!r})) as broker:\n"
        "        print(broker.pid, flush=True)\n"
        "        await asyncio.sleep(60)\n"
        "asyncio.run(main())\n"
    )
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", program, stdout=subprocess.PIPE)
    assert process.stdout is not None
    async with asyncio.timeout(60):
        pid = int(await process.stdout.readline())
    assert alive(pid)
    process.kill()
    await process.wait()
    await until(lambda: not alive(pid), "the broker's end")


async def test_mosquitto_keeps_queues_over_a_restart_and_iotcore_says_that_it_does_not(
    kind: Kinds, tmp_path: Path
) -> None:
    async with EmbeddedBroker(kind, "127.0.0.1", 0, tmp_path) as broker:
        async with client(broker.port, "c", "3.1.1") as (transport, _):
            await transport.subscribe([Subscription("a")])
        async with client(broker.port, "d", "3.1.1") as (other, answers):
            other.publish(Message("a", b"1"), answers.done("1"))
            await until(lambda: "1 accepted" in answers.story, "the answer")
    async with (
        EmbeddedBroker(kind, "127.0.0.1", broker.port, tmp_path) as broker,
        client(broker.port, "c", "3.1.1") as (_, again),
    ):
        if kind == "mosquitto":
            assert await again.got(1) == ["1"]
            assert broker.description.startswith("Mosquitto 2.")
            assert broker.description.endswith("(installed)")
        else:
            assert again.story == ["connected 1 new session"]
            assert broker.description.startswith("iotcore 0.")
            assert broker.description.endswith("(from pip; nothing survives its restart)")


async def test_a_broker_that_is_stopped_and_started_is_found_where_it_was_and_has_not_failed(
    kind: Kinds, tmp_path: Path
) -> None:
    async with EmbeddedBroker(kind, "127.0.0.1", 0, tmp_path) as broker:
        failing = asyncio.create_task(broker.failed())
        ports = broker.port, broker.port_5
        async with client(broker.port, "c", "3.1.1") as (_, recorder):
            await broker.stop()
            await until(lambda: len(recorder.story) == 2, "the end of the connection")
            await broker.start()
            await broker.start()  # it runs already
            await recorder.up()
        assert (broker.port, broker.port_5) == ports
        assert not failing.done()
        failing.cancel()


async def test_a_broker_that_forgets_has_no_session_of_before(tmp_path: Path) -> None:
    require("mosquitto")
    async with EmbeddedBroker("mosquitto", "127.0.0.1", 0, tmp_path) as broker:
        async with client(broker.port, "c") as (transport, _):
            await transport.subscribe([Subscription("a")])
        await broker.forget()
        async with client(broker.port, "c") as (_, again):
            assert again.story == ["connected 1 new session"]


async def test_mosquitto_loses_at_most_a_few_seconds_to_a_kill_9(tmp_path: Path) -> None:
    require("mosquitto")
    async with EmbeddedBroker("mosquitto", "127.0.0.1", 0, tmp_path) as broker:
        async with client(broker.port, "c") as (transport, _):
            await transport.subscribe([Subscription("a")])
        async with client(broker.port, "d") as (other, answers):
            other.publish(Message("a", b"1"), answers.done("1"))
            await until(lambda: "1 accepted" in answers.story, "the answer")
        written_at = time.time()
        database = tmp_path / "mosquitto" / "mosquitto.db"
        await until(lambda: database.exists() and database.stat().st_mtime > written_at, "the store to be saved")
        assert broker.pid is not None
        os.kill(broker.pid, signal.SIGKILL)
    async with (
        EmbeddedBroker("mosquitto", "127.0.0.1", 0, tmp_path) as broker,
        client(broker.port, "c") as (_, again),
    ):
        assert await again.got(1) == ["1"]


async def test_auto_takes_the_installed_mosquitto_else_iotcore(tmp_path: Path) -> None:
    async with EmbeddedBroker("auto", "127.0.0.1", 0, tmp_path) as broker:
        assert broker.description.startswith("iotcore" if find_mosquitto() is None else "Mosquitto")


async def test_the_name_localhost_is_served_too(kind: Kinds, tmp_path: Path) -> None:
    async with EmbeddedBroker(kind, "localhost", 0, tmp_path) as broker, client(broker.port, "c"):
        pass


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.7", "example.org"])
async def test_without_passwords_it_serves_this_machine_only(host: str, tmp_path: Path) -> None:
    with pytest.raises(BrokerError, match="serves this machine only"):
        async with EmbeddedBroker("auto", host, 0, tmp_path):
            pass


async def test_a_state_folder_that_cannot_be_made_is_named(kind: Kind, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BrokerError, match=f"cannot be started in {tmp_path}/file/state"):
        async with EmbeddedBroker(kind, "127.0.0.1", 0, tmp_path / "file" / "state"):
            pass


async def test_what_the_broker_said_is_shown_when_it_ends_at_once(tmp_path: Path) -> None:
    require("mosquitto")
    (tmp_path / "mosquitto").mkdir()
    (tmp_path / "mosquitto" / "mosquitto.db").write_bytes(b"this is no database" * 10)
    with pytest.raises(BrokerError, match=r"ended at once \(exit code \d+\); it said: "):
        async with EmbeddedBroker("mosquitto", "127.0.0.1", 0, tmp_path):
            pass


def test_the_configuration_gives_way_to_none_of_the_defaults_that_lose_data(tmp_path: Path) -> None:
    lines = mosquitto_config("127.0.0.1", free_port(), tmp_path).splitlines()
    assert "persistence true" in lines
    assert "autosave_interval 1" in lines
    assert any(line.startswith("max_queued_messages ") and int(line.split()[1]) >= 100_000 for line in lines)
    assert any(line.startswith("max_inflight_messages ") and int(line.split()[1]) >= 1000 for line in lines)
    assert ("user root" in lines) == (os.geteuid() == 0)
