"""What is plain in TLS is read right, however it was cut, and nothing breaks the reader.

Against OpenSSL (through Python's ssl), the traces of RFC 8448, and names that openssl and
Python's ssl know. mbedTLS, Keyfob's engine and mosquitto: `tests/bench/test_tap.py`.
"""

from __future__ import annotations

import ssl
from datetime import datetime, timedelta, timezone
from pathlib import Path
from random import Random

import pytest
from cryptography import x509
from tls_streams import (
    NAME,
    Pki,
    Stream,
    cut,
    facts_of,
    one_of_each_kind,
    openssl_suites,
    record,
    rfc8448,
    said_of,
    shapes,
)

from keyfob_host.doctor import tls_messages
from keyfob_host.doctor.conversation import Conversation, Fact
from keyfob_host.doctor.verdict import verdict
from keyfob_host.doctor.wording import in_words

NOW = datetime.now(timezone.utc)
DAY = timedelta(days=1)


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return Pki(tmp_path_factory.mktemp("pki"))


@pytest.fixture(scope="module")
def streams(pki: Pki) -> dict[str, Stream]:
    return one_of_each_kind(pki)


def one(facts: list[Fact], what: str, sender: str = "") -> Fact:
    (found,) = [fact for fact in facts if fact.what == what and sender in ("", fact.sender)]
    return found


# -- OpenSSL


def test_a_mutual_handshake_of_tls_1_2_is_told_message_by_message(pki: Pki) -> None:
    made = record(pki.server(), pki.client())
    facts = facts_of(made.stream)
    assert made.error is None
    assert shapes(facts) == [
        ("board", "client-hello"),
        ("broker", "server-hello"),
        ("broker", "certificate"),
        ("broker", "server-key-exchange"),
        ("broker", "certificate-request"),
        ("broker", "server-hello-done"),
        ("board", "certificate"),
        ("board", "client-key-exchange"),
        ("board", "certificate-verify"),
        ("board", "change-cipher-spec"),
        ("board", "finished"),
        ("broker", "session-ticket"),
        ("broker", "change-cipher-spec"),
        ("broker", "finished"),
        ("broker", "application-data"),
        ("board", "application-data"),
        ("broker", "encrypted-alert"),
        ("board", "encrypted-alert"),
    ]


def test_names_in_a_hello_are_those_of_openssl(pki: Pki) -> None:
    context = pki.client()
    made = record(pki.server(), context)
    facts = facts_of(made.stream)
    hello = one(facts, "client-hello").fields
    known = openssl_suites()
    offered = [known[suite["id"] & 0xFFFF] for suite in context.get_ciphers()]
    assert [suite for suite in hello["suites"] if "SCSV" not in suite] == [
        suite
        for suite in offered
        if "_WITH_" in suite  # those of TLS 1.3 are not offered
    ]
    assert hello["server_name"] == NAME and hello["versions"] == ["TLS 1.2"]
    cipher = made.client.cipher()
    assert cipher is not None
    chosen = one(facts, "server-hello").fields
    assert chosen["suite"].endswith(
        cipher[0].replace("ECDHE-ECDSA-AES256-", "AES_256_").replace("-", "_")
    )
    assert chosen["version"] == "TLS 1.2" == (made.client.version() or "").replace("v", " ")


def test_chains_are_the_ones_that_were_sent(pki: Pki) -> None:
    facts = facts_of(record(pki.server(), pki.client()).stream)
    for sender, name in (("broker", "broker"), ("board", "device")):
        fact = one(facts, "certificate", sender)
        pem = (pki.folder / name / "chain.pem").read_bytes()
        sent = x509.load_pem_x509_certificates(pem)
        assert [x509.load_der_x509_certificate(der) for der in fact.certificates][:1] == sent[:1]
        assert fact.fields["certificates"][0]["subject"] == sent[0].subject.rfc4514_string()
        assert (
            fact.fields["certificates"][0]["issuer"] == pki.authority.cert.subject.rfc4514_string()
        )


def test_authorities_that_a_server_asks_for_are_named(pki: Pki) -> None:
    """Python's ssl has no call for them; s_server sends those of its CA file."""
    server = pki.server()
    hello = facts_of(record(server, pki.client()).stream)
    asked = one(hello, "certificate-request").fields
    assert asked["authority_count"] == len(asked["authorities"]) == 0
    assert asked["certificate_types"] == ["rsa_sign", "dss_sign", "ecdsa_sign"]
    name = pki.authority.cert.subject.public_bytes()
    body = b"\1\x40" + b"\0\2\4\3" + (len(name) + 2).to_bytes(2, "big")
    body += len(name).to_bytes(2, "big") + name
    assert tls_messages.read_certificate_request(body)["authorities"] == [
        pki.authority.cert.subject.rfc4514_string()
    ]


def test_an_empty_certificate_is_told_as_none(pki: Pki) -> None:
    made = record(pki.server(), pki.client(identity=None))
    assert made.error is not None and "RETURN_A_CERTIFICATE" in str(made.error)
    facts = facts_of(made.stream)
    assert one(facts, "certificate", "board").fields["count"] == 0
    assert (
        one(facts, "alert").fields["number"]
        == ssl.AlertDescription.ALERT_DESCRIPTION_HANDSHAKE_FAILURE
    )
    said = said_of(made.stream)
    assert "the board sent none" in said and "Cause: client-certificate.not-sent. Next: " in said


def test_a_resumed_session_is_told_and_shows_no_certificate(pki: Pki) -> None:
    server, client = pki.server(asks=False), pki.client(identity=None)
    first = record(server, client)
    again = record(server, client, session=first.client.session)
    assert again.client.session_reused
    facts = facts_of(again.stream)
    assert one(facts, "server-hello").fields["is_resumed"]
    assert "certificate" not in {fact.what for fact in facts}
    assert not one(facts_of(first.stream), "server-hello").fields["is_resumed"]


def test_a_resumed_session_of_tls_1_3_is_told(pki: Pki) -> None:
    server, client = pki.server("TLSv1_3", asks=False), pki.client("TLSv1_3", identity=None)
    first = record(server, client)
    again = record(server, client, session=first.client.session)
    assert again.client.session_reused
    assert one(facts_of(again.stream), "server-hello").fields["is_resumed"]


REFUSALS = {
    "another-ca": (48, {}),
    "wrong-name": (42, {"name": "another.keyfob.test"}),
    "expired": (45, {"not_before": NOW - 3 * DAY, "not_after": NOW - DAY}),
    "client-usage": (43, {"eku": ["clientAuth"]}),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_the_alert_of_a_client_that_refuses_is_read(case: str, tmp_path: Path) -> None:
    number, how = REFUSALS[case]
    name = str(how.pop("name", NAME)) if "name" in how else NAME
    pki = Pki(tmp_path, **how)
    client = pki.client()
    if case == "another-ca":
        (tmp_path / "other").mkdir()
        client = Pki(tmp_path / "other").client()
    made = record(pki.server(), client, name=name)
    assert isinstance(made.error, ssl.SSLCertVerificationError)
    alert = one(facts_of(made.stream), "alert")
    # OpenSSL's alert is the truth here; the name is Python's for that number.
    assert alert.sender == "board"
    assert alert.fields["number"] == number
    known = ssl.AlertDescription(number).name.removeprefix("ALERT_DESCRIPTION_").lower()
    assert alert.fields["name"] == known


def test_no_common_version_and_no_common_suite_are_alerts_of_the_server(pki: Pki) -> None:
    made = record(pki.server("TLSv1_3"), pki.client("TLSv1_2"))
    assert [(f.sender, f.fields["number"]) for f in facts_of(made.stream) if f.what == "alert"] == [
        ("broker", ssl.AlertDescription.ALERT_DESCRIPTION_PROTOCOL_VERSION)
    ]
    assert "does not speak the TLS versions that the board offers: TLS 1.2" in said_of(made.stream)
    client = pki.client()
    client.set_ciphers("ECDHE-RSA-AES128-GCM-SHA256")  # the broker's key is an EC one
    made = record(pki.server(), client)
    assert [(f.sender, f.fields["number"]) for f in facts_of(made.stream) if f.what == "alert"] == [
        ("broker", ssl.AlertDescription.ALERT_DESCRIPTION_HANDSHAKE_FAILURE)
    ]


def test_tls_1_3_hides_all_but_the_hellos_and_a_refusal_shows_by_its_size(pki: Pki) -> None:
    made = record(pki.server("TLSv1_3"), pki.client("TLSv1_3", identity=None))
    assert made.error is not None
    facts = facts_of(made.stream)
    assert {fact.what for fact in facts} == {
        "client-hello", "server-hello", "change-cipher-spec", "encrypted",
    }  # fmt: skip
    said = said_of(made.stream)
    assert "TLS 1.3 hides why" in said and "only answer is as short as an alert" in said


# -- the traces of RFC 8448


@pytest.mark.parametrize(
    ("section", "version", "group", "resumes"),
    [("3", "TLS 1.3", "x25519", False), ("6", "TLS 1.3", "x25519", False)],
)
def test_the_hellos_of_rfc_8448_are_read(
    section: str, version: str, group: str, resumes: bool
) -> None:
    facts = facts_of(
        [
            ("board", rfc8448(f"{section}.client-hello")),
            ("broker", rfc8448(f"{section}.server-hello")),
        ]
    )
    assert shapes(facts) == [("board", "client-hello"), ("broker", "server-hello")]
    hello, answer = facts[0].fields, facts[1].fields
    assert hello["versions"] == ["TLS 1.3"]
    assert hello["suites"] == [
        "TLS_AES_128_GCM_SHA256", "TLS_CHACHA20_POLY1305_SHA256", "TLS_AES_256_GCM_SHA384",
    ]  # fmt: skip
    assert hello["server_name"] == "server"
    assert hello["groups"][:2] == ["x25519", "secp256r1"] and hello["key_shares"] == ["x25519"]
    assert hello["signature_algorithms"][:2] == ["ecdsa_secp256r1_sha256", "ecdsa_secp384r1_sha384"]
    assert hello["record_size_limit"] == 0x4001
    assert answer["suite"] == "TLS_AES_128_GCM_SHA256" and answer["version"] == version
    assert answer["group"] == group and answer["is_resumed"] is resumes


def test_the_whole_trace_of_section_3_shows_two_messages_and_sizes() -> None:
    stream: Stream = [
        ("board", rfc8448("3.client-hello")),
        ("broker", rfc8448("3.server-hello") + rfc8448("3.server-flight-record")),
        ("board", rfc8448("3.client-finished-record")),
        ("broker", rfc8448("3.ticket-record")),
        ("board", rfc8448("3.client-data-record")),
        ("broker", rfc8448("3.server-data-record")),
        ("board", rfc8448("3.client-close-record")),
        ("broker", rfc8448("3.server-close-record")),
    ]
    conversation = Conversation()
    facts = [fact for sender, data in stream for fact in conversation.feed(sender, data)]
    facts += [*conversation.end("board", "fin"), *conversation.end("broker", "fin")]
    assert shapes(facts) == [
        ("board", "client-hello"), ("broker", "server-hello"), ("broker", "encrypted"),
        ("board", "encrypted"), ("board", "maybe-alert"), ("board", "closed"),
        ("broker", "maybe-alert"), ("broker", "closed"),
    ]  # fmt: skip
    assert conversation.sides["board"].data_records == 3
    assert conversation.sides["broker"].data_records == 4
    assert verdict(conversation).is_well


def test_a_hello_retry_request_and_a_psk_are_told() -> None:
    """Sections 5 and 4 of RFC 8448."""
    facts = facts_of(
        [
            ("board", rfc8448("5.client-hello-1")),
            ("broker", rfc8448("5.hello-retry-request")),
            ("board", rfc8448("5.client-hello-2")),
            ("broker", rfc8448("5.server-hello")),
        ]
    )
    assert shapes(facts) == [
        ("board", "client-hello"), ("broker", "hello-retry-request"),
        ("board", "client-hello"), ("broker", "server-hello"),
    ]  # fmt: skip
    assert facts[0].fields["key_shares"] == ["x25519"]
    assert facts[1].fields["group"] == "secp256r1" and facts[1].fields["cookie_bytes"]
    assert facts[2].fields["key_shares"] == ["secp256r1"] and facts[2].fields["cookie_bytes"]
    (resuming,) = facts_of([("board", rfc8448("4.client-hello"))])
    assert resuming.fields["psk_identities"] == 1 and resuming.fields["early_data"]


# -- however it was cut


@pytest.mark.parametrize("kind", ["mutual", "one-sided", "no-certificate", "tls-1.3", "retry"])
def test_bytes_one_by_one_or_in_random_pieces_give_the_same_facts(
    kind: str, streams: dict[str, Stream]
) -> None:
    whole = facts_of(streams[kind])
    assert facts_of(cut(streams[kind])) == whole
    for seed in range(5):
        assert facts_of(cut(streams[kind], Random(seed))) == whole


@pytest.mark.parametrize("kind", ["mutual", "tls-1.3"])
def test_bytes_behind_the_end_are_told_and_change_nothing_before(
    kind: str, streams: dict[str, Stream]
) -> None:
    whole = facts_of(streams[kind])
    facts = facts_of([*streams[kind], ("broker", b"and more, which is no record")])
    assert facts[:-1] == whole
    assert (facts[-1].sender, facts[-1].what) == ("broker", "not-tls")


def test_a_message_cut_into_many_records_is_one() -> None:
    message = rfc8448("3.client-hello")[5:]
    records = b"".join(b"\x16\3\1\0\1" + message[at : at + 1] for at in range(len(message)))
    assert facts_of([("board", records)]) == facts_of([("board", rfc8448("3.client-hello"))])


def test_a_stream_that_ends_within_a_record_says_so() -> None:
    conversation = Conversation()
    assert list(conversation.feed("board", rfc8448("3.client-hello")[:-10])) == []
    said = [in_words(fact) for fact in conversation.end("board", "reset")]
    assert said[0].startswith("not TLS: the end, after 186 of a record's 196 bytes")
    assert said[-1].startswith("resets (RST)")
