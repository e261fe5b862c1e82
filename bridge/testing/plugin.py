"""The pytest plugin: fixtures `bridge`, `virtual_clock`, `virtual_pi`, `invocations`; scenarios and examples as tests.

pytest imports this module in every run of a machine where we are installed, so it imports nothing of ours before a
fixture is asked for, or a scenario or an example found.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import pytest

from bridge.testing import MAPPINGS, SCENARIO_SUFFIXES, may_have_examples

if TYPE_CHECKING:
    from bridge.core.mapping import Mapping
    from bridge.mapping_file.examples import Example
    from bridge.testing.files import Files
    from bridge.testing.house import House
    from bridge.testing.invocations import Invocations
    from bridge.testing.pi import VirtualPi
    from bridge.testing.scenarios.document import Scenario
    from bridge.testing.virtual_time import VirtualTime

MARKER: Final = "gpio_bridge"
OPTIONS: Final = {
    "agents": "the agents' files, paths or globs from the root of the project",
    "mappings": "the mapping file",
    "dispatcher": "the dispatcher's file",
    "functions": "the stack.yml of the functions",
}
"""What can be named as an ini option `gpio_bridge_...`, and in the marker."""
_MARKED: Final = (*OPTIONS, "pi", "seed")
_SHOWN_LINES: Final = 40

_house_key: pytest.StashKey[House] = pytest.StashKey()
_story_key: pytest.StashKey[str] = pytest.StashKey()


def pytest_addoption(parser: pytest.Parser) -> None:
    """The ini options."""
    for name, meaning in OPTIONS.items():
        kind: Literal["args", "string"] = "args" if name == "agents" else "string"
        parser.addini(f"gpio_bridge_{name}", f"gpio-bridge: {meaning}", type=kind)


def pytest_configure(config: pytest.Config) -> None:
    """The marker."""
    config.addinivalue_line(
        "markers",
        "gpio_bridge(agents=, mappings=, dispatcher=, functions=, pi=, seed=): the files of the house under test, each "
        "a path, YAML text or a dict; the node that virtual_pi is; what jitter and ids begin with",
    )


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """Scenario files are tests, and so are the examples in the project's mapping file."""
    if file_path.name.endswith(SCENARIO_SUFFIXES):
        return ScenarioFile.from_parent(parent, path=file_path)
    if _is_mapping_file(file_path, parent.config) and may_have_examples(file_path):
        return MappingFile.from_parent(parent, path=file_path)
    return None


def _is_mapping_file(path: Path, config: pytest.Config) -> bool:
    if path.suffix not in (".yaml", ".yml"):
        return False
    named = config.getini("gpio_bridge_mappings")
    places = [config.rootpath / place for place in ([named] if named else MAPPINGS)]
    return path == next((place for place in places if place.is_file()), None)


class NotMet(Exception):
    """What a scenario or an example expects did not come; the text says all there is to say."""


class _Expecting(pytest.Item):
    """A test in a YAML file, and the line where it begins."""

    line: int

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """What a person can do something about, without our internals."""
        if isinstance(excinfo.value, NotMet):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, int, str]:
        """Where it stands; pytest counts lines from 0."""
        return self.path, self.line - 1, self.name


class ScenarioFile(pytest.File):
    """A file of scenarios."""

    def collect(self) -> Iterator[ScenarioItem]:
        """One item for each scenario."""
        from bridge.errors import ConfigError  # noqa: PLC0415 - only where there is a scenario
        from bridge.testing.files import shown  # noqa: PLC0415
        from bridge.testing.scenarios.document import read_scenarios  # noqa: PLC0415

        try:
            scenarios = read_scenarios(Path(shown(self.path)))
        except ConfigError as error:
            raise self.CollectError(str(error)) from error
        for scenario in scenarios:
            yield ScenarioItem.from_parent(self, name=scenario.name, scenario=scenario)


class ScenarioItem(_Expecting):
    """One scenario."""

    def __init__(self, *, scenario: Scenario, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.scenario = scenario
        self.line = scenario.node.line

    def runtest(self) -> None:
        """Run it in a house of its own. Raises NotMet."""
        from bridge.errors import ConfigError  # noqa: PLC0415 - only where there is a scenario
        from bridge.testing.scenarios.run import prepare, run  # noqa: PLC0415

        try:
            result = run(prepare(self.scenario, _files(self.config, {})))
        except ConfigError as error:
            raise NotMet(str(error)) from error
        if not result.passed:
            self.stash[_story_key] = result.story
            raise NotMet("\n".join(result.failures))


class MappingFile(pytest.File):
    """The project's mapping file, with examples in it."""

    def collect(self) -> Iterator[ExampleItem]:
        """One item for each example."""
        from bridge.errors import ConfigError  # noqa: PLC0415 - only where there is an example
        from bridge.testing.examples import read_examples  # noqa: PLC0415
        from bridge.testing.files import shown  # noqa: PLC0415

        try:
            file = read_examples(Path(shown(self.path)))
        except ConfigError as error:
            raise self.CollectError(str(error)) from error
        for example in file.examples:
            mapping = file.mappings.mappings[example.mapping]
            yield ExampleItem.from_parent(self, name=example.name, example=example, mapping=mapping)


class ExampleItem(_Expecting):
    """One example of a mapping."""

    def __init__(self, *, example: Example, mapping: Mapping, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.example = example
        self.mapping = mapping
        self.line = example.node.line

    def runtest(self) -> None:
        """Hold its mapping against it. Raises NotMet."""
        from bridge.testing.examples import failure  # noqa: PLC0415 - only where there is an example

        problem = failure(self.example, self.mapping)
        if problem is not None:
            raise NotMet(str(problem))


@pytest.fixture(name="bridge")
def fixture_bridge(_gpio_bridge_house: House) -> House:
    """The house: agents, broker and dispatcher with the project's own files, and functions that record."""
    if _gpio_bridge_house.plan.mappings is None:
        pytest.fail(
            "there is no mapping file: put it at mappings.yaml or config/mappings.yaml, or name it with the ini option "
            "gpio_bridge_mappings or the marker gpio_bridge(mappings=...)",
            pytrace=False,
        )
    return _gpio_bridge_house


@pytest.fixture
def virtual_clock(_gpio_bridge_house: House) -> VirtualTime:
    """The clock of the house: `set`, `advance`, `jump`, `now`."""
    return _gpio_bridge_house.time


@pytest.fixture
def virtual_pi(_gpio_bridge_house: House, request: pytest.FixtureRequest) -> VirtualPi:
    """The only node, or the one that the marker names: a Pi with mock pins."""
    pis = _gpio_bridge_house.pis
    name = _marked(request).get("pi")
    if name is None and len(pis) > 1:
        pytest.fail(
            f"virtual_pi may be {', '.join(pis)}: say which with the marker gpio_bridge(pi=...), or use bridge.pi(...)",
            pytrace=False,
        )
    return _gpio_bridge_house.pi(name if name is not None else next(iter(pis)))


@pytest.fixture
def invocations(bridge: House) -> Invocations:
    """Everything that functions were asked since the test began."""
    return bridge.invocations


@pytest.fixture
def _gpio_bridge_house(request: pytest.FixtureRequest) -> Iterator[House]:
    from bridge.errors import ConfigError  # noqa: PLC0415 - only where a house is tested
    from bridge.testing.files import find  # noqa: PLC0415
    from bridge.testing.house import House  # noqa: PLC0415

    marked = _marked(request)
    plan, problems = None, ""
    try:
        plan = find(_files(request.config, marked))
    except ConfigError as error:
        problems = str(error)
    if plan is None:  # not inside the except above: pytest would tell both errors
        pytest.fail(problems, pytrace=False)
    with House(plan, seed=marked.get("seed", 0)) as house:
        request.node.stash[_house_key] = house
        yield house
        del request.node.stash[_house_key]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A test that fails shows what happened in its house."""
    report = yield
    house, story = item.stash.get(_house_key, None), item.stash.get(_story_key, None)
    if (house is not None or story is not None) and report.when == "call" and report.failed:
        lines = (house.happened() if house is not None else story or "").splitlines()
        if len(lines) > _SHOWN_LINES:
            lines = [f"... {len(lines) - _SHOWN_LINES} lines before", *lines[-_SHOWN_LINES:]]
        report.sections.append(("what happened in the house", "\n".join(lines) or "nothing"))
    return report


def _marked(request: pytest.FixtureRequest) -> dict[str, Any]:
    """What markers say; the one nearest to the test wins, key by key."""
    said: dict[str, Any] = {}
    for marker in request.node.iter_markers(MARKER):
        unknown = sorted(marker.kwargs.keys() - set(_MARKED))
        if marker.args or unknown:
            wrong = f"does not know {', '.join(unknown)}" if unknown else "takes no positional arguments"
            pytest.fail(f"the marker gpio_bridge {wrong}; it takes {', '.join(_MARKED)}", pytrace=False)
        said = marker.kwargs | said
    return said


def _files(config: pytest.Config, marked: dict[str, Any]) -> Files:
    from bridge.testing.files import Files  # noqa: PLC0415 - only where a house is tested

    given: dict[str, Any] = {name: config.getini(f"gpio_bridge_{name}") or None for name in OPTIONS}
    given |= {name: marked[name] for name in OPTIONS if name in marked}
    agents = given["agents"]
    if agents is not None and not isinstance(agents, list | tuple):
        given["agents"] = [agents]
    return Files(root=config.rootpath, **given)
