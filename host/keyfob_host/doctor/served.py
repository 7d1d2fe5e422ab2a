"""What is met at a broker's address: does the name resolve, who answers, with which chain.

One connection, as a board makes one, which is broken off when the chain has come, read from
the plain records: before TLS would judge it, so that one that a board must refuse is seen
too. No certificate is sent. TLS 1.2 is asked for, because its chain is plain; a
broker that speaks 1.3 alone is told as such, without its chain. Where nobody answers in TLS
one CONNECT in clear follows, to tell a port of plain MQTT. All of it is over in `LIMIT_S`.
"""

from __future__ import annotations

import socket
import ssl
import threading
import time
import warnings
from dataclasses import replace

from keyfob_host.broker_probe import connect_packet
from keyfob_host.doctor.conversation import Conversation
from keyfob_host.doctor.sightings import Served

LIMIT_S = 3.0
_STEP_S = 2.0  # the most of it for one answer
_CHUNK = 16384
_CONNACK = b"\x20\x02"


def look_at_served(
    host: str, port: int, address: str | None = None, other_port: int | None = None
) -> Served:
    """``address``: where ``host`` is, if this host need not resolve it; ``other_port``: the
    port there, if it is not ``port``."""
    end = time.monotonic() + LIMIT_S
    try:
        found = address or _resolve(host, port)
    except OSError as error:
        return Served(host, port, "name", str(error.strerror or error))
    target = (found, other_port or port)
    try:
        with socket.create_connection(target, _left(end)) as link:
            served = _shake(link, host, port, end)
        if served.stage == "tls" and not served.version:
            served = replace(served, is_plain=_is_plain(target, end))
        return served
    except OSError as error:
        return Served(host, port, "tcp", str(error.strerror or error))


def _left(end: float) -> float:
    """Seconds for the next step."""
    return max(0.1, min(_STEP_S, end - time.monotonic()))


def _resolve(host: str, port: int) -> str:
    """The system's resolver takes its time where no server answers it, and has no limit."""
    found: list[str] = []
    failed: list[OSError] = []

    def ask() -> None:
        try:
            found.append(str(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][4][0]))
        except OSError as error:
            failed.append(error)

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(_STEP_S)
    if found:
        return found[0]
    raise failed[0] if failed else TimeoutError(f"no answer within {_STEP_S:g} s")


def _shake(link: socket.socket, host: str, port: int, end: float) -> Served:
    """A handshake up to the chain, read from the records along the way."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    engine = _context().wrap_bio(incoming, outgoing, server_hostname=host)
    seen = Conversation()
    chain: list[bytes] = []
    trouble = ""
    while not chain:
        try:
            engine.do_handshake()
            break
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as error:
            trouble = str(error.reason or error)
            break
        link.settimeout(_left(end))
        sent = outgoing.read()
        link.sendall(sent)
        for _ in seen.feed("board", sent):
            pass
        try:
            data = link.recv(_CHUNK)
        except TimeoutError:
            trouble = f"no answer within {_STEP_S:g} s"
            break
        except OSError as error:
            trouble = str(error.strerror or error)
            break
        if not data:
            trouble = "it closed the connection"
            break
        incoming.write(data)
        for fact in seen.feed("broker", data):
            if fact.what == "certificate" and not chain:
                chain += fact.certificates
    stage = "done" if not trouble or chain else "tls"
    return Served(host, port, stage, trouble, engine.version() or seen.version, tuple(chain))


def _is_plain(target: tuple[str, int], end: float) -> bool:
    """Whether MQTT in clear is answered with a CONNACK, whatever is in it."""
    try:
        with socket.create_connection(target, _left(end)) as link:
            link.settimeout(_left(end))
            link.sendall(connect_packet("keyfob-probe"))
            return link.recv(2) == _CONNACK
    except OSError:
        return False


def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        context.maximum_version = ssl.TLSVersion.TLSv1_2
    return context
