"""Hosts as people write them: which are this machine, which need nobody to look them up, where others find them."""

from __future__ import annotations

import pytest

from bridge.config.hosts import is_address, is_loopback, shown_host


@pytest.mark.parametrize(
    ("host", "address", "loopback"),
    [
        ("127.0.0.1", True, True),
        ("::1", True, True),
        ("10.0.9.3", True, False),
        ("fe80::1%eth0", True, False),
        ("localhost", False, True),
        ("pi-1", False, False),
        ("127.0.0.1.example", False, False),
        ("1.2.3", False, False),
        ("", False, False),
    ],
)
def test_a_host_is_told_for_an_address_and_for_loopback(host: str, *, address: bool, loopback: bool) -> None:
    assert (is_address(host), is_loopback(host)) == (address, loopback)


@pytest.mark.parametrize(
    ("host", "advertise", "local", "shown"),
    [
        ("0.0.0.0", None, "192.168.1.12", "192.168.1.12"),
        ("::", None, None, None),
        ("192.168.1.12", None, "10.0.0.2", "192.168.1.12"),
        ("127.0.0.1", None, "192.168.1.12", "127.0.0.1"),
        ("0.0.0.0", "pi-1.local", "172.17.0.2", "pi-1.local"),
    ],
)
def test_others_find_a_server_as_it_is_told_on_its_host_or_where_the_broker_sees_it(
    host: str, advertise: str | None, local: str | None, shown: str | None
) -> None:
    assert shown_host(host, advertise, local) == shown
