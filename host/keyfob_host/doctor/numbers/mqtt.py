"""MQTT's numbers: CONNACK return codes (3.1.1), reason codes (5.0), and what Arduino clients say.

MQTT 3.1.1 table 3.1; MQTT 5.0 section 2.4. The states below zero are those of PubSubClient
(``PubSubClient.h``), the errors below zero those of ArduinoMqttClient (``MqttClient.h``), and
-1 and -2 those of Eclipse Paho's Embedded C (``MQTTClient.h``).
"""

from __future__ import annotations

from keyfob_host.doctor.meaning import Entry, Meaning, meaning

RETURN_SOURCE = "MQTT 3.1.1, CONNACK return code"
REASON_SOURCE = "MQTT 5.0, reason code"
PUBSUB_SOURCE = "state() of PubSubClient, on Arduino boards"
ARDUINO_SOURCE = "connectError() of ArduinoMqttClient"
PAHO_SOURCE = "Eclipse Paho Embedded C"

_REFUSED = 0x80
_LOGIN = "authorization.not-mapped authorization.bad-password"
_CONNECT = (
    "tcp.listener-down tcp.wrong-port x509.wrong-anchor clock.board-never-set "
    "x509.name-not-in-san client-certificate.not-sent client-certificate.unknown-ca "
    "name.not-resolved tcp.unreachable tls.chain-over-buffer"
)
_LOST = "traffic.keep-alive mqtt.same-client-id wifi.weak-signal tcp.closed-by-peer"
_RETURNED: dict[int, Entry] = {
    0: ("connection accepted", "the broker let the client in; nothing is wrong", ""),
    1: ("unacceptable protocol version", "the broker does not speak this version of MQTT",
        "mqtt.protocol-version"),
    2: ("identifier rejected", "the broker refuses the client identifier",
        "mqtt.client-id-refused"),
    3: ("server unavailable", "the broker is up and cannot serve", "mqtt.broker-unavailable"),
    4: ("bad user name or password", "user name or password are wrong, or the certificate has no "
        "common name", "authorization.bad-password authorization.not-mapped"),
    5: ("not authorized", "the broker does not let this client in", _LOGIN),
}  # fmt: skip
_REASONS: dict[int, Entry] = {
    0x00: ("success", "nothing is wrong", ""),
    0x01: ("granted QoS 1", "nothing is wrong", ""),
    0x02: ("granted QoS 2", "nothing is wrong", ""),
    0x04: ("disconnect with will message", "the client left and wants its will sent", ""),
    0x10: ("no matching subscribers", "the message was taken; nobody is subscribed", ""),
    0x11: ("no subscription existed", "there was nothing to unsubscribe", ""),
    0x18: ("continue authentication", "enhanced authentication goes on", ""),
    0x19: ("re-authenticate", "enhanced authentication again", ""),
    0x80: ("unspecified error", "the broker refuses and does not say why",
           "mqtt.broker-unavailable authorization.denied-topic"),
    0x81: ("malformed packet", "a packet could not be read", "traffic.misused-protocol"),
    0x82: ("protocol error", "a packet is out of order", "traffic.misused-protocol"),
    0x83: ("implementation specific error", "the broker refuses for a reason of its own",
           "traffic.misused-protocol"),
    0x84: ("unsupported protocol version", "the broker does not speak this version of MQTT",
           "mqtt.protocol-version"),
    0x85: ("client identifier not valid", "the broker refuses the client identifier",
           "mqtt.client-id-refused"),
    0x86: ("bad user name or password", "user name or password are wrong",
           "authorization.bad-password authorization.not-mapped"),
    0x87: ("not authorized", "the broker does not allow this: to come in, or this topic",
           "authorization.not-mapped authorization.denied-topic authorization.bad-password"),
    0x88: ("server unavailable", "the broker is up and cannot serve", "mqtt.broker-unavailable"),
    0x89: ("server busy", "the broker is busy", "mqtt.broker-unavailable"),
    0x8A: ("banned", "the broker has banned this client; who administers it can lift that", ""),
    0x8B: ("server shutting down", "the broker is ending", "mqtt.broker-unavailable"),
    0x8C: ("bad authentication method", "the broker does not take this authentication method",
           "authorization.bad-password"),
    0x8D: ("keep alive timeout", "the broker heard nothing for 1.5 times the keep alive",
           "traffic.keep-alive"),
    0x8E: ("session taken over", "another client came with the same client identifier",
           "mqtt.same-client-id"),
    0x8F: ("topic filter invalid", "the broker does not take this topic filter",
           "traffic.misused-protocol"),
    0x90: ("topic name invalid", "the broker does not take this topic name",
           "traffic.misused-protocol"),
    0x91: ("packet identifier in use", "the two ends have different sessions in mind",
           "traffic.misused-protocol"),
    0x92: ("packet identifier not found", "the two ends have different sessions in mind",
           "traffic.misused-protocol"),
    0x93: ("receive maximum exceeded", "more messages in flight than the other end takes",
           "traffic.misused-protocol"),
    0x94: ("topic alias invalid", "a topic alias above the maximum", "traffic.misused-protocol"),
    0x95: ("packet too large", "the packet is larger than the other end takes",
           "traffic.packet-too-large"),
    0x96: ("message rate too high", "more messages than the broker allows",
           "traffic.misused-protocol"),
    0x97: ("quota exceeded", "a limit of the broker's is used up", "mqtt.too-many-connections"),
    0x98: ("administrative action", "somebody closed the connection at the broker", ""),
    0x99: ("payload format invalid", "the payload is not what its property says",
           "traffic.misused-protocol"),
    0x9A: ("retain not supported", "the broker keeps no retained messages",
           "traffic.misused-protocol"),
    0x9B: ("QoS not supported", "the broker does not take this QoS", "traffic.misused-protocol"),
    0x9C: ("use another server", "the broker asks to use another one for now", ""),
    0x9D: ("server moved", "the broker has moved", ""),
    0x9E: ("shared subscriptions not supported", "the broker has no shared subscriptions",
           "traffic.misused-protocol"),
    0x9F: ("connection rate exceeded", "too many connections in too short a time",
           "mqtt.too-many-connections mqtt.same-client-id"),
    0xA0: ("maximum connect time", "the broker allows no connection to last longer", ""),
    0xA1: ("subscription identifiers not supported", "the broker has no subscription identifiers",
           "traffic.misused-protocol"),
    0xA2: ("wildcard subscriptions not supported", "the broker has no wildcards",
           "traffic.misused-protocol"),
}  # fmt: skip
_PUBSUB: dict[int, Entry] = {
    -5: ("MQTT_TLS_BAD_SERVER_CREDENTIALS", "the broker's fingerprint is another; in forks of it",
         "x509.broker-expired x509.wrong-anchor"),
    -4: ("MQTT_CONNECTION_TIMEOUT", "connected, and the broker did not answer the CONNECT",
         "tcp.wrong-port tcp.silent authorization.cloud-policy"),
    -3: ("MQTT_CONNECTION_LOST", "a connection that stood is broken", _LOST),
    -2: ("MQTT_CONNECT_FAILED", "no TCP or TLS connection came about; TLS keeps its own error",
         _CONNECT),
    -1: ("MQTT_DISCONNECTED", "disconnected in good order, or never connected", ""),
}  # fmt: skip
_ARDUINO: dict[int, Entry] = {
    -2: ("MQTT_CONNECTION_REFUSED", "no TCP or TLS connection came about; TLS keeps its own error",
         _CONNECT),
    -1: ("MQTT_CONNECTION_TIMEOUT", "connected, and the broker did not answer the CONNECT",
         "tcp.wrong-port tcp.silent authorization.cloud-policy"),
}  # fmt: skip
_PAHO: dict[int, Entry] = {
    -1: ("FAILURE", "the call failed: no connection, or no answer in time",
         "tcp.closed-by-peer tcp.silent authorization.cloud-policy"),
    -2: ("BUFFER_OVERFLOW", "a packet is larger than the client's buffer",
         "traffic.packet-too-large"),
}  # fmt: skip


def returned(code: int) -> list[Meaning]:
    """What a CONNACK's return ``code`` of 3.1.1 means, 0 to 5."""
    return _one(_RETURNED, code, RETURN_SOURCE, f"return code {code}")


def reason(code: int) -> list[Meaning]:
    """What a reason ``code`` of 5.0 means."""
    return _one(_REASONS, code, REASON_SOURCE, f"reason code {code} = 0x{code:02x}")


def pubsub(state: int) -> list[Meaning]:
    """What PubSubClient's ``state()`` means; from 0 on it is the CONNACK's return code."""
    return _one(_PUBSUB, state, PUBSUB_SOURCE, str(state)) or returned(state)


def arduino(error: int) -> list[Meaning]:
    """What ArduinoMqttClient's ``connectError()`` means; from 0 on it is the return code."""
    return _one(_ARDUINO, error, ARDUINO_SOURCE, str(error)) or returned(error)


def paho(result: int) -> list[Meaning]:
    """What Paho Embedded C's result means."""
    return _one(_PAHO, result, PAHO_SOURCE, str(result))


def by_name(name: str) -> list[Meaning]:
    """The meaning of a client's name for a state, as ``MQTT_CONNECT_FAILED``."""
    for table, read in ((_PUBSUB, pubsub), (_ARDUINO, arduino)):
        for number, entry in table.items():
            if entry[0] == name:
                return read(number)
    return []


def refusals() -> list[tuple[str, Meaning]]:
    """The names of refusals, as clients of 5.0 print them, with their meanings."""
    found = {**{entry[0]: one for code, entry in _RETURNED.items() for one in returned(code)},
             **{entry[0]: one for code, entry in _REASONS.items() for one in reason(code)
                if code >= _REFUSED}}  # fmt: skip
    return [(name, one) for name, one in found.items() if " " in name and one.causes]


def _one(table: dict[int, Entry], number: int, source: str, shown: str) -> list[Meaning]:
    return [meaning(table[number], source, number=shown)] if number in table else []
