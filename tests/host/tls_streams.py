"""Conversations in TLS to be read: recorded from OpenSSL through Python's ssl, and cut up."""

from __future__ import annotations

import ssl
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random

from keyfob_host.doctor.conversation import Conversation, Fact, Sender
from keyfob_host.doctor.verdict import verdict
from keyfob_host.pki.authority import Authority
from keyfob_host.pki.identity import Identity

Stream = list[tuple[Sender, bytes]]
NAME = "broker.keyfob.test"
VECTORS = Path(__file__).parents[1] / "vectors" / "rfc8448.txt"


@dataclass
class Recorded:
    """What passed, in order, and the two who spoke; ``error`` is what ended it."""

    stream: Stream
    client: ssl.SSLObject
    server: ssl.SSLObject
    error: ssl.SSLError | None


class Pki:
    """A CA, a broker and a device, in files as OpenSSL wants them."""

    def __init__(self, folder: Path, **broker: object) -> None:
        self.folder = folder
        self.authority = Authority.ephemeral()
        (folder / "ca.pem").write_bytes(self.authority.cert_pem())
        self.put("broker", self.authority.issue_broker(NAME, **broker))  # type: ignore[arg-type]
        self.put("device", self.authority.issue_device("sensor-01"))

    def put(self, name: str, identity: Identity) -> Identity:
        identity.write(self.folder / name)
        return identity

    def server(self, version: str = "TLSv1_2", asks: bool = True) -> ssl.SSLContext:
        context = self._context(ssl.PROTOCOL_TLS_SERVER, version, "broker")
        context.verify_mode = ssl.CERT_REQUIRED if asks else ssl.CERT_NONE
        return context

    def client(self, version: str = "TLSv1_2", identity: str | None = "device") -> ssl.SSLContext:
        return self._context(ssl.PROTOCOL_TLS_CLIENT, version, identity)

    def _context(self, protocol: int, version: str, identity: str | None) -> ssl.SSLContext:
        context = ssl.SSLContext(protocol)
        context.minimum_version = context.maximum_version = ssl.TLSVersion[version]
        context.load_verify_locations(self.folder / "ca.pem")
        if identity:
            folder = self.folder / identity
            context.load_cert_chain(folder / "chain.pem", folder / "key.pem")
        return context


def record(
    server: ssl.SSLContext,
    client: ssl.SSLContext,
    data: bytes = b"twelve bytes",
    session: ssl.SSLSession | None = None,
    name: str = NAME,
) -> Recorded:
    """Let the two shake hands, send ``data`` both ways and close, as far as they come."""
    to_board, from_board = ssl.MemoryBIO(), ssl.MemoryBIO()
    to_broker, from_broker = ssl.MemoryBIO(), ssl.MemoryBIO()
    board = client.wrap_bio(to_board, from_board, server_hostname=name, session=session)
    broker = server.wrap_bio(to_broker, from_broker, server_side=True)
    made = Recorded([], board, broker, None)
    steps = {
        "board": [board.do_handshake, lambda: board.write(data), board.read, board.unwrap],
        "broker": [broker.do_handshake, lambda: broker.write(data), broker.read, broker.unwrap],
    }
    for _ in range(40):
        for sender, out, back in (
            ("board", from_board, to_broker),
            ("broker", from_broker, to_board),
        ):
            if steps[sender]:
                try:
                    steps[sender][0]()
                    steps[sender].pop(0)
                except ssl.SSLWantReadError:
                    pass
                except ssl.SSLError as error:
                    made.error = made.error or error
                    steps[sender].clear()
            if out.pending:
                said = out.read()
                made.stream.append((sender, said))  # type: ignore[arg-type]
                back.write(said)
    return made


def facts_of(stream: Iterable[tuple[Sender, bytes]]) -> list[Fact]:
    """What a new conversation tells of ``stream``."""
    conversation = Conversation()
    return [fact for sender, data in stream for fact in conversation.feed(sender, data)]


def cut(stream: Stream, random: Random | None = None) -> Stream:
    """The same bytes one by one, or in pieces of random sizes."""
    pieces: Stream = []
    for sender, data in stream:
        at = 0
        while at < len(data):
            size = random.randint(1, 1 + len(data) // 3) if random else 1
            pieces.append((sender, data[at : at + size]))
            at += size
    return pieces


def shapes(facts: Iterable[Fact]) -> list[tuple[str, str]]:
    return [(fact.sender, fact.what) for fact in facts]


@cache
def openssl_suites() -> dict[int, str]:
    """Number and IANA name of every suite that the openssl at hand knows."""
    shown = subprocess.run(
        ["openssl", "ciphers", "-V", "-stdname", "ALL:COMPLEMENTOFALL:@SECLEVEL=0"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    rows = [line.split() for line in shown.splitlines()]
    return {int(row[0].replace("0x", "").replace(",", ""), 16): row[2] for row in rows}


def rfc8448(name: str) -> bytes:
    """Octets of the RFC; a message is put into a record, as the RFC prints it."""
    for line in VECTORS.read_text().splitlines():
        if line.startswith(f"{name} "):
            octets = bytes.fromhex(line.split()[1])
            if name.endswith("-record"):
                return octets
            return b"\x16\x03\x01" + len(octets).to_bytes(2, "big") + octets
    raise KeyError(name)


def one_of_each_kind(pki: Pki) -> dict[str, Stream]:
    """One conversation of each kind."""
    return {
        "mutual": record(pki.server(), pki.client()).stream,
        "one-sided": record(pki.server(asks=False), pki.client(identity=None)).stream,
        "no-certificate": record(pki.server(), pki.client(identity=None)).stream,
        "tls-1.3": record(pki.server("TLSv1_3"), pki.client("TLSv1_3")).stream,
        "retry": [
            ("board", rfc8448("5.client-hello-1")), ("broker", rfc8448("5.hello-retry-request")),
        ],
    }  # fmt: skip


def said_of(stream: Stream, ender: str = "", how: str = "fin") -> str:
    """The verdict's text when ``ender`` (or whoever spoke last) has ended it."""
    conversation = Conversation()
    for sender, data in stream:
        list(conversation.feed(sender, data))
    last = ender or (stream[-1][0] if stream else "broker")
    list(conversation.end(last, how))  # type: ignore[arg-type]
    return verdict(conversation).text
