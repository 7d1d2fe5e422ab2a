"""A `Fact` in one line for people. What comes from the wire is shown printable."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from keyfob_host.doctor.conversation import Fact
from keyfob_host.doctor.tls_certificates import one_line
from keyfob_host.doctor.tls_numbers import ALERTS, numbered
from keyfob_host.printable import printable

_SHOWN = 3


def in_words(fact: Fact) -> str:
    """The line, without who sent it."""
    words = _WORDS.get(fact.what)
    text = words(fact.fields) if words else _message(fact.fields)
    return printable(text)


def some(names: Sequence[str], count: int | None = None, shown: int = _SHOWN) -> str:
    """The first few, and how many more there are."""
    more = (len(names) if count is None else count) - shown
    head = ", ".join(names[:shown])
    return f"{head} and {more} more" if more > 0 else head or "none"


def _client_hello(fields: dict[str, Any]) -> str:
    """Versions, name, suites, then what is out of the ordinary."""
    versions = [one for one in fields["versions"] if not one.startswith("GREASE")]
    old = fields.get("groups") is None and "signature_algorithms" not in fields
    parts = [
        some(versions) + ("" if fields["has_supported_versions"] else " at most"),
        f"server name {fields['server_name']}" if "server_name" in fields else "no server name",
        f"{fields['suite_count']} cipher suites: {some(fields['suites'], fields['suite_count'])}",
        "" if old else f"groups {some(fields.get('groups', []))}",
        "" if old else f"signatures {some(fields.get('signature_algorithms', []))}",
        f"ALPN {some(fields['alpn'])}" if "alpn" in fields else "",
        f"fragments of {fields['max_fragment_length']}" if "max_fragment_length" in fields else "",
        f"records up to {fields['record_size_limit']}" if "record_size_limit" in fields else "",
        "extended master secret" if "extended_master_secret" in fields else "",
        "encrypt-then-MAC" if "encrypt_then_mac" in fields else "",
        f"a ticket of {fields['session_ticket_bytes']} bytes"
        if fields.get("session_ticket_bytes")
        else "",
        f"{fields['psk_identities']} sessions to resume" if "psk_identities" in fields else "",
        "early data" if "early_data" in fields else "",
    ]
    return "ClientHello: " + "; ".join(part for part in parts if part)


def _server_hello(fields: dict[str, Any]) -> str:
    parts = [
        fields["version"],
        fields["suite"],
        f"group {fields['group']}" if "group" in fields else "",
        "resumes a session" if fields["is_resumed"] else "",
        "extended master secret" if "extended_master_secret" in fields else "",
        "encrypt-then-MAC" if "encrypt_then_mac" in fields else "",
        f"fragments of {fields['max_fragment_length']}" if "max_fragment_length" in fields else "",
        f"ALPN {some(fields['alpn'])}" if "alpn" in fields else "",
        "the broker speaks a newer version too" if "is_downgraded_from" in fields else "",
    ]
    return "ServerHello: " + "; ".join(part for part in parts if part)


def _certificate(fields: dict[str, Any]) -> str:
    if not fields["count"]:
        return "Certificate: empty, so none"
    lines = [one_line(one) for one in fields["certificates"]]
    head = f"{fields['count']} in the chain: " if fields["count"] > 1 else ""
    return f"Certificate: {head}{'; then '.join(lines)}"


def _certificate_request(fields: dict[str, Any]) -> str:
    authorities = (
        f"of {some(fields['authorities'], fields['authority_count'])}"
        if fields["authority_count"]
        else "of any CA"
    )
    return (
        f"CertificateRequest: one {authorities}, {some(fields['certificate_types'])}; "
        f"signatures {some(fields['signature_algorithms'])}"
    )


def _key_exchange(fields: dict[str, Any]) -> str:
    if "group" not in fields:
        return f"ServerKeyExchange: {fields['bytes']} bytes"
    return f"ServerKeyExchange: {fields['group']}, signed with {fields['signature_algorithm']}"


def _alert(fields: dict[str, Any]) -> str:
    return f"alert {numbered(ALERTS, fields['number'])}, {fields['level']}"


def _message(fields: dict[str, Any]) -> str:
    return f"{fields.get('message', 'something')}, {fields.get('bytes', 0)} bytes"


def _after(fields: dict[str, Any]) -> str:
    return f" after {fields['after']}" if fields["after"] else " without a byte"


_WORDS: dict[str, Callable[[dict[str, Any]], str]] = {
    "client-hello": _client_hello,
    "server-hello": _server_hello,
    "hello-retry-request": lambda f: (
        f"HelloRetryRequest: wants a share of {f.get('group', 'no other group')}"
    ),
    "certificate": _certificate,
    "certificate-request": _certificate_request,
    "certificate-status": lambda f: (
        f"CertificateStatus: OCSP says {f.get('status', f['type'])}, {f['bytes']} bytes"
    ),
    "server-key-exchange": _key_exchange,
    "server-hello-done": lambda f: "ServerHelloDone",
    "certificate-verify": lambda f: f"CertificateVerify: signed with {f['signature_algorithm']}",
    "session-ticket": lambda f: (
        f"NewSessionTicket: {f['bytes']} bytes, good for {f['lifetime_s']} s"
    ),
    "change-cipher-spec": lambda f: (
        "ChangeCipherSpec, for old middleboxes"
        if f["is_dummy"]
        else "ChangeCipherSpec: from here on encrypted"
    ),
    "alert": _alert,
    "encrypted-alert": lambda f: (
        f"an encrypted alert, {f['bytes']} bytes; its level and number are not visible"
    ),
    "maybe-alert": lambda f: (
        f"its last record has {f['bytes']} bytes, as an encrypted alert has, or 2 bytes of data"
    ),
    "finished": lambda f: f"an encrypted handshake message, {f['bytes']} bytes: Finished",
    "encrypted": lambda f: "encrypted records; TLS 1.3 hides all that follows",
    "application-data": lambda f: f"application data begins, {f['bytes']} bytes, encrypted",
    "not-tls": lambda f: f"not TLS: {f['seen']}",
    "empty-record": lambda f: f"an empty {f['type']} record",
    "odd-record": lambda f: (
        f"{'a plain' if f['bytes'] > f['most'] else 'an unusual'} {f['type']} record of "
        f"{f['bytes']} bytes"
        + (f", above the {f['most']} allowed" if f["bytes"] > f["most"] else "")
    ),
    "unexpected": lambda f: f"{f['message']}, {f['bytes']} bytes, which this side never sends",
    "repeated": lambda f: f"{f['message']}, {f['bytes']} bytes, once more",
    "too-long": lambda f: f"{f['message']} of {f['bytes']} bytes, longer than is read here",
    "malformed": lambda f: f"{f['message']}, malformed: {f['why']}",
    "cut-message": lambda f: "the end, in the middle of a handshake message",
    "no-more": lambda f: f"{f['told']} facts are told; of this connection no more are",
    "closed": lambda f: f"closes (FIN){_after(f)}",
    "reset": lambda f: f"resets (RST){_after(f)}",
    "opened": lambda f: f"connects, from {f['peer']}",
    "refused": lambda f: f"does not take the connection: {f['why']}",
    "silence": lambda f: f"nothing from either side for {f['silent_s']:g} s",
    "unread": lambda f: f"the tap cannot read on: {f['why']}",
    "half-open": lambda f: f"one side alone has ended it; so far: {f['text']}",
    "summary": lambda f: f["text"],
}
