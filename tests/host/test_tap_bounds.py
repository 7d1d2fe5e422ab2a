"""What a tap reads has bounds: sizes, floods, and whatever an attacker makes of a message."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

import pytest
from tls_streams import Pki, Stream, facts_of, one_of_each_kind, rfc8448, shapes

from keyfob_host.doctor import tls_messages
from keyfob_host.doctor.conversation import MOST_FACTS, Conversation
from keyfob_host.doctor.tls_cursor import MalformedError
from keyfob_host.doctor.tls_records import MAX_MESSAGE_BYTES, MAX_RECORD_BYTES
from keyfob_host.doctor.verdict import verdict
from keyfob_host.doctor.wording import in_words


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return Pki(tmp_path_factory.mktemp("pki"))


@pytest.fixture(scope="module")
def streams(pki: Pki) -> dict[str, Stream]:
    return one_of_each_kind(pki)


def test_a_record_above_the_limit_ends_the_reading() -> None:
    size = MAX_RECORD_BYTES + 1
    facts = facts_of(
        [("board", b"\x16\3\1\0\1\1"), ("board", b"\x16\3\3" + size.to_bytes(2, "big"))]
    )
    assert facts[-1].what == "not-tls" and str(size) in facts[-1].fields["seen"]


def test_a_plain_record_above_the_limit_is_told_and_skipped() -> None:
    size = MAX_RECORD_BYTES - 1
    big = b"\x16\3\3" + size.to_bytes(2, "big") + bytes(size)
    facts = facts_of([("broker", big), ("broker", b"\x15\3\3\0\2\2\x28")])
    assert shapes(facts) == [("broker", "odd-record"), ("broker", "alert")]


def test_a_message_too_long_to_be_kept_is_skipped_and_the_next_is_read() -> None:
    size = MAX_MESSAGE_BYTES + 1
    message = b"\x0b" + size.to_bytes(3, "big") + bytes(size) + b"\x0e\0\0\0"
    pieces = [message[at : at + 16384] for at in range(0, len(message), 16384)]
    stream: Stream = [("broker", b"\x16\3\3" + len(one).to_bytes(2, "big") + one) for one in pieces]
    assert shapes(facts_of(stream)) == [("broker", "too-long"), ("broker", "server-hello-done")]


def test_a_flood_of_empty_records_or_alerts_is_told_up_to_a_bound() -> None:
    for flood in (b"\x16\3\3\0\0", b"\x15\3\3\0\2\1\0"):
        facts = facts_of([("board", flood * 5000)])
        assert len(facts) == MOST_FACTS and facts[-1].what == "no-more"


def test_a_message_that_comes_again_and_again_is_not_read_again(
    streams: dict[str, Stream],
) -> None:
    chain = next(data for sender, data in streams["one-sided"] if sender == "broker")
    facts = [one for one in facts_of([("broker", chain * 20)]) if one.what == "certificate"]
    assert len(facts) == 2


@pytest.mark.parametrize(
    ("reader", "body"),
    [
        (tls_messages.read_client_hello, b""),
        (tls_messages.read_client_hello, rfc8448("3.client-hello")[9:] + b"\0"),
        (tls_messages.read_server_hello, rfc8448("3.server-hello")[9:-1]),
        (tls_messages.read_certificate, b"\0\0\4\0\0\5\1"),
        (tls_messages.read_certificate_request, b"\1\x40\0\1\4\0\0"),
        (tls_messages.read_session_ticket, b"\0\0\0\0\0\1"),
    ],
)
def test_a_message_that_is_not_as_the_rfc_says_is_malformed(reader, body: bytes) -> None:
    with pytest.raises(MalformedError):
        reader(body)


def test_mutated_conversations_never_raise_and_stay_within_bounds(
    streams: dict[str, Stream],
) -> None:
    mutate(streams, 1500)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_100_000_mutated_conversations_never_raise(streams: dict[str, Stream]) -> None:
    mutate(streams, 100_000)


def mutate(streams: dict[str, Stream], count: int) -> None:
    random = Random(8446)
    kinds = sorted(streams)
    for number in range(count):
        conversation = Conversation()
        told = 0
        for sender, data in mutated(streams[kinds[number % len(kinds)]], random):
            for fact in conversation.feed(sender, data):
                told += 1
                assert in_words(fact).isprintable()
            for side in conversation.sides.values():
                assert side.messages.pending_bytes <= MAX_MESSAGE_BYTES + MAX_RECORD_BYTES
        ender = random.choice(("board", "broker"))
        list(conversation.end(ender, random.choice(("fin", "reset"))))  # type: ignore[arg-type]
        assert told <= MOST_FACTS
        assert verdict(conversation).text.isprintable()


def mutated(stream: Stream, random: Random) -> Iterator[tuple[str, bytes]]:
    """Bits turned, bytes dropped, doubled or made up, pieces left out."""
    for sender, data in stream:
        changed = bytearray(data)
        for _ in range(random.choice((0, 1, 1, 2, 8))):
            at = random.randrange(len(changed)) if changed else 0
            how = random.randrange(5)
            if how == 0 and changed:
                changed[at] ^= 1 << random.randrange(8)
            elif how == 1 and changed:
                changed[at] = random.choice((0, 1, 0x7F, 0x80, 0xFF))
            elif how == 2:
                del changed[at : at + random.randint(1, 40)]
            elif how == 3:
                changed[at:at] = random.randbytes(random.randint(1, 40))
            else:
                changed[at:at] = changed[at : at + random.randint(1, 200)]
        if random.random() > 0.05:
            yield sender, bytes(changed)
