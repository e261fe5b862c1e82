"""What all tests share: Hypothesis runs the same examples every time, a slow machine fails nobody; and two options."""

from __future__ import annotations

import gc
import os
import tempfile
from collections.abc import Iterator

import pytest
from hypothesis import settings

from tests.contract.bench import Wire

settings.register_profile("everywhere", deadline=None, derandomize=True)
settings.load_profile("everywhere")

pytest_plugins = ("tests.lab.fixtures", "tests.side_by_side")


@pytest.fixture(scope="session", autouse=True)
def _temporary_files(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What this process puts among the machine's temporary files goes with pytest's own, also when it is killed."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(tmp_path_factory.mktemp("temporary")))
        yield


def pytest_collection_finish() -> None:
    """What was imported and collected is there to stay: nobody looks through it for garbage again and again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


def pytest_addoption(parser: pytest.Parser) -> None:
    """The two pins of a real Pi that are wired together, and whether the long proofs are wanted, too."""
    parser.addoption(
        "--loopback",
        metavar="OUTPUT:INPUT",
        type=Wire.read,
        help="on a Raspberry Pi with these two pins wired together (GPIO numbers, such as 17:27, through 1 kOhm), run "
        "the contract of the pins on them too",
    )
    parser.addoption(
        "--long",
        action="store_true",
        help="run the long proofs, too; otherwise they run where their file or folder is named, and under CI=true",
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """A whole run leaves out the long proofs, and says so, unless it is told to."""
    named = config.args_source is pytest.Config.ArgsSource.ARGS
    if named or config.getoption("--long") or os.environ.get("CI") == "true":
        return
    left_out = pytest.mark.skip(reason="a long proof; run it with: scripts/test --long")
    for item in items:
        if item.get_closest_marker("long"):
            item.add_marker(left_out)
