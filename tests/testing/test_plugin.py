"""The pytest plugin, by pytest's own tests for plugins: what it finds, what its markers say, how its failures read."""

from __future__ import annotations

import subprocess
import sys

import pytest

from bridge.testing import Files, House, find

AGENT = """
version: 1
node: pi-1
sensors:
  front-door: {kind: pir, pin: 17}
  doorbell: {kind: button, pin: 22}
"""
MAPPINGS = """
version: 1
timezone: UTC
mappings:
  intruder-alert:
    select: {sensor: front-door, event: motion.detected}
    hours: "22:00-06:00"
    invoke: intruder-alert
"""
TEST = """
def test_intruder_at_night(bridge, virtual_clock):
    virtual_clock.set("2026-11-22T23:10:00+00:00")
    bridge.pi("pi-1").sensor("front-door").motion()
    assert bridge.invocations.only().function == "intruder-alert"
"""


@pytest.fixture(scope="module", autouse=True)
def everything_is_imported(tmp_path_factory: pytest.TempPathFactory) -> None:
    """pytester throws away what its inner runs imported first; modules in Rust cannot be imported a second time."""
    plan = find(Files(root=tmp_path_factory.mktemp("house"), agents=[AGENT], mappings=MAPPINGS))
    with House(plan) as house:
        house.settle()


def write(pytester: pytest.Pytester, **files: str) -> None:
    """YAML files by their names, in which `_` stands for `/`."""
    for name, text in files.items():
        path = pytester.path / f"{name.replace('_', '/')}.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")


def run(pytester: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    """Run the tests of the folder, without a plugin that warns about its own settings, and one that loads long."""
    return pytester.runpytest("-p", "no:asyncio", "-p", "no:schemathesis", *arguments)


@pytest.mark.parametrize(
    ("agent", "mappings"),
    [
        ("agent", "mappings"),
        ("config_agent", "config_mappings"),
        ("config_agent-pi-1", "mappings"),
        ("agents_one", "mappings"),
    ],
)
def test_files_are_found_where_projects_keep_them(pytester: pytest.Pytester, agent: str, mappings: str) -> None:
    write(pytester, **{agent: AGENT, mappings: MAPPINGS})
    pytester.makepyfile(TEST)
    run(pytester).assert_outcomes(passed=1)


def test_ini_options_name_other_files(pytester: pytest.Pytester) -> None:
    write(pytester, nodes_a=AGENT, nodes_b=AGENT.replace("pi-1", "pi-2"), house=MAPPINGS)
    pytester.makeini("[pytest]\ngpio_bridge_agents = nodes/*.yaml\ngpio_bridge_mappings = house.yaml\n")
    pytester.makepyfile(TEST + "    assert list(bridge.pis) == ['pi-1', 'pi-2']\n")
    run(pytester).assert_outcomes(passed=1)


def test_the_dispatchers_own_settings_are_heeded(pytester: pytest.Pytester) -> None:
    write(
        pytester,
        agent=AGENT + "site: cabin\n",
        mappings=MAPPINGS,
        dispatcher="version: 1\nsite: cabin\nstate_dir: x\nmappings: mappings.yaml\ncommit_every: 5s\n",
    )
    pytester.makepyfile(TEST + "    assert bridge.dispatcher.settings.commit_every_s == 5\n")
    run(pytester).assert_outcomes(passed=1)


def test_the_marker_nearest_to_a_test_wins_key_by_key(pytester: pytest.Pytester) -> None:
    write(pytester, agent=AGENT, other=MAPPINGS.replace("intruder-alert:", "other:"))
    pytester.makepyfile(
        """
        import pytest

        pytestmark = pytest.mark.gpio_bridge(mappings="other.yaml")
        NODE = {"node": "x", "sensors": {"b": {"kind": "button", "pin": 4}}}
        MAPPINGS = {"mappings": {"bell": {"select": {"event": "button.pressed"}, "invoke": "ring"}}}

        def test_by_the_module(bridge, virtual_clock):
            virtual_clock.set("2026-11-22T23:10:00+00:00")
            bridge.pi("pi-1").sensor("front-door").motion()
            assert bridge.invocations.only().mapping == "other"

        @pytest.mark.gpio_bridge(agents=NODE)
        @pytest.mark.gpio_bridge(mappings=MAPPINGS)
        def test_by_the_function(bridge):
            bridge.pi("x").sensor("b").press()
            assert bridge.invocations.only().mapping == "bell"
        """
    )
    run(pytester).assert_outcomes(passed=2)


def test_a_marker_that_is_mistyped_is_told(pytester: pytest.Pytester) -> None:
    write(pytester, agent=AGENT, mappings=MAPPINGS)
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.gpio_bridge(mapings="x.yaml")
        def test_it(bridge): ...

        @pytest.mark.gpio_bridge("x.yaml")
        def test_that(bridge): ...
        """
    )
    result = run(pytester, "--strict-markers")
    result.assert_outcomes(errors=2)
    result.stdout.fnmatch_lines(
        [
            "*the marker gpio_bridge does not know mapings; it takes agents, mappings, *",
            "*the marker gpio_bridge takes no positional arguments; it takes *",
        ]
    )


def test_the_order_of_fixtures_does_not_matter_and_all_are_of_one_house(pytester: pytest.Pytester) -> None:
    write(pytester, agent=AGENT, mappings=MAPPINGS)
    pytester.makepyfile(
        """
        def test_it(invocations, virtual_pi, bridge, virtual_clock):
            assert len(invocations) == 0
            virtual_clock.set("2026-11-22T23:10:00+00:00")
            virtual_pi.sensor("front-door").motion()
            assert invocations.only() is bridge.invocations.only()
            assert virtual_pi is bridge.pi("pi-1")

        def test_a_clock_alone(virtual_clock):
            virtual_clock.advance("10m")
            assert virtual_clock.now().isoformat() == "2026-01-01T12:10:00+00:00"
        """
    )
    run(pytester).assert_outcomes(passed=2)


def test_virtual_pi_must_be_named_where_there_are_several(pytester: pytest.Pytester) -> None:
    write(pytester, agents_a=AGENT, agents_b=AGENT.replace("pi-1", "pi-2"))
    pytester.makepyfile(
        """
        import pytest

        def test_it(virtual_pi): ...

        @pytest.mark.gpio_bridge(pi="pi-2")
        def test_that(virtual_pi):
            assert virtual_pi.sensor("doorbell").press().last_event.node == "pi-2"
        """
    )
    result = run(pytester)
    result.assert_outcomes(errors=1, passed=1)
    result.stdout.fnmatch_lines(["*virtual_pi may be pi-1, pi-2: say which with the marker gpio_bridge(pi=...)*"])


def test_mistakes_in_files_are_told_with_their_lines_and_without_internals(pytester: pytest.Pytester) -> None:
    write(pytester, agent=AGENT.replace("pin: 22", "pin: 17"), mappings=MAPPINGS.replace("hours", "huors"))
    pytester.makepyfile(TEST)
    result = run(pytester)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        ["agent.yaml:6:*: sensors.doorbell.pin: *GPIO17*", "mappings.yaml:7:*: mappings.intruder-alert.huors: *"]
    )
    result.stdout.no_fnmatch_line("*another exception*")
    result.stdout.no_fnmatch_line("*bridge/testing*")
    assert len(result.outlines) < 25


def test_what_is_missing_is_told_with_where_it_is_looked_for(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(TEST)
    result = run(pytester)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*: agents: there is none of config/agent-*.yaml, *gpio_bridge_agents*"])
    write(pytester, agent=AGENT)
    result = run(pytester)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*there is no mapping file: put it at mappings.yaml*"])


def test_a_failure_says_why_a_mapping_did_not_fire_and_what_happened(pytester: pytest.Pytester) -> None:
    write(pytester, agent=AGENT, mappings=MAPPINGS)
    pytester.makepyfile(
        """
        def test_by_day(bridge):
            bridge.pi("pi-1").sensor("front-door").motion()
            assert bridge.invocations.only().function == "intruder-alert"

        def test_another_sensor(bridge):
            bridge.pi("pi-1").sensor("doorbell").press()
            assert len(bridge.invocations) == 1

        def test_nothing_at_all(bridge):
            bridge.invocations.only()
        """
    )
    result = run(pytester)
    result.assert_outcomes(failed=3)
    result.stdout.fnmatch_lines(
        [
            "E*nothing was invoked; intruder-alert: hours wants 22:00-06:00 (UTC), found Thu 12:00 UTC",
            "*what happened in the house*",
            "2026-01-01 12:00:00.000  pi-1/front-door motion.detected",
            "*intruder-alert does not fire: hours wants *",
            "E*nothing was invoked; intruder-alert: select.sensor wants front-door, found doorbell*",
            "E*nothing was invoked; nothing has happened yet",
        ]
    )
    result.stdout.no_fnmatch_line("*bridge/testing/invocations.py*")


def test_asynchronous_tests_use_the_same_fixtures(pytester: pytest.Pytester) -> None:
    pytest.importorskip("pytest_asyncio")
    write(pytester, agent=AGENT, mappings=MAPPINGS)
    pytester.makeini("[pytest]\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function\n")
    pytester.makepyfile(TEST.replace("def test", "async def test"))
    pytester.runpytest("-p", "no:schemathesis").assert_outcomes(passed=1)


def test_a_run_without_a_house_imports_nothing_of_ours(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import sys

        def test_it():
            loaded = {name for name in sys.modules if name.split(".")[0] in ("bridge", "gpiozero", "aiohttp", "cel")}
            assert loaded <= {"bridge", "bridge.testing", "bridge.testing.plugin"}, loaded
        """
    )
    pytester.runpytest_subprocess(
        *("-p", "no:hypothesispytest", "-p", "no:asyncio", "-p", "no:schemathesis")
    ).assert_outcomes(passed=1)


def test_loading_the_plugin_costs_next_to_nothing() -> None:
    script = (
        "import sys, time, pytest; began = time.process_time(); import bridge.testing.plugin;"
        "print(time.process_time() - began, 'sqlite3' in sys.modules, 'gpiozero' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    took, sqlite, gpiozero = ran.stdout.split()
    assert (sqlite, gpiozero) == ("False", "False")
    assert float(took) < 0.1
