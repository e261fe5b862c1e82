"""`scripts/chaos`: faults alone and in random combination for as long as wanted, and the table of what they did."""

# ruff: noqa: T201 - it prints for people
from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.system.chaos.faults import FAULTS, Fault, compatible
from tests.system.chaos.stage import Row, Stage

ROUNDS_A_STAGE = 25
RATES = (8.0, 40.0, 150.0)
HOLDS_S = (0.5, 1.5, 4.0)
COLUMNS = (
    "fault",
    "rounds",
    "accepted",
    "delivered",
    "duplicates",
    "dead",
    "dropped",
    "missing",
    "out of order",
    "rest s",
)


@dataclass(slots=True)
class Line:
    """One line of the table: all rounds of the same faults."""

    rows: list[Row] = field(default_factory=list)

    def cells(self, name: str) -> tuple[str, ...]:
        counts = [row.count for row in self.rows]
        names = ("accepted", "delivered", "duplicates", "dead", "dropped", "missing", "out_of_order")
        sums = (sum(getattr(count, each) for count in counts) for each in names)
        longest_s = max(row.settled_s for row in self.rows)
        return (name, str(len(self.rows)), *(f"{each:,}" for each in sums), f"{longest_s:.1f}")


class Table:
    """The faults alone, one line each; those in combination, one line by how many there were."""

    def __init__(self) -> None:
        self.lines: dict[str, Line] = {}
        self.failed: list[Row] = []

    def add(self, faults: Sequence[Fault], row: Row) -> None:
        name = faults[0].name if len(faults) == 1 else f"{len(faults)} of them at once" if faults else "none"
        self.lines.setdefault(name, Line()).rows.append(row)
        if not row.passed:
            self.failed.append(row)

    def text(self) -> str:
        everything = Line([row for line in self.lines.values() for row in line.rows])
        rows = [COLUMNS, *(line.cells(name) for name, line in self.lines.items())]
        if everything.rows:
            rows.append(everything.cells("all"))
        widths = [max(len(row[i]) for row in rows) for i in range(len(COLUMNS))]
        return "\n".join(
            "| "
            + " | ".join(
                [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
            )
            + " |"
            for row in (*rows[:1], ["-" * width for width in widths], *rows[1:])
        )


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="scripts/chaos", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="how long; each fault alone comes first")
    parser.add_argument("--seed", type=int, default=None, help="repeat what a run with this seed did")
    parser.add_argument(
        "--only", action="append", choices=FAULTS, metavar="FAULT", help="this fault, alone; may be repeated"
    )
    parser.add_argument("--together", action="store_true", help="from the start combinations only")
    parser.add_argument("--list", action="store_true", help="print the faults")
    parser.add_argument("--keep", type=Path, help="keep the logs and state folders of every stage here")
    options = parser.parse_args(arguments)
    if options.list:
        print("\n".join(FAULTS))
        return 0
    seed = random.SystemRandom().randrange(1_000_000) if options.seed is None else options.seed
    print(f"seed {seed}", flush=True)
    table = Table()
    until = time.monotonic() + 60 * options.minutes
    wanted = rounds(
        random.Random(seed), options.only or list(FAULTS), alone=not options.together, mixed=not options.only
    )
    try:
        while time.monotonic() < until:
            act(wanted, table, seed, until, options.keep)
    except KeyboardInterrupt:
        print("interrupted")
    print(f"\n{table.text()}\n")
    for row in table.failed:
        print(f"FAILED {tell(row)}")
    print(f"{'failed' if table.failed else 'passed'}, seed {seed}")
    return 1 if table.failed else 0


@dataclass(frozen=True, slots=True)
class Wanted:
    """What one round is to do."""

    faults: list[Fault]
    rate: float
    hold_s: float


def rounds(chance: random.Random, names: Sequence[str], *, alone: bool, mixed: bool) -> Iterator[Wanted]:
    """Each fault alone in random order; then two or three at once, or again alone where only some are wanted."""
    while True:
        if alone:
            for name in chance.sample(names, len(names)):
                yield Wanted([FAULTS[name]], chance.choice(RATES), chance.choice(HOLDS_S))
        if not mixed:
            continue
        alone = False
        faults: list[Fault] = []
        while len(faults) < 2 or not compatible(faults):
            faults = [FAULTS[name] for name in chance.sample(names, chance.choice((2, 2, 3)))]
        yield Wanted(faults, chance.choice(RATES), chance.choice(HOLDS_S))


def act(wanted: Iterator[Wanted], table: Table, seed: int, until: float, keep: Path | None) -> None:
    """One stage: some rounds on the same programs, or fewer when one of them went wrong."""
    folder = Path(tempfile.mkdtemp(prefix="gpio-bridge-chaos-"))
    clean = True
    try:
        with Stage(folder, seed=seed) as stage:
            stage.settle("start", 0)
            for _ in range(ROUNDS_A_STAGE):
                one = next(wanted)
                stage.rate = one.rate
                row = stage.round(one.faults, one.hold_s)
                table.add(one.faults, row)
                print(f"{'ok  ' if row.passed else 'FAIL'} {tell(row)}", flush=True)
                clean = clean and row.passed
                if row.stuck is not None or time.monotonic() >= until:
                    break
    finally:
        if keep is not None or not clean:
            kept = (keep or Path.cwd() / "chaos-logs") / folder.name
            kept.parent.mkdir(parents=True, exist_ok=True)
            shutil.copytree(folder, kept, ignore=shutil.ignore_patterns("*.lock", "*.sock"))
            print(f"logs and state in {kept}")
        shutil.rmtree(folder, ignore_errors=True)


def tell(row: Row) -> str:
    """A round in one line, and more where it failed."""
    count = row.count
    text = (
        f"{row.faults}: {count.accepted} accepted, {count.delivered} delivered, {count.duplicates} twice,"
        f" {count.dead} dead, {count.dropped} dropped, {count.missing} missing, {count.out_of_order} out of order,"
        f" at rest after {row.settled_s:.1f} s"
    )
    if row.passed:
        return text
    details = [f"absent: {count.absent[:20]}"] if count.absent else []
    details += [f"{late} came after {before}" for late, before in count.swapped[:20]]
    details += [row.stuck] if row.stuck else []
    return "\n  ".join([text, *details])


if __name__ == "__main__":
    sys.exit(main())
