"""Rules for what surrounds certificates: a listener's TLS, and files that must agree."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from keyfob_host.lint.certificate import Certificate
from keyfob_host.lint.finding import Judged, Rule, Severity
from keyfob_host.lint.mosquitto_conf import Listener

_E = Severity.ERROR


@dataclass(frozen=True)
class ListenerSubject(Judged):
    """A listener of a mosquitto.conf."""

    listener: Listener


@dataclass(frozen=True)
class CompanionSubject(Judged):
    """cert.pem and the first of chain.pem."""

    cert: Certificate
    first: Certificate


def _version(subject: ListenerSubject) -> Iterator[str]:
    board = subject.context.board
    least = subject.listener.options.get("tls_version", "tlsv1.2")
    if board is None or least != "tlsv1.3":
        return
    # MicroPython's mbedTLS is built without TLS 1.3, whatever a board file says.
    versions = ("1.2",) if board.tls.engine == "mbedtls" else board.tls.versions
    if "1.3" not in versions:
        yield f"tls_version {least}; {board.name} speaks {', '.join(versions)}"


def _pair(subject: CompanionSubject) -> Iterator[str]:
    yield (
        f"cert.pem: {subject.cert.title}, sha256 {subject.cert.sha256[:16]}; "
        f"chain.pem: {subject.first.title}, sha256 {subject.first.sha256[:16]}"
    )


RULES: tuple[Rule[ListenerSubject], ...] = (
    Rule("lint.tls-version", _E, "the listener speaks no version of TLS that the board does",
         "write in {file}: tls_version tlsv1.2", _version),
)  # fmt: skip
COMPANION_RULES: tuple[Rule[CompanionSubject], ...] = (
    Rule("lint.two-certificates", _E, "the certificate and the first of its chain are two",
         "{reissue}", _pair),
)  # fmt: skip
