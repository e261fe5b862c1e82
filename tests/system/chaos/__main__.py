"""`scripts/chaos`: faults alone and in random combination for as long as wanted, and the table of what they did."""

# ruff: noqa: T201 - it prints for people
from __future__ import annotations

import argparse
import os
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.system.chaos import disks
from tests.system.chaos.faults import FAULTS, Fault, compatible, why_not
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
    "lost",
    "missing",
    "out of order",
    "rest s",
)
CAUSES = ("what went on between the two calls", "duplicates")


@dataclass(slots=True)
class Line:
    """One line of the table: all rounds of the same faults."""

    rows: list[Row] = field(default_factory=list)

    def cells(self, name: str) -> tuple[str, ...]:
        counts = [row.count for row in self.rows]
        names = ("accepted", "delivered", "duplicates", "dead", "dropped", "lost", "missing", "out_of_order")
        sums = (sum(getattr(count, each) for count in counts) for each in names)
        longest_s = max(row.settled_s for row in self.rows)
        return (name, str(len(self.rows)), *(f"{each:,}" for each in sums), f"{longest_s:.1f}")


class Table:
    """The faults alone, one line each; those in combination, one line by how many there were."""

    def __init__(self) -> None:
        self.lines: dict[str, Line] = {}
        self.failed: list[Row] = []
        self.causes: Counter[str] = Counter()

    def add(self, faults: Sequence[Fault], row: Row, stage: Stage) -> None:
        self.causes.update(stage.causes(twice) for twice in row.count.twice)
        name = faults[0].name if len(faults) == 1 else f"{len(faults)} of them at once" if faults else "none"
        self.lines.setdefault(name, Line()).rows.append(row)
        if not row.passed:
            self.failed.append(row)

    def text(self) -> str:
        everything = Line([row for line in self.lines.values() for row in line.rows])
        rows = [COLUMNS, *(line.cells(name) for name, line in self.lines.items())]
        if everything.rows:
            rows.append(everything.cells("all"))
        causes = [CAUSES, *((name, f"{count:,}") for name, count in self.causes.most_common())]
        return f"{_table(rows)}\n\n{_table(causes)}"


def _table(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join(
        "| "
        + " | ".join(
            [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        )
        + " |"
        for row in (*rows[:1], ["-" * width for width in widths], *rows[1:])
    )


def main(arguments: Sequence[str] | None = None) -> int:
    given = sys.argv[1:] if arguments is None else list(arguments)
    options = _parser().parse_args(given)
    if options.list:
        print("\n".join(f"{fault.name}{'  (by name only)' if fault.long else ''}" for fault in FAULTS.values()))
        return 0
    command = disks.own_namespace("tests.system.chaos", given)
    if command[0] != sys.executable:
        sys.stdout.flush()
        os.execv(command[0], command)
    names = options.only or [fault.name for fault in FAULTS.values() if not fault.long]
    wanted_faults = possible(names, pair=options.pair)
    if wanted_faults is None:
        return 1
    seed = random.SystemRandom().randrange(1_000_000) if options.seed is None else options.seed
    print(f"seed {seed}", flush=True)
    table = Table()
    run = Run(
        table,
        seed,
        time.monotonic() + 60 * options.minutes,
        options.rounds,
        options.keep,
        pair=options.pair,
        clocks=any(FAULTS[name].needs == "clocks" for name in wanted_faults),
    )
    wanted = rounds(random.Random(seed), wanted_faults, alone=not options.together, mixed=not options.only)
    try:
        while run.goes_on:
            run.stage(wanted)
    except KeyboardInterrupt:
        print("interrupted")
    print(f"\n{table.text()}\n")
    for row in table.failed:
        print(f"FAILED {tell(row)}")
    print(f"{'failed' if table.failed else 'passed'}, seed {seed}")
    return 1 if table.failed else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="scripts/chaos", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="how long; each fault alone comes first")
    parser.add_argument("--rounds", type=int, help="end after so many rounds, if that is earlier")
    parser.add_argument("--seed", type=int, default=None, help="repeat what a run with this seed did")
    parser.add_argument(
        "--only", action="append", choices=FAULTS, metavar="FAULT", help="this fault, alone; may be repeated"
    )
    parser.add_argument("--together", action="store_true", help="from the start combinations only")
    parser.add_argument("--pair", action="store_true", help="two dispatchers, one of them at work")
    parser.add_argument("--list", action="store_true", help="print the faults")
    parser.add_argument("--keep", type=Path, help="keep the logs and state folders of every stage here")
    return parser


def possible(names: Sequence[str], *, pair: bool) -> list[str] | None:
    """Those that this machine can carry out; the others are told. None where `CI=true` says that it must be all."""
    left_out = {name: why for name in names if (why := why_not(FAULTS[name], pair=pair)) is not None}
    reasons: dict[str, list[str]] = {}
    for name, why in left_out.items():
        reasons.setdefault(why, []).append(name)
    for why, without in reasons.items():
        print(f"left out, {why}: {', '.join(without)}")
    missing = [name for name in left_out if FAULTS[name].needs != "pair"]
    if len(left_out) == len(names) or (missing and os.environ.get("CI") == "true"):
        print("failed: what is left out must not be missing here" if missing else "failed: nothing is left")
        return None
    return [name for name in names if name not in left_out]


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


@dataclass(slots=True)
class Run:
    """What is left to do, and where it is written down."""

    table: Table
    seed: int
    until: float
    rounds_left: int | None
    keep: Path | None
    pair: bool
    clocks: bool

    @property
    def goes_on(self) -> bool:
        return time.monotonic() < self.until and self.rounds_left != 0

    def stage(self, wanted: Iterator[Wanted]) -> None:
        """One stage: some rounds on the same programs, or fewer when one of them went wrong."""
        folder = Path(tempfile.mkdtemp(prefix="gpio-bridge-chaos-"))
        clean = False
        try:
            with Stage(folder, seed=self.seed, pair=self.pair, clocks=self.clocks) as stage:
                stage.settle("start", 0)
                clean = self._play(stage, wanted)
        finally:
            if self.keep is not None or not clean:
                kept = (self.keep or Path.cwd() / "chaos-logs") / folder.name
                kept.parent.mkdir(parents=True, exist_ok=True)
                shutil.copytree(folder, kept, ignore=shutil.ignore_patterns("*.lock", "*.sock"))
                print(f"logs and state in {kept}")
            shutil.rmtree(folder, ignore_errors=True)

    def _play(self, stage: Stage, wanted: Iterator[Wanted]) -> bool:
        clean = True
        for _ in range(ROUNDS_A_STAGE):
            one = next(wanted)
            stage.rate = one.rate
            row = stage.round(one.faults, one.hold_s)
            self.table.add(one.faults, row, stage)
            print(f"{'ok  ' if row.passed else 'FAIL'} {tell(row)}", flush=True)
            clean = clean and row.passed
            if self.rounds_left is not None:
                self.rounds_left -= 1
            if row.stuck is not None or not self.goes_on:
                break
        return clean


def tell(row: Row) -> str:
    """A round in one line, and more where it failed."""
    count = row.count
    text = (
        f"{row.faults}: {count.accepted} accepted, {count.delivered} delivered, {count.duplicates} twice,"
        f" {count.dead} dead, {count.dropped} dropped, {count.lost} lost, {count.missing} missing,"
        f" {count.out_of_order} out of order, at rest after {row.settled_s:.1f} s"
    )
    if row.passed:
        return text
    details = [f"absent: {count.absent[:20]}"] if count.absent else []
    details += [f"{late} came after {before}" for late, before in count.swapped[:20]]
    details += [row.stuck] if row.stuck else []
    return "\n  ".join([text, *details])


if __name__ == "__main__":
    sys.exit(main())
