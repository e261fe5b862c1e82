"""The how-to page does what it says: its tests pass as they stand there. Its commands: tests/cli/test_pages.py."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bridge.testing import Files, find
from tests.docs.walk import Written, steps
from tests.testing.test_plugin import everything_is_imported, run

__all__ = ["everything_is_imported"]

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "test-your-house.md"
README = PAGE.parents[2] / "README.md"
FAILING = ("test_noon.py", "day.scenario.yaml")


@pytest.fixture
def files(pytester: pytest.Pytester) -> dict[str, str]:
    """What the page shows, written where its first line says."""
    written = [one for one in steps(PAGE.read_text(encoding="utf-8")) if isinstance(one, Written)]
    found = {one.name: one.text for one in written if one.name not in FAILING}
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
