"""The words of a step: what happens in front of a sensor, and how a function answers, as a person writes it.

Each kind of sensor takes the forms that `forms` lists; everything else is refused with that list. What a form means is
a series of drives: which word the virtual device is told, and how long after the step begins.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from bridge.agent.models import HcSr501, ModelSettings
from bridge.agent.sensors import SensorSettings
from bridge.agent.sensors.laser_tripwire import LaserTripwire
from bridge.agent.sensors.settings import Measured
from bridge.agent.sensors.thermometer import Thermometer
from bridge.config import duration, seconds
from bridge.testing.functions import Function
from bridge.testing.sensor import STEPS
from bridge.virtual.contact import Contact, read_bounces
from bridge.virtual.devices import STICKING
from bridge.virtual.noise import deviations, read_noise


@dataclass(frozen=True, slots=True)
class Drive:
    """What a virtual device is told, and how long after its step begins."""

    after_s: float
    word: str
    burst: str = ""
    """Of an edge of a contact that bounces: the word that makes the device do all of it."""


@dataclass(frozen=True, slots=True)
class Level:
    """The two states of a digital sensor: how people write them, and the words of its device."""

    active: str
    rest: str
    active_word: str
    rest_word: str


LEVELS: Final = {
    "pir": Level("motion", "still", "motion", "still"),
    "laser-tripwire": Level("break beam", "restore beam", "break", "restore"),
    "button": Level("press", "release", "press", "release"),
    "digital": Level("on", "off", "on", "off"),
}
NUMBERS: Final = {"thermometer": "temperature", "distance": "distance", "analog": "value"}
"""What the number of a measuring kind is called."""

MEANINGS: Final = {
    "motion [for TIME]": "somebody moves; with `for`, so long",
    "still": "nobody moves any more",
    "break beam [for TIME]": "something stands in the beam; with `for`, so long",
    "restore beam": "the beam is whole again",
    "press [for TIME]": "a finger goes down; with `for`, so long",
    "release": "the finger goes up",
    "on [for TIME]": "the contact is active; with `for`, so long",
    "off": "the contact is at rest",
    "bounce for TIME": "the contact bounces for so long, unevenly, and is at rest afterwards",
    "motion bouncing for TIME": "the sensor's contact bounces for so long, and tells motion afterwards",
    "still bouncing for TIME": "the sensor's contact bounces for so long, and is at rest afterwards",
    "break beam bouncing for TIME": "the receiver's output bounces for so long, and the beam is broken afterwards",
    "restore beam bouncing for TIME": "the receiver's output bounces for so long, and the beam is whole afterwards",
    "press bouncing for TIME": "a finger goes down, and the contact bounces for so long before it is closed",
    "release bouncing for TIME": "the finger goes up, and the contact bounces for so long before it is at rest",
    "on bouncing for TIME": "the contact bounces for so long, and is active afterwards",
    "off bouncing for TIME": "the contact bounces for so long, and is at rest afterwards",
    "temperature NUMBER": "it is so warm",
    "distance NUMBER": "the next thing is so far away",
    "value NUMBER": "the input tells this, in the sensor's own unit",
    "ramp NUMBER to NUMBER over TIME": "the number goes there in that time, in even steps",
    "noise NUMBER for TIME": "it wavers for so long around its last number, by at most so much up or down",
    "stuck": "it keeps the level or number that it has, whatever is done to it",
    "unstuck": "it is stuck no more, and sees what was done to it last meanwhile",
}
"""Every form that all sensors of a kind take, and what it means."""

PARTS: Final = {
    "ds18b20": {
        "crc": "each reading has a wrong checksum, until the next number",
        "missing": "the thermometer is not on the bus, until the next number",
        "power-on": "it tells the 85 °C of a thermometer that has just got its power",
    },
    "distance": {"unplugged": "no echo comes back, until the next number"},
    "hc-sr501": {"power-on": "it gets its power anew, and warms up: a pulse now and then, and it sees nothing"},
    "ldr": {"lux NUMBER": "so much light falls on the resistor"},
}
"""What only some devices take, and what it means there."""

ANSWERS: Final = {
    "STATUS": "answers with this status, such as `503`",
    "hangs": "never answers: the mapping's `timeout` ends the attempt",
    "unreachable": "is behind a gateway that cannot be connected to: it is parked and probed",
    "unknown": "is not deployed: the gateway answers 404",
    "well again": "forgets what it was told, and answers an empty 200",
}
"""How a function may be told to answer."""

_TIME = r"(\S+)"
_NUMBER = r"([-+]?[0-9]+(?:\.[0-9]+)?)"
_ANSWER = re.compile(r"(\d{3}|hangs|unreachable|unknown)(?: after (\S+))?(?: times (\d+))?")


def forms(settings: SensorSettings, model: ModelSettings | None = None) -> tuple[str, ...]:
    """What may be written for a sensor, of that model if it has one."""
    kind: str = settings.KIND
    parts = (settings.sensor if isinstance(settings, Thermometer) else kind, model.KIND if model is not None else None)
    own = [form for part, its in PARTS.items() if part in parts for form in its]
    return (*forms_of(kind, contact=_has_contact(settings, model)), *own)


def forms_of(kind: str, *, contact: bool = True) -> tuple[str, ...]:
    """What may be written for every sensor of a kind; `contact` says whether it has one, which can bounce."""
    if kind in LEVELS:
        level = LEVELS[kind]
        bouncing = (f"{word} bouncing for TIME" for word in (level.active, level.rest))
        return f"{level.active} [for TIME]", level.rest, *(("bounce for TIME", *bouncing) if contact else ()), *STICKING
    return f"{NUMBERS[kind]} NUMBER", "ramp NUMBER to NUMBER over TIME", "noise NUMBER for TIME", *STICKING


def _has_contact(settings: SensorSettings, model: ModelSettings | None) -> bool:
    """Whether an edge can bounce: not where a part decides on its output itself, nor where light is measured."""
    measured = isinstance(settings, LaserTripwire) and settings.wiring != "digital"
    return not measured and not isinstance(model, HcSr501)


def drives(
    settings: SensorSettings, written: str, contact: Contact, model: ModelSettings | None = None
) -> Sequence[Drive]:
    """What the device is told. Raises ValueError that lists what this sensor takes.

    `contact` stands as the steps before have left it, and afterwards as this one does.
    """
    text = " ".join(written.split())
    kind: str = settings.KIND
    if kind in LEVELS and (_has_contact(settings, model) or read_bounces(text) is None):
        found = tuple(_levels(LEVELS[kind], text, contact))
        for drive in found:
            contact.move(active=drive.word == LEVELS[kind].active_word)
    elif kind in NUMBERS:
        found = tuple(_numbers(settings, NUMBERS[kind], text, contact))
    else:
        found = ()
    if found:
        return found
    taken = forms(settings, model)
    if text in taken:
        return (Drive(0.0, text),)
    if "lux NUMBER" in taken and (light := re.fullmatch(f"lux {_NUMBER}", text)):
        return (Drive(0.0, f"{light[1]} lux"),)
    raise ValueError(f"{text!r} is nothing that a {kind} does; it takes: {', '.join(taken)}")


def _levels(level: Level, text: str, contact: Contact) -> Iterator[Drive]:
    if text == level.rest:
        yield Drive(0.0, level.rest_word)
    elif text == level.active:
        yield Drive(0.0, level.active_word)
    elif found := re.fullmatch(f"{level.active} for {_TIME}", text):
        yield Drive(0.0, level.active_word)
        yield Drive(_some_time(found[1]), level.rest_word)
    elif (bounces := read_bounces(text)) and bounces[0] in (None, level.active, level.rest):
        end, over_s = bounces
        burst = f"bounce for {duration(over_s)}"
        if end is not None:
            burst = f"{level.active_word if end == level.active else level.rest_word} bouncing for {duration(over_s)}"
        for edge in contact.bounces(over_s, active=end == level.active):
            yield Drive(edge.after_s, level.active_word if edge.active else level.rest_word, burst)


def _numbers(settings: SensorSettings, called: str, text: str, contact: Contact) -> Iterator[Drive]:
    if found := re.fullmatch(f"{called} {_NUMBER}", text):
        yield Drive(0.0, found[1])
    elif found := re.fullmatch(f"ramp {_NUMBER} to {_NUMBER} over {_TIME}", text):
        assert isinstance(settings, Measured)
        start, end, over_s = float(found[1]), float(found[2]), _some_time(found[3])
        steps = max(1, min(STEPS, int(over_s / settings.every_s)))
        for step in range(steps + 1):
            yield Drive(over_s * step / steps, f"{start + (end - start) * step / steps:.6g}")
    elif noise := read_noise(text):
        assert isinstance(settings, Measured)
        amplitude, over_s = noise
        steps = max(1, min(STEPS, int(over_s / settings.every_s)))
        found_off = deviations(contact.name, contact.changes, amplitude, steps)
        contact.changes += 1  # a number has no contact; what stands for one counts how often it has wavered
        for step, off in enumerate((*found_off, 0.0)):
            yield Drive(over_s * step / steps, f"off by {off:.6g}")


def _some_time(text: str) -> float:
    time_s = seconds(text)
    if time_s <= 0:
        raise ValueError(f"{text} is no time at all")
    return time_s


def answer(written: str) -> Callable[[Function], object]:
    """Tells a function how to answer. Raises ValueError that lists how it may."""
    text = " ".join(written.split())
    if text == "well again":
        return lambda function: function.recovers()
    found = _ANSWER.fullmatch(text)
    if found is None or found[3] == "0":
        raise ValueError(
            f"{text!r} is no way to answer; write one of {', '.join(ANSWERS)},"
            " each but the last with [times NUMBER], a status also with [after TIME] before it"
        )
    times = None if found[3] is None else int(found[3])
    if found[1].isdigit():
        status, after_s = int(found[1]), 0.0 if found[2] is None else _some_time(found[2])
        if not 200 <= status <= 599:
            raise ValueError(f"{status} is no status that ends an answer; they go from 200 to 599")
        return lambda function: function.answers(status, after=after_s, times=times)
    if found[2] is not None:
        raise ValueError(f"only a status comes after some time, not {found[1]!r}")
    tell: dict[str, Callable[[Function], object]] = {
        "hangs": lambda function: function.hangs(times=times),
        "unreachable": lambda function: function.unreachable(times=times),
        "unknown": lambda function: function.unknown(times=times),
    }
    return tell[found[1]]
