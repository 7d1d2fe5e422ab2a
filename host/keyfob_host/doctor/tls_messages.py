"""TLS handshake messages that are plain, read to facts: RFC 5246, RFC 8446, RFC 8422, RFC 6066.

Each ``read_…`` takes a message's body and gives its facts as JSON-ready values, or raises
`MalformedError`. Numbers have their IANA names. Randoms, key shares, tickets, cookies and
signatures are measured and not kept. Nothing is verified: no signature, no rule of which
answer fits which offer.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

from keyfob_host.doctor.tls_cursor import Cursor, MalformedError
from keyfob_host.doctor.tls_numbers import (
    CERTIFICATE_TYPES,
    EXTENSIONS,
    FRAGMENT_LENGTHS,
    GROUPS,
    VERSIONS,
    name,
    name16,
    signature_name,
)
from keyfob_host.doctor.tls_suites import suite_name
from keyfob_host.lint.der import MalformedError as BadDer
from keyfob_host.lint.der import Walk
from keyfob_host.lint.names import read_name

Facts = dict[str, Any]

RETRY_RANDOM = hashlib.sha256(b"HelloRetryRequest").digest()  # RFC 8446 section 4.1.3
# What a server of these versions puts into the random of an older one: section 4.1.3.
_DOWNGRADED = {b"DOWNGRD\1": "TLS 1.3", b"DOWNGRD\0": "TLS 1.2 or newer"}
_MOST_LISTED = 200  # of any one list; what comes behind is counted
_NAMED_CURVE = 3
_OCSP = 1


def read_client_hello(body: bytes) -> Facts:
    """RFC 8446 section 4.1.2."""
    cursor = Cursor(body)
    legacy = cursor.number(2, "legacy_version")
    cursor.take(32, "random")
    session_id = cursor.opaque(1, "legacy_session_id")
    suites = cursor.vector(2, "cipher_suites").numbers(2, "cipher_suites")
    cursor.vector(1, "legacy_compression_methods")
    found = _extensions(cursor, "ClientHello")
    facts: Facts = {
        "versions": [name16(VERSIONS, legacy)],
        "has_supported_versions": 43 in found,
        "suites": listed(suites, suite_name),
        "suite_count": len(suites),
        "session_id": session_id.hex(),
        "extensions": listed(found, lambda number: name16(EXTENSIONS, number)),
    }
    return facts | _each(found, _CLIENT_EXTENSIONS)


def read_server_hello(body: bytes) -> Facts:
    """RFC 8446 sections 4.1.3 and 4.1.4; ``is_retry`` says that it is a HelloRetryRequest."""
    cursor = Cursor(body)
    legacy = cursor.number(2, "legacy_version")
    random = cursor.take(32, "random")
    session_id = cursor.opaque(1, "legacy_session_id_echo")
    suite = cursor.number(2, "cipher_suite")
    cursor.number(1, "legacy_compression_method")
    found = _extensions(cursor, "ServerHello")
    facts: Facts = {
        "version": name16(VERSIONS, legacy),
        "suite": suite_name(suite),
        "is_retry": random == RETRY_RANDOM,
        "session_id": session_id.hex(),
        "extensions": listed(found, lambda number: name16(EXTENSIONS, number)),
    }
    if random[24:] in _DOWNGRADED:
        facts["is_downgraded_from"] = _DOWNGRADED[random[24:]]
    return facts | _each(found, _SERVER_EXTENSIONS)


def read_certificate(body: bytes) -> tuple[bytes, ...]:
    """The certificates of TLS 1.2's message, in DER: RFC 5246 section 7.4.2. May be none."""
    cursor = Cursor(body)
    chain = cursor.vector(3, "certificate_list")
    cursor.end("certificate_list")
    found = []
    while chain.left:
        found.append(chain.opaque(3, "certificate"))
    return tuple(found)


def read_certificate_request(body: bytes) -> Facts:
    """TLS 1.2's: RFC 5246 section 7.4.4. No authorities: any is welcome."""
    cursor = Cursor(body)
    types = cursor.vector(1, "certificate_types").numbers(1, "certificate_types")
    algorithms = cursor.vector(2, "supported_signature_algorithms").numbers(2, "algorithms")
    authorities = cursor.vector(2, "certificate_authorities")
    cursor.end("certificate_authorities")
    names = []
    while authorities.left:
        names.append(_distinguished_name(authorities.opaque(2, "DistinguishedName")))
    return {
        "certificate_types": listed(types, lambda number: name(CERTIFICATE_TYPES, number)),
        "signature_algorithms": listed(algorithms, signature_name),
        "authorities": names[:_MOST_LISTED],
        "authority_count": len(names),
    }


def read_certificate_status(body: bytes) -> Facts:
    """RFC 6066 section 8: the broker's OCSP response, which is not judged."""
    cursor = Cursor(body)
    kind = cursor.number(1, "status_type")
    response = cursor.opaque(3, "response")
    return {"type": "ocsp" if kind == _OCSP else f"{kind} (unassigned)", "bytes": len(response)}


def read_server_key_exchange(body: bytes, suite: str) -> Facts:
    """ECDHE (RFC 8422 section 5.4) and DHE (RFC 5246 section 7.4.3); others: their size."""
    facts: Facts = {"bytes": len(body)}
    cursor = Cursor(body)
    if "_PSK_" in suite or "_anon_" in suite:
        return facts
    if "_ECDHE_" in suite:
        if cursor.number(1, "curve_type") != _NAMED_CURVE:
            raise MalformedError(f"curve_type {body[0]}, want 3 (named_curve)")
        facts["group"] = name16(GROUPS, cursor.number(2, "namedcurve"))
        cursor.opaque(1, "point")
    elif "_DHE_" in suite:
        facts["group"] = f"a prime of {8 * len(cursor.opaque(2, 'dh_p').lstrip(bytes(1)))} bits"
        cursor.vector(2, "dh_g")
        cursor.vector(2, "dh_Ys")
    else:
        return facts
    facts["signature_algorithm"] = signature_name(cursor.number(2, "algorithm"))
    cursor.vector(2, "signature")
    cursor.end("signature")
    return facts


def read_certificate_verify(body: bytes) -> Facts:
    """RFC 5246 section 7.4.8: with which algorithm the board signs."""
    cursor = Cursor(body)
    facts = {"signature_algorithm": signature_name(cursor.number(2, "algorithm"))}
    cursor.vector(2, "signature")
    cursor.end("signature")
    return facts


def read_session_ticket(body: bytes) -> Facts:
    """TLS 1.2's NewSessionTicket: RFC 5077 section 3.3."""
    cursor = Cursor(body)
    lifetime_s = cursor.number(4, "ticket_lifetime_hint")
    ticket = cursor.opaque(2, "ticket")
    cursor.end("ticket")
    return {"lifetime_s": lifetime_s, "bytes": len(ticket)}


def listed(numbers: Any, naming: Callable[[int], str]) -> list[str]:
    """The names of the first `_MOST_LISTED`."""
    return [naming(number) for number in list(numbers)[:_MOST_LISTED]]


def _extensions(cursor: Cursor, where: str) -> dict[int, bytes]:
    """Type and body of each; a hello of TLS 1.2 may end before them."""
    found: dict[int, bytes] = {}
    if not cursor.left:
        return found
    inside = cursor.vector(2, "extensions")
    cursor.end(f"the extensions of {where}")
    while inside.left:
        number = inside.number(2, "extension_type")
        body = inside.opaque(2, name16(EXTENSIONS, number))
        if number in found:
            raise MalformedError(f"extension {name16(EXTENSIONS, number)} twice")
        found[number] = body
    return found


def _each(found: dict[int, bytes], readers: dict[int, Callable[[Cursor], Facts]]) -> Facts:
    facts: Facts = {}
    for number, body in found.items():
        reader = readers.get(number)
        if reader is not None:
            cursor = Cursor(body)
            facts |= reader(cursor)
            cursor.end(name16(EXTENSIONS, number))
    return facts


def _server_name(cursor: Cursor) -> Facts:
    """RFC 6066 section 3. Empty in a ServerHello: the name was of use."""
    if not cursor.left:
        return {}
    names = cursor.vector(2, "server_name_list")
    found = {}
    while names.left:
        kind = names.number(1, "name_type")
        text = names.opaque(2, "host_name").decode("ascii", "backslashreplace")
        found[kind] = text
    return {"server_name": found[0]} if 0 in found else {}


def _alpn(cursor: Cursor) -> Facts:
    protocols = cursor.vector(2, "protocol_name_list")
    found = []
    while protocols.left:
        found.append(protocols.opaque(1, "protocol_name").decode("ascii", "backslashreplace"))
    return {"alpn": found[:_MOST_LISTED]}


def _identities(cursor: Cursor) -> Facts:
    """What is offered to be resumed; RFC 8446 section 4.2.11."""
    identities = cursor.vector(2, "identities")
    count = 0
    while identities.left:
        identities.vector(2, "identity")
        identities.number(4, "obfuscated_ticket_age")
        count += 1
    cursor.vector(2, "binders")
    return {"psk_identities": count}


def _key_share_groups(cursor: Cursor) -> Facts:
    shares = cursor.vector(2, "client_shares")
    found = []
    while shares.left:
        found.append(shares.number(2, "group"))
        shares.vector(2, "key_exchange")
    return {"key_shares": listed(found, lambda number: name16(GROUPS, number))}


def _chosen_group(cursor: Cursor) -> Facts:
    """A ServerHello has the share with it, a HelloRetryRequest the group alone."""
    facts = {"group": name16(GROUPS, cursor.number(2, "group"))}
    if cursor.left:
        cursor.vector(2, "key_exchange")
    return facts


def _fragment_length(cursor: Cursor) -> Facts:
    number = cursor.number(1, "max_fragment_length")
    length: int | str = FRAGMENT_LENGTHS.get(number, f"{number} (unassigned)")
    return {"max_fragment_length": length}


def _status_request(cursor: Cursor) -> Facts:
    cursor.take(cursor.left, "status_request")
    return {"status_request": True}


def _flag(key: str) -> Callable[[Cursor], Facts]:
    return lambda _cursor: {key: True}


def _measured(key: str) -> Callable[[Cursor], Facts]:
    return lambda cursor: {key: len(cursor.take(cursor.left, key))}


_CLIENT_EXTENSIONS: dict[int, Callable[[Cursor], Facts]] = {
    0: _server_name,
    1: _fragment_length,
    5: _status_request,
    10: lambda cursor: {
        "groups": listed(
            cursor.vector(2, "named_group_list").numbers(2, "groups"),
            lambda number: name16(GROUPS, number),
        )
    },
    13: lambda cursor: {
        "signature_algorithms": listed(
            cursor.vector(2, "supported_signature_algorithms").numbers(2, "algorithms"),
            signature_name,
        )
    },
    16: _alpn,
    22: _flag("encrypt_then_mac"),
    23: _flag("extended_master_secret"),
    28: lambda cursor: {"record_size_limit": cursor.number(2, "record_size_limit")},
    35: _measured("session_ticket_bytes"),
    41: _identities,
    42: _flag("early_data"),
    43: lambda cursor: {
        "versions": listed(
            cursor.vector(1, "versions").numbers(2, "versions"),
            lambda number: name16(VERSIONS, number),
        )
    },
    44: _measured("cookie_bytes"),
    49: _flag("post_handshake_auth"),
    51: _key_share_groups,
}
_SERVER_EXTENSIONS: dict[int, Callable[[Cursor], Facts]] = {
    0: _server_name,
    1: _fragment_length,
    5: _status_request,
    16: _alpn,
    22: _flag("encrypt_then_mac"),
    23: _flag("extended_master_secret"),
    28: lambda cursor: {"record_size_limit": cursor.number(2, "record_size_limit")},
    35: _measured("session_ticket_bytes"),
    41: lambda cursor: {"psk_selected": cursor.number(2, "selected_identity")},
    43: lambda cursor: {"version": name16(VERSIONS, cursor.number(2, "selected_version"))},
    44: _measured("cookie_bytes"),
    51: _chosen_group,
}


def _distinguished_name(der: bytes) -> str:
    try:
        walk = Walk(der)
        return str(read_name(walk, walk.top()))
    except BadDer as error:
        return f"(no name: {error})"
