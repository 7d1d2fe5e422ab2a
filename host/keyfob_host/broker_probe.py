"""Whether a broker really serves: TLS handshake, MQTT CONNECT, CONNACK.

The prober knows the one certificate the broker must show and compares it byte by
byte, so it works as well for a certificate that boards must refuse (expired, wrong
name), and says nothing about whether boards accept it.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
from pathlib import Path

from keyfob_host.errors import ExitStatus, KeyfobHostError

_CONNACK = b"\x20\x02"
_DISCONNECT = b"\xe0\x00"
# CONNACK return codes: MQTT 3.1.1 table 3.1.
_RETURN_CODES = {
    1: "unacceptable protocol version",
    2: "client identifier rejected",
    3: "server unavailable",
    4: "bad user name or password",
    5: "not authorized",
}


def probe(
    host: str, port: int, cert_der: bytes, identity_dir: Path | None, *, timeout_s: float = 2.0
) -> None:
    """Return when the broker accepted a session; raise while it does not.

    With ``identity_dir`` (a client's) the broker must answer CONNECT with a CONNACK
    of return code 0. Without one it must show its certificate and then insist on the
    client's, which is as far as one gets. ``OSError``: nothing serves (yet).
    Errors: ``broker.other-certificate``, ``broker.refuses-host``, ``broker.not-mqtt``.
    """
    with (
        socket.create_connection((host, port), timeout_s) as plain,
        _context(identity_dir).wrap_socket(plain) as link,
    ):
        served = link.getpeercert(binary_form=True)
        if served != cert_der:
            raise _other_certificate(host, port)
        try:
            # In TLS 1.3 the verdict on our certificate comes after the handshake. Where the
            # broker has closed already, its alert still waits to be read.
            with contextlib.suppress(OSError):
                link.sendall(connect_packet("keyfob-probe"))
            reply = link.recv(4)
        except (ssl.SSLError, ConnectionError) as error:
            if identity_dir is None:
                return  # TLS 1.3: the demand for our certificate comes after its own
            raise _refused(host, port, str(error)) from error
        if identity_dir is not None and reply[:2] == _CONNACK and reply[3:] == b"\0":
            link.sendall(_DISCONNECT)
            return
    if reply[:2] == _CONNACK and len(reply) == 4:
        code = reply[3]
        raise _refused(host, port, f"CONNACK {code}: {_RETURN_CODES.get(code, 'accepted')}")
    raise KeyfobHostError(
        "broker.not-mqtt",
        "what listens there speaks TLS but not MQTT",
        evidence=f"{host}:{port} answered CONNECT with {reply.hex(' ') or 'nothing'}",
        fix="keyfob broker log",
        status=ExitStatus.NETWORK,
    )


def connect_packet(client_id: str) -> bytes:
    """CONNECT of MQTT 3.1.1 section 3.1: clean session, keep alive 10 s, no will, no password."""
    name = client_id.encode()
    body = b"\x00\x04MQTT\x04\x02\x00\x0a" + len(name).to_bytes(2, "big") + name
    return bytes([0x10, len(body)]) + body


def _context(identity_dir: Path | None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # Stricter than a chain: `probe` accepts one certificate, and sends no secret.
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if identity_dir is not None:
        context.load_cert_chain(identity_dir / "chain.pem", identity_dir / "key.pem")
    return context


def _other_certificate(host: str, port: int) -> KeyfobHostError:
    return KeyfobHostError(
        "broker.other-certificate",
        "what listens there shows another certificate than this broker's",
        evidence=f"{host}:{port}",
        fix="keyfob broker down, then keyfob broker up",
        status=ExitStatus.NETWORK,
    )


def _refused(host: str, port: int, why: str) -> KeyfobHostError:
    return KeyfobHostError(
        "broker.refuses-host",
        "the broker is up but refuses the host's own identity",
        evidence=f"{host}:{port}: {why}",
        fix="keyfob broker log; an identity of a former CA is replaced by: keyfob broker up",
        status=ExitStatus.IDENTITY,
    )
