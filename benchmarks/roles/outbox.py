"""The outbox alone: on the real disk, over a transport that accepts every publication at once."""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from benchmarks.figures import percentile
from benchmarks.machine import written_bytes
from benchmarks.roles.conversation import Answer, Command, converse, say
from bridge.agent.outbox import Accept, Durability, Outbox, OutboxSettings
from bridge.clock import RealClock
from bridge.core.event import Observation
from bridge.core.topics import Topics
from bridge.mqtt.transport import Delivered, Done, Message, Publication, Sent, Subscription
from bridge.ulid import mint

_WAIT_S = 60.0


class Accepting:
    """A `bridge.mqtt.transport.Transport` to a broker that is always there and always quick."""

    connected = True
    generation = 1
    status: str | None = None
    local_address: str | None = None

    def __init__(self) -> None:
        self.published_at: list[float] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        return

    def publish(self, message: Message, done: Done | None = None) -> None:
        del message
        self.published_at.append(time.perf_counter())
        if done is not None:
            asyncio.get_running_loop().call_soon(done, Publication(Sent.ACCEPTED))

    async def subscribe(self, subscriptions: Sequence[Subscription]) -> None:
        del subscriptions

    async def unsubscribe(self, filters: Sequence[str]) -> None:
        del filters

    def acknowledge(self, deliveries: Sequence[Delivered]) -> None:
        del deliveries

    def set_farewell(self, message: Message | None) -> None:
        del message


class Measured:
    """An outbox that is fed at a pace."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def measure(self, command: Command) -> Answer:
        """A new outbox, `count` events `interval_s` apart (0: all at once); latencies, and what reached the disk."""
        clock, transport = RealClock("always"), Accepting()
        outbox = Outbox(
            self._folder / f"{mint(datetime.now(UTC))}.db",
            Topics(),
            "home",
            "bench",
            clock,
            OutboxSettings(confirm="broker"),
            mint_id=mint,
        )
        async with outbox:
            outbox.attach(transport)
            outbox.connected(1)
            await self._feed(outbox, transport, 20, 0.005, command["durability"])
            calls, disk = written_bytes()
            accepted = await self._feed(
                outbox, transport, int(command["count"]), float(command["interval_s"]), command["durability"]
            )
        # Leaving has purged what was confirmed and written the last page.
        calls_after, disk_after = written_bytes()
        latencies = [out - in_ for in_, out in zip(accepted, transport.published_at, strict=True)]
        return {
            "p50_s": percentile(latencies, 50),
            "p99_s": percentile(latencies, 99),
            "seconds": transport.published_at[-1] - accepted[0],
            "call_bytes": calls_after - calls,
            "disk_bytes": disk_after - disk,
        }

    async def _feed(
        self, outbox: Outbox, transport: Accepting, count: int, interval_s: float, durability: Durability
    ) -> list[float]:
        transport.published_at.clear()
        accepted, promises = [], []
        due = time.perf_counter()
        for i in range(count):
            if interval_s:
                await asyncio.sleep(due - time.perf_counter())
                due += interval_s
            accepted.append(time.perf_counter())
            promises.append(outbox.accept([_seen(durability, on=bool(i % 2))]))
        async with asyncio.timeout(_WAIT_S):
            await asyncio.gather(*promises)
            while len(transport.published_at) < count:  # noqa: ASYNC110 - the last commit's callbacks
                await asyncio.sleep(0.001)
        return accepted


def _seen(durability: Durability, *, on: bool) -> Accept:
    seen = Observation(
        kind="digital", name="digital.on" if on else "digital.off", value=on, unit=None, initial=False,
        time=datetime.now(UTC), timesynced=True,
    )  # fmt: skip
    return "door", seen, durability, "normal"


async def main(folder: Path) -> None:
    """Answer until the input ends."""
    say(ready=True)
    await converse(Measured(folder).measure)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    asyncio.run(main(parser.parse_args().folder))
