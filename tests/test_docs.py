"""The documentation and the code say the same."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from bridge.agent.pins import Pin
from bridge.agent.sensors.plan import Plan
from bridge.broker import mosquitto_config
from bridge.cli import exit_codes, run
from bridge.config import variables
from bridge.core.event_names import EVENTS
from bridge.core.plan import OPPOSITES
from bridge.core.topics import Topics
from bridge.gateway.app import App
from bridge.mapping_file.document import MappingDocument
from bridge.mapping_file.entries import MappingEntry
from bridge.mapping_file.examples import ExampleMap, GivenMap
from bridge.mapping_file.examples import ExpectMap as ExampleExpectMap
from bridge.runtime.http import Request
from bridge.testing.plugin import OPTIONS
from bridge.testing.scenarios.document import ScenarioMap, ScenariosMap
from bridge.testing.scenarios.steps import ExpectMap, StepMap
from bridge.virtual.control import Control
from tests.docs.commands import Command, commands
from tests.docs.fields import undocumented
from tests.docs.notes import NOTES
from tests.docs.tables import (
    OUTPUTS,
    PAGES,
    ROOT,
    SENSORS,
    SETTINGS,
    every,
    filled,
    metric_name,
    metrics,
    named,
    used_notes,
)
from tests.testing.faults import powerless

DOCS = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")])
PROGRAMS = ("agent", "dispatcher", "gateway", "manager", "engine-door")
WORDS = (
    "node", "agent", "sensor", "kind", "output", "command", "reading", "filter", "event", "epoch", "outbox",
    "tombstone", "state", "health", "birth", "farewell", "marker", "broker", "take-over", "dispatcher", "mapping",
    "selector", "clause", "condition", "judgement", "ledger", "effect", "journal", "invocation", "attempt", "outcome",
    "verdict", "lane", "parked", "dead letter", "replay", "backlog", "trace", "audit", "feed", "function", "handler",
    "stack file", "gateway", "backend", "replica", "virtual pi", "board", "control", "transport", "generation",
    "foreign topic", "opposite", "shadow", "house", "verb", "jump",
    "scenario", "step", "expectation", "example",
)  # fmt: skip
"""The nouns that code, messages and pages use without explaining them."""
HELP = {"--help", "-h", "--install-completion", "--show-completion"}

_LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#{1,6} (.+)$", re.MULTILINE)
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_EXIT_CODE = re.compile(r"^\| (\d+) \|", re.MULTILINE)


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def blocks(*languages: str) -> Iterator[tuple[Path, int, str, str]]:
    """Every block of code: its file, line, language and text."""
    for page in DOCS:
        text = page.read_text(encoding="utf-8")
        for found in _FENCE.finditer(text):
            if found[1] in languages:
                yield page, text.count("\n", 0, found.start()) + 1, found[1], found[2]


# Tables made from the code


@pytest.mark.parametrize("page", PAGES)
def test_the_tables_of_a_page_are_those_of_the_code(page: str) -> None:
    text = read(page)
    assert filled(text) == text, f"{page} is out of date; run scripts/docs"


def test_every_table_stands_on_a_page() -> None:
    assert sorted(name for page in PAGES for name in named(read(page))) == sorted(every())


@pytest.mark.parametrize(
    "cls",
    [
        *(*SETTINGS, *SENSORS, *OUTPUTS, MappingDocument, MappingEntry, ExampleMap, GivenMap, ExampleExpectMap),
        *(ScenarioMap, ScenariosMap, StepMap, ExpectMap),
    ],
    ids=lambda cls: cls.__name__,
)
def test_every_key_of_a_file_has_a_meaning(cls: type[Any]) -> None:
    assert list(undocumented(cls)) == [], "add a text below the field, or a note in tests/docs/notes.py"


def test_no_note_is_left_of_a_setting_that_is_gone_or_says_what_the_code_says() -> None:
    assert sorted(NOTES.keys() - used_notes()) == []


def of_the_whole_stack() -> dict[str, str]:
    """The variables of the compose file that we ship, and their defaults."""
    text = (ROOT / "stack/gpio-bridge.yml").read_text(encoding="utf-8")
    return dict(re.findall(r"\$\{([A-Z_]+):-([^}]*)\}", text))


def test_the_page_of_the_whole_stack_has_each_variable_of_the_compose_file_with_its_default() -> None:
    page = (ROOT / "docs/how-to/the-whole-stack-on-your-pis.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (`[A-Z_`, ]+`) \| (.+) \|$", page, re.MULTILINE)
    told = {
        name.strip("` "): default.strip("` ")
        for names, defaults in rows
        for name, default in zip(names.split(","), defaults.split(","), strict=True)
    }
    assert told == of_the_whole_stack()


def test_no_page_names_an_environment_variable_that_no_program_reads() -> None:
    known = {variable.name for cls in SETTINGS for variable in variables(cls)} | {"GPIO_BRIDGE_LOG_LEVEL"}
    known |= set(of_the_whole_stack())
    for page in DOCS:
        named_here = set(re.findall(r"GPIO_BRIDGE_[A-Z0-9_]*[A-Z0-9]", page.read_text(encoding="utf-8")))
        assert named_here - known == set(), relative(page)


# Commands


def by_name() -> dict[str, Command]:
    return {command.name: command for command in commands()}


def test_the_exit_codes_of_the_page_are_those_of_the_code() -> None:
    code = {value for name, value in vars(exit_codes).items() if name.isupper() and isinstance(value, int)}
    page = read("docs/reference/commands.md")
    assert {int(found) for found in _EXIT_CODE.findall(page)} == code


def test_every_command_in_the_pages_exists_with_its_options() -> None:
    known = by_name()
    found = 0
    for page, line, _, text in blocks("console"):
        for typed in re.findall(r"^\$ (.*)$", text, re.MULTILINE):
            for part in re.split(r"\s(?:\||&&)\s", typed):
                words = shlex.split(part, comments=True)
                words = words[1:] if words[:1] == ["sudo"] else words
                if words and words[0].rpartition("/")[2] == "gpio-bridge":
                    check_command(words[1:], known, f"{relative(page)}:{line}: {part}")
                    found += 1
    assert found > 20


def test_every_command_named_in_a_sentence_exists() -> None:
    known = by_name()
    for page in DOCS:
        text = _FENCE.sub("", page.read_text(encoding="utf-8"))
        for named_here in re.findall(r"`gpio-bridge ([a-z]+(?:-[a-z]+)*)", text):
            assert f"gpio-bridge {named_here}" in known, relative(page)


def check_command(words: list[str], known: dict[str, Command], where: str) -> None:
    name = "gpio-bridge"
    while words and not words[0].startswith("-") and f"{name} {words[0]}" in known:
        name = f"{name} {words.pop(0)}"
    assert not known[name].subcommands, f"{where}: there is no such command"
    given = {word.partition("=")[0] for word in words if re.match(r"--?[a-z]", word)}
    options = {spelling for option in known[name].options for spelling in option.spellings}
    assert given <= options | HELP, f"{where}: {', '.join(given - options)} is no option of {name}"


def test_every_script_named_in_the_pages_is_there() -> None:
    for page in DOCS:
        for script in re.findall(r"(?:`|^\$ )(scripts/[a-z-]+)\b", page.read_text(encoding="utf-8"), re.MULTILINE):
            assert (ROOT / script).is_file(), f"{relative(page)}: {script}"


def test_every_unit_named_in_the_pages_is_there() -> None:
    units = {path.stem for path in (ROOT / "systemd").glob("*.service")}
    for page, line, _, text in blocks("console"):
        for typed in re.findall(r"(?:systemctl|journalctl) .*$", text, re.MULTILINE):
            assert set(re.findall(r"gpio-bridge-[a-z]+(?:-[a-z]+)*", typed)) <= units, f"{relative(page)}:{line}"


def test_the_brokers_limits_in_the_pages_are_those_that_the_tests_run_with() -> None:
    names = ("max_queued_messages", "max_queued_bytes", "max_inflight_messages", "persistent_client_expiration")

    def limits(text: str) -> list[str]:
        return sorted(line for line in text.splitlines() if line.startswith(names))

    ours = limits(mosquitto_config("127.0.0.1", 1883, Path("store")))
    shown = [limits(text) for _, _, _, text in blocks("text") if "max_queued_messages" in text]
    shipped = limits((ROOT / "stack" / "mosquitto.conf").read_text(encoding="utf-8"))
    assert [*shown, shipped] == [ours] * 2


# Topics and events


def test_every_topic_stands_on_the_page_and_no_other() -> None:
    topics = Topics("<root>")
    node, leaf = ("<site>", "<node>"), "dispatchers/<id>"
    base = topics.base("<site>")
    code = {
        topics.status(*node),
        topics.info(*node),
        topics.confirm(*node),
        f"{base}/nodes/<node>/config",
        topics.event(*node, "<sensor>"),
        topics.state(*node, "<sensor>"),
        topics.output_set(*node, "<output>"),
        topics.output_state(*node, "<output>"),
        topics.mappings("<site>"),
        *(topics.dispatcher("<site>", "<id>", leaf) for leaf in ("status", "marker")),
    }
    page = re.findall(r"^\| `<base>(/[^`]+)` \|", read("docs/reference/topics.md"), re.MULTILINE)
    assert sorted(f"{base}{topic}" for topic in page) == sorted(code), leaf


def test_every_topic_of_the_page_is_known_to_the_code() -> None:
    topics = Topics()
    for topic in re.findall(r"^\| `<base>(/[^`]+)` \|", read("docs/reference/topics.md"), re.MULTILINE):
        example = topics.base("home") + re.sub("<[a-z]+>", "x", topic)
        assert topics.parse(example) is not None, topic


def test_every_event_stands_on_the_page_with_its_kind() -> None:
    rows = re.findall(r"^\| (`[a-z]+\.[a-z]+`[^|]*) \| ([^|]+) \|", read("docs/reference/topics.md"), re.MULTILINE)
    page = {(event, kind) for events, kinds in rows for event in re.findall(r"`([a-z.]+)`", events)
            for kind in re.findall(r"`([a-z-]+)`", kinds)[:1] or ["any"]}  # fmt: skip
    code = {(event, cls.KIND) for cls in SENSORS for event in plan_of(cls).events}
    code |= {("sensor.fault", "any"), ("sensor.recovered", "any")}
    assert page == code
    assert {event for event, _ in page} == set(EVENTS)


def plan_of(cls: type[Any]) -> Plan:
    """The plan of a sensor with every event that its kind can send."""
    needed: dict[str, dict[str, Any]] = {
        "thermometer": {"sensor": "cpu", "high": 70.0, "low": 15.0},
        "analog": {"channel": 0},
        "distance": {"trigger": Pin(20), "echo": Pin(21), "near": 20.0},
    }
    plan: Plan = cls(**needed.get(cls.KIND, {"pin": Pin(17)})).plan()
    return plan


def test_every_opposite_stands_on_the_page() -> None:
    rows = re.findall(
        r"^\| `([a-z]+\.[a-z]+)` \| ((?:`[a-z.]+`(?:, )?)+) \|$", read("docs/reference/mappings.md"), re.MULTILINE
    )
    page = {event: frozenset(re.findall(r"`([a-z.]+)`", ends)) for event, ends in rows}
    assert page == OPPOSITES


# Endpoints


def documented(section: str) -> set[tuple[str, str]]:
    """The (method, path) pairs in one section of the page of endpoints."""
    text = read("docs/reference/endpoints.md").split(f"\n## {section}\n")[1].split("\n## ")[0]
    found = set()
    for cell in re.findall(r"^\| (?:any )?`([^`]+)` \|", text, re.MULTILINE):
        *methods, path = cell.split(" ")
        for method in methods or ["any"]:
            found.add((method, path.split("[")[0]))
    return found


def test_every_endpoint_of_every_program_stands_on_the_page() -> None:
    source = read("bridge/service.py")
    served = {("GET", path) for path in re.findall(r'path == "(/[a-z]+)"', source)}
    assert documented("Every program") == served


def test_every_endpoint_of_the_dispatcher_stands_on_the_page() -> None:
    source = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "bridge/dispatcher").glob("*.py"))
    routes = re.findall(r'\broutes\.add\("([A-Z]+)", "(/[^"]+)"', source)
    assert documented("Dispatcher") == {
        (method, re.sub(r"\{([a-z_]+)\}$", lambda one: one[1].upper(), path)) for method, path in routes
    }


def test_every_endpoint_of_the_gateway_stands_on_the_page() -> None:
    class Anything(SimpleNamespace):
        def __getattr__(self, name: str) -> Any:
            return lambda *_: None

    one = cast("Any", Anything())
    parts = ("auth", "cors", "invoke", "accept", "functions", "secrets", "logs", "system", "page")
    app = App(**dict.fromkeys(parts, one))
    code = {(method, path) for path, verbs in app._exact.items() for method in verbs}
    code |= {(method, f"{path}NAME") for path, verbs in app._named.items() for method in verbs}
    code |= {("any", "/function/NAME"), ("POST", "/async-function/NAME"), ("GET", "/openapi.yaml"), ("GET", "/")}
    assert documented("Gateway") == code


def test_every_endpoint_of_the_manager_stands_on_the_page() -> None:
    from bridge.manager.app import Parts, make

    anything = cast("Any", SimpleNamespace(root="gpio-bridge", gateway=None, http=SimpleNamespace(origins=())))
    parts = Parts(**dict.fromkeys(Parts.__dataclass_fields__, anything))
    paths = make(parts).openapi()["paths"]
    code = {
        (method.upper(), re.sub(r"\{([a-z_]+)\}", lambda one: one[1].upper(), path))
        for path, verbs in paths.items()
        for method in verbs
    }
    assert documented("Manager") == code | {("GET", "/openapi.json")}


async def test_every_endpoint_of_the_virtual_pis_stands_on_the_page() -> None:
    control = Control({}, posts=powerless().posts)
    for method, path in documented("Virtual Pis"):
        answer = await control._answer(Request(method, path, path, body=b"{}"))
        assert answer.status in (200, 400), path
    nodes = await control._answer(Request("GET", "/v1/nodes", "/v1/nodes", body=b""))
    posts = {("POST", path) for path in json.loads(cast("bytes", nodes.body))["posts"]}
    assert documented("Virtual Pis") == {("GET", "/v1/nodes"), *posts}


# Metrics


@pytest.mark.parametrize("page", DOCS, ids=relative)
def test_no_page_names_a_metric_that_is_not_there(page: Path) -> None:
    known = {metric_name(family) for program in PROGRAMS for family, _ in metrics(program)}
    known |= {f"gpio_bridge_{option}" for option in OPTIONS}  # of pytest
    named_here = set(re.findall(r"\b(gpio_bridge_[a-z_]+|gateway_(?:function|service)[a-z_]+)\b", page.read_text()))
    assert named_here - known == set()


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_metric_says_what_it_means(program: str) -> None:
    assert [metric_name(family) for family, _ in metrics(program) if not family.documentation] == []


# Files and links


@pytest.mark.parametrize("page", DOCS, ids=relative)
def test_every_link_and_anchor_leads_somewhere(page: Path) -> None:
    broken = []
    text = _FENCE.sub("", page.read_text(encoding="utf-8"))
    for link in _LINK.findall(text):
        if link.startswith(("http://", "https://")):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert broken == []


def anchors(page: Path) -> set[str]:
    """The anchors that a forge makes of a page's headings."""
    text = _FENCE.sub("", page.read_text(encoding="utf-8"))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in _HEADING.findall(text)}


def test_every_page_can_be_found_from_the_index() -> None:
    index = ROOT / "docs/README.md"
    linked = {(index.parent / link.partition("#")[0]).resolve() for link in _LINK.findall(index.read_text())}
    assert {page for page in DOCS if page != index} - linked == set()


def test_every_whole_file_in_the_pages_passes_check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = 0
    for page, line, _, text in blocks("yaml"):
        if not re.search(r"^version: 1", text, re.MULTILINE) or page.name == "tutorial.md":
            continue  # the tutorial has mistakes on purpose; it is walked through by tests/cli/test_pages.py
        folder = tmp_path / str(found)
        made_to_fit(folder, text)
        # A person's file would be called so too, and check goes by the name where the keys do not tell.
        file = folder / ("agent.yaml" if re.search("^node:", text, re.MULTILINE) else "file.yaml")
        file.write_text(text.replace("/etc/gpio-bridge", str(folder)), encoding="utf-8")
        assert run(["check", str(file)]) == exit_codes.OK, f"{relative(page)}:{line}: {capsys.readouterr().out}"
        found += 1
    assert found > 15


def made_to_fit(folder: Path, text: str) -> None:
    """What a file of the pages names beside it: folders of functions, a stack file, passwords."""
    (folder / "functions").mkdir(parents=True)
    (folder / "functions" / "stack.yml").write_text("version: 1.0\n", encoding="utf-8")
    for handler in re.findall(r"handler: \./([a-z-]+)", text):
        (folder / handler).mkdir()
    secrets = folder / "gateway-secrets"
    secrets.mkdir()
    for name in ("basic-auth-user", "basic-auth-password"):
        (secrets / name).write_text("x", encoding="utf-8")


@pytest.mark.parametrize(
    "file", sorted([*(ROOT / "config").glob("*.yaml"), ROOT / "functions/stack.yml"]), ids=relative
)
def test_every_file_we_ship_passes_check(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["check", str(file)]) == exit_codes.OK, capsys.readouterr().out


def test_every_part_of_the_package_stands_in_the_architecture() -> None:
    table = read("docs/architecture.md").split("\n## The package\n")[1].split("\n## ")[0]
    page = set(re.findall(r"`bridge/([a-z_]+)(?:/|\.py)`", table))
    code = {
        path.stem for path in (ROOT / "bridge").iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()
    }
    assert page == code - {"__init__"}


def test_every_path_in_the_architecture_is_there() -> None:
    for path in re.findall(r"`((?:bridge|tests|scripts)/[a-z_/.]+)`", read("docs/architecture.md")):
        assert (ROOT / path).exists(), path


# Words


def test_the_glossary_has_every_word_that_the_code_takes_for_granted() -> None:
    explained = re.findall(r"^\| \*\*([^*]+)\*\* \|", read("docs/glossary.md"), re.MULTILINE)
    words = {word.strip().lower() for cell in explained for word in cell.split(",")}
    assert sorted(set(WORDS) - words) == []


def test_no_page_uses_a_word_that_means_something_else_here() -> None:
    """STYLE.md, 1: trigger, rule and job are not our words for a mapping or an invocation."""
    for page in DOCS:
        text = _FENCE.sub("", page.read_text(encoding="utf-8")).lower()
        assert re.findall(r"\b(?:jobs?|actions?)\b", text) == [], relative(page)
