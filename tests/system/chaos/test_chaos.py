"""A short selection of what `scripts/chaos` does for hours: nothing accepted is lost, and each lane keeps its order."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.system.chaos.__main__ import tell
from tests.system.chaos.faults import FAULTS, Fault, compatible
from tests.system.chaos.stage import Row, Stage

pytestmark = pytest.mark.real("mosquitto")

SEED = 20261122
HOLD_S = 1.0
ALONE = (
    "agent killed",
    "dispatcher killed",
    "gateway killed",
    "broker killed",
    "broker wiped",
    "broker wiped, dispatcher late",
    "broker refuses",
    "no subscriber yet",
    "agent-broker silent",
    "dispatcher-broker cut",
    "dispatcher-gateway silent",
    "function crash",
    "function half",
    "function 429",
    "function refuses some",
    "function removed",
    "burst",
    "dispatcher disk full",
)
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
    check(stage.round([FAULTS[name]], HOLD_S), [FAULTS[name]])


@pytest.mark.parametrize("names", TOGETHER, ids=" + ".join)
def test_it_holds_when_several_things_go_wrong_at_once(stage: Stage, names: tuple[str, ...]) -> None:
    faults = [FAULTS[name] for name in names]
    assert compatible(faults)
    check(stage.round(faults, HOLD_S), faults)


def test_what_a_bound_of_the_outbox_drops_is_counted_and_told_to_the_dispatcher(tmp_path: Path) -> None:
    with Stage(tmp_path, seed=SEED, outbox={"max_events": 100}) as stage:
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
    with Stage(tmp_path, seed=SEED) as stage:
        assert stage.round([]).passed
        [damaged] = [one for one in stage.site.programs if one.name == program]
        assert damaged.stop() == 0
        path = damaged.state / file
        path.write_bytes(b"nothing that SQLite knows" * 400)
        damaged.start()
        damaged.ready()
        row = stage.round([])

        assert row.passed, tell(row)
        assert row.count.accepted > 0
        assert [
            found
            for found in damaged.state.iterdir()
            if found.name.startswith(f"{path.name}.") and "corrupt" in found.name
        ]
