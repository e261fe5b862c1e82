"""The whole stack while pins never rest: mappings change, Pis die, versions come and go, and no event is lost."""

from __future__ import annotations

import itertools
import re
import time
from collections.abc import Iterator

import pytest

from tests.lab import images
from tests.lab.cluster_node import ClusterNode
from tests.lab.machine import until
from tests.system.stack.deployed import DEPLOY, STACK, Deployed
from tests.system.stack.load import MAPPINGS, WITH_DOUBLE, WITH_SINGLE, Load

pytestmark = [
    pytest.mark.real(
        "docker", "docker-registry", "debootstrap", "mosquitto", "mosquitto-clients", "prometheus",
        "prometheus-alertmanager",
    ),
    pytest.mark.timeout(400, func_only=True),  # to come up, a lab and a stack have deadlines of their own
]  # fmt: skip

IN_FORCE_S = 1.0
TRIES = 10
OUTAGE_S = 3.0
OURS = ("dispatcher", "gateway", "manager", "engine-door")
"""The services that run the image of our programs."""
UPGRADE = """
ARG PROGRAMS
FROM ${PROGRAMS}
LABEL version=next
"""
BROKEN = """
ARG PROGRAMS
FROM ${PROGRAMS}
USER 0
RUN printf '#!/bin/sh\\necho this version is broken >&2\\nexit 3\\n' >/opt/gpio-bridge/bin/gpio-bridge
USER 10001:10001
"""


@pytest.fixture(scope="module")
def load(whole_stack: Deployed, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Load]:
    """An agent, and two functions on the swarm."""
    whole_stack.ensure()
    with Load(whole_stack, tmp_path_factory.mktemp("load")) as load:
        yield load


def test_a_mapping_changed_over_the_api_or_by_the_command_is_in_force_within_a_second(
    deployed: Deployed, load: Load
) -> None:
    by_api_s: list[float] = []
    by_command_s: list[float] = []
    with load.working():
        for _ in range(TRIES):
            asked_at = time.time()
            body = {"invoke": WITH_DOUBLE}
            status, _, answer = deployed.ask_manager("PATCH", "/mappings/last", body, If_Match="*")
            assert status == 200, answer
            by_api_s.append(in_force_s(load, asked_at, WITH_DOUBLE))
            deployed.apply(MAPPINGS)
            by_command_s.append(in_force_s(load, deployed.made_at(), WITH_SINGLE))
            # On a machine that has other things to do, one try may be held up.
            if max(min(by_api_s), min(by_command_s)) < IN_FORCE_S:
                break
    ended = load.settled()
    told = f"in force after {by_api_s} s by the API, after {by_command_s} s by the command"
    print(f"{told}; {ended.told()}")
    assert ended.count.holds, ended.count
    assert min(by_api_s) < IN_FORCE_S
    assert min(by_command_s) < IN_FORCE_S


def in_force_s(load: Load, since: float, function: str) -> float:
    """How long after a moment the mapping first invoked this function, for an event of a pin that never rests."""
    until(lambda: load.witness.first(since, "last", function), f"{function} is invoked", 20, load.told)
    call = load.witness.first(since, "last", function)
    assert call is not None
    return round(call.at - since, 2)


@pytest.mark.long
def test_functions_move_from_a_pi_that_dies_and_no_event_is_lost(deployed: Deployed, load: Load) -> None:
    lab = deployed.lab
    # Called it is before Swarm has seen its first good health check.
    deployed.eventually(lambda: load.nodes_of(WITH_SINGLE), "Swarm says that it runs")
    (name,) = load.nodes_of(WITH_SINGLE)
    victim = lab.node(name)
    try:
        with load.working():
            began_at = time.time()
            victim.kill()
            killed_at = time.time()
            again_s = load.goes_on(killed_at) + killed_at - began_at
            deployed.eventually(
                lambda: (name not in load.nodes_of(WITH_SINGLE) and len(load.nodes_of(WITH_DOUBLE)) == 2
                    and name not in load.nodes_of(WITH_DOUBLE)), "all replicas run elsewhere")  # fmt: skip
            whole_s = time.time() - began_at
            pause_s = load.witness.longest_pause_s(began_at)
        ended = load.settled()
    finally:
        victim.start()
        lab.wait_for(name, "ready")
    print(
        f"a Pi without data killed: its function is called again after {again_s:.1f} s, all replicas run after"
        f" {whole_s:.1f} s, no call at all for {pause_s:.1f} s; {ended.told()}"
    )
    assert ended.count.holds, ended.count


def test_the_pi_with_the_data_dies_and_comes_back_with_its_disk_and_no_event_is_lost(
    deployed: Deployed, load: Load
) -> None:
    pi: ClusterNode = deployed.lab.manager
    with load.working():
        killed_at = time.time()
        pi.kill()
        time.sleep(OUTAGE_S)
        pi.start()
        started_at = time.time()
        again_s = load.goes_on(started_at)
    ended = load.settled()
    deployed.eventually(lambda: deployed.tried("stack", "status").returncode == 0, "all of it runs", 120)
    print(
        f"the Pi with the data killed, and its engine back after {started_at - killed_at:.1f} s: functions are called"
        f" {again_s:.1f} s later; {ended.told()}"
    )
    assert ended.count.holds, ended.count


def test_an_upgrade_loses_nothing_and_has_one_dispatcher_at_a_time(deployed: Deployed, load: Load) -> None:
    programs = deployed.variables["GPIO_BRIDGE_IMAGE"]
    deployed.variables["GPIO_BRIDGE_IMAGE"] = images.build(
        deployed.lab, "gpio-bridge:next", {"Dockerfile": UPGRADE}, {"PROGRAMS": programs}
    )
    settings = deployed.stack / "dispatcher.yaml"
    settings.write_text(settings.read_text(encoding="utf-8") + "limits: {per_function: 16}\n", encoding="utf-8")
    with load.working():
        began_at = time.time()
        told = deployed.deploy()
        took_s = time.time() - began_at
        load.goes_on(time.time())
        pause_s = load.witness.longest_pause_s(began_at)
    ended = load.settled()
    print(f"upgraded in {took_s:.1f} s, no call at all for {pause_s:.1f} s; {ended.told()}")
    assert {f"{name}: service updated" for name in OURS} <= set(told), told
    assert "broker: service unchanged" in told
    assert told[-1] == f"{STACK}: all of it runs"
    assert ended.count.holds, ended.count
    lives = deployed.lives("dispatcher")
    assert len(lives) > 1
    assert all(ended <= began for (_, ended), (began, _) in itertools.pairwise(lives)), lives


@pytest.mark.long
def test_a_broken_upgrade_is_told_and_rolled_back_and_no_event_is_lost(deployed: Deployed, load: Load) -> None:
    programs = deployed.variables["GPIO_BRIDGE_IMAGE"]
    before = deployed.images()
    broken = images.build(deployed.lab, "gpio-bridge:broken", {"Dockerfile": BROKEN}, {"PROGRAMS": programs})
    deployed.variables["GPIO_BRIDGE_IMAGE"] = broken
    try:
        with load.working():
            began_at = time.time()
            done = deployed.tried(*DEPLOY)
            took_s = time.time() - began_at
            load.goes_on(time.time())
            pause_s = load.witness.longest_pause_s(began_at)
    finally:
        deployed.variables["GPIO_BRIDGE_IMAGE"] = programs
    ended = load.settled()
    print(f"refused after {took_s:.1f} s, no call at all for {pause_s:.1f} s; {ended.told()}\n{done.stdout}")
    assert done.returncode == 1, done.stdout
    # Whichever of them is the first to be rolled back.
    told = rf"({'|'.join(OURS)}) did not become well: ./1  rolled back: .*; its last words: this version is broken"
    assert re.search(told, done.stdout), done.stdout
    assert ended.count.holds, ended.count
    deployed.eventually(lambda: deployed.images() == before, "every service has the image again that it had")
    deployed.eventually(lambda: deployed.tried("stack", "status").returncode == 0, "all of it runs")
