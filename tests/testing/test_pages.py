"""The how-to page does what it says: its files and tests are run as they stand there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bridge.cli import exit_codes
from bridge.cli import run as cli
from bridge.testing import Files, find
from tests.testing.test_plugin import everything_is_imported, run

__all__ = ["everything_is_imported"]

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "test-your-house.md"
README = PAGE.parents[2] / "README.md"
_FILE = re.compile(r"^```(?:yaml|python)\n# (\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_SHOWN = re.compile(r"^```text\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture
def files(pytester: pytest.Pytester) -> dict[str, str]:
    """What the page shows, written where its first line says."""
    found = dict(_FILE.findall(PAGE.read_text(encoding="utf-8")))
    for name, text in found.items():
        path = pytester.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return found


def test_every_test_of_the_page_passes(pytester: pytest.Pytester, files: dict[str, str]) -> None:
    count = sum(text.count("\ndef test_") + text.startswith("def test_") for text in files.values())
    scenarios = files["house.scenario.yaml"].count("- name: ")
    assert (count > 10, scenarios) == (True, 4)
    run(pytester).assert_outcomes(passed=count + scenarios)


def test_the_failure_that_the_page_shows_is_the_one_that_comes(
    pytester: pytest.Pytester, files: dict[str, str]
) -> None:
    (shown,) = _SHOWN.findall(PAGE.read_text(encoding="utf-8"))
    at_noon = files["test_house.py"].split("\n\n\n")[0].replace("23:10", "12:00")
    for test in (*pytester.path.glob("test_*.py"), *pytester.path.glob("*.scenario.yaml")):
        test.unlink()
    pytester.makepyfile(test_failing=at_noon)
    result = run(pytester)
    result.assert_outcomes(failed=1)
    assert shown.strip() in result.stdout.str()


def test_the_scenario_that_fails_on_the_page_fails_like_that(
    files: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    pytester: pytest.Pytester,
    capsys: pytest.CaptureFixture[str],
) -> None:
    page = PAGE.read_text(encoding="utf-8")
    (shown,) = re.findall(r"^\$ gpio-bridge test day\.scenario\.yaml\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    lines = (
        "version: 1",
        "name: an intruder by day",
        "starts: 2026-11-22T12:00:00+00:00",
        "steps:",
        "  - {sensor: front-door, do: motion}",
        "  - expect: intruder-alert within 2s",
    )
    (pytester.path / "day.scenario.yaml").write_text("\n".join(lines), encoding="utf-8")
    monkeypatch.chdir(pytester.path)
    assert cli(["test", "day.scenario.yaml"]) == exit_codes.FAILED
    took = re.compile(r"in [0-9.]+ s")
    assert took.sub("", capsys.readouterr().out) == took.sub("", shown)


def test_the_test_in_the_readme_passes_with_the_mapping_in_the_readme(pytester: pytest.Pytester) -> None:
    text = README.read_text(encoding="utf-8")
    (mapping,) = re.findall(r"^```yaml\n(version: 1\nmappings:.*?)^```$", text, re.MULTILINE | re.DOTALL)
    (test,) = re.findall(r"^```python\n(def test_.*?)^```$", text, re.MULTILINE | re.DOTALL)
    agent = "version: 1\nnode: pi-1\nsensors: {front-door: {kind: pir, pin: 17}}\n"
    (pytester.path / "agent.yaml").write_text(agent, encoding="utf-8")
    (pytester.path / "mappings.yaml").write_text(f"timezone: UTC\n{mapping}", encoding="utf-8")
    assert find(Files(root=pytester.path)).mappings is not None
    pytester.makepyfile(test)
    run(pytester).assert_outcomes(passed=1)
