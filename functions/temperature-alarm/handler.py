"""Raises an alert when it is too warm or too cold.

Judges the value in a thermometer's event against limits from the environment, in the sensor's own unit:
`temperature_high` (30), `temperature_low` (5) and `temperature_margin` (10): beyond a limit is a warning, beyond it by the
margin is critical, in between is normal and no alert. It remembers nothing about the sensor: the agent's filters already
say once, not a hundred times, that a threshold was crossed. Where alerts go and why none goes twice: see `alerting.py`.
"""

import math
import os

from .alerting import Alerts, NotAnEvent, answer, place, read_event, send_and_answer

HIGH = float(os.environ.get("temperature_high", "30"))
LOW = float(os.environ.get("temperature_low", "5"))
MARGIN = float(os.environ.get("temperature_margin", "10"))
if LOW >= HIGH:
    raise SystemExit(f"temperature_low ({LOW}) must be less than temperature_high ({HIGH}); change one of them")

alerts = Alerts()


def handle(event, context):
    try:
        received = read_event(event)
        value = number(received["data"].get("value"))
    except NotAnEvent as problem:
        return answer(400, {"alerted": False, "error": str(problem)})
    state, severity = classify(value)
    if state == "normal":
        return answer(200, {"alerted": False, "state": state, "severity": severity, "value": value})
    unit = received["data"].get("unit") or ""
    alert = {
        "text": f"Temperature {state}: {value:g} {unit}".rstrip() + f" at {place(received)}",
        "state": state,
        "severity": severity,
        "value": value,
        "event_id": received["id"],
        "source": received["source"],
        "happened_at": received.get("time"),
    }
    return send_and_answer(alerts, event, received, alert)


def classify(value: float) -> tuple:
    """State and severity of a temperature; the limits themselves are still normal."""
    if value > HIGH:
        return "high", "critical" if value > HIGH + MARGIN else "warning"
    if value < LOW:
        return "low", "critical" if value < LOW - MARGIN else "warning"
    return "normal", "info"


def number(value) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise NotAnEvent("The event's `data.value` is no number: this function takes the events of a thermometer.")
    return value
