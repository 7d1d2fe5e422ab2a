"""Faults of clocks, of the broker's certificate and of its start, to be seeded on a bench."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import replace

from certificates import as_version_1, make_ca, make_leaf
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from doctor_bench import BROKER, DAY, DEVICE, Fault, FaultBench, issued, now, old, serve

from keyfob_host.broker import MosquittoBroker
from keyfob_host.errors import KeyfobHostError
from keyfob_host.ntp import Mode
from keyfob_host.pki.authority import Authority
from keyfob_host.transport import open_transport


def _not_reloaded(bench: FaultBench) -> None:
    serve(bench, issued(bench, **old()))
    issued(bench).write(bench.identity_dir, force=True)


def _board_ahead(bench: FaultBench) -> None:
    bench.ntp.offset_s = 7 * 365.25 * 86_400
    bench.reboot()


def _floor_ahead(bench: FaultBench) -> None:
    # As a board keeps it that was connected by such a time, with certificates that last.
    floor_s = int(now().timestamp()) + 7 * 366 * 86_400
    with open_transport(bench.ref) as board:
        board.write("/clock", b"%d" % floor_s)
    bench.stack.callback(bench.edit, "/clock", lambda _: None)
    bench.reboot()


def _far_time(bench: FaultBench) -> None:
    bench.ntp.offset_s = -30 * 365.25 * 86_400
    bench.reboot()


def _silent_time(bench: FaultBench) -> None:
    bench.ntp.mode = Mode.SILENT
    bench.reboot()


def _no_intermediate(bench: FaultBench) -> None:
    below = bench.authority.issue_intermediate()
    device = below.issue_device(DEVICE)
    bench.keep(device)
    identity = below.issue_broker(BROKER)
    bench.serve(identity, chain=identity.cert_pem())
    bench.provision(device)


def _ca_version_1(bench: FaultBench) -> None:
    ca = make_ca()
    anchor = x509.load_der_x509_certificate(as_version_1(ca, ca).der)
    bench.provision(replace(bench.device, anchors=(anchor,)))


def _large_chain(bench: FaultBench) -> None:
    """RSA with 4096 bits and a few hundred names in each: 40 KB, more than any board takes."""
    identity = issued(bench)
    ca, below = make_ca(), []
    for number in range(12):
        names = tuple(f"{number}-{name}.a-rather-long-name.keyfob.test" for name in range(80))
        below.append(make_leaf(ca, f"intermediate {number}", names))
    chain = identity.cert_pem() + b"".join(one.chain_pem() for one in below)
    serve(bench, identity, chain=chain)


def _weak_key(bench: FaultBench) -> None:
    weak = make_leaf(
        make_ca(),
        BROKER,
        (BROKER,),
        key=rsa.generate_private_key(65537, 1024),  # noqa: S505
    )
    (bench.identity_dir / "cert.pem").write_bytes(weak.chain_pem())
    (bench.identity_dir / "chain.pem").write_bytes(weak.chain_pem())
    (bench.identity_dir / "key.pem").write_bytes(weak.key_pem())


def _does_not_start(files: Callable[[FaultBench], None]) -> Callable[[FaultBench], None]:
    """The bench's broker with something in its files that mosquitto refuses."""

    def make(bench: FaultBench) -> None:
        bench.end_brokers()
        files(bench)
        with contextlib.suppress(KeyfobHostError):
            MosquittoBroker(
                bench.home.broker_dir, identity_dir=bench.identity_dir,
                ca_pem_path=bench.folder / "ca.pem", port=bench.broker_port,
            ).start()  # fmt: skip
        bench.reboot()

    return make


def _other_key(bench: FaultBench) -> None:
    other = issued(bench)
    (bench.identity_dir / "cert.pem").write_bytes(other.cert_pem())
    (bench.identity_dir / "chain.pem").write_bytes(other.chain_pem())


def _stopped(bench: FaultBench) -> None:
    bench.end_brokers()
    bench.reboot()


FAULTS = (
    Fault("silent-time-server", 1, ("clock.no-ntp-answer",), _silent_time),
    Fault("issued-in-the-future", 2, ("clock.issuer-ahead",), lambda bench: serve(
        bench, issued(bench, not_before=now() + 3 * DAY, not_after=now() + 9 * DAY))),
    Fault("broker-expired", 3, ("x509.broker-expired",),
          lambda bench: serve(bench, issued(bench, **old())), True),
    Fault("broker-not-reloaded", 3, ("x509.broker-expired",), _not_reloaded),
    Fault("board-ahead", 4, ("clock.board-ahead",), _board_ahead),
    Fault("floor-ahead", 4, ("clock.board-ahead",), _floor_ahead),
    Fault("time-of-1996", None, ("clock.no-ntp-answer",), _far_time),
    Fault("another-ca", 5, ("x509.wrong-anchor",), lambda bench: serve(
        bench, Authority.ephemeral("Somebody else's CA").issue_broker(BROKER))),
    Fault("ca-made-anew", 5, ("x509.wrong-anchor",), lambda bench: serve(
        bench, Authority.ephemeral("Bench CA").issue_broker(BROKER))),
    Fault("no-intermediate", 6, ("x509.missing-intermediate",), _no_intermediate),
    Fault("ca-version-1", 7, ("x509.ca-without-ca-true",), _ca_version_1),
    Fault("wrong-name", 9, ("x509.name-not-in-san",),
          lambda bench: serve(bench, issued(bench, "other.keyfob.test"))),
    Fault("broker-for-a-client", 18, ("x509.broker-wrong-usage",),
          lambda bench: serve(bench, issued(bench, eku=("clientAuth",)))),
    Fault("large-chain", 26, ("tls.chain-over-buffer",), _large_chain),
    Fault("rsa-1024", 27, ("x509.weak-algorithm",), _does_not_start(_weak_key)),
    Fault("broker-does-not-start", 28, ("tcp.listener-down",), _does_not_start(_other_key)),
    Fault("broker-stopped", 28, ("tcp.listener-down",), _stopped),
)  # fmt: skip
