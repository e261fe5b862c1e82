"""What both alert functions share: reading an event, alerting once per key, and where an alert goes.

A function's folder is all that gets into its image, so this file lies in both folders, word for word the same.
"""

import json
import os
import sys
import threading
from collections import OrderedDict
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import unquote, urlsplit

SECRETS = "/var/openfaas/secrets"
WEBHOOK = "alert-webhook"
WEBHOOK_TIMEOUT_S = 5.0
REMEMBERED_KEYS = 10_000


class NotAnEvent(ValueError):
    """The request holds no event that can be used; the text tells the caller why."""


class NotDelivered(RuntimeError):
    """An alert could not be handed on; trying again later may help."""


def read_event(request) -> dict:
    """The CloudEvent in a request, in either of HTTP's two forms.

    Structured: the body is the whole event as JSON. Binary: the body is the data, everything else stands in `ce-` headers.
    """
    try:
        content = json.loads(request.body)
    except ValueError as problem:
        raise NotAnEvent(f"The body is no JSON: {problem}.") from None
    if "ce-specversion" in request.headers:
        event = {
            name.lower().removeprefix("ce-"): unquote(value)
            for name, value in request.headers.items()
            if name.lower().startswith("ce-")
        }
        event["data"] = content
    elif isinstance(content, dict):
        event = content
    else:
        raise NotAnEvent("The body is JSON, but no object, and there are no ce- headers: this is no CloudEvent.")
    if event.get("specversion") != "1.0":
        raise NotAnEvent("There is no `specversion` 1.0: send a CloudEvent as JSON, or its data with ce- headers.")
    for name in ("id", "source", "type"):
        if not isinstance(event.get(name), str) or not event[name]:
            raise NotAnEvent(f"The event has no `{name}`, or it is no text.")
    if not isinstance(event.get("data"), dict):
        raise NotAnEvent("The event's `data` is no JSON object.")
    return event


def place(event: dict) -> str:
    """Where it happened, for people: `front-door on pi-1`."""
    data = event["data"]
    if isinstance(data.get("sensor"), str) and isinstance(data.get("node"), str):
        return f"{data['sensor']} on {data['node']}"
    return event.get("subject") or event["source"]


class Alerts:
    """Hands each alert on once.

    The dispatcher delivers at least once: after a crash or a lost answer it sends the same invocation again, with the same
    `Idempotency-Key`. A key counts as done only after the alert is out. The other order would lose the alert if something
    failed in between; this one may, very rarely, alert twice. Done keys are remembered in memory, and in the alert log if
    there is one, so that a restart doesn't forget them. Several replicas know of each other's only through a shared log.
    """

    def __init__(self) -> None:
        log = os.environ.get("alert_log")
        self._log = Path(log) if log else None
        self._lock = threading.Lock()
        self._in_work: set = set()
        self._done: OrderedDict = OrderedDict()
        for key in keys_in(self._log):
            self._remember(key)

    def send(self, key: str, alert: dict) -> str:
        """Hand an alert on: `sent`, `duplicate`, or `in work` when another thread is at it. Raises NotDelivered."""
        with self._lock:
            if key in self._done:
                return "duplicate"
            if key in self._in_work:
                return "in work"
            self._in_work.add(key)
        try:
            post(alert)
            self._record(key, alert)
            with self._lock:
                self._remember(key)
        finally:
            with self._lock:
                self._in_work.discard(key)
        # What a function prints is its log.
        print("ALERT", alert["text"])
        return "sent"

    def _record(self, key: str, alert: dict) -> None:
        if self._log is None:
            return
        line = json.dumps({"key": key, "alerted_at": datetime.now(UTC).isoformat(), **alert}) + "\n"
        try:
            # One write to a file opened for appending: lines of several threads don't mix.
            descriptor = os.open(self._log, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o600)
            try:
                size = os.fstat(descriptor).st_size
                if size and os.pread(descriptor, 1, size - 1) != b"\n":
                    line = "\n" + line  # the last line is torn; don't lose this one with it
                os.write(descriptor, line.encode())
            finally:
                os.close(descriptor)
        except OSError as problem:
            raise NotDelivered(f"The alert log {self._log} can't be written: {problem.strerror}.") from None

    def _remember(self, key: str) -> None:
        self._done[key] = None
        while len(self._done) > REMEMBERED_KEYS:
            self._done.popitem(last=False)


def keys_in(log) -> list:
    """The keys in an alert log; a line that can't be read (the power went while it was written) is passed over."""
    if log is None or not log.exists():
        return []
    keys = []
    with log.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            try:
                keys.append(str(json.loads(line)["key"]))
            except (ValueError, KeyError, TypeError):
                print("passed over a line of the alert log that can't be read", file=sys.stderr)
    return keys[-REMEMBERED_KEYS:]


def post(alert: dict) -> None:
    """Post an alert to the webhook, if one is set. Its address is a secret and never shown or logged."""
    url = webhook_url()
    if url is None:
        return
    # Slow to load, and not needed without a webhook.
    import urllib.error
    import urllib.request

    request = urllib.request.Request(
        url, data=json.dumps(alert).encode(), headers={"Content-Type": "application/json"}, method="POST"
    )
    try:
        with urllib.request.urlopen(request, timeout=WEBHOOK_TIMEOUT_S):
            return
    except urllib.error.HTTPError as problem:
        problem.close()
        raise NotDelivered(f"The webhook answered with status {problem.code}.") from None
    except (OSError, ValueError) as problem:
        raise NotDelivered(f"The webhook can't be reached ({type(problem).__name__}).") from None


def webhook_url():
    """The webhook's address from its secret file, read each time so that a changed secret counts at once."""
    named = os.environ.get("alert_webhook_file")
    # A gateway that cannot mount secrets where OpenFaaS does says in `secret_path` where they are.
    path = Path(named) if named else Path(os.environ.get("secret_path", SECRETS), WEBHOOK)
    try:
        url = path.read_text().strip()
    except FileNotFoundError:
        if named:
            raise NotDelivered(f"The file {named}, named by alert_webhook_file, does not exist.") from None
        return None
    except (OSError, UnicodeDecodeError):
        raise NotDelivered(f"The webhook's secret file {path} can't be read.") from None
    if urlsplit(url).scheme not in ("http", "https"):
        raise NotDelivered(f"The webhook's secret file {path} holds no http or https address.")
    return url


def answer(status: int, content: dict) -> dict:
    return {"statusCode": status, "body": content, "headers": {"Content-Type": "application/json"}}


def send_and_answer(alerts: Alerts, request, event: dict, alert: dict) -> dict:
    """Hand an alert on and tell the caller what became of it."""
    key = request.headers.get("idempotency-key") or f"{event['source']} {event['id']}"
    try:
        outcome = alerts.send(key, alert)
    except NotDelivered as problem:
        # 5xx: the dispatcher tries again.
        return answer(502, {"alerted": False, "error": str(problem)})
    if outcome == "in work":
        return answer(503, {"alerted": False, "error": "The same alert is being sent right now."})
    return answer(200, {"alerted": outcome == "sent", "duplicate": outcome == "duplicate", **alert})
