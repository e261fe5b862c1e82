from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import pytest

from bridge.agent.settings import AgentSettings
from bridge.config import (
    Bytes,
    Choice,
    Invalid,
    Name,
    Node,
    Pattern,
    Port,
    Reader,
    Seconds,
    Within,
    compose,
    decode,
    load,
    variables,
)
from bridge.errors import ConfigError

A_NAME = "lower-case letters, digits and hyphens, at most 63, not starting with a hyphen"


@dataclass(frozen=True, slots=True)
class Broker:
    host: str = "localhost"
    port: Port = 1883
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    timeout_s: Annotated[float, Seconds(0.1, 60)] = 10.0
    retries: Annotated[int, Within(0)] = 3

    def problems(self) -> Iterator[tuple[str, str]]:
        if self.password and not self.user:
            yield "user", "a password needs a user"


@dataclass(frozen=True, slots=True)
class Pir:
    KIND: ClassVar[str] = "pir"
    pin: int
    warm_up_s: Annotated[float, Seconds()] = 30.0


@dataclass(frozen=True, slots=True)
class Thermometer:
    KIND: ClassVar[str] = "thermometer"
    low: float = 0.0
    high: float = 30.0

    def problems(self) -> Iterator[tuple[str, str]]:
        if self.low >= self.high:
            yield "high", "must be above low"


@dataclass(frozen=True, slots=True)
class Colour:
    text: str

    @classmethod
    def from_node(cls, node: Node, reader: Reader, key: str) -> Colour | Invalid:
        if isinstance(node.value, str) and node.value.startswith("#"):
            return cls(node.value)
        return reader.problem(node, key, "must be a colour such as #ff0000")


@dataclass(frozen=True, slots=True)
class Settings:
    node: Name
    mqtt: Broker = field(default_factory=Broker)
    sensors: dict[Name, Annotated[Pir | Thermometer, Choice()]] = field(default_factory=dict)
    mode: Literal["auto", "manual"] = "auto"
    limit_bytes: Annotated[int, Bytes(1024, 65536)] = 65536
    every_s: Annotated[float, Seconds(1)] | None = None
    factor: float = 1.0
    high: Annotated[float, Within(maximum=10)] = 1.0
    enabled: bool = True
    folder: Path = Path("state")
    tags: tuple[str, ...] = ()
    pair: tuple[int, float] = (1, 2.0)
    numbers: frozenset[int] = frozenset()
    rest: Sequence[str] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    anything: Any = None
    raw: Node | None = None
    level: int | str = 1
    retry: Annotated[float, Seconds()] | Literal["never"] | Broker = "never"
    targets: str | list[str] = "none"
    size_limit: Annotated[int, Bytes()] | bool = False
    colour: Colour | None = None
    extra: Annotated[str, Pattern("[a-z]+", "lower-case letters")] = field(default="x", metadata={"key": "more"})
    brokers: list[Broker] = field(default_factory=list)

    def problems(self) -> Iterator[tuple[str, str]]:
        for name in self.sensors:
            if name == self.node:
                yield f"sensors.{name}", "has the name of the node"
        if self.tags == ("a", "b"):
            yield "tags[1]", "must not follow a"
        if len(self.tags) > 2:
            yield "tags[9].x", "too many"


def read(text: str, environ: Mapping[str, str] | None = None) -> Settings:
    return decode(compose("version: 1\n" + text, "f.yaml"), Settings, base=Path("/base"), environ=environ)


def wrong(text: str, environ: Mapping[str, str] | None = None) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read(text, environ)
    return str(caught.value).splitlines()


def test_a_file_becomes_settings() -> None:
    settings = read("""
node: pi-1
mqtt: {host: broker, port: 8883, timeout: 500ms}
sensors:
  door: {kind: pir, pin: 17}
  room: {kind: thermometer, high: 25}
mode: manual
limit: 2KiB
every: 1m
factor: 2
folder: here/state
tags: [a, "1"]
pair: [3, 4]
numbers: [1, 2, 2]
rest: [x]
labels: {a: b}
anything: {a: [1, null]}
raw: {on: 22:00}
level: on
retry: 5s
targets: [a]
colour: "#fff"
more: abc
""")

    assert settings.mqtt == Broker("broker", 8883, timeout_s=0.5)
    assert settings.sensors == {"door": Pir(17), "room": Thermometer(high=25.0)}
    assert (settings.mode, settings.limit_bytes, settings.every_s, settings.factor) == ("manual", 2048, 60.0, 2.0)
    assert settings.folder == Path("/base/here/state")
    assert (settings.tags, settings.pair, settings.numbers) == (("a", "1"), (3, 4.0), frozenset([1, 2]))
    assert (settings.rest, settings.labels, settings.anything) == (("x",), {"a": "b"}, {"a": [1, None]})
    assert settings.raw is not None
    assert settings.raw.plain() == {"on": "22:00"}
    assert (settings.level, settings.retry, settings.targets) == ("on", 5.0, ["a"])
    assert (settings.colour, settings.extra) == (Colour("#fff"), "abc")


def test_what_is_left_out_or_left_empty_has_its_default() -> None:
    assert read("node: pi-1\nmqtt:\nsensors:\nlabels:\nevery:\ncolour:\n") == Settings("pi-1")
    assert read(
        "node: pi-1\nlevel: 5\nretry: never\nevery: 5s\nretry: {host: x}".replace("retry: never\n", "")
    ).retry == Broker("x")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "f.yaml:1:1: node: is missing"),
        ("node: Pi", f"f.yaml:2:7: node: must be {A_NAME}, not 'Pi'"),
        ("node: 0123", 'f.yaml:2:7: node: must be text, not 0123; put it in quotes: "0123"'),
        ("node: True", 'f.yaml:2:7: node: must be text, not True; put it in quotes: "True"'),
        ("node: [a]", "f.yaml:2:7: node: must be text, not a list"),
        ("node:", "f.yaml:2:6: node: must be text, not nothing"),
        ("node: a\nmqqt:\n  host: x", "f.yaml:3:1: mqqt: unknown key; did you mean mqtt?"),
        ("node: a\nzzz: 1", "f.yaml:3:1: zzz: unknown key"),
        ("node: a\nmqtt: localhost", "f.yaml:3:7: mqtt: must be a map, not text"),
        ("node: a\nmqtt: {port: 70000}", "f.yaml:3:14: mqtt.port: must be 0 to 65535, not 70000"),
        ("node: a\nmqtt: {port: 0xFFFFF}", "f.yaml:3:14: mqtt.port: must be 0 to 65535, not 0xFFFFF"),
        ("node: a\nmqtt: {retries: -1}", "f.yaml:3:17: mqtt.retries: must be at least 0, not -1"),
        ("node: a\nhigh: 11.5", "f.yaml:3:7: high: must be at most 10, not 11.5"),
        ("node: a\nmqtt: {retries: 1.0}", "f.yaml:3:17: mqtt.retries: must be a whole number, not 1.0"),
        (
            "node: a\nmqtt: {retries: 9999999999999999999}",
            "f.yaml:3:17: mqtt.retries: is too large a number: 9999999999999999999",
        ),
        ("node: a\nfactor: .nan", "f.yaml:3:9: factor: must be a number, not .nan"),
        ("node: a\nfactor: .inf", "f.yaml:3:9: factor: must be a number, not .inf"),
        ("node: a\nfactor: 1e999", "f.yaml:3:9: factor: must be a number, not 1e999"),
        ("node: a\nfactor: on", "f.yaml:3:9: factor: must be a number, not 'on'"),
        ("node: a\nenabled: on", "f.yaml:3:10: enabled: must be true or false, not 'on'"),
        ("node: a\nenabled: 1", "f.yaml:3:10: enabled: must be true or false, not 1"),
        (
            "node: a\nmode: automatic",
            "f.yaml:3:7: mode: must be one of auto, manual, not 'automatic'; did you mean auto?",
        ),
        ("node: a\nmode: manul", "f.yaml:3:7: mode: must be one of auto, manual, not 'manul'; did you mean manual?"),
        ("node: a\nmode: {}", "f.yaml:3:7: mode: must be one of auto, manual, not a map"),
        ("node: a\nevery: 30", "f.yaml:3:8: every: needs a unit: write one such as 30s, not 30"),
        (
            "node: a\nevery: 30 s",
            "f.yaml:3:8: every: '30 s' is not a duration; write one such as 250ms, 30s, 5m, 1h30m or 2d",
        ),
        ("node: a\nevery: 10ms", "f.yaml:3:8: every: must be at least 1s, not '10ms'"),
        ("node: a\nmqtt: {timeout: 2m}", "f.yaml:3:17: mqtt.timeout: must be 100ms to 1m, not '2m'"),
        ("node: a\nmqtt: {timeout_s: 2m}", "f.yaml:3:8: mqtt.timeout_s: unknown key; did you mean timeout?"),
        ("node: a\nlimit: 1000", "f.yaml:3:8: limit: needs a unit: write one such as 64KiB, not 1000"),
        ("node: a\nlimit: 1MiB", "f.yaml:3:8: limit: must be 1KiB to 64KiB, not '1MiB'"),
        ("node: a\nfolder: ''", "f.yaml:3:9: folder: must be a path, not ''"),
        ("node: a\nfolder: ~nobody-here/x", "f.yaml:3:9: folder: there is no home folder for '~nobody-here/x'"),
        ("node: a\nfolder: 5", 'f.yaml:3:9: folder: must be a path, not 5; put it in quotes: "5"'),
        ("node: a\ntags: a", "f.yaml:3:7: tags: must be a list, not text"),
        ("node: a\ntags: [a, 1]", 'f.yaml:3:11: tags[1]: must be text, not 1; put it in quotes: "1"'),
        ("node: a\npair: [1]", "f.yaml:3:7: pair: must be a list of 2, not of 1"),
        ("node: a\npair: [1, x]", "f.yaml:3:11: pair[1]: must be a number, not 'x'"),
        ("node: a\nlabels: [a]", "f.yaml:3:9: labels: must be a map, not a list"),
        ("node: a\nlevel: 1.5", "f.yaml:3:8: level: must be a whole number or text, not 1.5"),
        ("node: a\nretry: soon", "f.yaml:3:8: retry: must be a duration such as 30s or never or a map, not 'soon'"),
        ("node: a\nretry: {hots: x}", "f.yaml:3:9: retry.hots: unknown key; did you mean host?"),
        ("node: a\ntargets: [1]", 'f.yaml:3:11: targets[0]: must be text, not 1; put it in quotes: "1"'),
        ("node: a\ntargets: {}", "f.yaml:3:10: targets: must be text or a list, not a map"),
        ("node: a\nsize_limit: x", "f.yaml:3:13: size_limit: must be a size such as 64KiB or true or false, not 'x'"),
        ("node: a\ncolour: red", "f.yaml:3:9: colour: must be a colour such as #ff0000"),
        ("node: a\nsensors: {door: 5}", "f.yaml:3:17: sensors.door: must be a map, not a number"),
        ("node: a\nsensors: {door: {}}", "f.yaml:3:17: sensors.door.kind: is missing; one of pir, thermometer"),
        (
            "node: a\nsensors: {door: {kind: pri}}",
            "f.yaml:3:24: sensors.door.kind: must be one of pir, thermometer, not 'pri'; did you mean pir?",
        ),
        ("node: a\nsensors: {Door: {kind: pir, pin: 1}}", f"f.yaml:3:17: sensors.Door: must be {A_NAME}, not 'Door'"),
        ("node: a\nsensors: {door: {kind: pir}}", "f.yaml:3:17: sensors.door.pin: is missing"),
        ("node: a\nsensors: {a: {kind: pir, pin: 1}}", "f.yaml:3:14: sensors.a: has the name of the node"),
        (
            "node: a\nsensors: {b: {kind: thermometer, low: 50, high: 40}}",
            "f.yaml:3:49: sensors.b.high: must be above low",
        ),
        ("node: a\nsensors: {b: {kind: thermometer, low: 50}}", "f.yaml:3:14: sensors.b.high: must be above low"),
        ("node: a\ntags: [a, b]", "f.yaml:3:11: tags[1]: must not follow a"),
        ("node: a\ntags: [a, b, c]", "f.yaml:3:7: tags[9].x: too many"),
    ],
)
def test_a_mistake_is_told_with_its_place_and_in_words(text: str, told: str) -> None:
    assert wrong(text) == [told]


def test_every_mistake_is_told_at_once_also_what_fields_must_agree_on() -> None:
    assert wrong("""\
node: Pi
mqtt:
  port: x
  password: "123"
sensors:
  a: {kind: thermometer, low: 9, high: 1}
  b: {kind: pir, warm_up: 5}
tags: [1, a]
brokers:
  - {port: -1}
  - {password: x}
more: A
""") == [
        f"f.yaml:2:7: node: must be {A_NAME}, not 'Pi'",
        "f.yaml:4:3: mqtt.user: a password needs a user",
        "f.yaml:4:9: mqtt.port: must be a whole number, not 'x'",
        "f.yaml:7:40: sensors.a.high: must be above low",
        "f.yaml:8:6: sensors.b.pin: is missing",
        "f.yaml:8:27: sensors.b.warm_up: needs a unit: write one such as 30s, not 5",
        'f.yaml:9:8: tags[0]: must be text, not 1; put it in quotes: "1"',
        "f.yaml:11:12: brokers[0].port: must be 0 to 65535, not -1",
        "f.yaml:12:5: brokers[1].user: a password needs a user",
        "f.yaml:13:7: more: must be lower-case letters, not 'A'",
    ]  # fmt: skip


def test_what_is_wrong_in_itself_need_not_agree_with_others() -> None:
    assert wrong("node: a\nsensors: {b: {kind: thermometer, low: 50, high: x}}") == [
        "f.yaml:3:49: sensors.b.high: must be a number, not 'x'"
    ]


@pytest.mark.parametrize("given", ["12345", "[12345]", "0x12345", "{12345: x}"])
def test_a_secret_is_never_shown(given: str) -> None:
    (told,) = wrong(f"node: a\nmqtt: {{user: a, password: {given}}}")

    assert "mqtt.password: must be text, not" in told
    assert given not in told
    assert "12345" not in told
    (told,) = wrong("node: a\nmqtt: {user: 1}")
    assert told.endswith('must be text, not 1; put it in quotes: "1"')


def test_a_long_value_is_shown_by_its_beginning() -> None:
    (told,) = wrong(f"node: {'X' * 500}")
    assert len(told) < 250


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("node: a", "f.yaml:1:1: version: is missing; this program reads version: 1"),
        ("version: 2\nnode: a", "f.yaml:1:10: version: must be 1; this program does not know another"),
        ("version: true\nnode: a", "f.yaml:1:10: version: must be 1; this program does not know another"),
        ("[]", "f.yaml:1:1: must be a map, not a list"),
    ],
)
def test_a_file_says_its_version(text: str, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        decode(compose(text, "f.yaml"), Settings, base=Path())
    assert str(caught.value) == told


def test_an_empty_file_lacks_its_version_even_when_nothing_else_is_needed() -> None:
    with pytest.raises(ConfigError, match="version: is missing"):
        decode(compose("", "f.yaml"), Broker, base=Path())


def test_a_file_is_loaded_and_its_paths_start_from_its_folder(tmp_path: Path) -> None:
    path = tmp_path / "agent.yaml"
    path.write_text("version: 1\nnode: a\nfolder: state\n")

    assert load(path, Settings, environ={"GPIO_BRIDGE_MODE": "manual"}) == Settings(
        "a", mode="manual", folder=tmp_path / "state"
    )


def test_the_environment_wins_over_the_file() -> None:
    environ = {
        "GPIO_BRIDGE_NODE": "0123",
        "GPIO_BRIDGE_MQTT_PORT": "8883",
        "GPIO_BRIDGE_MQTT_TIMEOUT": "5s",
        "GPIO_BRIDGE_MQTT_USER": "5",
        "GPIO_BRIDGE_ENABLED": "false",
        "GPIO_BRIDGE_FACTOR": "1e3",
        "GPIO_BRIDGE_TAGS": "a, b c,,",
        "GPIO_BRIDGE_FOLDER": "/srv",
        "GPIO_BRIDGE_EVERY": "1m",
        "GPIO_BRIDGE_MORE": "abc",
        "OTHER": "1",
    }
    settings = read("node: b\nmqtt: {host: h, port: 1}", environ)

    assert (settings.node, settings.mqtt) == ("0123", Broker("h", 8883, "5", timeout_s=5.0))
    assert (settings.enabled, settings.factor, settings.tags) == (False, 1000.0, ("a", "b c"))
    assert (settings.folder, settings.every_s, settings.extra) == (Path("/srv"), 60.0, "abc")


def test_a_duration_of_zero_may_come_from_the_environment_too() -> None:
    @dataclass(frozen=True)
    class Pause:
        pause_s: Annotated[float, Seconds()] = 1.0

    assert decode(compose("version: 1\npause: 0", "f"), Pause, base=Path()).pause_s == 0.0
    environ = {"GPIO_BRIDGE_PAUSE": "0"}
    assert decode(compose("version: 1", "f"), Pause, base=Path(), environ=environ).pause_s == 0.0


def test_a_mistake_in_the_environment_is_told_by_its_variable() -> None:
    environ = {"GPIO_BRIDGE_MQTT_PORT": "many", "GPIO_BRIDGE_TAGS": "", "GPIO_BRIDGE_FACTOR": ""}

    assert wrong("node: a", environ) == [
        "GPIO_BRIDGE_FACTOR: factor: must be a number, not nothing",
        "GPIO_BRIDGE_MQTT_PORT: mqtt.port: must be a whole number, not 'many'",
    ]


def test_the_environment_does_not_hide_a_mistake_in_the_file() -> None:
    assert wrong("node: a\nmqtt: localhost", {"GPIO_BRIDGE_MQTT_PORT": "1"}) == [
        "f.yaml:3:7: mqtt: must be a map, not text"
    ]


def test_the_variables_of_a_program_are_its_settings_without_maps_and_lists_of_objects() -> None:
    names = [variable.name.removeprefix("GPIO_BRIDGE_") for variable in variables(Settings)]

    assert names == [
        "NODE", "MQTT_HOST", "MQTT_PORT", "MQTT_USER", "MQTT_PASSWORD", "MQTT_TIMEOUT", "MQTT_RETRIES", "MODE", "LIMIT",
        "EVERY", "FACTOR", "HIGH", "ENABLED", "FOLDER", "TAGS", "REST", "RETRY", "COLOUR", "MORE",
    ]  # fmt: skip
    assert len(set(names)) == len(names)


def test_a_duplicate_key_does_not_hide_the_other_mistakes_of_a_file(tmp_path: Path) -> None:
    file = tmp_path / "agent.yaml"
    file.write_text(
        "version: 1\nnode: Pi 1\nstate_dir: s\nsensors:\n  door: {kind: pirr, pin: 17}\n  door: {kind: pir, pin: 18}\n",
        encoding="utf-8",
    )
    with pytest.raises(ConfigError) as caught:
        load(file, AgentSettings)
    assert [(problem.line, problem.key) for problem in caught.value.problems] == [
        (2, "node"),
        (5, "sensors.door.kind"),
        (6, "sensors.door"),
    ]


def test_a_duplicate_key_alone_is_told_too(tmp_path: Path) -> None:
    file = tmp_path / "agent.yaml"
    file.write_text("version: 1\nnode: pi-1\nstate_dir: s\nnode: pi-2\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"agent\.yaml:4:1: node: the key is already given in line 2"):
        load(file, AgentSettings)
