"""`gpio-bridge init`: a project to begin with: an agent, mappings, a function, a test and a scenario that pass."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Final

import typer

_FUNCTION: Final = "alarm"

_AGENT: Final = """\
# The agent of one Pi: what is wired to which pin. Every key: docs/reference/settings.md
version: 1
node: pi-1
sensors:
  front-door: {kind: pir, pin: 17, hold: 5s}
  doorbell: {kind: button, pin: 22}
outputs:
  porch-light: {kind: led, pin: 23, max_on: 10m}
"""

_MAPPINGS: Final = f"""\
# Which event invokes which function. Every key: docs/reference/mappings.md
version: 1
timezone: Europe/London
mappings:
  night-intruder:
    select: {{sensor: front-door, event: motion.detected}}
    hours: "22:00-06:00"
    cooldown: 10m
    invoke: {_FUNCTION}
    examples:
      - {{given: {{at: "23:10"}}, expect: {_FUNCTION}}}
      - {{given: {{at: "12:00"}}, expect: none because hours}}
  doorbell:
    select: {{sensor: doorbell, event: button.pressed}}
    invoke: {_FUNCTION}
"""

_TEST: Final = f"""\
def test_an_intruder_at_night_raises_the_alarm(bridge, virtual_clock):
    virtual_clock.set("2026-11-22T23:10:00+00:00")
    bridge.pi("pi-1").sensor("front-door").motion()
    assert bridge.invocations.only().function == "{_FUNCTION}"


def test_by_day_nobody_is_woken(bridge, virtual_clock):
    virtual_clock.set("2026-11-22T12:00:00+00:00")
    bridge.pi("pi-1").sensor("front-door").motion()
    bridge.invocations.none()


def test_the_function_itself_answers_the_doorbell(bridge):
    bridge.function("{_FUNCTION}").runs()
    bridge.pi("pi-1").sensor("doorbell").press()
    assert bridge.invocations.only().status == 200
"""

_SCENARIO: Final = f"""\
# The same without Python. Run it with: gpio-bridge test
version: 1
scenarios:
  - name: an intruder at night raises the alarm once
    starts: 2026-11-22T23:10:00+00:00
    steps:
      - {{sensor: front-door, do: motion for 20s}}
      - expect: {_FUNCTION} within 2s
      - {{sensor: front-door, do: motion for 20s, after: 1m}}
      - expect: none within 1m
"""

_README: Final = f"""\
# My house

- `pytest` tests this house: no Pi, no broker, no waiting. See `test_house.py`, `house.scenario.yaml` and the examples
  in `mappings.yaml`. `gpio-bridge test` runs the last two where there is no pytest.
- `gpio-bridge check agent.yaml mappings.yaml functions/stack.yml` finds mistakes in the files, and examples not met.
- `gpio-bridge up` runs it all here, with a virtual Pi instead of a real one.
- `gpio-bridge simulate doorbell press`, in a second terminal, rings; `gpio-bridge events` shows what the sensors say.
- `gpio-bridge why night-intruder` says why a mapping did not fire.
- `gpio-bridge functions new NAME --file functions/stack.yml` adds a function beside `{_FUNCTION}`.
- `gpio-bridge agent --config agent.yaml` is for the Pi itself: copy `agent.yaml` there, and add `mqtt: {{host: ...}}`.
"""

_FILES: Final = {
    "agent.yaml": _AGENT,
    "mappings.yaml": _MAPPINGS,
    "test_house.py": _TEST,
    "house.scenario.yaml": _SCENARIO,
    # Else the settings of a project around this one would say where the house's files are looked for.
    "pytest.ini": "[pytest]\n",
    "README.md": _README,
}
_SHOWN: Final = 5


def init(
    folder: Annotated[Path, typer.Argument(help="An empty folder, or one that is not there yet.")] = Path(),
) -> None:
    """Write a project to begin with: an agent, mappings, a function, a test and a scenario that pass as they stand.

    A folder that is not empty is left as it is; a virtual environment, and what begins with a dot, do not count.
    """
    for file in write(folder):
        print(f"{file}: written")
    there = "" if folder.resolve() == Path.cwd() else f"cd {folder}; "
    print(f"\nNext: {there}pytest, then gpio-bridge up. README.md has more.")


def _beside(path: Path) -> bool:
    """Whether something is what people make before they have a project: `git init`, a virtual environment."""
    return path.name.startswith(".") or (path / "pyvenv.cfg").is_file()


def write(folder: Path) -> Iterator[Path]:
    """Write the project, and name each file once it is there. Raises NotMade, before anything is written."""
    from bridge.cli.starter import NotMade, make

    try:
        in_the_way = sorted(path.name for path in folder.iterdir() if not _beside(path)) if folder.exists() else []
        if in_the_way:
            more = f" and {len(in_the_way) - _SHOWN} more" if len(in_the_way) > _SHOWN else ""
            listed = ", ".join(in_the_way[:_SHOWN])
            raise NotMade(f"{folder} is not empty: it holds {listed}{more}; choose another folder, nothing was changed")
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in _FILES.items():
            (folder / name).write_text(text, encoding="utf-8")
            yield folder / name
        yield from make(_FUNCTION, "python3-http", folder / "functions" / "stack.yml")
    except OSError as error:
        raise NotMade(f"{folder} cannot be filled: {error.strerror or error}") from error
