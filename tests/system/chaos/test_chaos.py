"""A short selection of what `scripts/chaos` does for hours: nothing accepted is lost, and each lane keeps its order."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.damage import damage, everything, set_aside
from tests.real_parts import require, require_none_missing
from tests.system.chaos.__main__ import tell
from tests.system.chaos.disks import own_namespace
from tests.system.chaos.faults import FAULTS, Fault, compatible, why_not
from tests.system.chaos.stage import Row, Stage
from tests.system.processes import until

pytestmark = pytest.mark.real("mosquitto")

SEED = 20261122
HOLD_S = 1.0
ALONE = (
    "agent killed",
    "dispatcher killed",
    "gateway killed",
    "broker wiped, dispatcher late",
    "broker refuses",
    "no subscriber yet",
    "dispatcher-broker cut",
    "dispatcher-gateway silent",
    "function crash",
    "function 429",
    "function refuses some",
    "function removed",
    "burst",
    "dispatcher disk full",
    "broker killed, dispatcher late",
    "gateway without provider, 503",
    "dispatcher journal damaged",
    "agent outbox damaged",
)
ON_DISKS = (
    "agent disk really full",
    "dispatcher killed, state read-only",
    "gateway killed, state read-only",
)
PAIR = ("dispatcher killed", "standby killed")
TOGETHER = (
    ("agent killed", "broker wiped", "function garbage"),
    ("dispatcher killed", "gateway stopped", "agent-broker cut"),
)


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with Stage(tmp_path_factory.mktemp("chaos"), seed=SEED) as made:
        made.settle("start", 0)
        yield made


def check(row: Row, faults: list[Fault]) -> None:
    assert row.passed, tell(row)
    assert row.count.accepted > 0
    if not any("agent" in fault.target.split() for fault in faults):
        assert row.count.accepted == row.made, "an agent that lives accepts each edge"


@pytest.mark.parametrize("name", ALONE)
def test_every_accepted_event_is_delivered_or_counted_and_in_order(stage: Stage, name: str) -> None:
    require_none_missing(why_not(FAULTS[name]))
    check(stage.round([FAULTS[name]], HOLD_S), [FAULTS[name]])


@pytest.mark.parametrize("names", TOGETHER, ids=" + ".join)
def test_it_holds_when_several_things_go_wrong_at_once(stage: Stage, names: tuple[str, ...]) -> None:
    faults = [FAULTS[name] for name in names]
    assert compatible(faults)
    check(stage.round(faults, HOLD_S), faults)


def test_it_holds_on_disks_that_are_really_full_or_read_only_and_nothing_stays_mounted(tmp_path: Path) -> None:
    """In a process of its own: mounts are made in a mount namespace that ends with it."""
    require("mount", "unshare")
    require_none_missing(None if os.geteuid() == 0 else "mounting needs root")
    faults = [word for name in ON_DISKS for word in ("--only", name)]
    given = [*faults, "--rounds", str(len(ON_DISKS)), "--seed", str(SEED), "--keep", str(tmp_path)]
    done = subprocess.run(
        own_namespace("tests.system.chaos", given), capture_output=True, text=True, check=False, timeout=110
    )

    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert [name for name in ON_DISKS if f"ok   {name}:" not in done.stdout] == []
    assert "gpio-bridge-chaos" not in Path("/proc/self/mountinfo").read_text(encoding="utf-8")


def test_rule_17_it_holds_for_a_pair_when_either_dies(tmp_path: Path) -> None:
    with Stage(tmp_path, seed=SEED, nodes=("pi-1",), pair=True) as stage:
        stage.settle("start", 0)
        for name in PAIR:
            check(stage.round([FAULTS[name]], HOLD_S), [FAULTS[name]])


def test_what_a_bound_of_the_outbox_drops_is_counted_and_told_to_the_dispatcher(tmp_path: Path) -> None:
    with Stage(tmp_path, seed=SEED, nodes=("pi-1",), outbox={"max_events": 100}) as stage:
        stage.settle("start", 0)
        stage.broker.stop()
        stage.burst(400)
        stage.broker.start()
        row = stage.settle("outbox full", 400)
        bereaved = stage.site.dispatcher.gauge("outbox_dropped_total")

    assert row.passed, tell(row)
    assert row.count.accepted == 400
    assert 250 <= row.count.dropped <= 350
    assert bereaved == row.count.dropped


@pytest.mark.parametrize(("program", "file"), [("agent-pi-1", "outbox.db"), ("dispatcher", "ledger.sqlite")])
def test_a_damaged_file_is_set_aside_and_everything_after_it_arrives(tmp_path: Path, program: str, file: str) -> None:
    with Stage(tmp_path, seed=SEED, nodes=("pi-1",)) as stage:
        assert stage.round([]).passed
        [damaged] = [one for one in stage.site.programs if one.name == program]
        assert damaged.stop() == 0
        everything(damaged.state / file)
        damaged.start()
        until(damaged.metrics, "it answers")  # it is not ready for a minute: its health speaks of what was lost
        row = stage.round([])

        assert row.passed, tell(row)
        assert row.count.accepted > 0
        assert len(set_aside(damaged.state / file)) == 1


def test_stored_events_that_a_damaged_journal_takes_with_it_are_counted_one_by_one(tmp_path: Path) -> None:
    with Stage(tmp_path, seed=SEED, nodes=("pi-1",)) as stage:
        stage.settle("start", 0)
        dispatcher = stage.site.dispatcher
        stage.site.gateway.order("500")
        stage.burst(40)
        until(lambda: stage.site.agent.backlog() == 0, "all is stored, and the agent has forgotten it")
        dispatcher.kill()
        damage(dispatcher.state / "ledger.sqlite", "ids")
        dispatcher.start()
        stage.count_lost(dispatcher)
        stage.site.gateway.order("ok")
        row = stage.settle("journal damaged", 40, disk_lost=True)
        audit = stage.site.command("audit", "--url", dispatcher.url).stdout

    assert (row.count.accepted, row.count.lost, row.count.delivered) == (40, 40, 0), tell(row)
    assert stage.lost == 40
    assert audit.count("10 by journal damaged") == 4, audit
