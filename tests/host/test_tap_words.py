"""What a tap says of what it read: causes, names, what is no TLS, and each way to end."""

from __future__ import annotations

import re
import ssl
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from tls_streams import Pki, Stream, facts_of, openssl_suites, record, rfc8448, said_of

from keyfob_host.doctor import tap_causes, tls_numbers, tls_suites
from keyfob_host.doctor import verdict as verdict_module
from keyfob_host.doctor.catalogue import LADDER, load_catalogue
from keyfob_host.doctor.conversation import Conversation
from keyfob_host.doctor.verdict import verdict
from keyfob_host.doctor.wording import in_words

NOW = datetime.now(timezone.utc)
DAY = timedelta(days=1)


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return Pki(tmp_path_factory.mktemp("pki"))


# -- causes


def test_every_cause_that_a_verdict_names_is_in_the_catalogue() -> None:
    source = Path(verdict_module.__file__).read_text() + Path(tap_causes.__file__).read_text()
    places = "|".join(LADDER)
    named = set(re.findall(rf'(?<=[" ])(?:{places})\.[a-z0-9-]+(?=[" ])', source))
    assert len(named) > 12 and named <= set(load_catalogue())


@pytest.mark.parametrize(
    ("days", "code"),
    [(-1, "client-certificate.expired"), (30, "client-certificate.crl-overdue")],
)
def test_alert_45_of_a_broker_is_told_apart_by_the_date_that_was_shown(
    pki: Pki, days: int, code: str
) -> None:
    """Row 13 or 16: with a certificate that is good, it is the revocation list."""
    dates = {"not_before": NOW - 5 * DAY, "not_after": NOW + days * DAY}
    pki.put(f"device-{code}", pki.authority.issue_device("sensor-02", **dates))
    made = record(pki.server(), pki.client(identity=f"device-{code}"))
    stream = made.stream
    if days > 0:  # no overdue list at hand: the broker's words in the place of its Finished
        last = max(at for at, (sender, _) in enumerate(stream) if sender == "board" and at < 3)
        stream = [*stream[: last + 1], ("broker", b"\x15\3\3\0\2\2\x2d")]
    conversation = Conversation()
    for sender, data in stream:
        list(conversation.feed(sender, data))
    assert conversation.alerts[0].number == 45
    assert verdict(conversation).causes[0] == code


# -- names


def test_every_suite_that_openssl_knows_has_the_same_name() -> None:
    for number, name in openssl_suites().items():
        assert tls_suites.suite_name(number) == name
    assert len(openssl_suites()) > 100


def test_every_alert_that_python_knows_has_the_same_name() -> None:
    for known in ssl.AlertDescription:
        name = known.name.removeprefix("ALERT_DESCRIPTION_").lower()
        # RFC 5246 spells it user_canceled, Python with two l.
        assert tls_numbers.ALERTS[known.value] == name.replace("cancelled", "canceled")


def test_a_number_without_a_name_is_shown_as_a_number() -> None:
    hello = rfc8448("3.client-hello").replace(
        bytes.fromhex("000613011303"), bytes.fromhex("0006fefe4a4a")
    )
    (fact,) = facts_of([("board", hello)])
    assert fact.fields["suites"][:2] == ["0xfefe (unassigned)", "GREASE (0x4a4a)"]
    (fact,) = facts_of([("broker", b"\x15\3\3\0\2\2\xc8")])
    assert in_words(fact) == "alert 200 (unassigned), fatal"
    (fact,) = facts_of([("broker", b"\x16\3\3\0\4\x63\0\0\0")])
    assert in_words(fact) == "99 (unassigned), 0 bytes"


def test_a_name_from_the_wire_cannot_move_the_terminal() -> None:
    hello = rfc8448("3.client-hello").replace(b"server", b"\x1b[2J\n.")
    (fact,) = facts_of([("board", hello)])
    assert in_words(fact).isprintable() and r"\x1b[2J\n" in in_words(fact)


# -- what is no TLS


@pytest.mark.parametrize(
    ("first", "what"),
    [
        (b"\x10\x10\0\4MQTT\4\2\0\x0a\0\4abcd", "MQTT in clear"),
        (b"\x10\x92\x01\0\6MQIsdp\3\2\0\x0a", "MQTT in clear"),
        (b"GET / HTTP/1.1\r\n", "HTTP"),
        (b"SSH-2.0-OpenSSH_9.6\r\n", "SSH"),
        (b"\x80\x2e\1\3\1\0\x15\0\0\0\x10\1\0\x80\3\0", "a ClientHello in SSL 2.0's form"),
        (b"\0" * 20, "unknown: it begins with 00 00 00 00 00 00 00 00"),
    ],
)
def test_what_is_no_tls_is_named_and_not_repeated(first: bytes, what: str) -> None:
    whole = facts_of([("board", first + b"secret")])
    assert (
        facts_of([("board", bytes([one])) for one in first + b"secret"])[0].fields["seen"] == what
    )
    assert [fact.fields["seen"] for fact in whole] == [what]
    assert "secret" not in str(whole)


MQTT: Stream = [("board", b"\x10\x10\0\4MQTT\4\2\0\x0a\0\4abcd")]
HELLO: Stream = [("board", rfc8448("3.client-hello"))]
ENDS: dict[str, tuple[Stream, str, str]] = {
    "closed-at-once": ([], "broker", "before a byte"),
    "board-looks-only": ([], "board", "if the port is open"),
    "mqtt-to-tls": (MQTT, "broker", "MQTT in clear to a port that wants TLS"),
    "tls-to-plain": (HELLO, "broker", "a port without TLS does that"),
    "no-answer": (HELLO, "board", "never answered"),
    "plain-mqtt": ([*MQTT, ("broker", b"\x20\2\0\0")], "board", "MQTT in clear on both sides"),
    "http": ([("board", b"GET / HTTP/1.1\r\n\r\n")], "broker", "HTTP, not MQTT"),
    "http-answers": ([*HELLO, ("broker", b"HTTP/1.1 400 Bad Request\r\n")], "broker", "none: HTTP"),
}  # fmt: skip


@pytest.mark.parametrize("case", ENDS)
def test_each_end_without_an_alert_has_its_own_words(case: str) -> None:
    stream, ender, words = ENDS[case]
    assert words in said_of(stream, ender)
