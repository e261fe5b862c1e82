"""The units as systemd itself reads them."""

from __future__ import annotations

import configparser
import subprocess
import sys
from pathlib import Path

import pytest

from tests.real_parts import require

UNITS = sorted((Path(__file__).parents[2] / "systemd").glob("*.service"))
INSTALLED = "/opt/gpio-bridge/bin/gpio-bridge"


class _Unit(configparser.RawConfigParser):
    """A unit file: keys keep their case and may stand more than once (the last one counts here)."""

    def __init__(self, path: Path) -> None:
        super().__init__(strict=False, delimiters=("=",), comment_prefixes=("#",))
        self.optionxform = str  # type: ignore[assignment, method-assign] # the documented way to keep the case of keys
        self.read(path, encoding="utf-8")


@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.name)
def test_systemd_finds_nothing_to_complain_about(unit: Path, tmp_path: Path) -> None:
    require("systemd-analyze")
    executable = Path(sys.executable)
    copy = tmp_path / unit.name
    copy.write_text(unit.read_text(encoding="utf-8").replace(INSTALLED, str(executable)), encoding="utf-8")
    verified = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(copy)], capture_output=True, text=True, timeout=60, check=False
    )
    assert (verified.returncode, verified.stderr) == (0, "")


@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.name)
def test_a_program_notifies_is_watched_and_comes_back(unit: Path) -> None:
    service = _Unit(unit)["Service"]
    assert service["Type"] == "notify"
    assert int(service["WatchdogSec"]) > 0
    assert service["Restart"] == "always"
    assert service["RestartPreventExitStatus"] == "78"
    assert _Unit(unit)["Unit"]["StartLimitIntervalSec"] == "0"


@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.name)
def test_a_program_has_a_user_and_folders_of_its_own(unit: Path) -> None:
    service = _Unit(unit)["Service"]
    if unit.stem == "gpio-bridge-engine-door":  # its clients may not be what it is, and it keeps nothing
        assert (service["User"], service["DynamicUser"]) == (unit.stem, "yes")
        assert "StateDirectory" not in service
    else:
        assert service["User"] == "gpio-bridge"
        assert service["StateDirectory"].startswith("gpio-bridge/")
    assert service["RuntimeDirectory"] == unit.stem
    assert service["WorkingDirectory"] == f"/run/{unit.stem}"


@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.name)
def test_a_program_is_exposed_to_little_as_systemd_counts_it(unit: Path) -> None:
    require("systemd-analyze")
    # Of 100; a unit without any of it has 96.
    command = ["systemd-analyze", "security", "--no-pager", "--offline=yes", "--threshold=30", str(unit)]
    analyzed = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert analyzed.returncode == 0, analyzed.stdout


def test_the_agent_may_use_the_devices_of_its_pins_and_no_others() -> None:
    text = next(path for path in UNITS if "agent" in path.name).read_text(encoding="utf-8")
    allowed = {line.removeprefix("DeviceAllow=") for line in text.splitlines() if line.startswith("DeviceAllow=")}
    assert allowed == {"char-gpiochip rw", "char-spi rw", "char-i2c rw"}
    assert "SupplementaryGroups=gpio spi i2c" in text
    assert "PrivateDevices" not in text.replace("(PrivateDevices would hide them.)", "")
