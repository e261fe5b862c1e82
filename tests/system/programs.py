"""The three programs as people run them, on a real Mosquitto: agents with mock pins, a dispatcher, a gateway.

with Site(tmp_path, agents={"pi-1": {"gate": {"kind": "digital", "pin": 17}}}, mappings={...}) as site:
    site.agent.drive("gate", "on")
    site.wait_for_calls(1)
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from tests.mosquitto import Mosquitto
from tests.ports import free_port
from tests.real_parts import find, require
from tests.system.processes import COMES_S, READY_S, Program, ask, run, until

RECORDER = Path(__file__).parent / "recorder"
BASE = "gpio-bridge/v1/home/nodes"

Document = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Call:
    """What a function was called with; `answer` is `ok`, or how the function was ordered to spoil it."""

    function: str
    answer: str
    at: float
    key: str | None
    event_id: str | None
    body: Any

    @property
    def mapping(self) -> str:
        """The mapping that invoked it (an invocation's id is `<event id>:<mapping>`); none for a call by hand."""
        return (self.key or "").rpartition(":")[2]


class Agent(Program):
    """A virtual Pi whose pins are driven over its control API."""

    def __init__(self, folder: Path, node: str, mqtt: Document, settings: Document) -> None:
        self.node = node
        self.control_port = free_port()
        self._on: dict[str, bool] = {}
        port = free_port()
        document = {
            "node": node,
            "mqtt": mqtt,
            "http": {"port": port},
            "clock": "always",
            "pins": {"factory": "mock"},
            "outbox": {"resend": "2s"},
            **settings,
        }
        super().__init__(folder, f"agent-{node}", document, port)
        self.arguments = ("--control-port", str(self.control_port))

    @property
    def control_url(self) -> str:
        return f"http://127.0.0.1:{self.control_port}"

    def start(self) -> None:
        super().start()
        self._on.clear()  # a virtual board starts with all its inputs off

    def toggle(self, sensor: str) -> None:
        """Turn a digital input on or off: one event."""
        self.drive(sensor, "off" if self._on.get(sensor, False) else "on")

    def drive(self, sensor: str, value: str) -> None:
        """Make a sensor see something."""
        status, answer = ask(self.control_port, "/v1/simulate", {"sensor": sensor, "value": value})
        assert status == 200, f"{sensor} {value}: {answer}\n{self.last_words()}"
        self._on[sensor] = value == "on"

    def backlog(self) -> float:
        """Events that are not confirmed; -1 when it does not answer."""
        return self.metrics().get("gpio_bridge_agent_backlog", -1)


class Dispatcher(Program):
    """The dispatcher with its mapping file."""

    def __init__(
        self, folder: Path, mqtt: Document, gateway_port: int, settings: Document, name: str = "dispatcher"
    ) -> None:
        self.mapping_file = folder / "mappings.yaml"
        port = free_port()
        document = {
            "mqtt": mqtt,
            "gateway": {"url": f"http://127.0.0.1:{gateway_port}"},
            "http": {"port": port},
            "mappings": str(self.mapping_file),
            "clock": "always",
            **settings,
        }
        super().__init__(folder, name, document, port)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def map(self, mappings: Document) -> None:
        """Write the mapping file."""
        self.write_mappings(json.dumps({"version": 1, "mappings": mappings}, indent=1))

    def write_mappings(self, text: str) -> None:
        """Write the mapping file as an editor does: a new file in the place of the old one."""
        fresh = self.mapping_file.with_suffix(".new")
        fresh.write_text(text, encoding="utf-8")
        fresh.replace(self.mapping_file)

    def dead_letters(self) -> list[dict[str, Any]]:
        status, document = self.ask("/v1/deadletters?limit=1000")
        assert status == 200, document
        letters: list[dict[str, Any]] = document["dead_letters"]
        assert len(letters) < 1000, "there may be more dead letters than one answer holds"
        return letters

    @property
    def at_work(self) -> bool:
        """Whether it takes events; the standby of a pair does not."""
        return self.gauge("open_events") >= 0

    def gauge(self, name: str) -> float:
        """One of its metrics without labels; -1 when it does not answer."""
        return self.metrics().get(f"gpio_bridge_dispatcher_{name}", -1)


class Gateway(Program):
    """The gateway with the recording functions."""

    def __init__(self, folder: Path, functions: Sequence[str], settings: Document) -> None:
        self.functions = tuple(functions)
        self.stack = folder / "stack.yml"
        self.stack.write_text(json.dumps(self._stack(folder)), encoding="utf-8")
        port = free_port()
        document = {
            "port": port,
            "metrics": {"enabled": False},
            "functions": str(self.stack),
            "local": {"backoff_max": "500ms", "stop": "1s"},
            "timeouts": {"drain": "1s"},
            **settings,
        }
        super().__init__(folder, "gateway", document, port)
        self._read = dict.fromkeys(self.functions, 0)
        self._calls: list[Call] = []
        for function in self.functions:
            self.order("ok", function)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def order(self, answer: str, *functions: str, **more: Any) -> None:
        """Tell functions (without names, all) how to answer from now on: ok, hang, crash, garbage, half or a status."""
        for function in functions or self.functions:
            file = self.folder / f"{function}.orders"
            fresh = file.with_suffix(".new")
            fresh.write_text(json.dumps({"answer": answer, **more}), encoding="utf-8")
            fresh.replace(file)

    def calls(self, function: str | None = None) -> list[Call]:
        """All calls so far in the order in which they were noted, per function."""
        for name, offset in self._read.items():
            file = self.folder / f"{name}.jsonl"
            if not file.exists():
                continue
            with file.open("rb") as lines:
                lines.seek(offset)
                text = lines.read()
            whole = text[: text.rfind(b"\n") + 1]
            self._read[name] += len(whole)
            self._calls += (Call(**json.loads(line)) for line in whole.splitlines())
        return [call for call in self._calls if function in (None, call.function)]

    def ready(self, within_s: float = READY_S) -> None:
        super().ready(within_s)
        until(self._replicas, "each function has a replica", within_s, self.last_words)

    def _replicas(self) -> bool:
        status, listed = self.ask("/system/functions")
        return status == 200 and all(function["availableReplicas"] for function in listed)

    def _stack(self, folder: Path) -> Document:
        function = {
            "lang": "python3-http",
            "handler": str(RECORDER),
            "labels": {"com.openfaas.scale.min": "1", "com.openfaas.scale.max": "1"},
        }
        files = {
            name: {"CALLS": str(folder / f"{name}.jsonl"), "ORDERS": str(folder / f"{name}.orders")}
            for name in self.functions
        }
        entries = {
            name: {
                **function,
                "image": f"gpio-bridge/{name}:latest",
                "environment": {**files[name], "exec_timeout": "30s"},
            }
            for name in self.functions
        }
        return {"version": 1.0, "provider": {"name": "openfaas"}, "functions": entries}


class Site:
    """A broker, agents, a dispatcher and a gateway; a context manager that starts them all and leaves nothing behind.

    `agents` are their settings by node. `between` lets somebody stand in between: it is asked with who speaks to whom
    (<node>-broker, dispatcher-broker, dispatcher-gateway) and the port, and gives the port to use instead. With `pair`
    a second dispatcher stands by; its cables are called standby-broker and standby-gateway.
    """

    def __init__(
        self,
        folder: Path,
        *,
        agents: Mapping[str, Document],
        mappings: Document,
        functions: Sequence[str] = ("seen",),
        dispatcher: Document | None = None,
        gateway: Document | None = None,
        between: Callable[[str, int], int] = lambda _, port: port,
        broker: Mosquitto | None = None,
        mqtt: Document | None = None,
        pair: bool = False,
    ) -> None:
        require("mosquitto")
        self.folder = folder
        self.broker = broker or Mosquitto(folder)
        common = {"reconnect_max": "500ms", **(mqtt or {})}
        self.gateway = Gateway(folder, functions, gateway or {})
        self.dispatchers = tuple(
            Dispatcher(
                folder,
                {"port": between(f"{name}-broker", self.broker.port), **common},
                between(f"{name}-gateway", self.gateway.port),
                {**(dispatcher or {}), **({"id": name, "standby": {"takeover_after": "1s"}} if pair else {})},
                name if name == "dispatcher" else f"dispatcher-{name}",
            )
            for name in (("dispatcher", "standby") if pair else ("dispatcher",))
        )
        self.agents = {
            node: Agent(folder, node, {"port": between(f"{node}-broker", self.broker.port), **common}, settings)
            for node, settings in agents.items()
        }
        self.dispatcher.map(mappings)

    @property
    def dispatcher(self) -> Dispatcher:
        """The first dispatcher, or the only one."""
        return self.dispatchers[0]

    @property
    def agent(self) -> Agent:
        """The first agent."""
        return next(iter(self.agents.values()))

    @property
    def programs(self) -> tuple[Program, ...]:
        """All programs, those that are asked before those that ask."""
        return (self.gateway, *self.dispatchers, *self.agents.values())

    def __enter__(self) -> Self:
        try:
            self.broker.start()
            self.gateway.start()
            for dispatcher in self.dispatchers:
                dispatcher.start()
            for dispatcher in self.dispatchers:
                dispatcher.ready()
            until(
                self._somebody_at_work, "a dispatcher is at work", told=self.told
            )  # before the agents: else their first events wait until they are sent again
            for agent in self.agents.values():
                agent.start()
            self.ready()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        for program in self.programs:
            program.kill()
        self.broker.kill()

    def ready(self) -> None:
        """Wait until every program is ready."""
        for program in self.programs:
            program.ready()

    def calls(self, function: str | None = None) -> list[Call]:
        return self.gateway.calls(function)

    def wait_for_calls(self, count: int, function: str | None = None, within_s: float = COMES_S) -> list[Call]:
        """Wait until functions were called so often."""
        until(
            lambda: len(self.calls(function)) >= count,
            f"{count} calls of {function or 'any function'}",
            within_s,
            self.told,
        )
        return self.calls(function)

    def quiet(self, within_s: float = 90.0) -> None:
        """Wait until everything that was accepted is confirmed and finished."""
        until(self.is_quiet, "nothing is under way any more", within_s, self.told)

    def is_quiet(self) -> bool:
        """What a standby has stored waits for its turn to be at work, and is delivered by the other one meanwhile."""
        waiting = [dispatcher.gauge("open_events") for dispatcher in self.dispatchers]
        return all(agent.backlog() == 0 for agent in self.agents.values()) and sorted(waiting) == sorted(
            [-1.0] * (len(waiting) - 1) + [0.0]
        )

    def _somebody_at_work(self) -> bool:
        return any(dispatcher.at_work for dispatcher in self.dispatchers)

    def command(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """Run a command of `gpio-bridge` to its end."""
        return run(self.folder, arguments, stdin)

    def publish(self, topic: str, payload: str | bytes, *options: str) -> None:
        """Publish as any device would: mosquitto_pub, QoS 1."""
        require("mosquitto_pub")
        raw = payload if isinstance(payload, bytes) else payload.encode()
        content = "-s" if raw else "-n"
        command = [find("mosquitto_pub") or "", "-p", str(self.broker.port), "-q", "1", "-t", topic, content, *options]
        subprocess.run(command, input=raw, check=True, capture_output=True, timeout=60)

    def retained(self, topic_filter: str) -> dict[str, Any]:
        """The retained messages at this moment, by topic."""
        require("mosquitto_sub")
        command = [
            find("mosquitto_sub") or "",
            "-p",
            str(self.broker.port),
            "-t",
            topic_filter,
            "-F",
            "%t %p",
            "-W",
            "1",
        ]
        done = subprocess.run([*command, "--retained-only"], capture_output=True, timeout=60, check=False)
        rows = (line.split(" ", 1) for line in done.stdout.decode().splitlines())
        return {topic: json.loads(payload) for topic, payload in rows}

    def told(self) -> str:
        """What every program has to say about a failure."""
        return "\n".join(f"{program.name}: {program.why_not()}" for program in self.programs)

    def logs(self) -> Iterator[tuple[str, str]]:
        """The logs by name."""
        for program in self.programs:
            yield program.name, program.last_words()
        if self.broker.log.exists():
            yield "mosquitto", self.broker.log.read_text(errors="replace")[-2000:]


def sequences(calls: Iterable[Call]) -> list[int]:
    """The sequences of the events in calls of our own sensors, each at its first occurrence."""
    return list(dict.fromkeys(int(call.body["sequence"]) for call in calls))


def wait_s(seconds: float) -> None:
    """Let time pass where time itself is meant, such as the length of an outage."""
    time.sleep(seconds)
