"""Hosts as people write them: which are this machine, and which need nobody to look them up."""

from __future__ import annotations

import pytest

from bridge.config.hosts import is_address, is_loopback


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
