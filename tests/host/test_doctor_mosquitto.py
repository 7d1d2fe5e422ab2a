"""The doctor reads the log of a real mosquitto, each fault provoked by a real client."""

from __future__ import annotations

import socket
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from judges import needs_mosquitto

from keyfob_host.broker import MosquittoBroker
from keyfob_host.broker_failures import find_mosquitto
from keyfob_host.broker_probe import connect_packet
from keyfob_host.doctor.explain import explain
from keyfob_host.doctor.report import as_text
from keyfob_host.pki.authority import Authority

pytestmark = needs_mosquitto

NAME = "broker.keyfob.test"
NOW = datetime.now(timezone.utc)
PAST = {"not_before": NOW - timedelta(days=9), "not_after": NOW - timedelta(days=1)}
FUTURE = {"not_before": NOW + timedelta(days=1), "not_after": NOW + timedelta(days=9)}


class Bench:
    """A running broker, identities good and bad, and what its log says of the last client."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.authority = Authority.create(root / "ca")
        self.ca = root / "ca" / "ca.cert.pem"
        self.other_ca = root / "other.pem"
        other = Authority.ephemeral("Another CA")
        self.other_ca.write_bytes(other.cert_pem())
        for name, identity in {
            "broker": self.authority.issue_broker(NAME, [NAME, "127.0.0.1"]),
            "good": self.authority.issue_device("sensor-01"),
            "stranger": other.issue_device("sensor-01"),
            "expired": self.authority.issue_device("sensor-01", **PAST),  # type: ignore[arg-type]
            "future": self.authority.issue_device("sensor-01", **FUTURE),  # type: ignore[arg-type]
            "host": self.authority.issue_host(),
        }.items():
            identity.write(root / name)
        self.broker = MosquittoBroker(
            root / "run", identity_dir=root / "broker", ca_pem_path=self.ca,
            host_identity_dir=root / "host",
        )  # fmt: skip

    def said(self, fault: Callable[[Bench], str], until: str = "") -> tuple[str, str]:
        """What the log has after ``fault``, and what the client was told."""
        before = len(self.broker.log())
        told = fault(self)
        deadline = time.monotonic() + 10  # it writes after its alert is out
        while time.monotonic() < deadline:
            said = self.broker.log()[before:]
            if (until or "rror") in said:
                return said, told
            time.sleep(0.02)
        pytest.fail(f"not in the log: {until!r}\n{self.broker.log()[before:]}")


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    made = Bench(tmp_path_factory.mktemp("bench"))
    with made.broker:
        yield made


def context(bench: Bench, identity: str | None = "good", ca: Path | None = None) -> ssl.SSLContext:
    made = ssl.create_default_context(cafile=ca or bench.ca)
    made.maximum_version = ssl.TLSVersion.TLSv1_2  # as boards have it
    if identity:
        made.load_cert_chain(bench.root / identity / "chain.pem", bench.root / identity / "key.pem")
    return made


def connect(bench: Bench, made: ssl.SSLContext, name: str = NAME) -> str:
    """Connect once; what the client's TLS said when it failed."""
    with socket.create_connection(("127.0.0.1", bench.broker.port), 5) as plain:
        try:
            with made.wrap_socket(plain, server_hostname=name) as link:
                link.sendall(connect_packet("sensor-01"))
                return repr(link.recv(4))
        except OSError as error:
            return f"{type(error).__name__}: {error}"


def without_certificate(bench: Bench) -> str:
    return connect(bench, context(bench, None))


def from_another_ca(bench: Bench) -> str:
    return connect(bench, context(bench, "stranger"))


def expired(bench: Bench) -> str:
    return connect(bench, context(bench, "expired"))


def not_yet_valid(bench: Bench) -> str:
    return connect(bench, context(bench, "future"))


def trusting_another_ca(bench: Bench) -> str:
    return connect(bench, context(bench, "good", bench.other_ca))


def wanting_another_name(bench: Bench) -> str:
    return connect(bench, context(bench), "other.keyfob.test")


def with_old_tls(bench: Bench) -> str:
    made = context(bench)
    made.set_ciphers("DEFAULT:@SECLEVEL=0")
    made.minimum_version = ssl.TLSVersion.TLSv1
    made.maximum_version = ssl.TLSVersion.TLSv1_1
    return connect(bench, made)


def with_rsa_ciphers_only(bench: Bench) -> str:
    made = context(bench)
    made.set_ciphers("AES128-SHA")
    return connect(bench, made)


def without_tls(bench: Bench) -> str:
    with socket.create_connection(("127.0.0.1", bench.broker.port), 5) as plain:
        plain.sendall(connect_packet("sensor-01"))
        try:
            return repr(plain.recv(4))
        except OSError as error:
            return str(error)


FAULTS = [
    (without_certificate, "client-certificate.not-sent"),
    (from_another_ca, "client-certificate.unknown-ca"),
    (trusting_another_ca, "x509.wrong-anchor"),
    (wanting_another_name, "x509.name-not-in-san"),
    (with_old_tls, "tls.version"),
    (with_rsa_ciphers_only, "tls.no-shared-cipher"),
    (without_tls, "tcp.wrong-port"),
]


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
@pytest.mark.parametrize(("fault", "cause"), FAULTS, ids=lambda one: getattr(one, "__name__", one))
def test_a_fault_is_named_from_the_brokers_log_alone(
    bench: Bench, fault: Callable[[Bench], str], cause: str
) -> None:
    log, _ = bench.said(fault, "error:")
    explanation = explain(log)
    assert explanation.causes[0].code == cause, f"{log}\n{as_text(explanation)}"


@pytest.mark.parametrize(
    ("fault", "cause"),
    [
        (from_another_ca, "client-certificate.unknown-ca"),
        (expired, "client-certificate.expired"),
        (not_yet_valid, "clock.broker-behind"),
    ],
    ids=lambda one: getattr(one, "__name__", one),
)
def test_what_the_log_leaves_open_the_other_end_decides(
    bench: Bench, fault: Callable[[Bench], str], cause: str
) -> None:
    """One and the same line in the log; the alert at the client tells them apart."""
    log, told = bench.said(fault, "certificate verify failed")
    assert "ALERT" in told.upper(), told
    assert cause in [one.code for one in explain(log).causes]
    assert explain(f"{log}\n{told}").causes[0].code == cause, f"{log}\n{told}"


def test_two_clients_of_one_identifier_are_seen(bench: Bench) -> None:
    links = []
    for _ in range(2):
        plain = socket.create_connection(("127.0.0.1", bench.broker.port), 5)
        links.append(context(bench).wrap_socket(plain, server_hostname=NAME))
        links[-1].sendall(connect_packet("same"))
        assert links[-1].recv(4)[:1] == b"\x20"
    log, _ = bench.said(lambda _: [link.close() for link in links] and "", "lient same")
    assert explain(bench.broker.log()).causes  # a long log has an answer too
    whole = "\n".join(line for line in bench.broker.log().splitlines() if " same " in line)
    assert explain(whole).causes[0].code == "mqtt.same-client-id", whole + log


def test_a_message_that_the_acl_forbids_is_seen(bench: Bench) -> None:
    def publish(bench: Bench) -> str:
        plain = socket.create_connection(("127.0.0.1", bench.broker.port), 5)
        with context(bench).wrap_socket(plain, server_hostname=NAME) as link:
            link.sendall(connect_packet("sensor-01"))
            assert link.recv(4)[:1] == b"\x20"
            link.sendall(b"\x30\x0c\x00\x09elsewhere1")
            link.sendall(b"\xe0\x00")
        return ""

    log, _ = bench.said(publish, "Denied PUBLISH")
    assert explain(log).causes[0].code == "authorization.denied-topic"


def test_a_broker_that_did_not_come_up_is_told_from_what_it_wrote(bench: Bench) -> None:
    folder = bench.root / "broker"
    conf = bench.root / "mixed.conf"
    conf.write_text(
        f"listener {bench.broker.port + 1} 127.0.0.1\ncafile {bench.ca}\n"
        f"certfile {folder / 'chain.pem'}\nkeyfile {bench.root / 'good' / 'key.pem'}\n"
    )
    done = subprocess.run(
        [find_mosquitto(), "-c", str(conf)], capture_output=True, text=True, timeout=20
    )
    explanation = explain(done.stdout + done.stderr)
    assert explanation.causes[0].code == "tcp.listener-down", done.stderr
