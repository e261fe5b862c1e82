"""Services read from the engine's documents."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from bridge.swarm.services import moment, read_service
from tests.swarm import documents


def test_a_replicated_service_is_read() -> None:
    found = read_service(documents.service(labels={"a": "b"}, replicas=3))
    assert (found.id, found.version, found.name, found.replicas) == ("id-echo", 12, "echo", 3)
    assert found.created_at == datetime(2026, 11, 27, 5, 0, 0, 123456, UTC)
    assert found.updated_at == datetime(2026, 11, 27, 5, 0, 1, 500000, UTC)
    assert (found.labels, found.image, found.dnsrr) == ({"a": "b"}, "example/echo:1", True)
    assert found.scalable
    assert not found.updating


def test_a_global_service_counts_as_one_and_cannot_be_scaled() -> None:
    found = read_service(documents.service(mode={"Global": {}}))
    assert (found.replicas, found.scalable) == (1, False)


def test_a_service_at_zero_has_none() -> None:
    assert read_service(documents.service(mode={"Replicated": {}})).replicas == 0


def test_a_digest_that_a_client_added_is_not_part_of_the_images_name() -> None:
    image = f"example/echo:1@sha256:{'0' * 64}"
    assert read_service(documents.service(container={"Image": image})).image == "example/echo:1"


@pytest.mark.parametrize(
    ("state", "updating"),
    [("updating", True), ("rollback_started", True), ("completed", False), ("rollback_completed", False), ("", False)],
)
def test_an_update_is_under_way_until_it_or_its_rollback_ends(state: str, updating: bool) -> None:
    assert read_service(documents.service(UpdateStatus={"State": state})).updating is updating


def test_virtual_addresses_are_known_by_network() -> None:
    endpoint = {"VirtualIPs": [{"NetworkID": "n1", "Addr": "10.0.1.2/24"}, {"NetworkID": "n2"}]}
    assert read_service(documents.service(Endpoint=endpoint)).addresses == {"n1": "10.0.1.2"}
    assert read_service(documents.service(Endpoint={})).addresses == {}


def test_what_is_no_service_is_an_error_and_not_half_a_service() -> None:
    with pytest.raises(KeyError):
        read_service({"ID": "x"})


def test_times_of_go_are_read_whatever_their_fraction() -> None:
    assert moment("2026-11-27T05:00:00Z") == moment("2026-11-27T06:00:00.000000001+01:00")
    with pytest.raises(ValueError, match="Invalid isoformat"):
        moment("yesterday")
