"""Memory that is short for a moment while the client empties its outbox."""

import asyncio

from outbox_client import TOPIC, sent, with_outbox
from scripted_broker import CONNACK, Link, codes, play, settle

from keyfob import stored


class Shortage:
    """Memory is short at the calls of ``owner.name`` with these numbers, from 0 on; ``is_late``:
    once they have done their work."""

    def __init__(self, owner, name, *numbers, is_late=False):
        self._real = getattr(owner, name)
        self._numbers, self._is_late, self.calls = numbers, is_late, 0
        setattr(owner, name, self)

    def __call__(self, *arguments):
        self.calls += 1
        if self._is_late:
            self._real(*arguments)
        if self.calls - 1 in self._numbers:
            raise MemoryError("allocating")
        return None if self._is_late else self._real(*arguments)


def with_short_retries(test, *arguments):
    """Call ``test(open, …)`` as `with_outbox` does; what failed is tried again after 20 ms."""
    # Not `_RETRY_MS`, which is part of the code where that is compiled.
    real = stored.asyncio.sleep_ms

    class Asyncio:
        Event = asyncio.Event

        def sleep_ms(self, ms):
            assert ms == 10_000
            return real(20)

    stored.asyncio = Asyncio()
    try:
        with_outbox(lambda open_outbox: test(open_outbox, *arguments))
    finally:
        stored.asyncio = asyncio


def check_drained(open_outbox, is_short, qos=1):
    """Three stored messages arrive and are acknowledged, each of them sent once, although
    ``is_short(client, box)`` makes memory short; the codes that were told."""
    box = open_outbox()

    async def test(client, link):
        await client.connected()
        is_short(client, box)
        for payload in (b"1", b"2", b"3"):
            await client.publish(TOPIC, payload, qos, store=True)
        answered = 0
        while box.count:
            await settle(2)
            packets = sent(link)
            if qos and answered < len(packets):
                link.say(b"\x40\x02" + packets[answered][-3:-1])
                answered += 1
        assert [packet[-1:] for packet in sent(link)] == [b"1", b"2", b"3"]
        assert client.is_connected()

    return codes(play(test, Link(CONNACK), outbox=box))


def test_memory_that_is_short_for_a_moment_ends_nothing():
    def is_short_for_the_oldest(client, box):
        Shortage(box, "next", 0, 1, 3)

    def is_short_for_the_head(client, box):
        Shortage(box._head, "read", 0, 2)

    def is_short_for_the_mark(client, box):
        Shortage(box, "done", 0, 2)

    def is_short_behind_the_mark(client, box):
        Shortage(box, "done", 0, 2, is_late=True)

    def is_short_before_sending(client, box):
        Shortage(client, "check_fits", 3, 5)  # `publish` asks, too

    def is_short_for_the_list(client, box):
        real = client.send

        def send(outgoing, need):
            client.send = real
            if outgoing.qos:
                outgoing.awaits = 4
            raise MemoryError("allocating")

        client.send = send

    def is_short_for_the_copy(client, box):
        Shortage(stored, "Outgoing", 1)

    real = stored.Outgoing
    for is_short in (
        is_short_for_the_oldest, is_short_for_the_head, is_short_for_the_mark,
        is_short_behind_the_mark, is_short_before_sending, is_short_for_the_list,
        is_short_for_the_copy,
    ):  # fmt: skip
        for qos in (0, 1):
            with_short_retries(check_told, is_short, qos)
            stored.Outgoing = real


def test_what_could_not_be_written_for_want_of_memory_is_written_later():
    def is_short(client, box):
        Shortage(client, "flush_now", 0)

    with_short_retries(check_told, is_short, 1)


def check_told(open_outbox, is_short, qos):
    told = check_drained(open_outbox, is_short, qos)
    assert told and set(told) == {"tls.no-memory"}, is_short
