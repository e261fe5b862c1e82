"""What all tests share: Hypothesis runs the same examples every time, a slow machine fails nobody; and `--loopback`."""

from __future__ import annotations

import pytest
from hypothesis import settings

from tests.contract.bench import Wire

settings.register_profile("everywhere", deadline=None, derandomize=True)
settings.load_profile("everywhere")

pytest_plugins = ("tests.lab.fixtures",)


def pytest_addoption(parser: pytest.Parser) -> None:
    """The two pins of a real Pi that are wired together."""
    parser.addoption(
        "--loopback",
        metavar="OUTPUT:INPUT",
        type=Wire.read,
        help="on a Raspberry Pi with these two pins wired together (GPIO numbers, such as 17:27, through 1 kOhm), run "
        "the contract of the pins on them too",
    )
