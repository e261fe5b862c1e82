"""Signals: the first one stops, the second one leaves at once."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import pytest

STUBBORN = """
import asyncio, sys
from bridge.cli.run import run_until_signal

async def main(stop):
    print("running", flush=True)
    await stop.wait()
    print("stopping", flush=True)
    await asyncio.sleep({stop_s})

sys.exit(run_until_signal(main))
"""


def started(stop_s: float) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", STUBBORN.format(stop_s=stop_s)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "running\n"
    return process


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_stops_and_is_a_success(number: signal.Signals) -> None:
    with started(0) as process:
        process.send_signal(number)
        assert process.wait(10) == 0


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_second_signal_leaves_at_once_however_long_the_stop_takes(number: signal.Signals, code: int) -> None:
    with started(60) as process:
        process.send_signal(number)
        assert process.stdout is not None
        assert process.stdout.readline() == "stopping\n"
        sent_at = time.monotonic()
        process.send_signal(number)
        assert process.wait(10) == code
        assert time.monotonic() - sent_at < 5
