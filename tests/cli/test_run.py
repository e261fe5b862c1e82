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


CROWDED = """
import asyncio, logging, os, resource, socket, sys
from bridge.cli.run import run_until_signal

logging.basicConfig(stream=sys.stdout, format="%(message)s")

async def main(stop):
    taken = asyncio.Event()
    loop = asyncio.get_running_loop()
    server = await asyncio.start_server(lambda reader, writer: taken.set(), "127.0.0.1", 0, backlog=1024)
    client = socket.socket()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = os.dup(0)
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, hard))
    client.connect(server.sockets[0].getsockname())
    loop.call_soon(loop.call_exception_handler, {"message": "something else"})
    await asyncio.sleep(0.1)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    await asyncio.wait_for(taken.wait(), 10)
    print("taken")

sys.exit(run_until_signal(main))
"""


def test_a_program_without_files_left_says_once_that_connections_wait_and_then_takes_them() -> None:
    ended = subprocess.run([sys.executable, "-c", CROWDED], stdout=subprocess.PIPE, text=True, timeout=30, check=True)
    waits, other, taken = sorted(ended.stdout.splitlines())
    assert waits.startswith("connections wait: no more files can be opened;")
    assert (other, taken) == ("something else", "taken")


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
        assert process.wait(60) == 0


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_second_signal_leaves_at_once_however_long_the_stop_takes(number: signal.Signals, code: int) -> None:
    with started(60) as process:
        process.send_signal(number)
        assert process.stdout is not None
        assert process.stdout.readline() == "stopping\n"
        sent_at = time.monotonic()
        process.send_signal(number)
        assert process.wait(60) == code
        assert time.monotonic() - sent_at < 5
