"""What the broker has against the board: its log, its tap, its clock, its lists and its files.

mosquitto says one and the same of most refusals, so its own clock, files and lists decide
(`keyfob_host.doctor.judge_certificates`); a cloud's log is not to be had, so there it is what
happened on the wire.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import timedelta

from keyfob_host.doctor.catalogue import causes_of_device_code
from keyfob_host.doctor.diagnosis import Diagnosis, Evidence
from keyfob_host.doctor.judge_certificates import client_certificate
from keyfob_host.doctor.sightings import LogLine, Sightings
from keyfob_host.pki.crl import next_update
from keyfob_host.pki.identity import leads_to

# What mosquitto says of one client, and what that means; "{id}" is the board's.
_OF_CLIENT = (
    (r"Client {id} already connected, closing old connection", "mqtt.same-client-id", 3),
    (r"Client {id} has exceeded timeout", "traffic.keep-alive", 1),
    (r"Client {id} disconnected due to oversize packet", "traffic.packet-too-large", 1),
    (r"Client {id} disconnected, not authorised", "authorization.not-mapped", 1),
    (r"(Denied PUBLISH|Dropped too large PUBLISH) from {id} ", "authorization.denied-topic", 1),
)
# And of a connection whose client it does not know yet.
OF_ANYBODY = (
    (r"max_connections exceeded|denied: Too many connections", "mqtt.too-many-connections"),
    (r"peer did not return a certificate", "client-certificate.not-sent"),
    (r"no shared cipher", "tls.no-shared-cipher"),
    (r"unsupported protocol", "tls.version"),
    (r"bad signature", "client-certificate.key-mismatch"),
    (r"wrong version number|http request", "tcp.wrong-port"),
    (r"not authorised", "authorization.not-mapped"),
    (r"Invalid protocol .*in CONNECT", "mqtt.protocol-version"),
)
_NOT_STARTED = (
    (r"ee key too small|ca md too weak", "x509.weak-algorithm"),
    (r"Unable to load|key values mismatch|Address already in use|Error: ", "tcp.listener-down"),
)
# Errors that a closed connection shows, whatever it was closed for.
CLOSED = (
    "tls.reset", "tls.closed", "tls.truncated", "tls.broken", "tls.no-answer",
    "mqtt.no-connack", "mqtt.closed-again",
)  # fmt: skip
CLOUD = "authorization.cloud-policy"
_LAST_LINES = 12
_STARTING = re.compile(r"mosquitto version \S+ starting")
_DAY_S = 86_400
_CLOCK_S = 60.0  # a broker's clock is right if it is so near to this host's
_ZONE_S = 15 * 3600  # what a time without a zone may be off, whatever the clock
# A client's certificate was judged before TLS 1.2 was up, so this is not said of its dates.
_SAID_AFTERWARDS = ("tls.alert-bad-certificate", "tls.alert-certificate-unknown")
_CLOUDS = (".amazonaws.com", ".azure-devices.net", ".azure.net", ".googleapis.com", ".ibmcloud.com")


def refused_by_broker(seen: Sightings, error: Evidence, code: str) -> Diagnosis | None:
    """The broker's judgement of the board: its own certificate, by all that is known here."""
    candidates = set(causes_of_device_code(code))
    is_refusal = code.startswith("tls.alert") or code in CLOSED
    if not is_refusal:
        return None
    lines = seen.around(error.at)
    tap = seen.tap(error.at)
    wire: tuple[Evidence, ...] = ()
    if tap is not None:
        wire = (Evidence("wire", tap["meaning"]),)
        if tap["alert"] and tap["alert"]["from"] == "broker":
            candidates = set(tap["causes"])
    other = [pattern for pattern, cause in OF_ANYBODY if cause not in candidates]
    fitting = [one for one in lines if not any(re.search(each, one.text) for each in other)]
    said = matching(fitting, r"verify failed|alert|did not return|certificate")
    told = tuple(dict.fromkeys(said))[-2:]
    clock = _broker_clock(seen, (error, *told, *wire))
    if clock is not None and clock.code in candidates:
        return clock
    found = [
        one for one in client_certificate(seen, (error, *told, *wire)) if one.code in candidates
    ]
    if found:
        return found[0]
    if "client-certificate.unknown-ca" in candidates:
        unread = _ca_not_reread(seen, (error, *told, *wire))
        if unread is not None:
            return unread
    for pattern, cause in OF_ANYBODY:
        said = matching(lines, pattern)
        if said and (cause in candidates or code in CLOSED):
            return Diagnosis(
                cause, "likely" if code in CLOSED else "certain", (error, *said[-1:], *wire)
            )
    # What the board's end broke off may have been another doctor's look.
    if tap is not None and tap["causes"] and tap["ended_by"] == "broker":
        first, *others = tap["causes"]
        return Diagnosis(
            first, "likely" if others else "certain", (error, *told, *wire), tuple(others[:2])
        )
    return None


def _broker_clock(seen: Sightings, evidence: tuple[Evidence, ...]) -> Diagnosis | None:
    """Whether the broker's clock, and not this host's, puts a certificate or a list out of date."""
    ahead_s, own = seen.broker.clock_ahead_s, seen.own
    if own is None or ahead_s is None or abs(ahead_s) < _CLOCK_S:
        return None
    then = seen.now + timedelta(seconds=ahead_s)
    starts, ends = own.not_valid_before_utc, own.not_valid_after_utc
    overdue = [one for one in map(next_update, seen.broker.crls) if seen.now <= one < then]
    if then < starts <= seen.now:
        code, what, limit = "clock.broker-behind", "notBefore of the board's certificate", starts
    elif seen.now <= ends < then:
        code, what, limit = "clock.broker-ahead", "notAfter of the board's certificate", ends
    elif overdue:
        code, what, limit = "clock.broker-ahead", "nextUpdate of its revocation list", overdue[0]
    else:
        return None
    shown = f"{ahead_s / _DAY_S:+.1f} days from this host's"
    way = "before" if code.endswith("behind") else "after"
    told = (
        Evidence("broker", "its clock, by the time in its log", seen.now, shown, "the same"),
        Evidence("host", what, seen.now, f"{limit:%Y-%m-%d %H:%MZ}", f"{way} {then:%Y-%m-%d}"),
    )
    is_sure = abs(ahead_s) > _ZONE_S
    return Diagnosis(code, "certain" if is_sure else "likely", (*evidence, *told))


def _ca_not_reread(seen: Sightings, evidence: tuple[Evidence, ...]) -> Diagnosis | None:
    """The CA stands in the broker's file, which was changed after the broker had read it."""
    own, broker = seen.own, seen.broker
    since, changed = broker.started_at, broker.clients_ca_at
    if own is None or since is None or changed is None or changed <= since:
        return None
    chain = (own, *seen.intermediates)
    if not any(leads_to(chain, one) for one in broker.clients_ca):
        return None
    text = "the broker's CA file has the board's CA, and was changed after the broker's start"
    told = Evidence("host", text, seen.now, f"{changed:%H:%M:%SZ}", f"before {since:%H:%M:%SZ}")
    fix = "keyfob broker down && keyfob broker up"
    return Diagnosis("client-certificate.unknown-ca", "certain", (*evidence, told), fix=fix)


def closed_after_connect(seen: Sightings, error: Evidence, code: str) -> Diagnosis | None:
    """TLS was up, CONNECT was sent, and instead of an answer the connection ended.

    A broker whose log is here says why in it; one whose log is not is most often a cloud.
    """
    events = [one for one in seen.board.events if one["ev"] in ("tls.up", "mqtt.up")]
    if not events or events[-1]["ev"] != "tls.up" or _has_log(seen):
        return None
    if code not in CLOSED and not (code in _SAID_AFTERWARDS and "1.2" in str(events[-1])):
        return None
    tap = seen.tap(error.at)
    wire = (Evidence("wire", tap["meaning"]),) if tap is not None else ()
    is_cloud = seen.host.endswith(_CLOUDS)
    others = () if is_cloud else ("tcp.closed-by-peer", "mqtt.same-client-id")
    told = (seen.board.evidence(events[-1]), error, *wire)
    return Diagnosis(CLOUD, "certain" if is_cloud else "likely", told, others)


def _has_log(seen: Sightings) -> bool:
    """Whether the log of the broker that the board met is here."""
    return seen.broker.is_up or bool(seen.broker.log_path and not seen.broker.is_ours)


def broker_down(seen: Sightings, error: Evidence) -> Diagnosis:
    """Why this bench's own broker does not run, if its last words say it."""
    last = _since_start(seen.broker.log)[-_LAST_LINES:]
    for pattern, cause in _NOT_STARTED:
        lines = matching(last, pattern)
        if lines:
            return Diagnosis(cause, "certain", (error, *lines[-2:]))
    told = Evidence("host", "this bench's broker", seen.now, "not running", "running")
    return Diagnosis("tcp.listener-down", "certain", (error, told))


def _since_start(log: tuple[LogLine, ...]) -> tuple[LogLine, ...]:
    """Its lines since its last start, whatever was wrong with the ones before."""
    for index in range(len(log) - 1, -1, -1):
        if _STARTING.search(log[index].text):
            return log[index:]
    return log


def of_client(seen: Sightings) -> Diagnosis | None:
    """What the broker's log says of this very client, of late."""
    up = seen.board.last("mqtt.up")
    client = (
        str(up.get("client_id", "")) if up else str(seen.board.files.settings.get("device_id", ""))
    )
    if not client:
        return None
    recent = seen.recent()
    for pattern, cause, least in _OF_CLIENT:
        lines = matching(recent, pattern.replace("{id}", re.escape(client)))
        if len(lines) >= least:
            return Diagnosis(cause, "certain", tuple(lines[-2:]))
    return None


def matching(lines: Iterable[LogLine], pattern: str) -> tuple[Evidence, ...]:
    found = re.compile(pattern)
    return tuple(one.evidence() for one in lines if found.search(one.text))
