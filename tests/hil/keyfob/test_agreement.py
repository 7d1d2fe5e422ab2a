"""What board and broker have to agree on first: a version of TLS, a cipher suite."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.rung("tls")

ONLY_1_3 = {"tls_version": "tlsv1.3"}
# Suites that OpenSSL has and no board offers: Camellia, and AES-256 in TLS 1.3.
NONE_IN_COMMON = {
    "ciphers": "ECDHE-ECDSA-CAMELLIA128-SHA256",
    "ciphers_tls1.3": "TLS_AES_256_GCM_SHA384",
}


def test_broker_with_tls_1_3_alone_is_talked_to_or_told(board, broker, case) -> None:
    case.criterion(
        "With a broker that speaks TLS 1.3 alone the board connects, or, if it has no TLS 1.3, "
        "it says which version is missing and does not hammer."
    )
    broker.configure(ONLY_1_3)
    board.reset()
    ended = board.wait_event("", where=lambda one: one["ev"] in ("error", "tls.up"))
    if ended["ev"] == "tls.up":
        assert ended["version"] == "TLSv1.3"
        board.wait_event("mqtt.up")
        return
    assert ended["code"] == "tls.alert-protocol-version"
    assert ended["next_ms"] >= 60_000
    broker.wait_log("unsupported protocol")
    case.warn("this board has no TLS 1.3")


def test_keyfobs_engine_talks_to_a_broker_with_tls_1_3_alone(board, broker, case) -> None:
    case.criterion("With Keyfob's own engine the board connects over TLS 1.3.")
    board.needs_version("1.3")
    broker.configure(ONLY_1_3)
    board.use_engine("keyfob", versions=["1.2", "1.3"])
    assert board.wait_event("tls.up")["version"] == "TLSv1.3"
    board.wait_event("mqtt.up")
    broker.wait_log(f"New client connected from .* as {board.device_id} ")


def test_no_common_cipher_suite_is_told(board, broker, case) -> None:
    case.criterion(
        "Where no cipher suite is common to both, the board tells the broker's refusal, shows "
        "no certificate and does not hammer."
    )
    broker.configure(NONE_IN_COMMON)
    board.reset()
    error = board.wait_error("tls.alert-handshake-failure")
    assert error["retry"] == "stop"
    assert error["next_ms"] >= 60_000
    broker.wait_log("no shared cipher")
    assert board.events("tls.up") == []
    assert board.identity.cert_der() not in broker.said_in_clear()
