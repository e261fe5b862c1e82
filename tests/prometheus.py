"""A real Prometheus for tests, with the files that we ship: this machine's addresses and short times put into them."""

from __future__ import annotations

import http.client
import json
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Self
from urllib.parse import quote

import yaml

from tests.ports import free_port
from tests.real_parts import find, require

STACK: Final = Path(__file__).resolve().parents[1] / "stack"
SHORT_S: Final = 4
_STOP_S: Final = 10.0
_ASK_S: Final = 10.0


def replaced(text: str, parts: Mapping[str, str]) -> str:
    """The text with other parts in place; each must be there to be replaced."""
    for before, after in parts.items():
        assert before in text, before
        text = text.replace(before, after)
    return text


def hurried(alerts: str) -> str:
    """The alerts as they are, but firing at once, and looking back some seconds in place of minutes and hours."""
    quick = re.sub(r"\bfor: \d+[smh]", "for: 0s", alerts)
    return re.sub(r"\[\d+[mh]\]", f"[{SHORT_S}s]", quick)


class Prometheus:
    """A context manager; `parts` are replaced in `prometheus.yml`, and the alerts are hurried."""

    def __init__(self, folder: Path, parts: Mapping[str, str]) -> None:
        require("prometheus")
        self.folder = folder / "prometheus"
        self.folder.mkdir()
        self.log = self.folder / "prometheus.log"
        self.port = free_port()
        shipped = {name: (STACK / name).read_text(encoding="utf-8") for name in ("prometheus.yml", "alerts.yml")}
        quick = {"_interval: 5s": "_interval: 1s", "refresh_interval: 15s": "refresh_interval: 1s"}
        self._file = self.folder / "prometheus.yml"
        document = yaml.safe_load(replaced(shipped["prometheus.yml"], {**quick, **parts}))
        # No swarm, no engine door.
        document["scrape_configs"] = [one for one in document["scrape_configs"] if one["job_name"] != "engine-door"]
        self._file.write_text(yaml.safe_dump(document), encoding="utf-8")
        (self.folder / "alerts.yml").write_text(hurried(shipped["alerts.yml"]), encoding="utf-8")
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        command = [find("prometheus") or "", f"--config.file={self._file}", f"--storage.tsdb.path={self.folder}/data",
                   f"--web.listen-address=127.0.0.1:{self.port}"]  # fmt: skip
        setpriv = shutil.which("setpriv")
        if setpriv is not None:
            command = [setpriv, "--pdeathsig", "KILL", *command]
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        return self

    def __exit__(self, *exc: object) -> None:
        assert self._process is not None
        self._process.terminate()
        self._process.wait(_STOP_S)

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The samples that answer an expression; it must be one that is understood."""
        found: list[dict[str, Any]] = self._api(f"query?query={quote(expression)}")["result"]
        return found

    def firing(self) -> set[tuple[str, str]]:
        """The alerts that fire, each with the sensor, node, function or program that it is about."""
        about = ("sensor", "node", "function", "instance")
        return {
            (labels["alertname"], next((labels[one] for one in about if one in labels), ""))
            for labels in (sample["metric"] for sample in self.query('ALERTS{alertstate="firing"}'))
        }

    def targets(self) -> dict[str, dict[str, Any]]:
        """Whom it asks, by program and instance."""
        active = self._api("targets?state=active")["activeTargets"]
        return {f"{one['labels']['program']} {one['labels']['instance']}": one for one in active}

    def known(self) -> set[str]:
        """Every metric that the programs it asks have told of, also those of which there is no sample yet."""
        return {one["metric"] for one in self._api("targets/metadata")}

    def told(self) -> str:
        """The end of its log."""
        return self.log.read_text(encoding="utf-8", errors="replace")[-3000:]

    def ready(self) -> bool:
        """Whether it answers questions."""
        try:
            return bool(self._api("query?query=1"))
        except (OSError, AssertionError):
            return False

    def _api(self, path: str) -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=_ASK_S)
        try:
            connection.request("GET", f"/api/v1/{path}")
            answer = connection.getresponse()
            document = json.loads(answer.read()) if answer.status < 500 else {"status": answer.status}
        finally:
            connection.close()
        assert document["status"] == "success", (path, document)
        return document["data"]
