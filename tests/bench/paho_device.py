"""A device that is none of Keyfob's: a program on paho-mqtt, good, or with one flaw.

    python paho_device.py --port 8883 --identity FOLDER --id paho-1 --version 5 --flaw no-resend

It keeps a persistent session, publishes its status retained and a reading a second (QoS 1),
subscribes to ``devices/<id>/command`` (QoS 1), waits between attempts with full jitter, and
drops a connection on which PUBACK or SUBACK do not come. It runs until it is killed.
"""

from __future__ import annotations

import argparse
import random
import ssl
import time
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

FLAWS = (
    "constant-delay",  # a second between attempts, always
    "no-pingresp-check",  # takes a silent connection for a good one
    "no-resend",  # forgets what was not acknowledged
    "live-resend",  # sends again while the connection stands
    "no-subscribe-retry",  # waits for its SUBACK for ever
    "no-resubscribe",  # subscribes once in its life
    "drops-large",  # closes the connection at a message of more than 4 KB
    "no-verify",  # takes any broker
)
KEEPALIVE_S = 5
ANSWER_LIMIT_S = 25.0  # longer than a lost connection goes unnoticed, which is a flaw of its own
PERIOD_S = 1.0
FIRST_DELAY_S = 0.5


class Device:
    def __init__(self, given: argparse.Namespace) -> None:
        self.given = given
        self.flaw = given.flaw
        self.topic = f"devices/{given.id}"
        self.is_5 = given.version == 5
        self.attempts = self.sequence = 0
        self.is_up = False
        self.has_subscribed = False
        self.asked_s: float | None = None  # the SUBSCRIBE that waits for its SUBACK
        self.published: dict[int, tuple[float, bytes]] = {}  # those without a PUBACK
        self.client = self.make()

    def make(self) -> paho.Client:
        made = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=self.given.id,
            clean_session=None if self.is_5 else False,
            protocol=MQTTProtocolVersion.MQTTv5 if self.is_5 else MQTTProtocolVersion.MQTTv311,
            reconnect_on_failure=False,
        )
        context = ssl.create_default_context(cafile=self.given.identity / "ca.pem")
        context.load_cert_chain(self.given.identity / "chain.pem", self.given.identity / "key.pem")
        if self.flaw == "no-verify":
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        made.tls_set_context(context)
        made.will_set(self.topic + "/status", b"offline", 1, True)
        made.on_connect = self.on_connect
        made.on_subscribe = self.on_subscribe
        made.on_publish = self.on_publish
        made.on_message = self.on_message
        made.connect_timeout = 15
        return made

    def run(self) -> None:
        while True:
            try:
                self.connect()
                self.serve()
            except (OSError, ValueError) as error:
                print("ended:", repr(error), flush=True)
            time.sleep(self.delay_s())

    def connect(self) -> None:
        if self.flaw == "no-resend":
            self.client = self.make()
            self.published = {}
        self.is_up, self.asked_s = False, None
        how: dict[str, Any] = {}
        if self.is_5:
            kept = Properties(PacketTypes.CONNECT)
            kept.SessionExpiryInterval = 3600
            how = {"clean_start": False, "properties": kept}
        self.client.connect(self.given.host, self.given.port, KEEPALIVE_S, **how)

    def serve(self) -> None:
        """One connection, to its end."""
        began_s = due_s = time.monotonic()
        while self.client.loop(0.1) == paho.MQTT_ERR_SUCCESS:
            now_s = time.monotonic()
            if self.flaw == "no-pingresp-check":
                self.client._ping_t = 0
            if not self.is_up:
                if now_s - began_s > ANSWER_LIMIT_S:
                    raise OSError("no CONNACK")
                continue
            if now_s >= due_s:
                due_s = now_s + PERIOD_S
                self.sequence += 1
                if len(self.published) < 4:
                    self.publish(f'{{"seq": {self.sequence}}}'.encode())
            self.check_answers(now_s)

    def publish(self, payload: bytes) -> None:
        properties = None
        if self.is_5:
            properties = Properties(PacketTypes.PUBLISH)
            properties.UserProperty = ("unit", "pieces")
        info = self.client.publish(self.topic + "/reading", payload, 1, properties=properties)
        self.published[info.mid] = time.monotonic(), payload

    def check_answers(self, now_s: float) -> None:
        late = [mid for mid, (at_s, _) in self.published.items() if now_s - at_s > ANSWER_LIMIT_S]
        if late and self.flaw == "live-resend":
            for mid in late:
                payload = self.published[mid][1]
                self.published[mid] = now_s, payload
                topic = (self.topic + "/reading").encode()
                self.client._send_publish(mid, topic, payload, 1, False, True)
        elif late:
            self.leave("no PUBACK")
        waits_for_ever = self.asked_s is None or self.flaw == "no-subscribe-retry"
        if not waits_for_ever and now_s - self.asked_s > ANSWER_LIMIT_S:
            self.leave("no SUBACK")

    def leave(self, why: str) -> None:
        """Drop the connection; paho sends again, on the next, what was not acknowledged."""
        self.client.disconnect()
        raise OSError(why)

    def delay_s(self) -> float:
        self.attempts += 1
        if self.flaw == "constant-delay":
            return 1.0
        most_s = min(FIRST_DELAY_S * 2 ** (self.attempts - 1), self.given.ceiling_s)
        return random.uniform(0, most_s)

    # -- called by paho

    def on_connect(self, client: Any, _user: Any, flags: Any, code: Any, _properties: Any) -> None:
        if code.is_failure:
            return
        self.is_up, self.attempts = True, 0
        now_s = time.monotonic()  # when paho sends them again
        self.published = {mid: (now_s, text) for mid, (_, text) in self.published.items()}
        client.publish(self.topic + "/status", b"online", 0, True)
        if flags.session_present or (self.flaw == "no-resubscribe" and self.has_subscribed):
            return
        client.subscribe(self.topic + "/command", 1)
        self.has_subscribed = True
        self.asked_s = time.monotonic()

    def on_subscribe(self, *_: Any) -> None:
        self.asked_s = None

    def on_publish(self, _client: Any, _user: Any, mid: int, *_: Any) -> None:
        self.published.pop(mid, None)

    def on_message(self, _client: Any, _user: Any, message: paho.MQTTMessage) -> None:
        print("message:", message.topic, len(message.payload), flush=True)
        if self.flaw == "drops-large" and len(message.payload) > 4096:
            raise OSError("no memory")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--identity", type=Path, required=True)
    parser.add_argument("--id", required=True)
    parser.add_argument("--version", type=int, choices=(4, 5), default=4)
    parser.add_argument("--flaw", choices=FLAWS)
    parser.add_argument("--ceiling-s", type=float, default=20.0, help="of the waits")
    Device(parser.parse_args()).run()


if __name__ == "__main__":
    main()
