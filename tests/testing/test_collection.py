"""Scenarios and examples are collected by pytest: one item for each, and failures as text."""

from __future__ import annotations

import pytest

from tests.testing.test_plugin import AGENT, MAPPINGS, everything_is_imported, run, write

__all__ = ["everything_is_imported"]

SCENARIOS = """version: 1
scenarios:
  - name: by night
    starts: 2026-11-22T23:10:00+00:00
    steps:
      - {sensor: front-door, do: motion}
      - expect: intruder-alert within 2s
  - name: by day
    starts: 2026-11-22T12:00:00+00:00
    steps:
      - {sensor: front-door, do: motion}
      - expect: intruder-alert within 2s
"""


def scenario(pytester: pytest.Pytester, text: str) -> None:
    (pytester.path / "house.scenario.yaml").write_text(text, encoding="utf-8")


def test_each_scenario_is_a_test_and_its_failure_is_text(pytester: pytest.Pytester) -> None:
    write(pytester, agent=AGENT, mappings=MAPPINGS)
    scenario(pytester, SCENARIOS)
    result = run(pytester, "-v")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(
        [
            "house.scenario.yaml::by night PASSED*",
            "house.scenario.yaml::by day FAILED*",
            "house.scenario.yaml:12: expected an invocation of intruder-alert within 2s, and there was none",
            "  intruder-alert: hours wants 22:00-06:00 (UTC), found Sun 12:00 UTC",
            "*what happened in the house*",
            "2026-11-22 12:00:00.000  pi-1/front-door motion.detected",
        ]
    )
    result.stdout.no_fnmatch_line("*bridge/testing*")
    result.stdout.no_fnmatch_line("*ScenarioFailed*")


def test_a_scenario_is_chosen_by_its_name(pytester: pytest.Pytester) -> None:
    write(pytester, agent=AGENT, mappings=MAPPINGS)
    scenario(pytester, SCENARIOS)
    run(pytester, "-k", "night").assert_outcomes(passed=1, deselected=1)
    run(pytester, "house.scenario.yaml::by night").assert_outcomes(passed=1)


def test_ini_options_name_the_files_of_scenarios_too(pytester: pytest.Pytester) -> None:
    write(pytester, nodes_a=AGENT, house=MAPPINGS)
    scenario(pytester, SCENARIOS.partition("  - name: by day")[0])
    pytester.makeini("[pytest]\ngpio_bridge_agents = nodes/*.yaml\ngpio_bridge_mappings = house.yaml\n")
    run(pytester).assert_outcomes(passed=1)


def test_mistakes_in_a_scenario_file_are_told_without_internals(pytester: pytest.Pytester) -> None:
    write(pytester, agent=AGENT, mappings=MAPPINGS)
    scenario(pytester, SCENARIOS.replace("do: motion", "doo: motion"))
    result = run(pytester)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        ["house.scenario.yaml:6:30: scenarios[[]0].steps[[]0].doo: unknown key; did you mean do?"]
    )
    result.stdout.no_fnmatch_line("*bridge/testing*")


def test_a_step_that_does_not_fit_the_house_fails_its_scenario_with_its_line(pytester: pytest.Pytester) -> None:
    write(pytester, agent=AGENT, mappings=MAPPINGS)
    scenario(pytester, SCENARIOS.replace("do: motion", "do: press", 1))
    result = run(pytester)
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(
        ["house.scenario.yaml:6:34: do: 'press' is nothing that a pir does; it takes: motion *"]
    )
    result.stdout.no_fnmatch_line("*bridge/testing*")


def test_other_yaml_files_are_left_alone(pytester: pytest.Pytester) -> None:
    write(pytester, agent=AGENT, mappings=MAPPINGS)
    pytester.makepyfile("def test_it(): ...")
    run(pytester).assert_outcomes(passed=1)


EXAMPLES = """
    examples:
      - {given: {at: "23:10"}, expect: intruder-alert}
      - {given: {at: "12:00"}, expect: intruder-alert}
"""


def test_each_example_in_the_mapping_file_is_a_test_and_its_failure_is_text(pytester: pytest.Pytester) -> None:
    write(pytester, agent=AGENT, mappings=MAPPINGS.rstrip() + EXAMPLES)
    result = run(pytester, "-v")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(
        [
            "mappings.yaml::intruder-alert[[]0] PASSED*",
            "mappings.yaml::intruder-alert[[]1] FAILED*",
            "mappings.yaml:*: mappings.intruder-alert.examples[[]1]: expected intruder-alert once, and nothing was *",
        ]
    )
    assert "nothing was invoked: hours wants 22:00-06:00 (UTC), found Thu 12:00 UTC" in result.stdout.str()
    result.stdout.no_fnmatch_line("*bridge/testing*")
    result.stdout.no_fnmatch_line("*NotMet*")


def test_only_the_mapping_file_of_the_project_is_asked_for_examples(pytester: pytest.Pytester) -> None:
    write(pytester, agent=AGENT, mappings=MAPPINGS, other=MAPPINGS.rstrip() + EXAMPLES)
    pytester.makepyfile("def test_it(): ...")
    run(pytester).assert_outcomes(passed=1)
    pytester.makeini("[pytest]\ngpio_bridge_mappings = other.yaml\n")
    run(pytester).assert_outcomes(passed=2, failed=1)


def test_mistakes_in_a_mapping_file_with_examples_are_told_without_internals(pytester: pytest.Pytester) -> None:
    write(pytester, agent=AGENT, mappings=MAPPINGS.rstrip() + EXAMPLES.replace("given", "givne", 1))
    result = run(pytester)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["mappings.yaml:*examples[[]0].givne: unknown key; did you mean given?"])
    result.stdout.no_fnmatch_line("*bridge/testing*")
