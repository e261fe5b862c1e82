"""Which version of MQTT is tried next."""

from __future__ import annotations

from bridge.mqtt.ending import Cause
from bridge.mqtt.version import VersionChoice


def test_a_version_that_was_asked_for_is_kept() -> None:
    for choice in (VersionChoice("5"), VersionChoice("3.1.1")):
        before = choice.version
        for cause in Cause:
            assert not choice.failed(choice.version, cause)
        assert choice.version == before


def test_a_broker_that_says_it_does_not_know_mqtt_5_is_believed_at_once() -> None:
    choice = VersionChoice("auto")
    assert choice.failed(choice.version, Cause.UNSUPPORTED)
    assert choice.version == "3.1.1"


def test_two_silences_change_the_version_and_two_more_change_it_back() -> None:
    choice = VersionChoice("auto")
    versions = []
    for _ in range(5):
        choice.failed(choice.version, Cause.SILENT)
        versions.append(choice.version)
    assert versions == ["5", "3.1.1", "3.1.1", "5", "5"]


def test_a_version_that_worked_once_survives_silences_and_other_failures() -> None:
    choice = VersionChoice("auto")
    choice.accepted("5")
    for _ in range(10):
        assert not choice.failed(choice.version, Cause.SILENT)
        assert not choice.failed(choice.version, Cause.UNREACHABLE)
    assert choice.version == "5"


def test_what_was_only_concluded_from_silence_is_doubted_after_each_connection() -> None:
    choice = VersionChoice("auto")
    versions = []
    for _ in range(2):
        for _ in range(2):
            choice.failed("5", Cause.SILENT)
        choice.accepted("3.1.1")
        versions.append(choice.version)
        choice.ended()
        versions.append(choice.version)
    assert versions == ["3.1.1", "5", "3.1.1", "5"]
    choice.accepted("5")
    choice.ended()
    for _ in range(10):
        assert not choice.failed("5", Cause.SILENT)


def test_what_the_broker_said_itself_is_not_doubted_again() -> None:
    choice = VersionChoice("auto")
    choice.failed("5", Cause.UNSUPPORTED)
    choice.accepted("3.1.1")
    choice.ended()
    assert choice.version == "3.1.1"


def test_two_transports_that_learn_the_same_at_once_do_not_undo_each_other() -> None:
    choice = VersionChoice("auto")
    assert choice.failed("5", Cause.UNSUPPORTED)
    assert not choice.failed("5", Cause.UNSUPPORTED)
    assert choice.version == "3.1.1"
