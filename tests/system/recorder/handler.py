"""The function of the system tests: notes each call in a file, then answers as it was ordered to.

`CALLS` and `ORDERS` in its environment name the two files. A line that says `ok` was answered with 200; every other one
was spoilt in the way it says, after it was noted.
"""

import json
import os
import time
from pathlib import Path
from typing import Any

_FUNCTION = Path(os.environ["CALLS"]).stem
_CALLS = os.open(os.environ["CALLS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
_ORDERS = Path(os.environ["ORDERS"])


def handle(event: Any, context: Any) -> dict[str, Any]:
    """Note the call, then do as ordered."""
    orders = json.loads(_ORDERS.read_text(encoding="utf-8"))
    try:
        body = json.loads(event.body)
    except ValueError:
        body = event.body.decode("utf-8", "replace")
    answer = orders["answer"] if _meant(body, orders) else "ok"
    if orders.get("pause_s"):
        time.sleep(orders["pause_s"])
    line = {
        "function": _FUNCTION,
        "answer": answer,
        "at": time.time(),
        "key": event.headers.get("Idempotency-Key"),
        "event_id": event.headers.get("X-Event-Id"),
        "body": body,
    }
    os.write(_CALLS, json.dumps(line).encode() + b"\n")  # one write at the end of the file: never mixed with another's
    return _answer(answer, orders)


def _meant(body: Any, orders: dict[str, Any]) -> bool:
    """Whether the orders are for this call: for all, or for events whose sequence is a multiple of `every`."""
    every = orders.get("every")
    if every is None:
        return True
    return isinstance(body, dict) and int(body.get("sequence") or 1) % int(every) == 0


def _answer(answer: str, orders: dict[str, Any]) -> dict[str, Any]:
    match answer:
        case "hang":
            time.sleep(orders.get("hang_s", 5.0))
        case "crash":
            os._exit(3)
        case "garbage":
            _say(b"\x00\x16\x03 this is no HTTP\r\n\r\n")
        case "half":
            _say(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 100\r\n\r\nonly half of")
        case "429":
            return {"statusCode": 429, "body": "later", "headers": {"Retry-After": str(orders.get("retry_after_s", 1))}}
        case "ok":
            return {"statusCode": 200, "body": "noted"}
        case status:
            return {"statusCode": int(status), "body": f"ordered to answer {status}"}
    return {"statusCode": 500, "body": answer}


def _say(text: bytes) -> None:
    """Write to whoever is connected what the function server would never write, and end."""
    for descriptor in Path("/proc/self/fd").iterdir():
        try:
            if str(descriptor.readlink()).startswith("socket:"):
                os.write(int(descriptor.name), text)
        except OSError:
            continue  # the listening socket, or one that is closed already
    os._exit(4)
