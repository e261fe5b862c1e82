"""The nodes: the births and statuses of so many, then their events at a pace, each with its sensor's retained state."""

from __future__ import annotations

import argparse
import gc
import itertools
import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime

from benchmarks.roles.conversation import commands, say
from benchmarks.roles.publisher import Publisher
from bridge.core.event import Observation, encode
from bridge.core.topics import SensorEventTopic, Topics

_SITE, _EPOCH = "home", "bench"
_TOPICS = Topics()
Message = tuple[str, bytes]


def births(nodes: int, sensors: int) -> Iterator[Message]:
    """What each node retains of itself."""
    for node in map(name_of_node, range(nodes)):
        kinds = {name_of_sensor(number): {"kind": "digital", "unit": None} for number in range(sensors)}
        facts = {"software": "0.1.0", "python": "3.11.2", "board": "Raspberry Pi 4B", "pin_factory": "lgpio"}
        yield _told(_TOPICS.info(_SITE, node), {"configuration": "0123456789ab", **facts, "sensors": kinds})
        status = {"state": "online", "session": node, "backlog": 0, "started": _now(), "time": _now()}
        yield _told(_TOPICS.status(_SITE, node), status)
        for number in range(sensors):
            yield state(node, name_of_sensor(number), on=False)


def events(nodes: int, sensors: int) -> Iterator[tuple[Message, Message]]:
    """An event and the state that follows it, of all sensors in turn; each is made when it is asked for."""
    for sequence in itertools.count(1):
        on = bool(sequence % 2)
        for number, node in itertools.product(map(name_of_sensor, range(sensors)), map(name_of_node, range(nodes))):
            seen = Observation(
                kind="digital", name="digital.on" if on else "digital.off", value=on, unit=None, initial=False,
                time=datetime.now(UTC), timesynced=True,
            )  # fmt: skip
            topic = _TOPICS.parse(_TOPICS.event(_SITE, node, number))
            assert isinstance(topic, SensorEventTopic)
            id_ = f"{node}-{number}-{sequence}"
            yield (
                (topic.text, encode(seen, at=topic, id=id_, epoch=_EPOCH, sequence=sequence)),
                state(node, number, on=on),
            )


def state(node: str, sensor: str, *, on: bool) -> Message:
    """What a sensor retains."""
    shown = {"value": on, "event": "digital.on" if on else "digital.off", "level": "on" if on else "off"}
    return _told(_TOPICS.state(_SITE, node, sensor), {**shown, "since": _now(), "time": _now(), "health": "ok"})


def name_of_node(number: int) -> str:
    """A node of the benchmark."""
    return f"pi-{number}"


def name_of_sensor(number: int) -> str:
    """A sensor of each node."""
    return f"sensor-{number}"


def _told(topic: str, document: dict[str, object]) -> Message:
    return topic, json.dumps({"version": 1, **document}).encode()


def _now() -> str:
    return datetime.now(UTC).isoformat()


class Pace(threading.Thread):
    """Publishes events, so many a second, until it is told to end."""

    def __init__(self, publisher: Publisher, source: Iterator[tuple[Message, Message]], rate: float) -> None:
        super().__init__(name="pace", daemon=True)
        self.published = 0
        self._publisher, self._source, self._pause_s = publisher, source, 1 / rate
        self._over = threading.Event()

    def run(self) -> None:
        """Each event before its state, as an agent does it."""
        while not self._over.wait(self._pause_s):
            event, shown = next(self._source)
            self._publisher.burst([event])
            self._publisher.burst([shown], retain=True)
            self.published += 1

    def end(self) -> int:
        """How many events there were."""
        self._over.set()
        self.join()
        return self.published


def main(port: int) -> None:
    """`births` and `begin` take `nodes` and `sensors`, `begin` also a `rate`; `end` says how many there were."""
    publisher, pace = Publisher(port, "benchmark-nodes"), None
    say(ready=True)
    for command in commands():
        match command["do"]:
            case "births":
                publisher.burst(list(births(command["nodes"], command["sensors"])), retain=True)
                say(done=True)
            case "unreadable":
                topic = _TOPICS.event(_SITE, name_of_node(0), name_of_sensor(0))
                publisher.burst([(topic, b"no event %d" % number) for number in range(command["count"])])
                say(done=True)
            case "begin":
                pace = Pace(publisher, events(command["nodes"], command["sensors"]), command["rate"])
                pace.start()
                say(done=True)
            case _:
                say(published=0 if pace is None else pace.end())


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    gc.disable()  # a collection would show up as somebody else's latency
    main(parser.parse_args().port)
