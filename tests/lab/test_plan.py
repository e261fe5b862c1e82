"""Where the things of a lab are."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from tests.lab.plan import LARGEST_NUMBER, LARGEST_SIZE, LabPlan, clash

PLAN = LabPlan(7, 3, Path("/labs/7"))
LARGEST = LabPlan(LARGEST_NUMBER, LARGEST_SIZE, Path("/labs"))


def test_labs_of_different_numbers_share_no_name_and_no_address() -> None:
    other = dataclasses.replace(PLAN, number=8)
    assert not PLAN.network.overlaps(other.network)
    of = [{plan.name, *(name for node in plan.nodes for name in (node.namespace, node.link))} for plan in (PLAN, other)]
    assert not of[0] & of[1]


def test_the_names_of_links_fit_into_the_kernel_s_fifteen_characters() -> None:
    assert max(len(name) for name in (LARGEST.name, *(node.link for node in LARGEST.nodes))) <= 15


def test_no_node_has_the_machine_s_own_address() -> None:
    assert LARGEST.machine_address not in {node.address for node in LARGEST.nodes}


def test_a_route_of_the_machine_into_the_lab_s_network_is_in_the_way() -> None:
    assert clash(PLAN.network, [("10.77.7.128/25", "wg0")], PLAN.name) == "10.77.7.128/25 by wg0"
    assert clash(PLAN.network, [("10.77.7.9", "eth0")], PLAN.name) == "10.77.7.9 by eth0"
    assert clash(PLAN.network, [("10.0.0.0/8", "tun0")], PLAN.name) == "10.0.0.0/8 by tun0"


def test_the_default_route_other_networks_and_the_lab_s_own_bridge_are_not_in_the_way() -> None:
    routes = [("default", "eth0"), ("192.168.1.0/24", "eth0"), ("10.77.8.0/24", "gblab8"), ("10.77.7.0/24", "gblab7")]
    assert clash(PLAN.network, routes, PLAN.name) is None
