from __future__ import annotations

import pytest

from bridge.core.event_names import EVENTS, kind_of, level_of, unit_of
from bridge.core.judgement import OPPOSITES


def test_each_event_is_there_once() -> None:
    assert len(set(EVENTS)) == len(EVENTS)
    assert set(OPPOSITES) < set(EVENTS)


@pytest.mark.parametrize(
    ("name", "kind", "unit", "level"),
    [
        ("motion.ended", "pir", None, False),
        ("beam.broken", "laser-tripwire", None, True),
        ("temperature.high", "thermometer", "Cel", None),
        ("distance.near", "distance", "cm", None),
        ("button.pressed", "button", None, True),
        ("digital.off", "digital", None, False),
        ("analog.changed", "analog", None, None),
        ("sensor.fault", "digital", None, None),
    ],
)
def test_the_name_of_an_event_tells_its_kind_and_unit_and_a_level_its_value(
    name: str, kind: str, unit: str | None, level: bool | None
) -> None:
    assert (kind_of(name), unit_of(name), level_of(name)) == (kind, unit, level)
