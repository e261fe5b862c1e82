"""Alerts and dashboards, on a real Prometheus that the manager tells whom to ask, and a house of real programs."""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from bridge.manager.access.roles import Role
from bridge.manager.access.tokens import mint_token
from tests.ports import free_port
from tests.prometheus import STACK, Prometheus
from tests.real_parts import find, require
from tests.system.processes import Program, until
from tests.system.programs import Site

pytestmark = pytest.mark.real("mosquitto", "prometheus")

ALERT_TESTS = Path(__file__).with_name("alerts_test.yml")
DASHBOARDS = sorted(STACK.glob("dashboard-*.json"))
_METRIC = re.compile(r"\b(?:gpio_bridge_|gateway_|up\b|ALERTS\b)\w*")
_OWN = frozenset({"up", "ALERTS"})
"""What Prometheus makes itself."""
NOTHING_OF = (
    "async_calls_total", "replica_restarts_total", "scalings_total", "readings_total",
)  # fmt: skip
"""Counters with labels that show nothing on a dashboard, because it does not happen in this house."""
_TEXTS = re.compile(r"\"[^\"]*\"")


def alerts() -> list[dict[str, Any]]:
    document = yaml.safe_load((STACK / "alerts.yml").read_text(encoding="utf-8"))
    return [alert for group in document["groups"] for alert in group["rules"]]


def panels() -> Iterator[tuple[str, str]]:
    """Every expression of every dashboard, with where it stands."""
    for file in DASHBOARDS:
        for panel in json.loads(file.read_text(encoding="utf-8"))["panels"]:
            for target in panel["targets"]:
                yield f"{file.stem}: {panel['title']}", target["expr"]


def filled(expression: str) -> str:
    """The expression as Grafana sends it, with everything chosen."""
    return re.sub(r"\$(?:node|function_name)\b", ".*", expression.replace("$__rate_interval", "30s"))


class House:
    """A site, its manager, and the Prometheus that the manager tells whom to ask."""

    def __init__(self, folder: Path) -> None:
        sensors: dict[str, Any] = {
            "quiet": {"kind": "digital", "pin": 5, "expect": {"silent": "2s"}},
            "jammed": {"kind": "digital", "pin": 6, "expect": {"stuck": "2s"}},
            "loose": {"kind": "digital", "pin": 17, "debounce": "0s", "expect": {"flapping": 60}},
            "gate": {"kind": "digital", "pin": 27},
        }
        self.site = Site(
            folder,
            agents={"pi-1": {"sensors": sensors}, "pi-2": {"sensors": {"door": {"kind": "digital", "pin": 17}}}},
            mappings={
                "gate": {"select": {"sensor": "gate"}, "invoke": "seen"},
                "loose": {"select": {"sensor": "loose"}, "invoke": "slow"},
            },
            functions=("seen", "slow"),
            dispatcher={"breaker": {"failures": 2}},
        )
        token = folder / "prometheus-token"
        token.write_text(mint_token("prometheus", Role.VIEWER, "")[1], encoding="utf-8")
        mappings = folder / "manager-mappings.yaml"
        mappings.write_text('{"version": 1, "mappings": {"gate": {"select": {"sensor": "gate"}, "invoke": "seen"}}}')
        port = free_port()
        settings = {
            "mappings": str(mappings), "mqtt": {"port": self.site.broker.port, "reconnect_max": "500ms"},
            "http": {"port": port}, "auth": {"viewers": {"prometheus": str(token)}},
            "gateway": {"url": self.site.gateway.url}, "dispatcher": {"url": self.site.dispatcher.url},
        }  # fmt: skip
        self.manager = Program(folder, "manager", settings, port)
        self.prometheus = Prometheus(
            folder,
            {"http://manager:8088": f"http://127.0.0.1:{port}", "/run/secrets/prometheus-token": str(token)},
        )

    def until(self, condition: Callable[[], object], what: str, within_s: float = 60.0) -> None:
        until(condition, what, within_s, lambda: f"firing: {self.prometheus.firing()}\n{self.prometheus.told()}")

    def fires(self, alert: str, about: str) -> None:
        self.until(lambda: (alert, about) in self.prometheus.firing(), f"{alert} fires for {about or 'the house'}")


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    house = House(tmp_path_factory.mktemp("house"))
    with house.site:
        house.manager.start()
        try:
            house.manager.ready()
            with house.prometheus:
                house.until(house.prometheus.ready, "Prometheus is ready")
                yield house
        finally:
            house.manager.kill()


def test_prometheus_finds_every_program_by_itself(house: House) -> None:
    prometheus = house.prometheus
    everybody = {"agent pi-1", "agent pi-2", "dispatcher main", "gateway gateway", "manager manager"}
    house.until(lambda: set(prometheus.targets()) == everybody, "everybody is found")
    house.until(lambda: {one["health"] for one in prometheus.targets().values()} == {"up"}, "everybody answers")
    labels = {name: one["labels"] for name, one in prometheus.targets().items()}
    assert (labels["agent pi-1"]["node"], labels["agent pi-1"]["job"]) == ("pi-1", "agent")
    assert labels["dispatcher main"]["role"] == "active"


def test_silent_stuck_and_flapping_sensors_an_open_breaker_and_a_growing_queue_fire(house: House) -> None:
    agent = house.site.agent
    house.fires("SensorSilent", "quiet")
    assert ("SensorStuck", "jammed") not in house.prometheus.firing()
    agent.drive("jammed", "on")
    house.fires("SensorStuck", "jammed")
    # A function that answers 503 has its breaker opened; what the loose contact invokes waits, more and more of it.
    house.site.gateway.order("503", "slow")
    waited_for = {("SensorFlapping", "loose"), ("BreakerOpen", "slow"), ("LanesGrow", "main")}
    deadline = time.monotonic() + 40
    while not waited_for <= house.prometheus.firing():
        assert time.monotonic() < deadline, f"not within 40 s: {waited_for - house.prometheus.firing()}"
        for _ in range(10):
            agent.toggle("loose")
    assert ("SensorFlapping", "gate") not in house.prometheus.firing()
    agent.drive("jammed", "off")
    agent.toggle("quiet")
    house.site.gateway.order("ok", "slow")
    over = {*waited_for, ("SensorStuck", "jammed")}
    house.until(lambda: not over & house.prometheus.firing(), "all of it is over")


def test_every_expression_of_alerts_and_dashboards_is_answered_and_names_no_unknown_metric(house: House) -> None:
    house.site.agent.toggle("gate")
    house.site.wait_for_calls(1, "seen")
    house.until(lambda: house.prometheus.query('gateway_function_invocation_total{code="200"}'), "the call is counted")
    known, unknown, empty = house.prometheus.known() | _OWN, [], []
    found = [(alert["alert"], alert["expr"]) for alert in alerts()] + list(panels())
    assert len(found) > 80
    for where, expression in found:
        answer = house.prometheus.query(filled(expression))
        if where.startswith("dashboard-") and not answer:
            empty.append(f"{where}: {expression}")
        for name in _METRIC.findall(_TEXTS.sub("", expression)):
            if name not in known and re.sub("_(?:bucket|sum|count)$", "", name) not in known:
                unknown.append(f"{where}: {name}")
    assert unknown == []
    silent = [each for each in empty if not any(name in each for name in NOTHING_OF)]
    assert silent == []


def test_the_two_queries_of_openfaas_dashboards_are_answered(house: House) -> None:
    def named(expression: str) -> set[str]:
        return {sample["metric"]["function_name"] for sample in house.prometheus.query(expression)}

    house.until(lambda: "seen.openfaas-fn" in named("rate(gateway_function_invocation_total[20s])"), "a rate is known")
    assert named("gateway_service_count") == {"seen.openfaas-fn", "slow.openfaas-fn"}


def test_a_node_a_dispatcher_and_a_broker_that_are_gone_fire(house: House) -> None:
    house.site.agents["pi-2"].kill()
    house.fires("NodeOffline", "pi-2")
    # It is known to be away, so that Prometheus cannot ask it is no news.
    assert "AgentUnreachable" not in {alert for alert, _ in house.prometheus.firing()}
    house.site.dispatcher.kill()
    house.fires("DispatcherDown", "")
    house.fires("DispatcherUnreachable", "main")
    house.site.broker.kill()
    house.fires("BrokerDown", "manager")
    house.fires("AgentNotConnected", "pi-1")
    # Nobody is heard of any more, which is not the same as offline.
    house.until(lambda: ("NodeOffline", "pi-2") not in house.prometheus.firing(), "nodes are not accused")
    house.site.gateway.kill()
    house.fires("GatewayDown", "")
    house.manager.kill()
    house.fires("ManagerDown", "")


def test_the_alerts_do_what_their_tests_say() -> None:
    require("promtool")
    ran = subprocess.run(
        [find("promtool") or "", "test", "rules", str(ALERT_TESTS)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_every_alert_has_a_test_in_which_it_fires_and_says_how_bad_it_is_and_what_to_do() -> None:
    expected = yaml.safe_load(ALERT_TESTS.read_text(encoding="utf-8"))
    fired = {
        found
        for test in expected["tests"]
        for query in test["promql_expr_test"]
        for sample in query["exp_samples"]
        for found in re.findall(r'alertname="(\w+)"', sample["labels"])
    }
    assert fired == {alert["alert"] for alert in alerts()}
    for alert in alerts():
        assert alert["labels"]["severity"] in ("critical", "warning", "info", "major"), alert["alert"]
        assert set(alert["annotations"]) == {"summary", "description"}, alert["alert"]
