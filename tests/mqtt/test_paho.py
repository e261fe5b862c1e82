"""What only the paho transport can get wrong: TLS, versions, keep-alive, credentials, a broker that dies for real."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Literal

import pytest

from bridge.clock import RealClock
from bridge.errors import TransportError
from bridge.mqtt.ending import Cause, Ended
from bridge.mqtt.paho import PahoTransport, connector
from bridge.mqtt.settings import MqttSettings, TlsSettings
from bridge.mqtt.transport import Message, Publication, Sent, Subscription
from tests.authority import make_authority
from tests.mosquitto import Mosquitto
from tests.mqtt.recorder import Recorder, until
from tests.mqtt.scripted import CLOSE, CONNACK_4, CONNACK_5, ScriptedBroker
from tests.ports import free_port
from tests.real_parts import require


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    with Mosquitto(tmp_path) as found:
        yield found


@contextlib.asynccontextmanager
async def client(
    settings: MqttSettings,
    name: str = "c",
    *,
    acknowledges: bool = True,
    will: Message | None = None,
    wait: bool = True,
) -> AsyncIterator[tuple[PahoTransport, Recorder]]:
    recorder = Recorder(acknowledges=acknowledges)
    transport = connector(settings, RealClock(), Random(1))(name, recorder, will=will)
    assert isinstance(transport, PahoTransport)
    recorder.transport = transport
    async with transport:
        if wait:
            await recorder.up()
        yield transport, recorder


def text(topic: str, payload: str) -> Message:
    return Message(topic, payload.encode())


# A broker that dies


async def test_after_a_kill_9_it_reconnects_and_what_was_not_acknowledged_comes_again(broker: Mosquitto) -> None:
    async with client(broker.settings, acknowledges=False) as (transport, recorder):
        await transport.subscribe([Subscription("a")])
        for i in range(3):
            transport.publish(text("a", str(i)))
        await recorder.got(3)
        transport.acknowledge(recorder.deliveries[:1])
        connection = transport._connection
        assert connection is not None
        await until(lambda: connection._acknowledgements.due_at is None, "the acknowledgement to leave")
        await transport.subscribe([Subscription("b")])  # the broker has read it before it answers this
        broker.saved()
        broker.pause()
        transport.publish(text("a", "open"), recorder.done("open"))
        broker.kill()
        await until(lambda: "disconnected 1" in recorder.story, "the loss")
        assert recorder.story[1:] == ["open lost", "disconnected 1"]
        broker.start()
        await recorder.up(2)
        await recorder.got(5)
        assert recorder.story[-1] == "connected 2 old session"
        assert recorder.payloads[3:5] == ["1", "2"]
        assert [message.dup for message in recorder.messages[3:5]] == [True, True]
        assert [delivery.generation for delivery in recorder.deliveries] == [1, 1, 1, 2, 2]
        assert (transport.counters.connects, transport.counters.disconnects, transport.counters.lost) == (2, 1, 1)


async def test_nothing_of_a_dead_connection_is_sent_again_rule_3(broker: Mosquitto) -> None:
    async with client(broker.settings) as (transport, recorder):
        broker.pause()
        transport.publish(text("a", "never again"), recorder.done("it"))
        broker.kill()
        await until(lambda: "it lost" in recorder.story, "the loss")
        broker.start()
        await recorder.up(2)
        await transport.subscribe([Subscription("a")])
        transport.publish(text("a", "next"))
        assert await recorder.got(1) == ["next"]


async def test_a_broker_that_stands_still_is_noticed_after_one_and_a_half_keepalives(broker: Mosquitto) -> None:
    async with client(replace(broker.settings, keepalive_s=1)) as (transport, recorder):
        broker.pause()
        begun = time.monotonic()
        await until(lambda: not transport.connected, "the end of the connection")
        took_s = time.monotonic() - begun
        assert 0.4 < took_s < 2.5
        assert "silent" in str(transport.status)
        broker.resume()
        await recorder.up(2)


async def test_an_idle_connection_is_kept_by_pings(broker: Mosquitto) -> None:
    async with client(replace(broker.settings, keepalive_s=1)) as (transport, _):
        await asyncio.sleep(2.2)
        assert transport.generation == 1
        assert transport.connected


async def test_where_nothing_listens_the_status_says_what_was_tried(caplog: pytest.LogCaptureFixture) -> None:
    settings = MqttSettings(port=free_port(), reconnect_max_s=0.1)
    async with client(settings, wait=False) as (transport, recorder):
        await until(lambda: "refused" in str(transport.status), "the first failure")
        await asyncio.sleep(0.5)
        assert f"cannot reach the broker at 127.0.0.1:{settings.port}: connection refused" in str(transport.status)
        assert recorder.story == []
        assert len(caplog.records) == 1, "a long night without a broker must not fill the log"


async def test_leaving_while_connecting_to_a_host_that_does_not_answer_takes_no_time() -> None:
    settings = MqttSettings(host="192.0.2.1", connect_timeout_s=30)  # TEST-NET-1 (RFC 5737): no packet leaves
    async with client(settings, wait=False):
        await asyncio.sleep(0.05)
        begun = time.monotonic()
    assert time.monotonic() - begun < 1


async def test_leaving_while_messages_come_in_still_says_goodbye(broker: Mosquitto) -> None:
    async with client(broker.settings, "watcher") as (watcher, seen):
        await watcher.subscribe([Subscription("w")])
        async with client(broker.settings, will=text("w", "will"), acknowledges=False) as (transport, recorder):
            await transport.subscribe([Subscription("a")])
            for _ in range(2000):
                transport.publish(Message("a", b"x" * 5000))
            await recorder.got(1)
        await asyncio.sleep(0.2)
        assert seen.payloads == []


async def test_a_will_carries_its_properties(broker: Mosquitto) -> None:
    will = Message("w", b"gone", content_type="text/plain", expiry_s=30, user_properties=(("k", "v"),), retain=True)
    async with client(broker.settings, "watcher") as (watcher, seen):
        await watcher.subscribe([Subscription("w")])
        async with client(broker.settings, will=will) as (transport, _):
            assert transport._connection is not None
            transport._connection.abort(Ended(Cause.LOST, "as after a kill"))
            await seen.got(1)
    assert seen.messages == [replace(will, retain=False)]


# Who may connect


def password_file(folder: Path) -> Path:
    require("mosquitto_passwd")
    path = folder / "passwords"
    path.touch(mode=0o600)
    subprocess.run(["mosquitto_passwd", "-b", str(path), "agent", "right"], check=True, capture_output=True)
    return path


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
async def test_a_wrong_password_is_said_and_a_corrected_file_is_taken_up(
    tmp_path: Path, protocol: Literal["5", "3.1.1"]
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("wrong\n")
    access = ("allow_anonymous false", f"password_file {password_file(tmp_path)}")
    with Mosquitto(tmp_path, access=access) as broker:
        settings = replace(broker.settings, username="agent", password_file=secret, protocol=protocol)
        async with client(settings, wait=False) as (transport, recorder):
            await until(lambda: "refused user 'agent'" in str(transport.status), "the refusal")
            assert "check username, password" in str(transport.status)
            assert "wrong" not in str(transport.status)
            secret.write_text("right\n")
            await recorder.up()


async def test_a_topic_that_is_not_allowed_is_refused_with_the_brokers_code(tmp_path: Path) -> None:
    acl = tmp_path / "acl"
    acl.write_text("topic readwrite free/#\n")
    with Mosquitto(tmp_path, access=("allow_anonymous true", f"acl_file {acl}")) as broker:
        async with client(broker.settings) as (transport, recorder):
            answers: list[Publication] = []
            transport.publish(text("secret", "1"), answers.append)
            transport.publish(text("free/a", "2"), recorder.done("2"))
            await until(lambda: "2 accepted" in recorder.story, "the answers")
            assert answers == [Publication(Sent.REFUSED, 0x87, "not authorized")]
            assert transport.counters.refused == 1
            assert transport.counters.published == 1


# TLS


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an authority (ca.crt), a server certificate for localhost and one for a client."""
    return make_authority(tmp_path_factory.mktemp("tls"))


def tls_access(folder: Path, *more: str) -> tuple[str, ...]:
    files = (f"cafile {folder}/ca.crt", f"certfile {folder}/localhost.crt", f"keyfile {folder}/localhost.key")
    return ("allow_anonymous true", *files, *more)


async def test_over_tls_everything_buffered_arrives(tmp_path: Path, authority: Path) -> None:
    """A TLS record holds many packets; those after the first are in no socket that a selector could watch."""
    with Mosquitto(tmp_path, access=tls_access(authority)) as broker:
        settings = replace(broker.settings, host="localhost", tls=TlsSettings(ca=authority / "ca.crt"))
        async with client(settings) as (transport, recorder):
            await transport.subscribe([Subscription("a")])
            large = "x" * 700_000
            transport.publish(text("a", large))
            for i in range(2000):
                transport.publish(text("a", str(i)))
            await recorder.got(2001)
            assert recorder.payloads == [large, *(str(i) for i in range(2000))]
            assert recorder.batches < 1000


async def test_with_mutual_tls_the_broker_knows_the_client_by_its_certificate(tmp_path: Path, authority: Path) -> None:
    access = tls_access(authority, "require_certificate true", "use_identity_as_username true")
    with Mosquitto(tmp_path, access=access) as broker:
        trusting = TlsSettings(ca=authority / "ca.crt")
        known = replace(trusting, certificate=authority / "agent.crt", key=authority / "agent.key")
        settings = replace(broker.settings, host="localhost", tls=known)
        async with client(settings) as (transport, recorder):
            await transport.subscribe([Subscription("a")])
            transport.publish(text("a", "1"))
            assert await recorder.got(1) == ["1"]
        async with client(replace(settings, tls=trusting), wait=False) as (stranger, _):
            await until(lambda: stranger.status and "not yet" not in stranger.status, "the refusal")
            assert not stranger.connected


async def test_a_broker_whose_certificate_is_not_trusted_is_not_spoken_to(tmp_path: Path, authority: Path) -> None:
    with Mosquitto(tmp_path, access=tls_access(authority)) as broker:
        unknown = replace(broker.settings, host="localhost", tls=TlsSettings())
        async with client(unknown, wait=False) as (transport, _):
            await until(lambda: "certificate is not trusted" in str(transport.status), "the refusal")
        other_name = replace(broker.settings, tls=TlsSettings(ca=authority / "ca.crt"))
        async with client(other_name, wait=False) as (transport, _):
            await until(lambda: "certificate is not trusted" in str(transport.status), "the refusal")
        lenient = replace(other_name, tls=TlsSettings(ca=authority / "ca.crt", check_hostname=False))
        async with client(lenient):
            pass


async def test_a_certificate_file_that_cannot_be_read_is_named(tmp_path: Path, broker: Mosquitto) -> None:
    broken = tmp_path / "broken.crt"
    broken.write_text("no certificate")
    async with client(replace(broker.settings, tls=TlsSettings(ca=broken)), wait=False) as (transport, _):
        await until(lambda: "files of the mqtt.tls settings cannot be used" in str(transport.status), "the failure")


async def test_a_password_file_that_has_gone_is_said_and_taken_up_when_it_is_back(
    tmp_path: Path, broker: Mosquitto
) -> None:
    secret = tmp_path / "secret"
    settings = replace(broker.settings, username="agent", password_file=secret)
    async with client(settings, wait=False) as (transport, recorder):
        await until(lambda: f"No such file or directory: '{secret}'" in str(transport.status), "the failure")
        secret.write_text("anything")
        await recorder.up()


# Versions of MQTT


@pytest.mark.parametrize("refusal", [b"\x20\x03\x00\x84\x00", b"\x20\x02\x00\x01"], ids=["0x84", "code 1"])
async def test_a_broker_that_does_not_know_mqtt_5_is_spoken_to_in_3_1_1(refusal: bytes) -> None:
    async with ScriptedBroker([[refusal, CLOSE], [CONNACK_4]]) as broker, client(broker.settings) as (transport, _):
        assert transport.version == "3.1.1"
        assert [packets[0][7] for packets in broker.heard] == [5, 4]


async def test_a_broker_that_closes_twice_without_an_answer_is_tried_in_3_1_1() -> None:
    async with ScriptedBroker([[CLOSE], [CLOSE], [CONNACK_4]]) as broker, client(broker.settings) as (transport, _):
        assert transport.version == "3.1.1"
        assert [packets[0][7] for packets in broker.heard] == [5, 5, 4]


async def test_a_broker_behind_a_proxy_that_closed_while_it_was_away_is_spoken_to_in_5_again() -> None:
    scripts = [[CLOSE], [CLOSE], [CONNACK_4, CLOSE], [CONNACK_5]]
    async with ScriptedBroker(scripts) as broker, client(broker.settings) as (transport, recorder):
        transport.publish(text("a", "makes it close"))
        await recorder.up(2)
        assert transport.version == "5"
        assert [packets[0][7] for packets in broker.heard] == [5, 5, 4, 5]


async def test_what_one_transport_learnt_of_the_version_the_next_one_knows() -> None:
    async with ScriptedBroker([[b"\x20\x02\x00\x01", CLOSE], [CONNACK_4]]) as broker:
        connect = connector(broker.settings, RealClock())
        for name in ("a", "b"):
            recorder = Recorder()
            async with connect(name, recorder):
                await recorder.up()
        assert [packets[0][7] for packets in broker.heard] == [5, 4, 4]


async def test_a_broker_that_spoke_mqtt_5_once_is_not_taken_for_an_old_one() -> None:
    scripts = [[CONNACK_5, CLOSE], [CLOSE], [CLOSE], [CLOSE], [CONNACK_5]]
    async with ScriptedBroker(scripts) as broker, client(broker.settings) as (transport, recorder):
        transport.publish(text("a", "makes it close"))
        await recorder.up(2)
        assert transport.version == "5"


async def test_in_3_1_1_messages_come_and_go_and_come_again(broker: Mosquitto) -> None:
    settings = replace(broker.settings, protocol="3.1.1")
    async with client(settings, acknowledges=False) as (transport, recorder):
        await transport.subscribe([Subscription("a", retained="never", no_local=True)])
        transport.publish(Message("a", b"1", content_type="text/plain", expiry_s=5), recorder.done("1"))
        await recorder.got(1)
        await until(lambda: "1 accepted" in recorder.story, "the answer")
    assert recorder.messages == [Message("a", b"1")]
    async with client(settings) as (_, again):
        assert again.story == ["connected 1 old session"]
        await again.got(1)
        assert again.messages == [Message("a", b"1", dup=True)]


# What a broker may answer


async def test_a_refused_subscription_is_an_error_that_names_the_filter() -> None:
    suback = b"\x90\x05\x00\x01\x00\x01\x87"
    async with ScriptedBroker([[CONNACK_5, suback]]) as broker, client(broker.settings) as (transport, _):
        with pytest.raises(TransportError, match=r"refused to subscribe to b/# \(not authorized\)"):
            await transport.subscribe([Subscription("a"), Subscription("b/#")])


async def test_a_refused_subscription_in_3_1_1_is_an_error_too() -> None:
    async with (
        ScriptedBroker([[CONNACK_4, b"\x90\x04\x00\x01\x01\x80"]]) as broker,
        client(replace(broker.settings, protocol="3.1.1")) as (transport, _),
    ):
        with pytest.raises(TransportError, match="refused to subscribe to b/#"):
            await transport.subscribe([Subscription("a"), Subscription("b/#")])


async def test_a_subscription_that_is_never_answered_ends_with_the_connection() -> None:
    async with ScriptedBroker([[CONNACK_5, CLOSE], [CONNACK_5]]) as broker, client(broker.settings) as (transport, _):
        with pytest.raises(TransportError, match="the connection ended before the broker answered"):
            await transport.subscribe([Subscription("a")])


async def test_a_take_over_that_the_broker_announces_is_said_and_waited_out() -> None:
    script = [CONNACK_5, b"\x90\x04\x00\x01\x00\x01" + b"\xe0\x02\x8e\x00", CLOSE]
    async with ScriptedBroker([script]) as broker, client(broker.settings) as (transport, recorder):
        await transport.subscribe([Subscription("a")])
        await until(lambda: "disconnected 1" in recorder.story, "the end")
        assert "another client with the same client id took over" in str(transport.status)
        await asyncio.sleep(0.3)  # an ordinary pause is 0.2 s at most here
        assert transport.generation == 1


async def test_the_brokers_own_receive_maximum_is_kept_and_the_rest_waits_its_turn() -> None:
    connack = b"\x20\x06\x00\x00\x03\x21\x00\x02"
    acks = b"\x40\x02\x00\x01\x40\x02\x00\x02"
    async with (
        ScriptedBroker([[connack, b"\xd0\x00", acks]]) as broker,
        client(broker.settings) as (transport, recorder),
    ):
        for i in range(5):
            transport.publish(text("a", str(i)), recorder.done(str(i)))
        await until(lambda: recorder.story[1:] == ["0 accepted", "1 accepted"], "two answers")
        await until(lambda: len(broker.heard[0]) == 5, "two more publications")
        await asyncio.sleep(0.05)
        assert [packet[-1:] for packet in broker.heard[0][1:]] == [b"0", b"1", b"2", b"3"]
    assert recorder.story[3:] == ["2 lost", "3 lost", "4 lost", "disconnected 1"]


async def test_a_message_above_the_brokers_size_limit_is_refused_here_and_not_sent() -> None:
    connack = b"\x20\x08\x00\x00\x05\x27\x00\x00\x00\x64"
    async with ScriptedBroker([[connack]]) as broker, client(broker.settings) as (transport, _):
        answers: list[Publication] = []
        transport.publish(Message("a", b"x" * 200), answers.append)
        assert answers == [Publication(Sent.REFUSED, 0x95, "larger than the broker's limit of 100 bytes")]
        assert transport.connected


async def test_a_subscription_gets_no_packet_id_of_a_publication_that_is_not_answered() -> None:
    # CONNACK with a receive maximum of 2; nothing for the publications; SUBACK for id 3; then a late PUBACK for id 1.
    connack = b"\x20\x06\x00\x00\x03\x21\x00\x02"
    script = [connack, b"\xd0\x00", b"\xd0\x00", b"\x90\x04\x00\x03\x00\x01" + b"\x40\x02\x00\x01"]
    async with ScriptedBroker([script]) as broker, client(broker.settings) as (transport, recorder):
        for name in ("first", "second"):
            transport.publish(text("a", name), recorder.done(name))
        await transport.subscribe([Subscription("b")])
        await until(lambda: "first accepted" in recorder.story, "the answer")
        kinds = [packet[0] & 0xF0 for packet in broker.heard[0]]
        assert kinds == [0x10, 0x30, 0x30, 0x80]
        assert broker.heard[0][3][1:3] == b"\x00\x03"


async def test_a_refusal_says_the_brokers_reason() -> None:
    script = [CONNACK_5, b"\x40\x0a\x00\x01\x97\x06\x1f\x00\x03why" + b"\x40\x03\x00\x02\x87"]
    async with ScriptedBroker([script]) as broker, client(broker.settings) as (transport, _):
        answers: list[Publication] = []
        transport.publish(text("a", "1"), answers.append)
        transport.publish(text("a", "2"), answers.append)
        await until(lambda: len(answers) == 2, "two answers")
        assert answers == [Publication(Sent.REFUSED, 0x97, "why"), Publication(Sent.REFUSED, 0x87, "not authorized")]


async def test_an_answer_to_nothing_says_nothing() -> None:
    script = [CONNACK_5, b"\x40\x02\x00\x09" + b"\x40\x02\x00\x01" + b"\x40\x02\x00\x01"]
    async with ScriptedBroker([script]) as broker, client(broker.settings) as (transport, recorder):
        transport.publish(text("a", "1"), recorder.done("it"))
        await until(lambda: "it accepted" in recorder.story, "the answer")
        assert transport.connected
        assert recorder.story.count("it accepted") == 1


async def test_a_message_that_fits_into_no_packet_is_refused_here() -> None:
    async with ScriptedBroker([[CONNACK_5]]) as broker, client(broker.settings) as (transport, _):
        answers: list[Publication] = []
        transport.publish(Message("a", b"", content_type="x" * 65_536), answers.append)
        assert [(answer.sent, answer.code) for answer in answers] == [(Sent.REFUSED, 0x95)]
        assert transport.connected


async def test_large_messages_and_subscriptions_leave_whole_when_the_socket_is_full(broker: Mosquitto) -> None:
    payload = b"x" * 60_000
    async with client(broker.settings) as (transport, recorder):
        await transport.subscribe([Subscription("a")])
        for i in range(100):
            transport.publish(Message("a", b"%d " % i + payload))
        await transport.subscribe([Subscription("b"), Subscription("c" * 60_000)])  # behind 6 MB, in pieces
        for i in range(100, 200):
            transport.publish(Message("a", b"%d " % i + payload))
        await recorder.got(200)
        assert [int(payload.split()[0]) for payload in recorder.payloads] == list(range(200))
        assert transport.generation == 1


async def test_too_many_waiting_publications_are_lost_at_once() -> None:
    async with (
        ScriptedBroker([[b"\x20\x06\x00\x00\x03\x21\x00\x01"]]) as broker,
        client(broker.settings) as (transport, _),
    ):
        answers: list[Publication] = []
        for _ in range(10_003):
            transport.publish(text("a", "1"), answers.append)
        assert [a.sent for a in answers] == [Sent.LOST, Sent.LOST]
        assert "waiting" in answers[0].reason


@pytest.mark.parametrize(
    "rubbish", [b"\xff\xff\xff\xff\xff\xff", b"\x30\x01\x00", b"\x36\x05\x00\x01a\x00\x01", b"\xf0\x00"]
)
async def test_bytes_that_are_no_mqtt_end_the_connection_and_the_next_one_works(
    rubbish: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)
    async with (
        ScriptedBroker([[CONNACK_5 + rubbish], [CONNACK_5]]) as broker,
        client(broker.settings) as (_, recorder),
    ):
        await recorder.up(2)
        assert recorder.story[1] == "disconnected 1"


async def test_a_topic_that_is_no_utf_8_is_acknowledged_and_dropped(caplog: pytest.LogCaptureFixture) -> None:
    bad = b"\x32\x07\x00\x01\xff\x00\x07\x00x"
    good = b"\x32\x07\x00\x01a\x00\x08\x00y"
    async with ScriptedBroker([[CONNACK_5 + bad + good]]) as broker, client(broker.settings) as (transport, recorder):
        assert await recorder.got(1) == ["y"]
        await until(lambda: len(broker.heard[0]) == 3, "both acknowledgements")
        assert [packet[-2:] for packet in broker.heard[0][1:]] == [b"\x00\x07", b"\x00\x08"]
        assert transport.counters.received == 1
    assert "no UTF-8" in caplog.text


@pytest.mark.parametrize("at_once", [True, False])
async def test_an_acknowledgement_that_waits_for_others_leaves_soon_and_before_a_clean_end(at_once: bool) -> None:
    both = b"\x32\x07\x00\x01a\x00\x07\x00x\x32\x07\x00\x01a\x00\x08\x00y"
    async with ScriptedBroker([[CONNACK_5 + both]]) as broker:
        async with client(broker.settings, acknowledges=False) as (transport, recorder):
            await recorder.got(2)
            transport.acknowledge(recorder.deliveries[:1])
            transport.acknowledge(recorder.deliveries[1:])
            await until(lambda: len(broker.heard[0]) >= 2, "the first one")
            if not at_once:
                await until(lambda: len(broker.heard[0]) == 3, "the other one, a moment later")
        await until(lambda: len(broker.heard[0]) == 4, "the end")
        assert [packet[0] for packet in broker.heard[0][1:]] == [0x40, 0x40, 0xE0]
        assert [packet[-2:] for packet in broker.heard[0][1:3]] == [b"\x00\x07", b"\x00\x08"]


async def test_payloads_and_passwords_are_never_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    access = ("allow_anonymous false", f"password_file {password_file(tmp_path)}")
    with Mosquitto(tmp_path, access=access) as broker:
        settings = replace(broker.settings, username="agent", password="right")
        async with client(settings) as (transport, recorder):
            await transport.subscribe([Subscription("a")])
            transport.publish(text("a", "a payload nobody may read"))
            await recorder.got(1)
    shown = [*(str(vars(record)) for record in caplog.records), repr(settings)]
    assert not any("right" in line or "nobody may read" in line for line in shown)


async def test_rule_8_a_broker_that_sends_more_than_we_take_is_not_read_until_we_have_acknowledged(
    broker: Mosquitto,
) -> None:
    """Mosquitto 2.0.11 forgets the Receive Maximum once messages wait and some were acknowledged."""
    slow = Recorder()

    def more_than(count: int) -> Callable[[], bool]:
        return lambda: len(slow.deliveries) > count

    taking = replace(broker.settings, receive_maximum=100, keepalive_s=1)
    async with (
        connector(taking, RealClock())("slow", slow) as transport,
        connector(broker.settings, RealClock())("quick", Recorder()) as publisher,
    ):
        await until(lambda: transport.connected and publisher.connected, "connected")
        await transport.subscribe([Subscription("a")])
        acknowledged = 0
        for number in range(2000):
            publisher.publish(Message("a", str(number).encode()))
            if number % 200 == 199:
                await until(more_than(acknowledged + 20), "something to acknowledge")
                transport.acknowledge(slow.deliveries[acknowledged : acknowledged + 20])
                acknowledged += 20
                assert len(slow.deliveries) - acknowledged <= 101
        await asyncio.sleep(2.5)  # longer than the broker waits for a sign of life from us
        assert transport.generation == 1
        assert len(slow.deliveries) - acknowledged <= 101
        while acknowledged < 2000:
            await until(more_than(acknowledged), "the rest")
            count = len(slow.deliveries)
            transport.acknowledge(slow.deliveries[acknowledged:count])
            acknowledged = count
        assert slow.payloads == [str(number) for number in range(2000)]
