"""Raises an alert when somebody is where nobody should be.

A function for a mapping: the dispatcher posts the event of a motion sensor or a laser tripwire, and this turns it into an
alert. The alert goes to the function's log; as a line of JSON to the file named by the environment variable `alert_log`,
if set; and to a webhook (a chat, a pager) whose address is in the secret `alert-webhook`, if there is one. An event that
comes twice alerts once: see `alerting.py` for how. `alert_events` says which events count. Answers tell the dispatcher what
to do: 200 is done, 4xx is a mistake that repeating won't mend, 5xx means try again later.
"""

import os

from .alerting import Alerts, NotAnEvent, answer, place, read_event, send_and_answer

ALERT_EVENTS = [name.strip() for name in os.environ.get("alert_events", "motion.detected,beam.broken").split(",")]

alerts = Alerts()


def handle(event, context):
    try:
        received = read_event(event)
    except NotAnEvent as problem:
        return answer(400, {"alerted": False, "error": str(problem)})
    happened = received["data"].get("event") or received["type"]
    if happened not in ALERT_EVENTS:
        return answer(200, {"alerted": False, "reason": f"{happened} is not among {', '.join(ALERT_EVENTS)}"})
    alert = {
        "text": f"Intruder: {happened} at {place(received)}",
        "severity": "critical",
        "event": happened,
        "event_id": received["id"],
        "source": received["source"],
        "happened_at": received.get("time"),
    }
    return send_and_answer(alerts, event, received, alert)
