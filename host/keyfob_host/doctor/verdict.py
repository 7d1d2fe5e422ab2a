"""What a connection's end means: who ended it, after which message, with which alert.

Alerts say what one side thought of the other (RFC 8446 section 6, RFC 5246 section 7.2); the
words here are for a board and its broker, where the same number means one thing from the one
and another from the other. Where TLS 1.3 hides the alert, that is said instead.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from keyfob_host.doctor.conversation import Alert, Conversation, Sender, SideState
from keyfob_host.doctor.first_bytes import HTTP, PLAIN_MQTT
from keyfob_host.doctor.tap_causes import causes_of, fix_of
from keyfob_host.doctor.tls_certificates import is_for
from keyfob_host.doctor.tls_numbers import ALERTS, numbered
from keyfob_host.printable import printable

_FROM_BOARD = {
    10: "the board met a message that it did not expect: a defect of one of the two",
    20: "the board could not decrypt what it got: bytes were changed on the way, or a defect",
    22: "the broker's records are larger than the board's buffer: a shorter chain, or EC keys",
    40: "the board takes none of what the broker chose",
    42: "the board finds the broker's certificate bad: most often its name is not the one that "
    "the board connects to",
    43: "the broker's certificate is not for a server (extended key usage serverAuth)",
    44: "the broker's certificate is revoked, says the board",
    45: "the broker's certificate has expired by the board's clock",
    46: "the board refuses the broker's certificate: not yet valid by its clock (never set?), or "
    "what has no alert of its own",
    47: "the board found a value in the handshake that may not be there",
    48: "the board does not know the CA of the broker's certificate: another CA is on the board, "
    "or the broker does not send its intermediate",
    50: "the board could not read a message of the broker",
    51: "a signature of the broker is wrong: its key does not belong to its certificate",
    70: "the board does not speak the TLS version that the broker chose",
    71: "the board wants more security than the broker offers",
    80: "the board failed inside: often no memory",
    90: "the board's program gave up",
}
_FROM_BROKER = {
    10: "the broker met a message that it did not expect: a defect of one of the two",
    20: "the broker could not decrypt what it got: bytes were changed on the way, or a defect",
    22: "the board's records are larger than the broker takes",
    40: "board and broker have no cipher suite in common (RSA or EC key, and the suites that go "
    "with it), or the broker misses a certificate",
    42: "the broker finds the board's certificate bad: most often not yet valid by the broker's "
    "clock",
    43: "the board's certificate is not for a client (extended key usage clientAuth)",
    44: "the board's certificate is on the broker's revocation list",
    45: "the board's certificate has expired by the broker's clock, or its revocation list has",
    46: "the broker refuses the board's certificate; why is in its log",
    47: "the broker found a value in the handshake that may not be there",
    48: "the broker does not know the CA of the board's certificate: it is from another CA, or "
    "the broker was not restarted since its CA file changed",
    50: "the broker could not read a message of the board",
    51: "a signature of the board is wrong: its key does not belong to its certificate",
    70: "the broker does not speak the TLS versions that the board offers",
    71: "the broker wants more security than the board offers",
    80: "the broker failed inside: see its log",
    112: "the broker has no certificate for the name that the board asks for",
    115: "the broker does not know the board's pre-shared key",
    116: "the broker wants a certificate from the board, and got none",
    120: "the broker does not speak the application protocol (ALPN) that the board offers",
}
_CAUSES_SHOWN = 3
_OTHER: dict[Sender, Sender] = {"board": "broker", "broker": "board"}


@dataclass(frozen=True)
class Verdict:
    """``text``: a paragraph; ``ended_by`` and ``how`` are "" while nobody ended it.

    ``causes``: codes of the catalogue (`keyfob doctor --explain CODE`), the likely one first.
    """

    text: str
    meaning: str
    ended_by: str
    how: str
    after: str
    alert: Alert | None
    is_well: bool
    causes: tuple[str, ...]
    fix: str

    def as_dict(self) -> dict[str, Any]:
        alert = self.alert
        return {
            "text": self.text,
            "meaning": self.meaning,
            "ended_by": self.ended_by,
            "how": self.how,
            "after": self.after,
            "alert": {"from": alert.sender, "number": alert.number, "name": alert.name}
            if alert
            else None,
            "is_well": self.is_well,
            "causes": list(self.causes),
            "fix": self.fix,
        }


def verdict(conversation: Conversation) -> Verdict:
    """What is to be said of it now, most of all at its end."""
    sides = conversation.sides
    ender, how = conversation.first_end or ("", "")
    alert = next((one for one in conversation.alerts if not one.is_closing), None)
    meaning, is_well, codes = _meaning(conversation, alert)
    causes = causes_of(conversation, alert) if alert else tuple(codes.split())
    fix = fix_of(causes[0], conversation) if causes else ""
    after = sides[ender].last if ender in ("board", "broker") else ""
    ways = {"fin": "closed by the", "reset": "reset by the"}
    parts = [f"{ways[how]} {ender}" if how else "ended by nobody"]
    if alert:
        other = _OTHER[alert.sender]
        parts.append(f"alert {numbered(ALERTS, alert.number)} from the {alert.sender}")
        parts.append(f"the {other}'s last was {sides[other].last or 'nothing'}")
    else:
        said = [f"the {one}'s last was {sides[one].last}" for one in sides if sides[one].last]
        parts.append(" and ".join(said) or "neither had said anything")
    if conversation.version:
        parts.append(f"{conversation.version} with {conversation.suite}")
    parts += [f"{_counted(sides[one])} from the {one}" for one in sides if sides[one].data_records]
    text = f"{meaning[:1].upper()}{meaning[1:]}. It was {'; '.join(parts)}."
    if causes:
        text += f" Cause: {', or '.join(causes[:_CAUSES_SHOWN])}. Next: {fix}"
    return Verdict(
        printable(text), printable(meaning), ender, how, after, alert, is_well, causes,
        printable(fix),
    )  # fmt: skip


def _counted(side: SideState) -> str:
    plural = "" if side.data_records == 1 else "s"
    return f"{side.data_records} encrypted record{plural} ({side.data_bytes} bytes)"


_Said = tuple[str, bool, str]  # in words, whether all is well, codes of causes


def _meaning(conversation: Conversation, alert: Alert | None) -> _Said:
    board, broker = conversation.sides["board"], conversation.sides["broker"]
    if alert:
        return _of_alert(conversation, alert), False, ""
    if not board.records.bytes_seen and not broker.records.bytes_seen:
        return _of_silence(conversation)
    if board.foreign or broker.foreign:
        return _of_other(conversation)
    if conversation.is_hidden:
        return _of_hidden(conversation)
    if board.data_records and broker.data_records:
        return "a TLS connection that carried data both ways", True, ""
    if board.has_finished and broker.has_finished:
        return "the handshake was completed, and hardly anything followed", True, ""
    return _of_half(conversation)


def _of_alert(conversation: Conversation, alert: Alert) -> str:
    board, broker = conversation.sides["board"], conversation.sides["broker"]
    if alert.sender == "board":
        text = _FROM_BOARD.get(alert.number, "the board refused the handshake")
        name, chain = conversation.client_hello.get("server_name"), broker.chain or []
        if alert.number == 42 and name and chain and not is_for(chain[0], name):
            shown = ", ".join(chain[0].get("sans", [])) or "none"
            return f"the broker's certificate is not for {name}, which the board asks for: {shown}"
        if alert.number == 48 and chain:
            return f"{text}; the chain shown ends with issuer {chain[-1].get('issuer', '?')}"
        return text
    if alert.number in (40, 116) and board.chain == []:
        return "the broker wants a certificate from the board, and the board sent none"
    if alert.number == 70 and conversation.client_hello:
        offered = ", ".join(conversation.client_hello["versions"])
        return f"{_FROM_BROKER[70]}: {offered}"
    return _FROM_BROKER.get(alert.number, "the broker refused the handshake; see its log")


def _of_silence(conversation: Conversation) -> _Said:
    if conversation.first_end is None:
        return "connected, and silent so far", False, "tcp.silent"
    if conversation.first_end[0] == "broker":
        return (
            "the broker ended it before a byte: it has too many connections, or shuts down",
            False,
            "mqtt.too-many-connections tcp.closed-by-peer",
        )
    text = "the board ended it before a byte: it gave up, or only looked if the port is open"
    return text, False, ""


def _of_other(conversation: Conversation) -> _Said:
    board, broker = conversation.sides["board"], conversation.sides["broker"]
    if board.foreign == PLAIN_MQTT and broker.foreign == PLAIN_MQTT:
        return "MQTT in clear on both sides: there is no TLS here", False, ""
    if board.foreign == PLAIN_MQTT:
        text = "the board speaks MQTT in clear to a port that wants TLS"
        return text, False, "tcp.wrong-port"
    if board.foreign == HTTP:
        return "HTTP, not MQTT over TLS: a browser, a health check or a scan", False, ""
    if broker.foreign and conversation.client_hello:
        text = f"the board speaks TLS, and the answer is none: {broker.foreign}"
        return text, False, "tcp.wrong-port"
    if conversation.client_hello:
        return f"the board's TLS breaks off: {board.foreign}", False, "tls.damaged-record"
    return f"no TLS: {board.foreign or broker.foreign}", False, ""


def _of_hidden(conversation: Conversation) -> _Said:
    """TLS 1.3: what sizes and order let one say."""
    board, broker = conversation.sides["board"], conversation.sides["broker"]
    if board.encrypted_alerts:
        return (
            "the board's first encrypted record is as short as only an alert is: it refuses the "
            "broker, most often its certificate; TLS 1.3 hides the number, the board has it",
            False,
            "x509.wrong-anchor x509.name-not-in-san clock.board-never-set",
        )
    # The broker's flight is over when the board's begins (RFC 8446 section 2), so an answer
    # is the first word on the board's certificate: tickets and CONNACK are longer.
    is_short = broker.last_encrypted_bytes == conversation.alert_record_bytes
    if conversation.answers == 1 and is_short:
        return (
            "the broker's only answer is as short as an alert: it refuses the board, most often "
            "its certificate, or that it has none; TLS 1.3 hides why, the broker's log has it",
            False,
            "client-certificate.not-sent client-certificate.unknown-ca client-certificate.expired",
        )
    if conversation.answers:
        return "a TLS 1.3 connection that carried encrypted records both ways", True, ""
    text = "TLS 1.3 was broken off during the handshake; all but the hellos is hidden"
    return text, False, "tcp.closed-by-peer"


def _of_half(conversation: Conversation) -> _Said:
    """TLS 1.2 without alert, ended before both had finished."""
    board, broker = conversation.sides["board"], conversation.sides["broker"]
    ender = conversation.first_end[0] if conversation.first_end else "nobody"
    if not board.records.bytes_seen:
        return "the broker spoke first, which no TLS server does", False, "tcp.wrong-port"
    if not broker.records.bytes_seen and ender == "broker":
        return (
            "the broker ended it at the board's ClientHello, without a word: a port without TLS "
            "does that, and clouds do where the server name is missing",
            False,
            "tcp.wrong-port"
            if "server_name" in conversation.client_hello
            else "tls.no-server-name tcp.wrong-port",
        )
    if not broker.records.bytes_seen:
        text = "the broker never answered the board's ClientHello"
        return text, False, "tcp.silent"
    if board.chain == [] and ender == "broker":
        text = "the broker asked for a certificate, got none, and ended it"
        return text, False, "client-certificate.not-sent"
    if ender == "board":
        return (
            f"the board broke off the handshake without an alert after the broker's {broker.last}: "
            "no memory, a reset, a time limit, or it refuses without saying so",
            False,
            "tls.heap-too-small",
        )
    if ender == "broker":
        text = f"the broker broke off the handshake without an alert after the board's {board.last}"
        return text, False, "tcp.closed-by-peer"
    return "the handshake has not come to its end", False, ""
