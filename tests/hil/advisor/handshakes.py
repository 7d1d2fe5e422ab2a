"""A device's next TLS handshake with mosquitto, and what the wire tells of it."""

from __future__ import annotations

import re
import time

# So long a device may take to come again by itself: one that backs off waits up to minutes.
LIMIT_S = 150.0
_POLL_S = 0.05
_ACCEPTED = "New client connected from .* as {} "
# OpenSSL names an alert that it got, and of TLS 1.3 nobody else can: "tlsv1 alert unknown ca".
_ALERT = r"routines:.*alert ([a-z ]+)"


class Handshake:
    """``connection``: the tap's; ``is_accepted``: mosquitto let the device's CONNECT in;
    ``alert``: the name of the one the device sent, "" for none."""

    def __init__(self, connection, is_accepted: bool, alert: str) -> None:
        self.connection = connection
        self.is_accepted = is_accepted
        self.alert = alert

    @property
    def hello(self) -> dict:
        return self.connection.conversation.client_hello

    @property
    def is_complete(self) -> bool:
        """The device sent its Finished, by which it takes the broker for who it should be."""
        conversation = self.connection.conversation
        side = conversation.sides["board"]
        if conversation.version == "TLS 1.3":
            # Behind ServerHello all is encrypted: what is longer than an alert is more than one.
            return side.data_bytes > side.data_records * conversation.alert_record_bytes
        return side.has_finished

    def text(self) -> str:
        """What passed, a line each."""
        return "\n".join(str(event) for event in self.connection.events)


def next_handshake(device, broker, limit_s: float = LIMIT_S) -> Handshake:
    """That of the device's next connection, which is brought about: it was accepted, or ended."""
    device.restart()
    since_s = time.monotonic()  # what began before was of the device's life before
    broker.mark()
    broker.relay.cut()
    accepted = _ACCEPTED.format(re.escape(device.name) if device.name else r"\S+")
    end = time.monotonic() + limit_s
    while time.monotonic() < end:
        for one in [one for one in broker.tap.connections if one.opened_s > since_s]:
            is_accepted = re.search(accepted, broker.log()) is not None
            # One without a hello is a look whether somebody listens, or was cut at a restart.
            if one.conversation.client_hello and (is_accepted or not one.alive):
                return Handshake(one, is_accepted, _alert(one, broker))
        time.sleep(_POLL_S)
    assert False, f"the device did not begin a TLS handshake within {limit_s:g} s"  # noqa: B011


def _alert(connection, broker) -> str:
    for one in connection.conversation.alerts:
        if one.sender == "board" and not one.is_closing:
            return one.name
    found = re.search(_ALERT, broker.log())
    return found[1].strip().replace(" ", "_") if found else ""
