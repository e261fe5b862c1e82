"""A fake peer: a process that POSTs every message of a topic, one at a time; killed, it forgets what it had."""

from __future__ import annotations

import http.client
import queue
import sys
import threading
from urllib.parse import urlsplit

from paho.mqtt.client import Client, ConnectFlags, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode


def main(port: int, topic: str, url: str) -> None:
    """Acknowledge at once, POST later."""
    received: queue.SimpleQueue[bytes] = queue.SimpleQueue()

    def post() -> None:
        place = urlsplit(url)
        connection = http.client.HTTPConnection(place.hostname or "", place.port)
        while True:
            connection.request("POST", place.path, received.get())
            connection.getresponse().read()

    def took(client: Client, userdata: object, message: MQTTMessage) -> None:
        received.put(bytes(message.payload))

    def connected(
        client: Client, userdata: object, flags: ConnectFlags, code: ReasonCode, _: Properties | None
    ) -> None:
        client.subscribe(topic, qos=1)

    threading.Thread(target=post, daemon=True).start()
    client = Client(CallbackAPIVersion.VERSION2)
    client.on_message = took
    client.on_connect = connected
    client.connect("127.0.0.1", port)
    client.loop_forever()


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], sys.argv[3])
