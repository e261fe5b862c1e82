"""The tables of the reference pages, made from the code; `scripts/docs` writes them, a test compares them."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast, get_args

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric

from bridge.agent.metrics import Metrics as AgentMetrics
from bridge.agent.models import ModelSettings
from bridge.agent.outputs import Buzzer, Led, Relay
from bridge.agent.sensors import SensorSettings
from bridge.agent.sensors.settings import Limits
from bridge.agent.settings import AgentSettings
from bridge.dispatcher.metrics import Metrics as DispatcherMetrics
from bridge.dispatcher.pair import active_gauge
from bridge.dispatcher.settings import DispatcherSettings
from bridge.engine_door.metrics import Metrics as EngineDoorMetrics
from bridge.engine_door.settings import EngineDoorSettings
from bridge.gateway.metrics import GatewayMetrics
from bridge.gateway.settings import GatewaySettings
from bridge.manager.house_metrics import HouseMetrics
from bridge.manager.metrics import Metrics as ManagerMetrics
from bridge.manager.nodes import Node, State, Status
from bridge.manager.settings import ManagerSettings
from bridge.mapping_file.document import MappingDocument
from bridge.mapping_file.entries import MappingEntry
from bridge.mapping_file.examples import ExampleMap, GivenMap
from bridge.mapping_file.examples import ExpectMap as ExampleExpectMap
from bridge.service import Disk
from bridge.testing.scenarios.document import ScenarioMap, ScenariosMap
from bridge.testing.scenarios.steps import ExpectMap, StepMap
from tests.docs import testing
from tests.docs.commands import Argument, Command, commands
from tests.docs.fields import Key, first_sentence, keys, notes

ROOT = Path(__file__).parents[2]
PAGES = ("docs/reference/settings.md", "docs/reference/mappings.md", "docs/reference/commands.md",
         "docs/reference/metrics.md", "docs/reference/testing.md", "docs/reference/scenarios.md")  # fmt: skip
SENSORS: tuple[type[Any], ...] = get_args(get_args(SensorSettings)[0])
MODELS: tuple[type[Any], ...] = get_args(get_args(ModelSettings)[0])
OUTPUTS: tuple[type[Any], ...] = (Led, Buzzer, Relay)
SETTINGS: tuple[type[Any], ...] = (
    AgentSettings,
    DispatcherSettings,
    GatewaySettings,
    ManagerSettings,
    EngineDoorSettings,
)

_TABLE = re.compile(r"(<!-- table: ([^>]+?) -->\n)(.*?)(<!-- end -->)", re.DOTALL)


def filled(text: str) -> str:
    """A page with each of its tables made anew."""
    return _TABLE.sub(lambda found: f"{found[1]}\n{_TABLES[found[2]]()}\n{found[4]}", text)


def named(text: str) -> list[str]:
    """The tables that a page has."""
    return [found[2] for found in _TABLE.finditer(text)]


def every() -> Iterable[str]:
    """The names of all tables there are."""
    return _TABLES.keys()


def used_notes() -> set[str]:
    """The notes that stand in some table."""
    classes = (*SETTINGS, *SENSORS, *OUTPUTS, MappingDocument, MappingEntry)
    return {note for cls in classes for note in notes(cls)}


def metrics(program: str) -> list[tuple[Metric, tuple[str, ...]]]:
    """The metrics of a program, each with its labels."""
    registry = _REGISTRIES[program]()
    found = []
    for collector in registry._collector_to_names:
        for family in collector.collect():
            labels = getattr(collector, "_labelnames", None)
            if labels is None:
                labels = tuple(family.samples[0].labels) if family.samples else ()
            found.append((family, tuple(labels)))
    return found


def metric_name(family: Metric) -> str:
    """The name under which Prometheus shows it."""
    return f"{family.name}_total" if family.type == "counter" else family.name


def _settings(cls: type[Any]) -> str:
    rows = [(f"`{key.path}`", key.write, key.default, _code(key.variable), key.meaning) for key in keys(cls)]
    return _table(("key", "what to write", "default", "environment", "meaning"), rows)


def _device(cls: type[Any]) -> str:
    """The keys of one kind of sensor or output, below what the code says of the kind."""
    said = " ".join((inspect.getdoc(cls) or "").split())
    rows = [(f"`{key.path}`", key.write, key.default, key.meaning) for key in sorted(keys(cls), key=_required_first)]
    return f"{said}\n\n" + _table(("key", "what to write", "default", "meaning"), rows)


def _mapping(cls: type[Any]) -> str:
    rows = [(f"`{key.path}`", key.write, key.default, key.meaning) for key in keys(cls)]
    return _table(("key", "what to write", "default", "meaning"), rows)


def _required(cls: type[Any]) -> str:
    rows = [(f"`{key.path}`", key.write, key.default, key.meaning) for key in sorted(keys(cls), key=_required_first)]
    return _table(("key", "what to write", "default", "meaning"), rows)


def _required_first(key: Key) -> bool:
    return key.default != "required"


def _metrics(program: str) -> str:
    rows = [
        (f"`{metric_name(family)}`", family.type, ", ".join(f"`{label}`" for label in labels), family.documentation)
        for family, labels in sorted(metrics(program), key=lambda one: one[0].name)
    ]
    return _table(("metric", "type", "labels", "meaning"), rows)


def _members(name: str) -> str:
    """What a test may ask of an object of the plugin, below what its class says of itself."""
    cls = testing.CLASSES[name]
    return f"{first_sentence(cls)}\n\n" + _table(("name", "meaning"), testing.members(cls))


def _commands() -> str:
    return "\n".join(_command(command) for command in commands())


def _command(command: Command) -> str:
    usage = [command.name, "[OPTIONS]" if command.options else ""]
    usage += [_usage(argument) for argument in command.arguments]
    usage += ["COMMAND ..."] if command.subcommands else []
    paragraphs = [" ".join(paragraph.split()) for paragraph in command.text.split("\n\n")]
    lines = [f"## {command.name}", "", "\n\n".join(paragraphs), "", "```text", " ".join(filter(None, usage)), "```", ""]
    if command.arguments:
        rows = [(f"`{one.name}`", one.meaning) for one in command.arguments]
        lines.append(_table(("argument", "meaning"), rows))
    if command.options:
        options = [
            (
                ", ".join(f"`{spelling}`" for spelling in one.spellings),
                one.takes,
                "required" if one.required else _code(one.default),
                one.meaning,
            )
            for one in command.options
        ]
        lines.append(_table(("option", "takes", "default", "meaning"), options))
    if command.subcommands:
        lines.append(
            "Commands: " + ", ".join(_link(f"{command.name} {sub}", sub) for sub in command.subcommands) + ".\n"
        )
    return "\n".join(lines)


def _usage(argument: Argument) -> str:
    name = argument.name.upper() + ("..." if argument.many else "")
    return name if argument.required else f"[{name}]"


def _link(command: str, text: str) -> str:
    return f"[{text}](#{command.replace(' ', '-')})"


def _code(text: str) -> str:
    return f"`{text}`" if text else ""


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; bars inside of cells are escaped."""
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join(line.replace("|  |", "| |").replace("|  |", "| |") for line in lines) + "\n"


def _agent_registry() -> CollectorRegistry:
    made = AgentMetrics()
    nothing = SimpleNamespace(
        backlog=0, size_bytes=0, oldest_age_s=0, in_flight=0,
        counters=SimpleNamespace(
            accepted=0, published=0, resent=0, refused=0, confirmed=0, lost=0, quarantined=0, dropped={}
        ),
    )  # fmt: skip
    made.watch(cast("Any", nothing))
    sensor = SimpleNamespace(name="any", silent_s=0.0, unchanged_s=0.0, limits=Limits(1.0, 1.0, 1.0))
    made.watch_sensors([cast("Any", sensor)])
    return with_disk(made.registry)


def with_disk(registry: CollectorRegistry) -> CollectorRegistry:
    """The registry with what every program shows of its disk."""
    Disk(ROOT, registry)
    return registry


def _dispatcher_registry() -> CollectorRegistry:
    registry = CollectorRegistry()
    nothing = SimpleNamespace(
        open_events=0, stored_events=0, open_invocations=0, running=0, unacknowledged=0, parked=(), waiting=0
    )
    DispatcherMetrics(registry).observe(cast("Any", nothing))
    active_gauge(registry)
    return with_disk(registry)


def _gateway_registry() -> CollectorRegistry:
    registry = CollectorRegistry()
    GatewayMetrics(registry, lambda: {"any": 1})
    return with_disk(registry)


def _manager_registry() -> CollectorRegistry:
    registry = CollectorRegistry()
    ManagerMetrics(registry).observe(lambda: 0, lambda: False, lambda: (0, 0))
    node = Node("any", Status("online", None, None, 0, None, None), None, {"any": State(None, {"health": "ok"}, None)})
    HouseMetrics(
        registry, nodes={"any": node}, dispatchers=lambda: {"main": "active"}, connected=lambda: True,
        reach=lambda _: (None, None),
    )  # fmt: skip
    return with_disk(registry)


def _engine_door_registry() -> CollectorRegistry:
    registry = CollectorRegistry()
    metrics = EngineDoorMetrics(registry)
    metrics.begin(["gateway"])
    metrics.observe("gateway", lambda: 0)
    return registry


_REGISTRIES: dict[str, Callable[[], CollectorRegistry]] = {
    "agent": _agent_registry,
    "dispatcher": _dispatcher_registry,
    "gateway": _gateway_registry,
    "manager": _manager_registry,
    "engine-door": _engine_door_registry,
}

_TABLES: dict[str, Callable[[], str]] = {
    "settings agent": lambda: _settings(AgentSettings),
    "settings dispatcher": lambda: _settings(DispatcherSettings),
    "settings gateway": lambda: _settings(GatewaySettings),
    "settings manager": lambda: _settings(ManagerSettings),
    "settings engine-door": lambda: _settings(EngineDoorSettings),
    **{f"sensor {cls.KIND}": (lambda cls=cls: _device(cls)) for cls in SENSORS},  # type: ignore[misc] # bound early
    **{f"output {cls.KIND}": (lambda cls=cls: _device(cls)) for cls in OUTPUTS},  # type: ignore[misc] # bound early
    **{f"model {cls.KIND}": (lambda cls=cls: _device(cls)) for cls in MODELS},  # type: ignore[misc] # bound early
    "mapping file": lambda: _mapping(MappingDocument),
    "mapping": lambda: _mapping(MappingEntry),
    "example": lambda: _mapping(ExampleMap),
    "example given": lambda: _mapping(GivenMap),
    "example expect": lambda: _mapping(ExampleExpectMap),
    "commands": _commands,
    "testing fixtures": lambda: _table(("fixture", "what it is", "meaning"), testing.fixtures()),
    "testing files": lambda: _table(("marker", "ini option", "meaning", "looked for at"), testing.files()),
    "testing verbs": lambda: _table(("kind", "verbs"), testing.verbs()),
    "scenario file": lambda: _required(ScenarioMap),
    "scenario list": lambda: _required(ScenariosMap),
    "scenario step": lambda: _mapping(StepMap),
    "scenario expect": lambda: _mapping(ExpectMap),
    "scenario forms": lambda: _table(("kind", "what to write", "meaning"), testing.forms()),
    "scenario answers": lambda: _table(("what to write", "meaning"), testing.answers()),
    **{f"testing {name}": (lambda name=name: _members(name)) for name in testing.SHOWN},  # type: ignore[misc] # bound early
    **{f"metrics {program}": (lambda program=program: _metrics(program)) for program in _REGISTRIES},  # type: ignore[misc] # bound early
}
