"""Revocation and renewal with real mosquitto: who is refused, when, and what is served."""

from __future__ import annotations

import json
import os
import shutil
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from keyfob_host.broker import MosquittoBroker
from keyfob_host.broker_probe import connect_packet
from keyfob_host.home import Home
from keyfob_host.pki.authority import Authority
from keyfob_host.pki.crl import crls_pem, sign_crl
from keyfob_host.pki.profiles import load_profile

pytestmark = [
    pytest.mark.mosquitto,
    pytest.mark.skipif(
        shutil.which("mosquitto", path=os.environ["PATH"] + ":/usr/sbin") is None,
        reason="mosquitto is not installed",
    ),
]
NOW = datetime.now(timezone.utc).replace(microsecond=0)
DAY = timedelta(days=1)
ACCEPTED = b"\x20\x02\x00\x00"
DEVICES = ("s-1", "s-2", "s-3")


class Bench:
    """A bench with a broker's identity and three devices; each command is a process."""

    def __init__(self, root: Path, *, with_intermediate: bool = False) -> None:
        self.home = Home(root)
        profile = replace(load_profile("ca"), path_length=1 if with_intermediate else 0)
        self.authority = Authority.create(self.home.ca_dir, profile)
        if with_intermediate:
            self.authority = self.authority.issue_intermediate()
            self.authority.write_issuing(self.home.ca_dir, None)
        certs = self.home.certs_dir
        self.broker = self.authority.issue_broker("b.test", ["127.0.0.1"])
        self.broker.write(certs / "broker" / "b.test")
        self.authority.issue_host().write(certs / "device" / "keyfob-host")
        for name in DEVICES:
            self.authority.issue_device(name).write(certs / "device" / name)

    def run(self, *arguments: str) -> tuple[int, dict[str, Any]]:
        done = subprocess.run(
            [sys.executable, "-m", "keyfob_host", "--json", *arguments],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60,
            env={**os.environ, "KEYFOB_HOME": str(self.home.root)},
        )  # fmt: skip
        assert "Traceback" not in done.stderr
        return done.returncode, json.loads(done.stdout)

    def ok(self, *arguments: str) -> dict[str, Any]:
        status, shown = self.run(*arguments)
        assert status == 0, shown
        return shown

    def connect(self, name: str, port: int) -> ssl.SSLSocket | None:
        """A session of the device, or None where the broker ended the connection."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(self.home.ca_dir / "ca.cert.pem")
        folder = self.home.certs_dir / "device" / name
        context.load_cert_chain(folder / "chain.pem", folder / "key.pem")
        plain = socket.create_connection(("127.0.0.1", port), 10)
        try:
            link = context.wrap_socket(plain, server_hostname="127.0.0.1")
            link.sendall(connect_packet(name))
            if link.recv(4) == ACCEPTED:
                return link
        except OSError:
            pass
        plain.close()
        return None

    def let_in(self, port: int, *names: str) -> list[str]:
        """Those of ``names`` (all devices) that get a session."""
        found = []
        for name in names or DEVICES:
            link = self.connect(name, port)
            if link is not None:
                link.close()
                found.append(name)
        return found


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path / "home")
    yield made
    made.run("broker", "down")


@pytest.fixture
def two_tier(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path / "home", with_intermediate=True)
    yield made
    made.run("broker", "down")


def write_crl(bench: Bench, this: timedelta, following: timedelta) -> None:
    crl = sign_crl(
        bench.authority.cert, bench.authority.key, [],
        number=1, this_update=NOW + this, next_update=NOW + following,
    )  # fmt: skip
    (bench.home.ca_dir / "crl.pem").write_bytes(crls_pem([crl]))


def test_a_revoked_device_is_refused_and_others_are_not(bench: Bench) -> None:
    bench.ok("cert", "revoke", "s-2")
    port = bench.ok("broker", "up", "--port", "0")["port"]
    assert bench.let_in(port) == ["s-1", "s-3"]


def test_a_running_broker_refuses_from_the_moment_revoke_has_ended(bench: Bench) -> None:
    up = bench.ok("broker", "up", "--port", "0")
    assert bench.let_in(up["port"]) == ["s-1", "s-2", "s-3"]
    # It ran without a CRL, and mosquitto takes a first one only at its start.
    assert bench.ok("cert", "revoke", "s-1")["broker"] == "restarted"
    status = bench.ok("broker", "status")
    assert status["port"] == up["port"] and status["crl_next_update"] and status["accepting"]
    assert bench.let_in(up["port"]) == ["s-2", "s-3"]
    for name, rest in (("s-2", ["s-3"]), ("s-3", [])):
        assert bench.ok("cert", "revoke", name)["broker"] == "reloaded"
        assert bench.let_in(up["port"]) == rest
    assert bench.ok("broker", "status")["pid"] == status["pid"]


def test_a_session_that_stands_is_ended_when_asked_for(bench: Bench) -> None:
    bench.ok("ca", "crl")
    port = bench.ok("broker", "up", "--port", "0")["port"]
    link = bench.connect("s-1", port)
    assert link is not None
    bench.ok("cert", "revoke", "s-1")
    link.sendall(b"\xc0\x00")  # PINGREQ
    assert link.recv(2) == b"\xd0\x00"
    assert bench.ok("cert", "revoke", "s-1", "--end-sessions")["broker"] == "restarted"
    with link:
        assert link.recv(2) == b""
    assert bench.let_in(port) == ["s-2", "s-3"]


def test_a_new_crl_on_a_timer_reaches_the_running_broker(bench: Bench) -> None:
    write_crl(bench, -2 * DAY, DAY)
    port = bench.ok("broker", "up", "--port", "0")["port"]
    shown = bench.ok("ca", "crl", "--if-older-than", "1d")
    assert shown["signed"] and shown["broker"] == "reloaded"
    assert bench.let_in(port) == ["s-1", "s-2", "s-3"]


def test_a_stale_crl_shuts_everybody_out_so_the_broker_is_not_started_with_one(
    bench: Bench,
) -> None:
    write_crl(bench, -9 * DAY, -DAY)
    status, shown = bench.run("broker", "up", "--port", "0")
    error = shown["error"]
    assert (status, error["code"], error["fix"]) == (6, "cert.crl-expired", "keyfob ca crl")
    assert bench.run("broker", "status")[0] == 7
    # What would have been: mosquitto itself, with that CRL.
    bare = MosquittoBroker(
        bench.home.broker_dir,
        identity_dir=bench.home.certs_dir / "broker" / "b.test",
        ca_pem_path=bench.home.ca_dir / "ca.cert.pem",
        crl_path=bench.home.ca_dir / "crl.pem",
    )
    with bare:
        assert bench.let_in(bare.port) == []
        assert "certificate verify failed" in bare.log()
    assert bench.ok(*error["fix"].split()[1:])["broker"] == ""
    port = bench.ok("broker", "up", "--port", "0")["port"]
    assert bench.let_in(port) == ["s-1", "s-2", "s-3"]


def test_with_an_intermediate_its_crl_is_what_the_broker_asks_for(two_tier: Bench) -> None:
    two_tier.ok("cert", "revoke", "s-2")
    port = two_tier.ok("broker", "up", "--port", "0")["port"]
    assert two_tier.let_in(port) == ["s-1", "s-3"]
    assert two_tier.ok("cert", "revoke", "s-1")["broker"] == "reloaded"
    assert two_tier.let_in(port) == ["s-3"]


def test_the_clients_of_a_revoked_intermediate_are_refused(two_tier: Bench) -> None:
    (issuing,) = two_tier.ok("cert", "list", "--kind", "intermediate")["certificates"]
    two_tier.ok("cert", "revoke", issuing["serial"], "--reason", "cACompromise")
    status, shown = two_tier.run("broker", "up", "--port", "0")
    assert (status, shown["error"]["code"]) == (6, "cert.issuer-revoked")
    bare = MosquittoBroker(
        two_tier.home.broker_dir,
        identity_dir=two_tier.home.certs_dir / "broker" / "b.test",
        ca_pem_path=two_tier.home.ca_dir / "ca.cert.pem",
        crl_path=two_tier.home.ca_dir / "crl.pem",
    )
    with bare:
        assert two_tier.let_in(bare.port) == []


def test_a_crl_that_cannot_be_read_again_is_told(bench: Bench) -> None:
    bench.ok("ca", "crl")
    bench.ok("broker", "up", "--port", "0")
    running = MosquittoBroker.attach(bench.home.broker_dir)
    assert running is not None
    (bench.home.ca_dir / "crl.pem").write_text("no CRL")
    with pytest.raises(Exception, match=r"broker\.not-reloaded") as told:
        running.reload()
    assert "certificate revocation file" in getattr(told.value, "evidence", "")


def test_a_renewed_broker_certificate_is_served_at_once(bench: Bench) -> None:
    port = bench.ok("broker", "up", "--port", "0")["port"]
    pid = bench.ok("broker", "status")["pid"]

    def served() -> bytes:
        link = bench.connect("s-1", port)
        assert link is not None
        with link:
            return link.getpeercert(binary_form=True) or b""

    assert served() == bench.broker.cert_der()
    (renewed,) = bench.ok("cert", "renew", "b.test")["renewed"]
    assert (renewed["key"], renewed["broker"]) == ("new key", "reloaded")
    now = x509.load_der_x509_certificate(served())
    assert now.serial_number != bench.broker.cert.serial_number
    cert = (bench.home.certs_dir / "broker" / "b.test" / "cert.pem").read_bytes()
    assert now == x509.load_pem_x509_certificate(cert)
    assert bench.ok("broker", "status")["pid"] == pid
    # A device's is nothing to the broker.
    (renewed,) = bench.ok("cert", "renew", "s-1")["renewed"]
    assert renewed["broker"] == "" and bench.let_in(port, "s-1") == ["s-1"]
