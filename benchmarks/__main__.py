"""`scripts/bench [--quick] [--list] [NAME...]`: runs benchmarks and prints their tables."""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.catalogue import BENCHMARKS, by_default
from benchmarks.figures import FULL, QUICK, Size
from benchmarks.machine import describe
from benchmarks.processes import BenchmarkError

ONLY_WHEN_NAMED = " (only when it is named)"


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code: 0, or 1 when a benchmark could not be carried out."""
    parser = argparse.ArgumentParser(prog="scripts/bench", description="Measures the programs on this machine.")
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help="which benchmarks; by default all that are short and install nothing"
    )
    parser.add_argument("--list", action="store_true", help="show which there are")
    parser.add_argument("--quick", action="store_true", help="one round with a tenth of the work: does it run at all")
    chosen = parser.parse_args(arguments)
    unknown = [name for name in chosen.names if name not in BENCHMARKS]
    if unknown:
        parser.error(f"there is no benchmark {', '.join(unknown)}; there are {', '.join(BENCHMARKS)}")
    if chosen.list:
        width = max(len(name) for name in BENCHMARKS)
        for name, benchmark in BENCHMARKS.items():
            print(f"{name:{width}}  {benchmark.told}{ONLY_WHEN_NAMED if benchmark.when_named else ''}")
        return 0
    # An end in order: what was started is stopped on the way out.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        return run(chosen.names or by_default(), QUICK if chosen.quick else FULL)
    except KeyboardInterrupt:
        return 128 + signal.SIGINT


def run(names: Sequence[str], size: Size) -> int:
    """Run some benchmarks one after another; one that fails does not keep the others from running."""
    print(f"{describe()}; {size.rounds} rounds, {size.share:.4g} of the full work\n", flush=True)
    failed = 0
    for name in names:
        began = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="gpio-bridge-bench-") as folder:
            try:
                tables = BENCHMARKS[name].run(size, Path(folder))
            except BenchmarkError as error:
                failed += 1
                print(f"{name}: {error}\n", file=sys.stderr, flush=True)
                continue
        for table in tables:
            print(f"{table.text()}\n  [{name}: {time.monotonic() - began:.0f} s]\n", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
