"""The benches of the contract: a virtual one everywhere, and a real one where pins are wired together."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.contract.bench import Bench, Wire


@pytest.fixture(params=["virtual", "real"])
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    """Two pins that are wired together."""
    if request.param == "virtual":
        made = Bench.virtual()
    else:
        wire: Wire | None = request.config.getoption("--loopback")
        if wire is None:
            pytest.skip(
                "no two pins are wired together: on a Raspberry Pi, put 1 kOhm between GPIO17 and GPIO27, and say "
                "--loopback 17:27"
            )
        made = Bench.real(wire)
    yield made
    made.close()
