"""TLS as a device does it with a broker that is as it should be: what it offers and takes."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest
from handshakes import next_handshake
from long_chain import long_chain
from traffic import command_topic

from keyfob_host.hil.scripted.packets import Packet

pytestmark = [pytest.mark.rung("tls"), pytest.mark.timeout(600)]

# Broken, by whom they are used makes no difference: RFC 7525 section 4.1, RFC 9325.
_BROKEN = ("NULL", "EXPORT", "RC4", "RC2", "_DES_", "DES40", "3DES", "anon", "MD5", "IDEA")
_NO_SUITES = ("EMPTY_RENEGOTIATION_INFO_SCSV", "FALLBACK_SCSV", "GREASE", "unassigned")
_AEAD = ("GCM", "CCM", "CHACHA20")
_RECORD_BYTES = 16384
_MESSAGE_BYTES = 64  # of payload: small enough for any device
_ACK_LIMIT_S = 60.0
_SETTLE_S = 2.0
_CHAIN_BYTES = (2048, 4096, 8192)


def test_tls_handshake_is_completed(device, broker, case) -> None:
    case.criterion("The device completes a TLS handshake with the broker it is configured for.")
    shake = next_handshake(device, broker)
    case.evidence("handshake", shake.text())
    assert shake.is_accepted, f"it did not: {shake.connection.verdict}"
    talk = shake.connection.conversation
    assert talk.version in ("TLS 1.2", "TLS 1.3"), f"agreed on {talk.version}"
    alerts = [one for one in talk.alerts if not one.is_closing]
    for one in alerts:
        case.warn(f"the {one.sender} sent an alert on the way: {one.name}")
    took_s = shake.connection.find("data")
    if took_s is not None:
        case.measure("TCP to the first encrypted data", [1000 * took_s.t_s], unit="ms")


def test_cipher_suites_offered_are_good_ones(device, broker, case) -> None:
    case.criterion(
        "The device offers a cipher suite with forward secrecy and authenticated encryption, "
        "and none that is broken (NULL, EXPORT, RC4, DES, anonymous, MD5)."
    )
    hello = next_handshake(device, broker).hello
    offered = [one for one in hello["suites"] if not any(word in one for word in _NO_SUITES)]
    good = [one for one in offered if _is_good(one)]
    broken = [one for one in offered if any(word in one for word in _BROKEN)]
    weaker = [one for one in offered if not _has_forward_secrecy(one) and one not in broken]
    lines = [f"{'good' if one in good else 'weaker' if one in weaker else '    '}  {one}"
             for one in offered]  # fmt: skip
    case.evidence("offered, in the device's order", "\n".join(lines))
    case.measure("suites offered", [len(offered)], unit="suites", note=f"{len(good)} good ones")
    assert good, f"none of its {len(offered)} suites is a good one: {', '.join(offered)}"
    assert not broken, f"it offers {', '.join(broken)}"
    if weaker:
        case.warn(f"{len(weaker)} of its {len(offered)} suites are without forward secrecy, "
                  f"the first is {weaker[0]}")  # fmt: skip
    first = offered[0]
    if first not in good:
        case.warn(f"its first choice is {first}")


def test_records_of_the_largest_size_are_taken(device, scripted, broker, case) -> None:
    case.criterion(
        f"The device takes messages from TLS records with {_RECORD_BYTES} bytes of plain text, "
        "unless it agreed on smaller ones with the broker (RFC 6066 section 4)."
    )
    session = scripted.wait_session()
    topic = command_topic(device, scripted)
    time.sleep(_SETTLE_S)  # this is about records, and not about being busy
    hello = broker.tap.connections[-1].conversation.client_hello
    agreed = hello.get("max_fragment_length")
    count = _RECORD_BYTES // (len(topic) + _MESSAGE_BYTES) + 1
    message = Packet("PUBLISH", topic=topic, payload=b"." * _MESSAGE_BYTES)
    last = replace(message, qos=1, packet_id=scripted.next_packet_id())
    scripted.send(*[message] * count, last)

    def is_answer(packet) -> bool:
        return packet.packet_id == last.packet_id

    answer = scripted.find_packet("PUBACK", is_answer, _ACK_LIMIT_S)
    what = f"{count} messages of {_MESSAGE_BYTES} bytes in one piece, the last with QoS 1"
    size = f"the two agreed on records of {agreed} bytes" if agreed else "in records of full size"
    case.evidence("sent", f"{what}, {size}")
    assert session.is_open, f"the connection ended: {session.end}"
    assert answer, f"the last of {count} messages was not acknowledged within {_ACK_LIMIT_S:g} s"


def test_large_certificate_chain_is_taken(device, broker, ca, case) -> None:
    case.criterion(
        f"The device completes a handshake with a broker whose chain of certificates takes "
        f"{_CHAIN_BYTES[0]} bytes; a warning where {_CHAIN_BYTES[1]}, as public brokers show, "
        f"or {_CHAIN_BYTES[2]} is too much for it."
    )
    taken = []
    for size in _CHAIN_BYTES:
        identity = long_chain(ca.authority, broker.host, size)
        total = sum(map(len, identity.chain_der()))
        broker.show(identity)
        broker.restart()  # what it resumed would be a session of the chain before
        shake = next_handshake(device, broker)
        if not shake.is_accepted:
            case.evidence(f"with {total} bytes", shake.text())
            broker.restore()
            again = next_handshake(device, broker)
            assert again.is_accepted, f"after {total} bytes it did not come back to a smaller chain"
            why = f"it refused {total} bytes of certificates ({shake.alert or 'without an alert'})"
            assert taken, why
            case.warn(why)
            break
        taken.append(total)
    case.measure("certificates that were taken", taken, unit="bytes")


def _is_good(suite: str) -> bool:
    return _has_forward_secrecy(suite) and any(word in suite for word in _AEAD)


def _has_forward_secrecy(suite: str) -> bool:
    """Ephemeral Diffie-Hellman, or TLS 1.3, whose suites name no key exchange."""
    return "DHE_" in suite or "_WITH_" not in suite
